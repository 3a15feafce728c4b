"""Questions about parameter studies: counts, failures, times, stored points, and metrics still to be read."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from catalogs.database import writing
from catalogs.rows import finite
from catalogs.studies import DONE, FAILED, STATES, results_of
from catalogs.tables import artifacts, points, studies


def counts(engine: Engine, study: int) -> dict[str, int]:
    """Points in every state."""
    query = sa.select(points.c.state, sa.func.count()).where(points.c.study == study)
    with engine.connect() as connection:
        found = {
            str(state): int(count) for state, count in connection.execute(query.group_by(points.c.state))
        }
    return {state: found.get(state, 0) for state in STATES}


def failures(engine: Engine, study: int) -> list[tuple[int, str, str, str | None]]:
    """(number, kind, error, log) of every failed point, in order."""
    query = sa.select(points.c.number, points.c.kind, points.c.error, points.c.log)
    query = query.where(points.c.study == study, points.c.state == FAILED).order_by(points.c.number)
    with engine.connect() as connection:
        return [(int(n), kind or "", error or "", log) for n, kind, error, log in connection.execute(query)]


def mean_seconds(engine: Engine, study: int | None, target: str) -> float | None:
    """Mean time of a finished point of the study, else of any study of the target, else of the stage's
    artifacts.
    """
    timed = sa.select(sa.func.avg(points.c.seconds)).where(points.c.state == DONE)
    alike = timed.join(studies, studies.c.id == points.c.study).where(studies.c.target == target)
    made = sa.select(sa.func.avg(artifacts.c.seconds)).where(artifacts.c.stage == target)
    with engine.connect() as connection:
        for query in (timed.where(points.c.study == study), alike, made):
            found = connection.execute(query).scalar()
            if found is not None:
                return float(found)
    return None


def known_results(engine: Engine, keys: Sequence[str], records: bool) -> dict[str, str]:
    """Key of the result that the catalog has, for those of the keys that have one."""
    with engine.connect() as connection:
        return results_of(connection, keys, records)


def rows(engine: Engine, study: int) -> Iterator[dict[str, Any]]:
    """Every point as it is stored, in order."""
    query = sa.select(points).where(points.c.study == study).order_by(points.c.number)
    with engine.connect().execution_options(yield_per=5_000) as connection:
        for row in connection.execute(query).mappings():
            yield dict(row)


def without_metrics(engine: Engine, study: int) -> list[tuple[int, str]]:
    """(number, key of the result) of done points whose metrics were computed outside of any study."""
    mine = (points.c.study == study) & (points.c.state == DONE) & points.c.metrics.is_(None)
    other = points.alias()
    with writing(engine) as connection:
        known = sa.select(other.c.metrics).where(
            other.c.key == points.c.key, other.c.result == points.c.result, other.c.metrics.isnot(None)
        )
        copied = known.order_by(other.c.study).limit(1).scalar_subquery()
        seconds = sa.select(artifacts.c.seconds).where(artifacts.c.key == points.c.result).scalar_subquery()
        change = {"metrics": copied, "seconds": sa.func.coalesce(points.c.seconds, seconds)}
        connection.execute(sa.update(points).where(mine).values(**change))
        query = sa.select(points.c.number, points.c.result).where(mine).order_by(points.c.number)
        return [(int(number), str(key)) for number, key in connection.execute(query)]


def set_metrics(engine: Engine, study: int, metrics: Mapping[int, Mapping[str, float]]) -> None:
    """Store the metrics of points."""
    if not metrics:
        return
    one = (points.c.study == study) & (points.c.number == sa.bindparam("n"))
    change: dict[str, Any] = {"metrics": sa.bindparam("m", type_=points.c.metrics.type)}
    values = [{"n": number, "m": finite(dict(found))} for number, found in metrics.items()]
    with writing(engine) as connection:
        connection.execute(sa.update(points).where(one).values(**change), values)
