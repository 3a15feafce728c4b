"""Who computes which points of a study: leases that end unless heartbeats renew them."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from catalogs.database import writing
from catalogs.studies import DONE, PENDING, RUNNING, Point, results_of
from catalogs.tables import points, studies

_BLOCK = 500


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
        mine = sa.update(points).where(leased_by(study, owner))
        connection.execute(mine.values(until=time.time() + seconds))
        return bool(
            connection.execute(sa.select(studies.c.cancelled).where(studies.c.id == study)).scalar_one()
        )


def release(engine: Engine, study: int, owner: str, numbers: Sequence[int] | None = None) -> None:
    """Give leased points back, all of this owner or the given ones."""
    forget = {"state": PENDING, "owner": None, "until": None}
    with writing(engine) as connection:
        mine = sa.update(points).where(leased_by(study, owner))
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
            query = sa.select(points.c.number).where(leased_by(study, owner), some)
            found |= set(connection.execute(query).scalars())
    return found


def leased_by(study: int, owner: str) -> sa.ColumnElement[bool]:
    """Whether a row of `points` is leased by this owner."""
    return (points.c.study == study) & (points.c.state == RUNNING) & (points.c.owner == owner)
