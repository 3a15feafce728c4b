"""What one worker does: open the inputs of a part, run the stage on it, write the part, return its key."""

import functools
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xarray as xr

from catalogs.catalog import Catalog
from catalogs.scratch import scratch
from kernels.errors import InputError
from stages.base import Stage, StageConfig
from stages.ragged import sample_names, take


@dataclass(frozen=True)
class PartJob:
    """One part of a split stage, as small as what crosses the scheduler should be."""

    project: Path
    database: str | None
    store: str | None
    stage: Stage
    config: Mapping[str, Any]
    inputs: Mapping[str, str]
    samples: tuple[int, ...]
    part: str
    artifact: str
    owner: str


def compute_part(job: PartJob) -> str:
    """Run the stage on the samples of a job, write the part, and return its key.

    Raises InputError naming the samples; doing it twice is harmless.
    """
    place = (job.project, job.database, job.store)
    catalog = _catalog(*place)
    datasets = {name: _opened(*place, key) for name, key in job.inputs.items()}
    publish_part(catalog, job, datasets)
    return job.part


def publish_part(catalog: Catalog, job: PartJob, datasets: dict[str, xr.Dataset]) -> None:
    """Run the stage of a job on its samples of the inputs, and write the part.

    Raises InputError naming the samples.
    """
    split = job.stage.split_over
    assert split is not None
    own = take(datasets[split], job.samples)
    datasets[split] = own if job.stage.lazy else own.load()
    config = job.stage.config.model_validate(dict(job.config))
    with resuming(job.stage, job.project, job.part) as stage:
        result, seconds = run_part(stage, config, datasets)
        catalog.publish_part(job.part, result, stage.name, job.artifact, job.owner, seconds)


@contextmanager
def resuming(stage: Stage, project: Path, key: str) -> Iterator[Stage]:
    """The stage with the folder of a key to go on from after a kill; itself where it is not resumable."""
    if not stage.resumable:
        yield stage
        return
    with scratch(project, key) as folder:
        yield stage.resuming_in(folder)


def run_part(
    stage: Stage, config: StageConfig, datasets: Mapping[str, xr.Dataset]
) -> tuple[xr.Dataset, float]:
    """Result and seconds of a stage on one part.

    Raises InputError naming the samples of the part.
    """
    start = time.perf_counter()
    assert stage.split_over is not None
    try:
        result = stage(config, **datasets)
    except InputError as error:
        names = sample_names(datasets[stage.split_over])
        if any(name in str(error) for name in names if len(name) > 1):
            raise
        shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
        raise InputError(f"stage {stage.name!r} on sample {shown}: {error}") from error
    return result, time.perf_counter() - start


@functools.lru_cache(maxsize=4)
def _catalog(project: Path, database: str | None, store: str | None) -> Catalog:
    return Catalog(project, database, store=store)


@functools.lru_cache(maxsize=8)
def _opened(project: Path, database: str | None, store: str | None, key: str) -> xr.Dataset:
    return _catalog(project, database, store).open(key)


def prepare_worker() -> None:
    """Few threads in a worker: one for BLAS and numba, four for storage.

    Arrays that a part reads lazily are computed in the worker itself: left to itself Dask sends what a task
    computes to its own scheduler, and fields of tens of MB through it.
    """
    import dask
    import zarr
    from threadpoolctl import threadpool_limits

    dask.config.set({"scheduler": "threads", "num_workers": 4})
    zarr.config.set({"async.concurrency": 4, "threading.max_workers": 4})
    threadpool_limits(1)
