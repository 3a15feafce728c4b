"""Stage `infer_parameters`: activity, alignment and rotary diffusion from coarse, noisy moments."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import xarray as xr
from pydantic import Field, field_validator, model_validator

from kernels.closures.physics import Physics
from kernels.errors import InputError
from stages.base import Stage, StageConfig, schema, variable
from stages.closure_fields import NUMBERS
from stages.parts import PART_NAMES
from stages.ragged import sample_names
from stages.train_closure import UNTRAINED
from stages.variables import FAILED, OK, PARAMETER

if TYPE_CHECKING:
    from kernels.closures.base import Closure
    from kernels.closures.inference import Estimate
    from kernels.closures.inference_windows import Record, Windows

Name = Literal["alpha", "zeta", "rotary"]
_START = {"alpha": -2.0, "zeta": 1.5, "rotary": 0.05}
_OBSERVED = {"D": ("D_xx", "D_xy"), "u": ("u_x", "u_y")}


class InferParametersConfig(StageConfig):
    """What is estimated from what, by which model.

    parts: of the observations, where they have any, whose runs are used.
    observed: fields that are used; u alone does not say what state a window starts from. closure: by name,
    where no model is given. points: of the model's grid, None takes that of the observations. time_step,
    stepper: see kernels.closures.coarse. begin: frames before this time are left out. window: length of a
    window in time, far below the 16 or so in which trajectories part; windows: at most, spread over the
    record. start: where the search begins; known: numbers of the physics that are not estimated and that the
    observations do not carry. noise_level: standard deviation of the noise relative to that of each field;
    None takes it from the waves that no model keeps. noise, noise_seed: noise added to clean fields, for
    studies. level: of the intervals. iterations, sweeps, blocks: see kernels.closures.inference.Options.
    """

    parts: tuple[Literal["train", "validation", "test"], ...] = ("train", "validation", "test")
    estimate: tuple[Name, ...] = ("alpha", "zeta")
    observed: tuple[Literal["D", "u"], ...] = ("D",)
    closure: str = "bingham"
    points: int | None = Field(default=None, ge=4)
    time_step: float = Field(default=0.05, gt=0.0)
    stepper: Literal["sbdf2", "ars222", "etdrk2", "etdrk4"] = "etdrk2"
    begin: float = 0.0
    window: float = Field(default=1.0, gt=0.0)
    windows: int = Field(default=10, ge=2)
    start: dict[Name, float] = Field(default_factory=dict)
    known: dict[str, float] = Field(default_factory=dict)
    noise_level: float | None = Field(default=None, gt=0.0)
    noise: float = Field(default=0.0, ge=0.0)
    noise_seed: int = Field(default=0, ge=0)
    level: float = Field(default=0.95, gt=0.0, lt=1.0)
    iterations: int = Field(default=8, ge=1)
    sweeps: int = Field(default=8, ge=1)
    blocks: int = Field(default=10, ge=3)
    threads: int | None = Field(default=None, ge=1)

    @field_validator("estimate")
    @classmethod
    def _some(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if not names or len(set(names)) < len(names):
            raise ValueError(f"estimate is {list(names)}, expected at least one name, each once")
        return names

    @field_validator("observed")
    @classmethod
    def _states(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if "D" not in names:
            raise ValueError(
                f"observed is {list(names)}, expected D among them: the flow alone leaves half of the state "
                "at the start of a window unknown"
            )
        return names

    @field_validator("known")
    @classmethod
    def _numbers(cls, given: dict[str, float]) -> dict[str, float]:
        unknown = sorted(set(given) - set(NUMBERS))
        if unknown:
            raise ValueError(f"known has {unknown}, expected some of {list(NUMBERS)}")
        return given

    @field_validator("closure")
    @classmethod
    def _known_closure(cls, name: str) -> str:
        if name not in UNTRAINED:
            raise ValueError(
                f"closure is {name!r}, expected one of {', '.join(UNTRAINED)}: learned ones come as a model"
            )
        return name

    @model_validator(mode="after")
    def _apart(self) -> "InferParametersConfig":
        both = sorted(set(self.known) & set(self.estimate))
        if both:
            raise ValueError(f"known has {both}, which is to be estimated: leave it out of one of them")
        low = [name for name, value in self.start.items() if name != "alpha" and value <= 0.0]
        if low:
            raise ValueError(f"start has {low[0]} = {self.start[low[0]]:g}, expected more than zero")
        return self


def run(
    config: InferParametersConfig, observations: xr.Dataset, model: xr.Dataset | None = None,
    calibration: xr.Dataset | None = None,
) -> xr.Dataset:  # fmt: skip
    """Least squares over short trajectories of the coarse model, every run of the observations by itself.

    The record is cut into windows; unknown are the parameters and the state at the start of each window, see
    `kernels.closures.inference`. observations: layout of stage `moments`; needed are sample_name, time, x,
    the fields of `observed`, and `concentration` (1 where it is absent); numbers that are not estimated are
    its variables or `known`. model: output of `train_closure`; absent: `closure`.
    Returns on (sample, estimated): `estimate`, `deviation`, `interval_low`, `interval_high`; `covariance`;
    `reduced_square` (1 where the residual is the noise), `window_count`, `steps`, `converged`, `outside` (the
    estimate is not in the range that the model was trained in), and the observations' own numbers. The
    interval is the wider of the one from white residuals and the one that is robust to residuals that belong
    together within a block of windows, as those of a closure that is not exact do; a bias that is the same in
    all blocks is in neither. calibration: output of this stage for runs whose parameters are known, which are
    its variables alpha, zeta, rotary: the mean ratio of estimate to truth is divided out, and the spread of
    its logarithm joins the deviation, so the closure's own error near these runs is accounted for. Attribute
    `calibrated`: how many these were; 0 where fewer than the parameters and two more could be used, or one is
    of the wrong sign, and estimates stay as they are.

    A run that cannot be used has status failed and a reason: fields that are not finite, a record that is too
    short, numbers that are not known, or nothing to tell a combination of parameters by, which is then named
    (alpha does not act where nothing flows). Raises InputError where the fields of `observed` are missing, or
    the calibration is of other parameters.
    """
    from kernels.torch_threads import torch_threads

    wanted = [field for kind in config.observed for field in _OBSERVED[kind]]
    missing = [field for field in wanted if field not in observations]
    if missing:
        raise InputError(f"the observations have no {missing}: observe them, or change observed")
    closure, ranges = _closure(config, model)
    if "split" in observations:
        wanted_parts = [number for number, part in PART_NAMES.items() if part in config.parts]
        observations = observations.isel(sample=np.isin(observations["split"].values, wanted_parts))
    names = sample_names(observations)
    found: list[dict[str, np.ndarray | float | int]] = []
    reasons = []
    with torch_threads(config.threads):
        for row, name in enumerate(names):
            try:
                one = _one(config, observations.isel(sample=row), name, closure, ranges)
                found.append(one)
                reasons.append("")
            except InputError as error:
                found.append(_nothing(len(config.estimate)))
                reasons.append(str(error))
    ratios = None if calibration is None else _ratios(config, calibration)
    if ratios is not None:
        found = [_calibrated(config, one, ratios) for one in found]
    kept = {n: v.variable for n, v in observations.data_vars.items() if v.attrs.get("role") == PARAMETER}
    data: dict[Any, Any] = {"sample_name": variable("sample_name", np.array(names, object)), **kept}
    for key, like in _nothing(len(config.estimate)).items():
        values = np.array([one[key] for one in found], dtype=np.asarray(like).dtype)
        data[key] = variable(key, values.reshape(len(found), *np.shape(like)))
    data["status"] = variable("status", [FAILED if reason else OK for reason in reasons])
    data["reason"] = variable("reason", np.array(reasons, object))
    coords = {"estimated": list(config.estimate), "estimated_2": list(config.estimate)}
    attrs = {"level": config.level, "observed": " ".join(config.observed)}
    attrs["calibrated"] = 0 if ratios is None else len(ratios)
    return xr.Dataset(data, coords=coords, attrs=attrs)


def _closure(
    config: InferParametersConfig, model: xr.Dataset | None
) -> "tuple[Closure, dict[str, tuple[float, float]]]":
    """The closure and the ranges that it was trained in."""
    if model is None:
        from kernels.closures.families import build

        return build(config.closure), {}
    from stages.closure_model import closure_of, trained_range

    return closure_of(model), trained_range(model)


def _one(
    config: InferParametersConfig, run: xr.Dataset, name: str, closure: "Closure",
    ranges: Mapping[str, tuple[float, float]],
) -> dict[str, Any]:  # fmt: skip
    from kernels.closures.coarse import Coarse
    from kernels.closures.inference import Options, estimate
    from kernels.closures.inference_model import CoarseModel, Parameters
    from kernels.closures.inference_windows import cut

    record, length = _record(config, run, name)
    every = max(1, int(np.ceil(record.interval / config.time_step * (1.0 - 1e-9))))
    coarse = Coarse(
        closure, config.points or record.c.shape[-1], length, record.interval / every, config.stepper, 3
    )
    intervals = max(1, round(config.window / record.interval))
    windows = cut(record, length, coarse.grid, intervals, config.windows, config.noise_level)
    every_start: dict[str, float] = dict(_START)
    every_start.update({str(key): value for key, value in config.start.items()})
    start = {str(key): every_start[key] for key in config.estimate}
    scale = abs(start.get("alpha", 1.0)) or 1.0
    parameters = Parameters(config.estimate, _physics(config, run, length), scale)
    options = Options(iterations=config.iterations, sweeps=config.sweeps, blocks=config.blocks)
    begin = parameters.coordinates(list(start.values()))
    found = estimate(CoarseModel(coarse, every), parameters, windows, begin, options)
    return _described(config, found, parameters.values(found.x).numpy(), windows, start, ranges)


def _record(config: InferParametersConfig, run: xr.Dataset, name: str) -> "tuple[Record, float]":
    import torch

    from kernels.closures.inference_windows import Record

    wanted = [field for kind in config.observed for field in _OBSERVED[kind]]
    run = run.isel(time=np.flatnonzero(run["time"].values >= config.begin - 1e-9))
    times = np.asarray(run["time"].values, dtype=np.float64)
    if len(times) < 2:
        raise InputError(f"{len(times)} frames are left from begin {config.begin:g} on, expected at least 4")
    gaps = np.diff(times)
    if (gaps <= 0.0).any() or np.ptp(gaps) > 1e-6 * gaps.mean():
        raise InputError(
            f"frames are between {gaps.min():.6g} and {gaps.max():.6g} apart, expected rising times at equal "
            "intervals: leave out frames"
        )
    random = np.random.default_rng([config.noise_seed, *name.encode()])
    fields = {key: np.array(run[key].values, dtype=np.float64) for key in wanted}
    c = np.array(run["concentration"].values, np.float64) if "concentration" in run else None
    fields["concentration"] = np.ones_like(fields["D_xx"]) if c is None else c
    if config.noise > 0.0:
        for key, values in fields.items():
            fields[key] = values + config.noise * np.nanstd(values) * random.standard_normal(values.shape)
    c = fields["concentration"]
    z2 = 2.0 * fields["D_xx"] - c + 2j * fields["D_xy"]
    flow = np.stack([fields["u_x"], fields["u_y"]], axis=1) if "u" in config.observed else None
    made = [torch.from_numpy(np.ascontiguousarray(one)) for one in (c, z2)]
    velocity = None if flow is None else torch.from_numpy(flow)
    return Record(made[0], float(gaps.mean()), made[1], velocity), float(run.attrs["length"])


def _physics(config: InferParametersConfig, run: xr.Dataset, length: float) -> Physics:
    numbers = {str(key): float(run[key].values) for key in NUMBERS if key in run}
    numbers |= config.known
    numbers |= {str(key): _START[key] for key in config.estimate}
    missing = [key for key in NUMBERS if not np.isfinite(numbers.get(key, np.nan))]
    if missing:
        raise InputError(f"the numbers {missing} are neither estimated nor known: give them in `known`")
    return Physics(**numbers, length=length)


def _described(
    config: InferParametersConfig, found: "Estimate", values: np.ndarray, windows: "Windows",
    start: Mapping[str, float], ranges: Mapping[str, tuple[float, float]],
) -> dict[str, Any]:  # fmt: skip
    """Numbers of one run by the names of their variables."""
    from scipy import stats

    scale = abs(start.get("alpha", 1.0)) or 1.0
    logarithm = np.array([key != "alpha" for key in config.estimate])
    slopes = np.where(logarithm, values, scale)
    matrices = [found.covariance.numpy(), found.robust.numpy()]
    tail = 0.5 * (1.0 + config.level)
    factors = [float(stats.norm.ppf(tail)), float(stats.t.ppf(tail, found.freedom))]
    half = np.max([f * np.sqrt(np.diag(m)) for f, m in zip(factors, matrices, strict=True)], axis=0)
    low = np.where(logarithm, values * np.exp(-half), values - scale * half)
    high = np.where(logarithm, values * np.exp(half), values + scale * half)
    spread = np.sqrt(np.max([np.diag(m) for m in matrices], axis=0))
    plain = np.sqrt(np.diag(matrices[0]))
    correlation = matrices[0] / np.outer(plain, plain)
    deviation = spread * slopes
    bounds = {key: ranges[key] for key in config.estimate if key in ranges}
    at = dict(zip(config.estimate, values, strict=True))
    return {
        "estimate": values, "deviation": deviation, "interval_low": low, "interval_high": high,
        "covariance": correlation * np.outer(deviation, deviation),
        "reduced_square": found.chi, "window_count": len(windows), "steps": found.iterations,
        "converged": int(found.converged),
        "outside": int(any(not lo <= at[key] <= hi for key, (lo, hi) in bounds.items())),
    }  # fmt: skip


def fewest(names: Sequence[str]) -> int:
    """Runs that a calibration of so many parameters needs."""
    return len(names) + 2


def _ratios(config: InferParametersConfig, calibration: xr.Dataset) -> np.ndarray | None:
    """log(estimate / truth) (runs, p) of the runs that could be used; None where they are too few."""
    names = list(config.estimate)
    lost = [name for name in names if name not in calibration]
    if lost or [str(name) for name in calibration["estimated"].values] != names:
        raise InputError(
            f"the calibration estimates {calibration['estimated'].values.tolist()} and lacks the truth of "
            f"{lost}, expected {names}: estimate the same parameters of runs that carry them"
        )
    good = calibration["status"].values == OK
    truth = np.stack([calibration[name].values for name in names], axis=1)[good]
    ratio = calibration["estimate"].values[good] / truth
    if len(ratio) < fewest(names) or not (ratio > 0.0).all():
        return None
    found: np.ndarray = np.log(ratio)
    return found


def _calibrated(config: InferParametersConfig, one: dict[str, Any], ratios: np.ndarray) -> dict[str, Any]:
    """Numbers of one run without the mean error of the calibration, and with its spread for one more run."""
    from scipy import stats

    shift, count = ratios.mean(axis=0), len(ratios)
    spread = np.atleast_2d(np.cov(ratios.T)) * (1.0 + 1.0 / count)
    values = one["estimate"] / np.exp(shift)
    scale = np.outer(values, values)
    covariance = one["covariance"] * np.exp(-np.add.outer(shift, shift)) + spread * scale
    deviation = np.sqrt(np.diag(covariance))
    factor = float(stats.t.ppf(0.5 * (1.0 + config.level), count - 1))
    half = np.maximum(factor * deviation, 0.5 * (one["interval_high"] - one["interval_low"]) / np.exp(shift))
    return {
        **one, "estimate": values, "deviation": deviation, "covariance": covariance,
        "interval_low": values - half, "interval_high": values + half,
    }  # fmt: skip


def _nothing(count: int) -> dict[str, Any]:
    gap = np.full(count, np.nan)
    numbers = dict.fromkeys(("estimate", "deviation", "interval_low", "interval_high"), gap)
    return {
        **numbers, "covariance": np.full((count, count), np.nan), "reduced_square": np.nan,
        "window_count": 0, "steps": 0, "converged": 0, "outside": 0,
    }  # fmt: skip


STAGE = Stage(
    name="infer_parameters",
    version=2,
    config=InferParametersConfig,
    inputs={
        "observations": schema("sample_name", optional=("concentration", "D_xx", "D_xy", "u_x", "u_y")),
        "model": schema("weights"),
        "calibration": schema("estimate", "status"),
    },
    output=schema(
        "sample_name", "estimate", "deviation", "interval_low", "interval_high", "covariance",
        "reduced_square", "window_count", "steps", "converged", "outside", "status", "reason",
    ),
    run=run,
    split_over="observations",
    optional=("model", "calibration"),
    literature=(
        "Bock 1981, Numerical treatment of inverse problems in chemical reaction kinetics, Springer",
        "Golub and Pereyra 2003, Separable nonlinear least squares, Inverse Problems 19",
        "Liang and Zeger 1986, Longitudinal data analysis using generalized linear models, Biometrika 73",
    ),
)  # fmt: skip
