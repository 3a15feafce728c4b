"""What becomes of the points of a study: results published in batches, with the states of their points."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from catalogs.contents import Content
from catalogs.database import writing
from catalogs.rows import Item, Writer, finite, leaves, values
from catalogs.studies import DONE, FAILED, SKIPPED, Point, insert_or_skip
from catalogs.study_leases import leased_by
from catalogs.tables import artifacts, contents, payloads, points, samples


@dataclass(frozen=True)
class Small:
    """A result that fits into the database: its artifact, bytes and digests; no data: a record alone."""

    item: Item
    data: bytes | None
    content: Content | None


@dataclass(frozen=True)
class Done:
    """A point that was computed; `small` None where its data were published already."""

    point: Point
    result: str
    metrics: Mapping[str, Any]
    started: float
    seconds: float
    small: Small | None
    log: str | None = None


@dataclass(frozen=True)
class Failed:
    """A point that was not: kind of the failure, message, log file in the project."""

    point: Point
    kind: str
    error: str
    started: float
    seconds: float
    log: str | None = None


def publish_points(
    engine: Engine, writer: Writer, study: int, owner: str, outcomes: Sequence[Done | Failed]
) -> tuple[int, int]:
    """Publish the small results of a batch and mark its points, all in one transaction; how many became
    done and failed.

    A point of another study that waits for the same key is done by it too. Raises InputError where an input
    is no longer in the catalog; nothing is changed then.
    """
    done = [outcome for outcome in outcomes if isinstance(outcome, Done)]
    small = [outcome.small for outcome in done if outcome.small is not None]
    for one in small:
        writer.numbers(one.item.about)
    with writing(engine) as connection:
        if small:
            _insert_small(connection, writer, small)
        _make_findable(connection, [outcome for outcome in done if outcome.small is None])
        finished = _mark_done(connection, study, done) if done else 0
        failed = [outcome for outcome in outcomes if isinstance(outcome, Failed)]
        lost = _mark_failed(connection, study, owner, failed) if failed else 0
    return finished, lost


def mark_failed(engine: Engine, study: int, owner: str, failed: Sequence[Failed]) -> None:
    """Mark points that the owner has leased as failed."""
    if failed:
        with writing(engine) as connection:
            _mark_failed(connection, study, owner, failed)


def _insert_small(connection: Connection, writer: Writer, small: Sequence[Small]) -> None:
    by_key = {one.item.key: one for one in small}
    made = writer.insert_many(connection, [one.item for one in small])
    data, shared, digests = [], [], []
    for key, number in made.items():
        one = by_key[key]
        if one.data is not None:
            data.append({"artifact": number, "data": one.data})
        if one.content is not None:
            shared.append({"key": key, "shared": one.content.shared})
            digests += [
                {"key": key, "position": i, "digest": digest, "part": None}
                for i, digest in enumerate(one.content.samples)
            ]
    for table, rows in ((payloads, data), (contents, shared), (samples, digests)):
        if rows:
            connection.execute(insert_or_skip(connection, table), rows)


def _make_findable(connection: Connection, done: Sequence[Done]) -> None:
    """Metrics and parameters of points that others published, a pipeline or the parts of a stage, by which a
    search finds their results as it finds all others. Data, key and config stay as they are.
    """
    results = {outcome.result: outcome for outcome in done}
    columns = artifacts.c
    query = sa.select(columns.id, columns.key, columns.stage, columns.config, columns.metrics)
    for row in connection.execute(query.where(columns.key.in_(results))).all():
        outcome = results[row.key]
        metrics = finite(dict(outcome.metrics))
        new = {name: value for name, value in metrics.items() if name not in row.metrics}
        if new:
            changed = sa.update(artifacts).where(columns.id == row.id)
            connection.execute(changed.values(metrics={**row.metrics, **new}))
        known = {name for name, _ in leaves(row.config)}
        varied = outcome.point.parameters.items()
        given = {
            name: value for name, value in varied if name not in known and not name.startswith("inputs.")
        }
        found = {"stage": row.stage, "config": given, "metrics": new}
        for table, rows in values(row.id, found, {}).items():
            if rows:
                connection.execute(insert_or_skip(connection, table), rows)


def _mark_done(connection: Connection, study: int, done: Sequence[Done]) -> int:
    rows = [
        {
            "k": one.point.key, "n": one.point.number, "r": one.result, "m": finite(dict(one.metrics)),
            "b": one.started, "s": one.seconds, "l": one.log,
        }
        for one in sorted(done, key=lambda one: one.point.key)
    ]  # fmt: skip
    open_ = (points.c.state != DONE) & (points.c.state != SKIPPED)
    everywhere = points.c.key == sa.bindparam("k")
    # by the primary key alone: SQLite would take the index of the states, and read the whole study
    here = (points.c.study == study) & (points.c.number == sa.bindparam("n"))
    change: dict[str, Any] = {
        "state": DONE, "result": sa.bindparam("r"), "metrics": sa.bindparam("m", type_=points.c.metrics.type),
        "started": sa.bindparam("b"), "seconds": sa.bindparam("s"), "log": sa.bindparam("l"), "owner": None,
        "until": None, "kind": None, "error": None,
    }  # fmt: skip
    statement = sa.update(points).values(**change)
    # metrics without data are no result to a study that keeps data
    for place, unused, some in (
        (everywhere, "n", [row for row in rows if row["r"] == row["k"]]),
        (here, "k", [row for row in rows if row["r"] != row["k"]]),
    ):
        if some:
            given = [{name: value for name, value in row.items() if name != unused} for row in some]
            connection.execute(statement.where(place, open_), given)
    return len(rows)


def _mark_failed(connection: Connection, study: int, owner: str, failed: Sequence[Failed]) -> int:
    rows = [
        {
            "n": one.point.number, "d": one.kind, "e": one.error[:10_000].replace("\0", ""),
            "b": one.started, "s": one.seconds, "l": one.log,
        }
        for one in failed
    ]  # fmt: skip
    change: dict[str, Any] = {
        "state": FAILED, "kind": sa.bindparam("d"), "error": sa.bindparam("e"), "started": sa.bindparam("b"),
        "seconds": sa.bindparam("s"), "log": sa.bindparam("l"), "owner": None, "until": None,
    }  # fmt: skip
    mine = leased_by(study, owner) & (points.c.number == sa.bindparam("n"))
    connection.execute(sa.update(points).where(mine).values(**change), rows)
    return len(rows)
