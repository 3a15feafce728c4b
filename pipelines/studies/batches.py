"""What a worker does with a batch of points: compute what is still to be done, publish it in bulk."""

import functools
import pickle
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.engine import Engine

from catalogs.database import engine_for
from catalogs.failures import storage_errors
from catalogs.rows import Writer
from catalogs.studies import Point
from catalogs.study_leases import still_leased
from catalogs.study_results import Done, Failed, publish_points
from pipelines.studies.compute import Computer, computer_for
from pipelines.studies.point_process import PointProcess

PUBLISH_SECONDS = 2.0
"""Results wait at most so long, or for so many others, before they are published."""

PUBLISH_POINTS = 500


@dataclass(frozen=True)
class Batch:
    """Points leased by `owner`; `setup` is the cloudpickled target with its project, see PointProcess.

    inline: computed in the process that has the batch, without time-out and logs.
    """

    project: Path
    database: str | None
    study: int
    logs: str
    owner: str
    setup: bytes
    points: tuple[Point, ...]
    timeout: float | None
    inline: bool


@dataclass(frozen=True)
class Report:
    """What became of a batch."""

    done: int
    failed: tuple[tuple[str, str], ...]
    seconds: float


def run_batch(batch: Batch) -> Report:
    """Compute the points of a batch that its owner still has to, and publish what came out.

    Doing it twice is harmless. Raises InputError where nothing can be published: a full disk, an input that
    is gone.
    """
    clock = time.perf_counter()
    engine, writer = _publisher(batch.project, batch.database)
    mine = still_leased(engine, batch.study, batch.owner, [point.number for point in batch.points])
    left = [point for point in batch.points if point.number in mine]
    done, failed = 0, []
    with storage_errors("publishing points of a study", batch.project):
        for outcomes in _gathered(_outcomes(batch, left)):
            done += publish_points(engine, writer, batch.study, batch.owner, outcomes)[0]
            failed += [(one.kind, one.error) for one in outcomes if isinstance(one, Failed)]
    return Report(done, tuple(failed), time.perf_counter() - clock)


def _outcomes(batch: Batch, points: Sequence[Point]) -> Iterator[Done | Failed]:
    if batch.inline and batch.timeout is None:
        computer = _computer(batch.setup)
        return (computer.outcome(point) for point in points)
    return _process(batch).outcomes(points)


def _gathered(outcomes: Iterator[Done | Failed]) -> Iterator[list[Done | Failed]]:
    waiting: list[Done | Failed] = []
    since = time.monotonic()
    for outcome in outcomes:
        waiting.append(outcome)
        if len(waiting) >= PUBLISH_POINTS or time.monotonic() - since >= PUBLISH_SECONDS:
            yield waiting
            waiting, since = [], time.monotonic()
    if waiting:
        yield waiting


_own = threading.local()


def _process(batch: Batch) -> PointProcess:
    """The point process of this thread; a batch of another study ends it and starts its own."""
    what = (batch.setup, batch.logs, batch.timeout)
    if getattr(_own, "what", None) != what:
        end_processes()
        _own.process = PointProcess(batch.setup, batch.project, batch.logs, batch.timeout)
        _own.what = what
    process: PointProcess = _own.process
    return process


def end_processes() -> None:
    """End the point process of this thread."""
    if getattr(_own, "what", None) is not None:
        _own.process.close()
        _own.what = None


@functools.lru_cache(maxsize=4)
def _publisher(project: Path, database: str | None) -> tuple[Engine, Writer]:
    engine = engine_for(database, project)
    return engine, Writer(engine)


@functools.lru_cache(maxsize=2)
def _computer(setup: bytes) -> Computer:
    return computer_for(*pickle.loads(setup))
