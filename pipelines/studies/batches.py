"""What a worker does with a batch of points: compute what is still to be done, publish it in bulk."""

import functools
import pickle
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from catalogs import environment
from catalogs.catalog import Catalog
from catalogs.failures import outlasted, storage_errors
from catalogs.studies import Point
from catalogs.study_leases import still_leased
from catalogs.study_results import Done, Failed, publish_points
from kernels.errors import InputError
from pipelines.catalog_access import open_catalog
from pipelines.settings import Settings
from pipelines.studies.compute import Computer, computer_for
from pipelines.studies.point_process import PointProcess

PUBLISH_SECONDS = 2.0
"""Results wait at most so long, or for so many others, before they are published."""

PUBLISH_POINTS = 500

_Value = TypeVar("_Value")


@dataclass(frozen=True)
class Batch:
    """Points leased by `owner`; `setup` is the cloudpickled target with its project, see PointProcess.

    inline: computed in the process that has the batch, without time-out and logs. patience: seconds to wait
    for a database server that is away.
    """

    settings: Settings
    study: int
    logs: str
    owner: str
    setup: bytes
    points: tuple[Point, ...]
    timeout: float | None
    inline: bool
    patience: float


@dataclass(frozen=True)
class Report:
    """What became of a batch."""

    done: int
    failed: tuple[tuple[str, str], ...]
    seconds: float


def run_batch(batch: Batch) -> Report:
    """Compute the points of a batch that its owner still has to, and publish what came out.

    Doing it twice is harmless. Raises InputError where nothing can be published: a full disk, an input that
    is gone, a project that this machine does not see.
    """
    clock = time.perf_counter()
    catalog = _catalog(batch.settings)
    numbers = [point.number for point in batch.points]
    mine = _outlasted(batch, lambda: still_leased(catalog.engine, batch.study, batch.owner, numbers))
    done, failed = 0, []
    with storage_errors(_DOING, batch.settings.project):
        for outcomes in _gathered(_outcomes(batch, [one for one in batch.points if one.number in mine])):
            publish = functools.partial(
                publish_points, catalog.engine, catalog.writer, batch.study, batch.owner, outcomes
            )
            done += _outlasted(batch, publish)[0]
            failed += [(one.kind, one.error) for one in outcomes if isinstance(one, Failed)]
    return Report(done, tuple(failed), time.perf_counter() - clock)


_DOING = "publishing points of a study"


def _outlasted(batch: Batch, call: Callable[[], _Value]) -> _Value:
    return outlasted(_DOING, batch.settings.project, batch.patience, call)


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
        _own.process = PointProcess(batch.setup, batch.settings.project, batch.logs, batch.timeout)
        _own.what = what
    process: PointProcess = _own.process
    return process


def end_processes() -> None:
    """End the point process of this thread."""
    if getattr(_own, "what", None) is not None:
        _own.process.close()
        _own.what = None


@functools.lru_cache(maxsize=4)
def _catalog(settings: Settings) -> Catalog:
    if settings.database_url is None and not (settings.project / "catalog.db").is_file():
        raise InputError(
            f"the worker on {environment.host()} does not see the project folder {settings.project}: workers "
            "on other machines need a database and a store that all see, by PUSHFORWARD_DATABASE_URL and "
            "PUSHFORWARD_STORE_URL"
        )
    return open_catalog(settings)


@functools.lru_cache(maxsize=2)
def _computer(setup: bytes) -> Computer:
    return computer_for(*pickle.loads(setup))
