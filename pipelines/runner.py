"""Runs stages over catalog keys: computes what is not published yet, cut along `sample` where the stage
allows.
"""

import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from types import TracebackType

import xarray as xr
from threadpoolctl import threadpool_limits

from catalogs import environment
from catalogs.catalog import Record
from catalogs.keys import artifact_key, dataset_digest
from kernels.errors import InputError
from pipelines.catalog_access import Heart, open_catalog
from pipelines.cluster import Cluster
from pipelines.parts import PartJob, publish_part, resuming
from pipelines.progress import counted, progress, say
from pipelines.scalars import scalars
from pipelines.settings import Settings
from stages.base import Stage, StageConfig


def step_key(stage: Stage, config: StageConfig, inputs: Mapping[str, str]) -> str:
    """Key of the result of a step, known before anything runs.

    Raises InputError where the config is not the stage's.
    """
    if not isinstance(config, stage.config):
        raise InputError(
            f"stage {stage.name!r} takes a {stage.config.__name__}, got a {type(config).__name__}"
        )
    return artifact_key(stage.name, stage.version, config.model_dump(mode="json"), inputs)


class Runner:
    """Runs steps in one project, one at a time; a context manager, since it owns processes and connections.

    A second thread that asks for a step while one is computed waits, and finds it published.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.catalog = open_catalog(settings)
        self._heart = Heart(self.catalog)
        self.computed: list[str] = []
        self.alone = threading.RLock()
        self._opened: dict[str, xr.Dataset] = {}
        self._owner = environment.process_name()
        self._cluster = Cluster(settings.workers, settings.scheduler, copies=True)

    def __enter__(self) -> "Runner":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the workers and give back the database connections."""
        self._heart.stop()
        self._cluster.close()
        self.catalog.close()

    def step(
        self, stage: Stage, config: StageConfig, inputs: Mapping[str, str], label: str | None = None
    ) -> str:
        """Key of the stage's result; computed and published unless it is there already. `label`: what the
        step is called, where it is not the stage's name.

        Raises InputError where an input does not fit, a sample is refused, or the disk is full, with the
        label before its text; the catalog is unchanged.
        """
        key = step_key(stage, config, inputs)
        if not self.catalog.exists(key):
            with self.alone, _named(label or stage.name, stage):
                if not self.catalog.exists(key):
                    self._compute(key, stage, config, inputs, label or stage.name)
        if key not in self.computed:
            say(f"{label or stage.name}: already there ({key[:12]})", self.settings.quiet)
        return key

    def _compute(
        self, key: str, stage: Stage, config: StageConfig, inputs: Mapping[str, str], label: str
    ) -> None:
        self._heart.start()
        started, clock = datetime.now(UTC), time.perf_counter()
        datasets = {name: self._open(used) for name, used in inputs.items()}
        if stage.split_over is None:
            with resuming(stage, self.settings.project, key) as able:
                result = self._whole(able, config, datasets, label)
                self.catalog.publish(key, result, self._record(stage, config, inputs, started, clock, result))
        else:
            stage.check_inputs(datasets)
            parts = self._parts(stage, config, inputs, datasets, key, label)
            with progress(f"{label}: joining {len(parts)} parts", None, self.settings.quiet):
                self.catalog.publish_parts(
                    key, parts, self._record(stage, config, inputs, started, clock, None)
                )
        self.computed.append(key)

    def _open(self, key: str) -> xr.Dataset:
        """The artifact, its metadata and small arrays read once a run: most serve several steps."""
        if key not in self._opened:
            self._opened[key] = self.catalog.open(key)
        return self._opened[key].copy()

    def add(
        self, name: str, dataset: xr.Dataset, inputs: Mapping[str, str], content: str | None = None
    ) -> str:
        """Publish a dataset that no stage made, such as files that were read; its key is its content's, or
        `content`'s.
        """
        config = {"content": content or dataset_digest(dataset)}
        key = artifact_key(name, 1, config, inputs)
        if not self.catalog.exists(key):
            record = Record(name, 1, config, inputs, datetime.now(UTC), 0.0)
            self.catalog.publish(key, dataset, record)
            self.computed.append(key)
        return key

    def _whole(
        self, stage: Stage, config: StageConfig, datasets: Mapping[str, xr.Dataset], label: str
    ) -> xr.Dataset:
        with threadpool_limits(os.cpu_count() or 1, user_api="blas"):
            if stage.reports:
                with counted(label, self.settings.quiet) as report:
                    return stage.reporting_to(report)(config, **datasets)
            with progress(label, None, self.settings.quiet):
                return stage(config, **datasets)

    def _record(
        self, stage: Stage, config: StageConfig, inputs: Mapping[str, str], started: datetime, clock: float,
        result: xr.Dataset | None,
    ) -> Record:  # fmt: skip
        return Record(
            stage=stage.name,
            version=stage.version,
            config=config.model_dump(mode="json"),
            inputs=inputs,
            started=started,
            seconds=time.perf_counter() - clock,
            metrics={} if result is None else scalars(result),
            literature=stage.literature,
        )

    def _parts(
        self,
        stage: Stage,
        config: StageConfig,
        inputs: Mapping[str, str],
        datasets: Mapping[str, xr.Dataset],
        key: str,
        label: str,
    ) -> list[str]:
        split = stage.split_over or ""
        count = datasets[split].sizes.get("sample", 0)
        if count == 0:
            raise InputError(f"input {split!r} of stage {stage.name!r} has no samples: expected at least one")
        keys: list[str] = []
        with progress(label, count, self.settings.quiet) as advance:
            for number, samples in self._cluster.map(
                self._missing(stage, config, inputs, key, keys), self._inline
            ):
                del number
                advance(samples)
        return keys

    def _missing(
        self, stage: Stage, config: StageConfig, inputs: Mapping[str, str], key: str, keys: list[str]
    ) -> Iterator[PartJob | int]:
        """Yield a job for every part that is not finished, and the number of samples of one that is; `keys`
        is filled with the keys of all parts, in order.
        """
        split = stage.split_over or ""
        others = {name: used for name, used in inputs.items() if name != split}
        dumped = config.model_dump(mode="json")
        content = self.catalog.content(inputs[split])
        starts = range(0, len(content.samples), stage.batch)
        for start in starts:
            used = {**others, split: f"content:{content.digest(start, start + stage.batch)}"}
            keys.append(artifact_key(stage.name, stage.version, dumped, used))
        finished = self.catalog.claim_parts(keys, key, self._owner)
        for part, start in zip(keys, starts, strict=True):
            samples = tuple(range(start, min(start + stage.batch, len(content.samples))))
            if part in finished:
                yield len(samples)
                continue
            yield PartJob(
                project=self.settings.project.resolve(),
                database=self.settings.database_url,
                store=self.settings.store_url,
                stage=stage,
                config=dumped,
                inputs=dict(inputs),
                samples=samples,
                part=part,
                artifact=key,
                owner=self._owner,
            )
            finished.add(part)

    def _inline(self, job: PartJob) -> None:
        datasets = {name: self._open(used) for name, used in job.inputs.items()}
        with threadpool_limits(1, user_api="blas"):
            publish_part(self.catalog, job, datasets)


@contextmanager
def _named(label: str, stage: Stage) -> Iterator[None]:
    """Errors of a step say which of the stage's steps it is, where there are several."""
    try:
        yield
    except InputError as error:
        if label == stage.name:
            raise
        raise InputError(f"step {label!r}: {error}") from error


_runners: dict[Settings, Runner] = {}


def runner_for(settings: Settings) -> Runner:
    """The runner of this process for the given settings; its workers serve all steps of a flow."""
    if settings not in _runners:
        _runners[settings] = Runner(settings)
    return _runners[settings]


def close_runner(settings: Settings) -> None:
    """End the workers of the runner."""
    runner = _runners.pop(settings, None)
    if runner is not None:
        runner.close()
