"""Stage `conditions`: which runs of the kinetic model there are, as points (alpha, zeta) and seeds."""

from typing import Literal

import numpy as np
import xarray as xr
from pydantic import Field, model_validator

from kernels.errors import InputError
from stages.base import Stage, StageConfig, schema, variable
from stages.variables import TEST, TRAIN, VALIDATION

Point = tuple[float, float]
_DIGITS = 6


class AxisRange(StageConfig):
    """Range of one of the two numbers, spread evenly in it or in the logarithm of its size; levels: of a
    grid."""

    low: float
    high: float
    scale: Literal["linear", "log"] = "linear"
    levels: int = Field(default=3, ge=1)

    @model_validator(mode="after")
    def _ordered(self) -> "AxisRange":
        if not self.low < self.high:
            raise ValueError(
                f"low is {self.low} and high is {self.high}, expected low < high: swap or correct them"
            )
        if self.scale == "log" and self.low * self.high <= 0.0:
            raise ValueError(
                f"the range from {self.low} to {self.high} holds zero, which has no logarithm: use scale "
                "'linear'"
            )
        return self

    def at(self, unit: np.ndarray) -> np.ndarray:
        """The values at positions in [0, 1], of six significant digits."""
        if self.scale == "log":
            values = self.low * (self.high / self.low) ** unit
        else:
            values = self.low + (self.high - self.low) * unit
        return np.array([float(f"{value:.{_DIGITS}g}") for value in values])


class ConditionsConfig(StageConfig):
    """Points of the plane of activity and alignment, and the seeds of the initial state for each part.

    method: "list" takes `points`, pairs (alpha, zeta); "grid" all levels of both ranges; "sobol" and "random"
    draw `count` points with `seed`. test_points: where the test seeds run; empty: at the same points. Seeds
    of two parts may not meet, since runs from one initial state are alike for a while at any parameters.
    """

    method: Literal["list", "grid", "sobol", "random"] = "list"
    points: tuple[Point, ...] = ((-3.0, 1.0),)
    alpha: AxisRange = AxisRange(low=-5.0, high=-1.0)
    zeta: AxisRange = AxisRange(low=0.5, high=5.0, scale="log")
    count: int = Field(default=8, ge=1, le=4096)
    seed: int = Field(default=0, ge=0)
    test_points: tuple[Point, ...] = ()
    train_seeds: tuple[int, ...] = (0, 1)
    validation_seeds: tuple[int, ...] = (2,)
    test_seeds: tuple[int, ...] = (3,)

    @model_validator(mode="after")
    def _disjoint(self) -> "ConditionsConfig":
        parts = {"train_seeds": self.train_seeds, "validation_seeds": self.validation_seeds,
                 "test_seeds": self.test_seeds}  # fmt: skip
        everything = [seed for seeds in parts.values() for seed in seeds]
        if not everything:
            raise ValueError("no part has a seed, expected at least one: set train_seeds")
        if min(everything) < 0:
            raise ValueError(f"a seed is {min(everything)}, expected 0 or more")
        twice = sorted({seed for seed in everything if everything.count(seed) > 1})
        if twice:
            where = [name for name, seeds in parts.items() if set(seeds) & set(twice)]
            raise ValueError(
                f"the seeds {twice} come more than once, in {' and '.join(where)}: expected each once, "
                "in one part; give the parts other seeds"
            )
        return self

    @model_validator(mode="after")
    def _possible(self) -> "ConditionsConfig":
        for name, points in (("points", self.points), ("test_points", self.test_points)):
            wrong = [point for point in points if point[1] < 0.0]
            if wrong:
                raise ValueError(
                    f"{name} has zeta = {wrong[0][1]}, expected zero or more: a negative alignment is not "
                    "of this model"
                )
            if len(set(points)) < len(points):
                twice = sorted({point for point in points if points.count(point) > 1})
                raise ValueError(f"{name} holds {twice} more than once; expected each once")
        if self.test_points and not self.test_seeds:
            raise ValueError("test_points are given and test_seeds is empty: give a seed, or drop the points")
        if self.method == "list" and not self.points:
            raise ValueError("method is 'list' and points is empty: give at least one pair (alpha, zeta)")
        if self.method != "list" and self.zeta.low < 0.0:
            raise ValueError(f"zeta.low is {self.zeta.low}, expected zero or more")
        return self


def _unit_points(config: ConditionsConfig) -> np.ndarray:
    """(count, 2) in the unit square; a larger count begins with the points of a smaller one."""
    if config.method == "grid":
        axes = [
            np.linspace(0.0, 1.0, one.levels) if one.levels > 1 else np.array([0.5])
            for one in (config.alpha, config.zeta)
        ]
        return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)
    if config.method == "random":
        return np.random.default_rng(config.seed).random((config.count, 2))
    from scipy.stats import qmc  # a third of a second, for those who draw

    power = int(np.ceil(np.log2(config.count)))
    sequence = qmc.Sobol(2, scramble=True, rng=np.random.default_rng(config.seed))
    return np.asarray(sequence.random_base2(power))[: config.count]


def points_of(config: ConditionsConfig) -> list[Point]:
    """Where runs of the parts train and validation are, each point once."""
    if config.method == "list":
        return list(config.points)
    unit = _unit_points(config)
    pairs = zip(config.alpha.at(unit[:, 0]), config.zeta.at(unit[:, 1]), strict=True)
    return list(dict.fromkeys((float(alpha), float(zeta)) for alpha, zeta in pairs))


def _written(value: float) -> str:
    short = f"{value:.{_DIGITS}g}"
    return short if float(short) == value else repr(value)


def name_of(alpha: float, zeta: float, seed: int) -> str:
    """Name of a run: its parameters and its seed alone, whatever runs there are beside it."""
    return f"a{_written(alpha)}_z{_written(zeta)}_s{seed}"


def conditions(rows: list[tuple[float, float, int, int]]) -> xr.Dataset:
    """Dataset of runs (alpha, zeta, run_seed, part); raises InputError where two are the same."""
    names = [name_of(alpha, zeta, seed) for alpha, zeta, seed, _ in rows]
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise InputError(f"the runs {twice[:5]} are there more than once; expected each once")
    alpha, zeta, seed, part = zip(*rows, strict=True)
    columns = {"sample_name": names, "split": part, "alpha": alpha, "zeta": zeta, "run_seed": seed}
    return xr.Dataset({name: variable(name, values) for name, values in columns.items()})


def run(config: StageConfig) -> xr.Dataset:
    """Every point with every seed of its part, point by point: train, validation, then test.

    Points: given, a full grid with its ends, scrambled Sobol points (Owen, J. Complexity 14, 1998) or points
    drawn evenly. Drawn values have six significant digits, which the names `a<alpha>_z<zeta>_s<seed>` show,
    so a run has the same name, and simulations of it are found again, whatever else is asked for: with
    "sobol" and "random" a larger count, in every method other seeds. Returns `sample_name`, `split`,
    `run_seed` and the parameters alpha and zeta. Raises InputError where two runs would be the same.
    """
    if not isinstance(config, ConditionsConfig):
        raise InputError(
            f"stage 'conditions' got {type(config).__name__}, expected ConditionsConfig: pass that config"
        )
    points = points_of(config)
    parts = [(TRAIN, config.train_seeds, points), (VALIDATION, config.validation_seeds, points)]
    parts += [(TEST, config.test_seeds, list(config.test_points) or points)]
    rows = [
        (float(alpha), float(zeta), int(seed), part)
        for part, seeds, chosen in parts
        for alpha, zeta in chosen
        for seed in seeds
    ]
    return conditions(rows)


STAGE = Stage(
    name="conditions",
    version=1,
    config=ConditionsConfig,
    inputs={},
    output=schema("sample_name", "split", "alpha", "zeta", "run_seed"),
    run=run,
    literature=("A. B. Owen, Scrambling Sobol' and Niederreiter-Xing points, J. Complexity 14, 1998",),
)
