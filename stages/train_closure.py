"""Stage `train_closure`: a closure, fitted to the moments of kinetic runs or through the coarse model."""

import json
from dataclasses import asdict, fields
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import xarray as xr
from pydantic import Field, TypeAdapter, ValidationInfo, field_validator

from kernels.closures.neural.settings import PARAMETERS, SETTINGS
from kernels.closures.training.options import Options
from kernels.errors import InputError
from kernels.operators.training.options import Schedule
from stages._closure_training import runs_of
from stages.base import Progress, Stage, StageConfig, schema
from stages.closure_fields import NUMBERS
from stages.closure_model import HISTORY, RANGED, load_closures, model_dataset
from stages.variables import MOMENTS, TRAIN, VALIDATION

if TYPE_CHECKING:
    from kernels.closures.base import Closure
    from kernels.closures.training.data import Runs
    from kernels.closures.training.loop import Problem, State

UNTRAINED = ("bingham", "natural", "quadratic")
"""Families without weights, which become models as they are."""

_RATES = {"apriori": 1e-2, "aposteriori": 1e-3}
_BATCHES = {"apriori": 8192, "aposteriori": 4}
_STEPS = {"apriori": 100, "aposteriori": 10}


class TrainClosureConfig(StageConfig):
    """Which closure, and how it is trained; families without weights use `family` alone.

    settings: of the family, see kernels.closures.neural.settings; with `start`, those of the start are kept.
    mode: "apriori" fits S:T at every point; "aposteriori" the fields of the coarse model over growing
    horizons (frames), with steps of `time_step`. learning_rate, batch, steps: None takes 1e-2, 8192 points
    and 100 steps an epoch a priori, 1e-3, 4 windows and 10 steps a posteriori. begin: frames before this time
    are not used. memory_mb: of the training moments; a priori frames are left out evenly to keep it. others:
    see kernels.closures.training.options. on_nan: a loss that is not finite is an error, or ends training
    and keeps the last good weights.
    """

    family: str = "strain"
    settings: dict[str, Any] = Field(default_factory=dict, validate_default=True)
    mode: Literal["apriori", "aposteriori"] = "apriori"
    seed: int = Field(default=0, ge=0)
    epochs: int = Field(default=40, ge=1)
    steps: int | None = Field(default=None, ge=1)
    batch: int | None = Field(default=None, ge=1)
    learning_rate: float | None = Field(default=None, gt=0.0)
    schedule: Schedule = "cosine"
    weight_decay: float = Field(default=0.0, ge=0.0)
    clip: float | None = Field(default=1.0, gt=0.0)
    patience: int | None = Field(default=None, ge=1)
    keep: Literal["best", "last"] = "best"
    horizons: tuple[int, ...] = Field(default=(2, 4, 8, 16), min_length=1)
    time_step: float = Field(default=0.02, gt=0.0)
    begin: float = Field(default=0.0, ge=0.0)
    threads: int | None = Field(default=1, ge=1)
    memory_mb: float = Field(default=1024.0, gt=0.0)
    checkpoint_seconds: float = Field(default=60.0, ge=0.0)
    on_nan: Literal["error", "keep"] = "error"

    @field_validator("family")
    @classmethod
    def _known(cls, name: str) -> str:
        known = (*SETTINGS, *UNTRAINED)
        if name not in known:
            raise ValueError(f"there is no closure {name!r}: choose one of {', '.join(sorted(known))}")
        return name

    @field_validator("settings")
    @classmethod
    def _of_the_family(cls, given: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        name = info.data.get("family")
        if name is None:
            return given
        known = [one.name for one in fields(SETTINGS[name])] if name in SETTINGS else []
        unknown = sorted(set(given) - set(known))
        if unknown:
            raise ValueError(f"{name!r} has no setting {unknown}: choose from {sorted(known) or 'none'}")
        if name not in SETTINGS:
            return {}
        found = asdict(TypeAdapter(SETTINGS[name]).validate_python(given))
        low = [key for key, value in found.items() if isinstance(value, int) and value < 1]
        if low:
            raise ValueError(f"{name!r} has {low[0]} = {found[low[0]]}, expected at least 1")
        if name == "cnn" and found["points"] % 2 == 0:
            raise ValueError(f"'cnn' has points = {found['points']}, expected an odd number")
        lost = sorted(set(found["parameters"]) - set(PARAMETERS))
        if lost:
            raise ValueError(f"the physics has no number {lost}, expected some of {list(PARAMETERS)}")
        return found

    @field_validator("horizons")
    @classmethod
    def _rising(cls, given: tuple[int, ...]) -> tuple[int, ...]:
        if given[0] < 1 or any(b < a for a, b in pairwise(given)):
            raise ValueError(f"horizons are {given}, expected numbers of frames from 1 on that do not fall")
        return given


def run(
    config: TrainClosureConfig, start: xr.Dataset | None = None, progress: Progress | None = None,
    scratch: Path | None = None, **runs: xr.Dataset,
) -> xr.Dataset:  # fmt: skip
    """A closure z_4 = f(c, z_2, e; alpha, zeta), see `kernels.closures`, trained by AdamW.

    runs.<label>: outputs of `moments`, of one grid and the same times; their part `train` gives the weights,
    `validation` chooses among the epochs, `test` is not read. start: a model whose weights to begin with; its
    family and settings are taken. Returns the model of one member, see `stages.closure_model`, with the range
    of alpha and zeta that it was trained in. On one machine and one number of threads the weights are a
    function of config and inputs, also where the run was killed and went on from `scratch`.
    `progress(done, total, text)`: steps.

    Raises InputError where no run trains, data sets do not fit together, frames do not fit `time_step` and
    horizons, a start is of another family, or a loss is not finite, naming the runs and times of the batch.
    """
    if config.family in UNTRAINED:
        from kernels.closures.families import build

        return model_dataset(config.family, [build(config.family)], attrs=_about(config, "", None, None))
    datasets = {label.partition(".")[2]: data for label, data in runs.items()}
    thin = config.mode == "apriori"
    train = runs_of(datasets, TRAIN, config.begin, config.memory_mb, thin)
    if train is None:
        raise InputError(
            f"none of the runs of {sorted(datasets)} is in the train part and was computed: give the "
            "train part seeds in `conditions`"
        )
    watched = runs_of(datasets, VALIDATION, config.begin, config.memory_mb, thin)
    closure = _closure(config, start, train)
    state = _trained(config, closure, train, watched, progress, scratch)
    if state.diverged and config.on_nan == "error":
        raise InputError(state.stopped + "; on_nan = 'keep' makes a model of the best weights before it")
    past = {name: np.array([getattr(state, name) or [np.nan]]) for name in HISTORY}
    ranges = {name: (float(train.numbers[name].min()), float(train.numbers[name].max())) for name in RANGED}
    ranges = _joined(ranges, start)
    attrs = _about(config, state.stopped, train, watched)
    return model_dataset(config.family, [closure], ranges, [config.seed], past, attrs)


def _closure(config: TrainClosureConfig, start: xr.Dataset | None, train: "Runs") -> "Closure":
    from kernels.closures.families import build
    from kernels.closures.training.apriori import calibrated

    if start is not None:
        given = str(start.attrs.get("family"))
        if given != config.family:
            raise InputError(
                f"the start is of family {given!r}, the config says {config.family!r}: set family to "
                f"{given!r}"
            )
        return load_closures(start)[0]
    closure = build(config.family, SETTINGS[config.family](**config.settings), config.seed)
    calibrated(closure, train)
    return closure


def _trained(
    config: TrainClosureConfig, closure: "Closure", train: "Runs", watched: "Runs | None",
    progress: Progress | None, scratch: Path | None,
) -> "State":  # fmt: skip
    from kernels.closures.training import loop
    from kernels.closures.training.apriori import Apriori

    mode = config.mode
    options = Options(
        epochs=config.epochs, steps=config.steps or _STEPS[mode], batch=config.batch or _BATCHES[mode],
        learning_rate=config.learning_rate or _RATES[mode], schedule=config.schedule,
        weight_decay=config.weight_decay, clip=config.clip, seed=config.seed, patience=config.patience,
        keep=config.keep, threads=config.threads, checkpoint_seconds=config.checkpoint_seconds,
        horizons=config.horizons,
    )  # fmt: skip
    problem: Problem
    if mode == "apriori":
        problem = Apriori(closure, train, watched, options)
    else:
        from kernels.closures.training.aposteriori import Aposteriori

        problem = Aposteriori(closure, train, watched, options, config.time_step)
    return loop.train(closure, problem, options, progress, scratch, mode)


def _joined(
    ranges: dict[str, tuple[float, float]], start: xr.Dataset | None
) -> dict[str, tuple[float, float]]:
    """Ranges that hold those of the start too."""
    from stages.closure_model import trained_range

    before = {} if start is None else trained_range(start)
    return {
        name: (min(low, before.get(name, (low, high))[0]), max(high, before.get(name, (low, high))[1]))
        for name, (low, high) in ranges.items()
    }


def _about(
    config: TrainClosureConfig, stopped: str, train: "Runs | None", watched: "Runs | None"
) -> dict[str, Any]:
    return {
        "training": json.dumps(config.model_dump(mode="json"), sort_keys=True),
        "mode": "none" if train is None else config.mode,
        "train_runs": 0 if train is None else train.c.shape[0],
        "train_frames": 0 if train is None else train.frames(),
        "validation_runs": 0 if watched is None else watched.c.shape[0],
        "stopped": stopped,
    }


STAGE = Stage(
    name="train_closure",
    version=2,
    config=TrainClosureConfig,
    inputs={
        "runs": schema("sample_name", "split", *NUMBERS, *MOMENTS, optional=("status",)),
        "start": schema("weights", "tensor_name", "tensor_shape", "tensor_dtype"),
    },
    output=schema("weights", "tensor_name", "tensor_shape", "tensor_dtype", "seed", *HISTORY),
    run=run,
    optional=("runs", "start"),
    several=("runs",),
    reports=True,
    resumable=True,
    literature=(
        "Maddu, Weady and Shelley 2024, Learning fast, accurate, and stable closures of a kinetic theory of "
        "an active fluid, J. Comput. Phys.",
        "Loshchilov and Hutter 2019, Decoupled weight decay regularization, ICLR",
    ),
)
