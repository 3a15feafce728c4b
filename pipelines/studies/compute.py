"""Computing one point: open its inputs, run the stage or pipeline, and hand over what is to be published."""

import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from io import BytesIO
from typing import TypeVar

import xarray as xr

from catalogs import part_files
from catalogs.catalog import SMALL_BYTES, Catalog, Record
from catalogs.contents import content_of
from catalogs.failures import StorageError, outlasted
from catalogs.rows import Description, Item, describe
from catalogs.studies import Point, metrics_key
from catalogs.study_results import Done, Failed, Small
from kernels.errors import InputError
from pipelines.diagram import compute
from pipelines.runner import Runner
from pipelines.scalars import scalars
from pipelines.settings import Settings
from pipelines.studies.target import Target
from stages.base import Stage, StageConfig

_Value = TypeVar("_Value")

_OPENED = 8
"""Inputs that stay open from point to point."""


@dataclass(frozen=True, eq=False)
class Computer:
    """Computes points of one target in one project; `keep_data` false keeps only the metrics,
    `traces` prints tracebacks of what is no InputError, `patience`: seconds to wait for a database server.
    """

    target: Target
    settings: Settings
    keep_data: bool
    runner: Runner
    traces: bool = False
    patience: float = 0.0
    inputs: dict[str, xr.Dataset] = field(default_factory=dict)

    @property
    def catalog(self) -> Catalog:
        """Where the inputs are."""
        return self.runner.catalog

    def outcome(self, point: Point) -> Done | Failed:
        """What came out of a point; an error of it becomes a Failed of that kind.

        Raises StorageError where the catalog cannot be used, which is no fault of the point.
        """
        started, clock = time.time(), time.perf_counter()
        try:
            result, metrics, small = self._computed(point, started, clock)
        except StorageError:
            raise
        except Exception as error:  # noqa: BLE001 - a point may fail in any way, the study goes on
            if self.traces and not isinstance(error, InputError):
                traceback.print_exc()
            text = str(error) or type(error).__name__
            return Failed(point, type(error).__name__, text, started, time.perf_counter() - clock)
        return Done(point, result, metrics, started, time.perf_counter() - clock, small)

    def _computed(
        self, point: Point, started: float, clock: float
    ) -> tuple[str, dict[str, float], Small | None]:
        config = self.target.config(point.parameters)
        stage = self.target.stage
        if stage is None:
            keys = self._outlasted(lambda: compute(config, self.runner))  # type: ignore[arg-type]
            scores = keys[config.scores]  # type: ignore[attr-defined]
            return scores, scalars(self._opened(scores)), None
        assert isinstance(config, StageConfig)
        inputs = self.target.used(point.parameters)
        if stage.split_over is not None and self.keep_data:
            key = self._outlasted(lambda: self.runner.step(stage, config, inputs))
            return key, scalars(self._opened(key)), None
        result = stage(config, **{name: self._opened(key) for name, key in inputs.items()})
        metrics = scalars(result)
        began = datetime.fromtimestamp(started, UTC)
        seconds = time.perf_counter() - clock
        if not self.keep_data:
            return self._record_alone(point, stage, config, inputs, began, seconds, metrics)
        record = Record(
            stage.name, stage.version, config.model_dump(mode="json"), inputs, began, seconds, metrics,
            stage.literature,
        )  # fmt: skip
        if result.chunks or result.nbytes > SMALL_BYTES:
            self._outlasted(lambda: self.catalog.publish(point.key, result, record))
            return point.key, metrics, None
        stream = BytesIO()
        part_files.write_part(stream, result)
        data = stream.getvalue()
        item = Item(point.key, record, describe(result), len(data), "")
        return point.key, metrics, Small(item, data, content_of(result))

    def _record_alone(
        self, point: Point, stage: Stage, config: StageConfig, inputs: Mapping[str, str], began: datetime,
        seconds: float, metrics: dict[str, float],
    ) -> tuple[str, dict[str, float], Small]:  # fmt: skip
        key = metrics_key(point.key)
        about = Description({}, {"variables": {}}, {})
        made = {"stage": stage.name, "version": stage.version, **config.model_dump(mode="json")}
        record = Record("metrics", 1, made, inputs, began, seconds, metrics, stage.literature)
        return key, metrics, Small(Item(key, record, about, 0, None), None, None)

    def _outlasted(self, call: Callable[[], _Value]) -> _Value:
        return outlasted("computing a point", self.settings.project, self.patience, call)

    def _opened(self, key: str) -> xr.Dataset:
        if key not in self.inputs:
            if len(self.inputs) >= _OPENED:
                self.inputs.pop(next(iter(self.inputs)))
            self.inputs[key] = self._outlasted(lambda: self.catalog.open(key))
        return self.inputs[key].copy()


def computer_for(
    target: Target, settings: Settings, keep_data: bool, patience: float, traces: bool = False
) -> Computer:
    """A computer that works in this process alone: parts sent to the scheduler would wait for the worker
    that waits for them.
    """
    where = settings.model_copy(update={"workers": 0, "quiet": True, "scheduler": None})
    return Computer(target, where, keep_data, Runner(where), traces, patience)
