"""Stage `design`: parameter samples by Latin hypercube, Sobol sequence or grid, split into train and test."""

from collections.abc import Mapping
from typing import Literal

import numpy as np
import xarray as xr
from pydantic import Field, field_validator, model_validator

from kernels.errors import InputError
from stages.base import Stage, StageConfig, schema, variable
from stages.variables import PARAMETER, TEST, TRAIN


class ParameterRange(StageConfig):
    """Range of one parameter: bounds, units ("1" where it has none), spread evenly in the value or its
    logarithm."""

    low: float
    high: float
    units: str = "1"
    scale: Literal["linear", "log"] = "linear"
    meaning: str = ""

    @model_validator(mode="after")
    def _ordered(self) -> "ParameterRange":
        if not self.low < self.high:
            raise ValueError(
                f"low is {self.low} and high is {self.high}, expected low < high: swap or correct them"
            )
        if self.scale == "log" and self.low <= 0.0:
            raise ValueError(
                f"low is {self.low} with scale 'log', expected a positive number: use scale 'linear'"
            )
        return self


def _default_parameters() -> dict[str, ParameterRange]:
    rows = {
        "notch_1_radius": (0.0055, 0.008, "m", "radius of the notch in the bottom side"),
        "notch_1_position": (0.035, 0.055, "m", "distance of the bottom notch from the wall"),
        "notch_2_radius": (0.003, 0.0055, "m", "radius of the notch in the top side"),
        "notch_2_position": (0.045, 0.065, "m", "distance of the top notch from the wall"),
        "load": (148.0e6, 182.0e6, "Pa", "traction on the free end"),
        "young": (190.0e9, 220.0e9, "Pa", "Young's modulus"),
        "poisson": (0.27, 0.33, "1", "Poisson's ratio"),
        "yield_stress": (240.0e6, 270.0e6, "Pa", "initial yield stress"),
        "hardening": (8.0e9, 12.0e9, "Pa", "slope of the yield stress against equivalent plastic strain"),
    }
    return {
        name: ParameterRange(low=low, high=high, units=units, meaning=meaning)
        for name, (low, high, units, meaning) in rows.items()
    }


class DesignConfig(StageConfig):
    """Parameters and their ranges, maybe none (`{}`), number of train and test samples, method and seed."""

    parameters: dict[str, ParameterRange] = Field(default_factory=_default_parameters)
    train: int = Field(default=500, ge=0)
    test: int = Field(default=200, ge=0)
    method: Literal["sobol", "latin_hypercube", "grid"] = "sobol"
    seed: int = Field(default=0, ge=0)

    @field_validator("parameters")
    @classmethod
    def _named(cls, parameters: dict[str, ParameterRange]) -> dict[str, ParameterRange]:
        reserved = ["sample_name", "split", "sample", "status", "reason"]
        wrong = [name for name in parameters if not name.isidentifier() or name in reserved]
        if wrong:
            raise ValueError(f"parameter names {wrong}, expected identifiers, not {reserved}: rename them")
        return parameters

    @model_validator(mode="after")
    def _countable(self) -> "DesignConfig":
        if self.train + self.test == 0:
            raise ValueError("train and test are both 0, expected at least one sample: raise one of them")
        if self.method == "grid" and self.parameters:
            dims = len(self.parameters)
            if self.train and _levels(self.train, dims) ** dims != self.train:
                near = [max(_levels(self.train, dims) + k, 1) ** dims for k in (0, 1)]
                raise ValueError(
                    f"train is {self.train} with method 'grid' in {dims} parameters, expected "
                    f"levels**{dims}: "
                    f"use one of {near}"
                )
        return self


def _levels(count: int, dims: int) -> int:
    """Largest k with k**dims <= count."""
    k = max(round(count ** (1.0 / dims)), 1)
    return k if k**dims <= count else k - 1


def _unit_points(method: str, count: int, dims: int, seed: np.random.SeedSequence) -> np.ndarray:
    """Points (count, dims) in the unit cube."""
    if count == 0 or dims == 0:
        return np.empty((count, dims))
    if method == "grid":
        k = _levels(count, dims)
        axis = np.linspace(0.0, 1.0, k) if k > 1 else np.array([0.5])
        return np.stack(np.meshgrid(*[axis] * dims, indexing="ij"), axis=-1).reshape(-1, dims)
    from scipy.stats import qmc  # a third of a second, for those who draw

    rng = np.random.default_rng(seed)
    if method == "latin_hypercube":
        return np.asarray(qmc.LatinHypercube(dims, rng=rng).random(count))
    power = max(
        int(np.ceil(np.log2(count))), 0
    )  # a full power of two keeps the balance; its prefix is the same sequence
    return np.asarray(qmc.Sobol(dims, scramble=True, rng=rng).random_base2(power))[:count]


def _stretch(unit: np.ndarray, parameters: Mapping[str, ParameterRange]) -> dict[str, np.ndarray]:
    values = {}
    for column, (name, bounds) in zip(unit.T, parameters.items(), strict=True):
        if bounds.scale == "log":
            spread = bounds.low * (bounds.high / bounds.low) ** column
        else:
            spread = bounds.low + (bounds.high - bounds.low) * column
        values[name] = np.clip(spread, bounds.low, bounds.high)
    return values


def run(config: StageConfig) -> xr.Dataset:
    """Draw the train samples, then the test samples, each from its own generator.

    Sobol points are scrambled (Owen, J. Complexity 14, 1998; scipy.stats.qmc), Latin hypercube points are
    random within their cells (McKay, Beckman, Conover, Technometrics 21, 1979). The generators are spawned
    from `seed`, one for train and one for test, so neither count changes the other part; with "sobol" a
    larger `train` or `test` keeps the samples of a smaller one. A Latin hypercube is drawn anew for every
    count. With "grid" (full tensor grid, ends included) the test samples are Sobol points. Train samples are
    named case-00000 on, test samples test-00000 on. Returns float64 parameters on `sample` with role and
    units, `sample_name` and `split`. Not handled: correlated parameters, distributions other than uniform and
    log-uniform.
    """
    if not isinstance(config, DesignConfig):
        raise InputError(
            f"stage 'design' got {type(config).__name__}, expected DesignConfig: pass that config"
        )
    dims = len(config.parameters)
    train_seed, test_seed = np.random.SeedSequence(config.seed).spawn(2)
    train = _unit_points(config.method, config.train, dims, train_seed)
    test = _unit_points("sobol" if config.method == "grid" else config.method, config.test, dims, test_seed)
    values = _stretch(np.concatenate([train, test]), config.parameters)
    names = [f"case-{i:05d}" for i in range(len(train))] + [f"test-{i:05d}" for i in range(len(test))]
    data = {
        "sample_name": variable("sample_name", names),
        "split": variable("split", np.repeat([TRAIN, TEST], [len(train), len(test)])),
    }
    for name, bounds in config.parameters.items():
        attrs = {"role": PARAMETER, "units": bounds.units, "low": bounds.low, "high": bounds.high}
        if bounds.meaning:
            attrs["long_name"] = bounds.meaning
        data[name] = xr.Variable(("sample",), values[name], attrs)
    return xr.Dataset(data)


STAGE = Stage(
    name="design",
    version=1,
    config=DesignConfig,
    inputs={},
    output=schema("sample_name", "split"),
    run=run,
    literature=(
        "A. B. Owen, Scrambling Sobol' and Niederreiter-Xing points, J. Complexity 14, 1998",
        "M. D. McKay, R. J. Beckman, W. J. Conover, Technometrics 21, 1979",
    ),
)
