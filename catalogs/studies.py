"""Parameter studies in the catalog: their points, who has leased them, and results published in batches."""

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection, Engine

from catalogs import environment
from catalogs.contents import Content
from catalogs.database import insert_new, writing
from catalogs.keys import artifact_key
from catalogs.rows import Item, Writer, finite
from catalogs.tables import artifacts, contents, payloads, points, samples, studies
from kernels.errors import InputError

PENDING, RUNNING, DONE, FAILED, SKIPPED, CANCELLED = (
    "pending", "running", "done", "failed", "skipped", "cancelled",
)  # fmt: skip
STATES = (PENDING, RUNNING, DONE, FAILED, SKIPPED, CANCELLED)
"""skipped: the same work as an earlier point of the study, whose result it has."""

_BLOCK = 500
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,99}")


@dataclass(frozen=True)
class Study:
    """A study as it is stored; `digest` is that of all that decides its points, '' until all are stored."""

    number: int
    name: str
    target: str
    version: int
    definition: dict[str, Any]
    digest: str
    cancelled: bool


@dataclass(frozen=True)
class Point:
    """One point: its place in the design, the key of the artifact it makes, and its values by dotted path."""

    number: int
    key: str
    parameters: dict[str, Any]


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


def metrics_key(key: str) -> str:
    """Key of the record that holds only the metrics of a result, for studies that do not keep data."""
    return artifact_key("metrics", 1, {"of": key}, {})


# --- studies


def find(engine: Engine, name: str) -> Study | None:
    """The study of that name, None where there is none."""
    with engine.connect() as connection:
        row = connection.execute(sa.select(studies).where(studies.c.name == name)).mappings().first()
    if row is None:
        return None
    return Study(
        row["id"], row["name"], row["target"], row["version"], row["definition"], row["digest"],
        row["cancelled"],
    )  # fmt: skip


def get(engine: Engine, name: str) -> Study:
    """The study of that name.

    Raises InputError, with the names that there are, where there is none.
    """
    found = find(engine, name)
    if found is None:
        known = names(engine)
        shown = (
            f"there are: {', '.join(known)}" if known else "there is none yet: start with `study run FILE`"
        )
        raise InputError(f"there is no study {name!r}; {shown}")
    return found


def names(engine: Engine) -> list[str]:
    """Names of all studies, oldest first."""
    with engine.connect() as connection:
        return list(connection.execute(sa.select(studies.c.name).order_by(studies.c.id)).scalars())


def create(engine: Engine, name: str, target: str, version: int, definition: Mapping[str, Any]) -> Study:
    """The study of that name, made where it is not there.

    Raises InputError for a name that is not letters, digits, `_`, `.`, `-`.
    """
    if not _NAME.fullmatch(name):
        raise InputError(
            f"study name {name!r}: expected a letter, then at most 99 letters, digits, '_', '.' or '-'"
        )
    row = {
        "name": name, "target": target, "version": version, "definition": definition, "digest": "",
        "cancelled": False, "created": time.time(),
    }  # fmt: skip
    with writing(engine) as connection:
        insert_new(connection, studies, row)
    return get(engine, name)


def define(engine: Engine, study: int, definition: Mapping[str, Any], digest: str) -> None:
    """Set the definition of a study, and the digest that says that all its points are stored."""
    with writing(engine) as connection:
        mine = studies.c.id == study
        connection.execute(sa.update(studies).where(mine).values(definition=definition, digest=digest))


def add_points(engine: Engine, study: int, new: Sequence[Point], records: bool) -> None:
    """Store points that are not there yet; those with a result in the catalog are done, those that repeat
    the work of another one are skipped. `records`: metrics without data are a result too.
    """
    for start in range(0, len(new), _BLOCK):
        block = new[start : start + _BLOCK]
        keys = [point.key for point in block]
        with writing(engine) as connection:
            found = results_of(connection, keys, records)
            alike = sa.select(points.c.study, points.c.number, points.c.key).where(points.c.key.in_(keys))
            seen = {
                row.key
                for row in connection.execute(alike)
                if row.study == study and row.number < block[0].number
            }
            rows = []
            for point in block:
                state = SKIPPED if point.key in seen else DONE if point.key in found else PENDING
                seen.add(point.key)
                rows.append({
                    "study": study, "number": point.number, "key": point.key, "state": state, "attempts": 0,
                    "parameters": point.parameters, "result": found.get(point.key),
                })  # fmt: skip
            connection.execute(_insert_or_skip(connection, points), rows)


def stored_keys(engine: Engine, study: int) -> Iterator[tuple[int, str]]:
    """(number, key) of every point, in order."""
    query = sa.select(points.c.number, points.c.key).where(points.c.study == study)
    with engine.connect().execution_options(yield_per=10_000) as connection:
        for row in connection.execute(query.order_by(points.c.number)):
            yield int(row.number), str(row.key)


def cancel(engine: Engine, study: int) -> int:
    """Stop a study: no further point is leased; how many were pending."""
    with writing(engine) as connection:
        connection.execute(sa.update(studies).where(studies.c.id == study).values(cancelled=True))
        pending = (points.c.study == study) & (points.c.state == PENDING)
        return connection.execute(sa.update(points).where(pending).values(state=CANCELLED)).rowcount


def reopen(engine: Engine, study: int, retry_failed: bool = False) -> None:
    """Make pending what was cancelled, what dead processes of this machine had leased, and, if wished, what
    failed.
    """
    again = [CANCELLED, FAILED] if retry_failed else [CANCELLED]
    with writing(engine) as connection:
        connection.execute(sa.update(studies).where(studies.c.id == study).values(cancelled=False))
        mine = points.c.study == study
        forget = {"state": PENDING, "owner": None, "until": None}
        connection.execute(sa.update(points).where(mine & points.c.state.in_(again)).values(**forget))
        leased = mine & (points.c.state == RUNNING)
        for owner in connection.execute(sa.select(points.c.owner).where(leased).distinct()).scalars().all():
            if owner is None or not environment.is_alive(owner):
                connection.execute(sa.update(points).where(leased, points.c.owner == owner).values(**forget))


# --- leases


def lease(
    engine: Engine, study: int, owner: str, count: int, seconds: float, records: bool
) -> tuple[list[Point], int]:
    """Up to `count` points for this owner, for so many seconds, and how many more were found done.

    Points of ended leases come first. What has a result meanwhile is done; what another study is computing
    now is left for later.
    """
    leased: list[Point] = []
    known = 0
    while len(leased) < count:
        with writing(engine) as connection:
            rows = _candidates(connection, study, count - len(leased))
            if not rows:
                break
            found = results_of(connection, [row.key for row in rows], records)
            known += _mark_found(connection, study, rows, found)
            mine = [row for row in rows if row.key not in found]
            now = time.time()
            for start in range(0, len(mine), _BLOCK):
                numbers = [row.number for row in mine[start : start + _BLOCK]]
                these = (points.c.study == study) & points.c.number.in_(numbers)
                change = {"state": RUNNING, "owner": owner, "until": now + seconds, "started": now}
                connection.execute(
                    sa.update(points).where(these).values(**change, attempts=points.c.attempts + 1)
                )
            leased += [Point(row.number, row.key, row.parameters) for row in mine]
    return leased, known


def _candidates(connection: Connection, study: int, count: int) -> list[Any]:
    other = points.alias()
    busy = sa.exists().where(
        other.c.key == points.c.key, other.c.study != study, other.c.state == RUNNING,
        other.c.until > time.time(),
    )  # fmt: skip
    query = sa.select(points.c.number, points.c.key, points.c.parameters).where(points.c.study == study)
    query = query.order_by(points.c.number).limit(count).with_for_update(skip_locked=True)
    ended = query.where(points.c.state == RUNNING, points.c.until < time.time())
    rows = list(connection.execute(ended))
    if len(rows) < count:
        rows += connection.execute(query.where(points.c.state == PENDING, ~busy).limit(count - len(rows)))
    return rows


def _mark_found(connection: Connection, study: int, rows: Sequence[Any], found: Mapping[str, str]) -> int:
    done = [{"n": row.number, "r": found[row.key]} for row in rows if row.key in found]
    if done:
        these = (points.c.study == study) & (points.c.number == sa.bindparam("n"))
        change: dict[str, Any] = {"state": DONE, "result": sa.bindparam("r"), "owner": None, "until": None}
        connection.execute(sa.update(points).where(these).values(**change), done)
    return len(done)


def renew(engine: Engine, study: int, owner: str, seconds: float) -> bool:
    """Heartbeat: all leases of the owner last so many seconds from now; whether the study was cancelled."""
    with writing(engine) as connection:
        connection.execute(sa.update(points).where(_leased(study, owner)).values(until=time.time() + seconds))
        return bool(
            connection.execute(sa.select(studies.c.cancelled).where(studies.c.id == study)).scalar_one()
        )


def release(engine: Engine, study: int, owner: str, numbers: Sequence[int] | None = None) -> None:
    """Give leased points back, all of this owner or the given ones."""
    forget = {"state": PENDING, "owner": None, "until": None}
    with writing(engine) as connection:
        mine = sa.update(points).where(_leased(study, owner))
        if numbers is None:
            connection.execute(mine.values(**forget))
            return
        for start in range(0, len(numbers), _BLOCK):
            some = points.c.number.in_(numbers[start : start + _BLOCK])
            connection.execute(mine.where(some).values(**forget))


def still_leased(engine: Engine, study: int, owner: str, numbers: Sequence[int]) -> set[int]:
    """Those of the points that the owner still has to compute."""
    found: set[int] = set()
    with engine.connect() as connection:
        for start in range(0, len(numbers), _BLOCK):
            some = points.c.number.in_(numbers[start : start + _BLOCK])
            query = sa.select(points.c.number).where(_leased(study, owner), some)
            found |= set(connection.execute(query).scalars())
    return found


def _leased(study: int, owner: str) -> sa.ColumnElement[bool]:
    return (points.c.study == study) & (points.c.state == RUNNING) & (points.c.owner == owner)


# --- results


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
            connection.execute(_insert_or_skip(connection, table), rows)


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
    mine = _leased(study, owner) & (points.c.number == sa.bindparam("n"))
    connection.execute(sa.update(points).where(mine).values(**change), rows)
    return len(rows)


def results_of(connection: Connection, keys: Sequence[str], records: bool) -> dict[str, str]:
    """Key of the result that the catalog has, for those of the keys that have one."""
    wanted = {key: key for key in keys}
    if records:
        wanted |= {metrics_key(key): key for key in keys}
    every, found = list(wanted), {}
    for start in range(0, len(every), _BLOCK):
        some = artifacts.c.key.in_(every[start : start + _BLOCK])
        query = sa.select(artifacts.c.key, artifacts.c.location).where(some)
        for row in connection.execute(query):
            if row.location is not None or records:
                found[wanted[row.key]] = row.key
    return found


def _insert_or_skip(connection: Connection, table: sa.Table) -> Any:
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    return dialect.insert(table).on_conflict_do_nothing()
