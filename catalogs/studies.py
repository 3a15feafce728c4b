"""Parameter studies in the catalog: what they are, their points, and which of these have a result."""

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection, Engine

from catalogs import environment
from catalogs.database import insert_new, writing
from catalogs.keys import artifact_key
from catalogs.tables import artifacts, points, studies
from catalogs.where import storable_text
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


def metrics_key(key: str) -> str:
    """Key of the record that holds only the metrics of a result, for studies that do not keep data."""
    return artifact_key("metrics", 1, {"of": key}, {})


def find(engine: Engine, name: str) -> Study | None:
    """The study of that name, None where there is none."""
    if not storable_text(name):
        return None
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
            connection.execute(insert_or_skip(connection, points), rows)


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


def insert_or_skip(connection: Connection, table: sa.Table) -> Any:
    """Statement that inserts rows, leaving out those that are there."""
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    return dialect.insert(table).on_conflict_do_nothing()
