"""What a problem of the stage `generate` is: its numbers, its names, what solves its samples."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import xarray as xr

from kernels.errors import InputError


@dataclass(frozen=True)
class Number:
    """A number of a problem: its value where no one gives one, what it must be above, its units."""

    value: float
    meaning: str
    above: float = 0.0
    units: str = "1"


@dataclass(frozen=True)
class Setting:
    """What all samples of a data set share; `modes` and `times` with the problem's defaults put in."""

    resolution: int
    refine: int
    modes: int
    times: tuple[float, ...] = ()
    time_step: float | None = None


@dataclass(frozen=True)
class Problem:
    """A problem on a grid or on meshes.

    numbers: those that a design or `constants` may give. check: refuses a setting before any work. build: the
    variables of all samples but those of the design, with their coordinates and attributes. modes,
    resolution, refine: defaults; times: likewise, where the solution evolves.
    """

    numbers: Mapping[str, Number]
    check: Callable[[Setting], None]
    build: Callable[[Setting, "Samples"], xr.Dataset]
    modes: int
    resolution: int = 64
    refine: int = 3
    times: tuple[float, ...] = ()
    literature: tuple[str, ...] = ()


@dataclass(frozen=True)
class Samples:
    """Names of the samples, their numbers, and the seed."""

    names: tuple[str, ...]
    values: tuple[Mapping[str, float], ...]
    seed: int

    def random(self, i: int) -> np.random.Generator:
        """Generator of a sample: of the seed and its name alone, so no order or cut has a say in it."""
        digest = hashlib.blake2b(self.names[i].encode(), digest_size=16).digest()
        return np.random.default_rng(np.random.SeedSequence([self.seed, *np.frombuffer(digest, np.uint32)]))


Result = TypeVar("Result")


def at_once(
    samples: Samples, solve: Callable[[Mapping[str, float], np.random.Generator], Result]
) -> list[Result]:
    """`solve(numbers, random)` of every sample; an InputError comes with the name of its sample."""
    results = []
    for i, name in enumerate(samples.names):
        try:
            results.append(solve(samples.values[i], samples.random(i)))
        except InputError as error:
            raise InputError(f"sample {name}: {error}") from error
    return results


def gathered(
    problem: Problem, constants: Mapping[str, float], varied: Mapping[str, xr.DataArray], count: int
) -> tuple[dict[str, float], ...]:
    """Numbers of each of `count` samples: defaults, then constants, then the design.

    Raises InputError where a name is none of the problem's, is given twice, has other units or is out of
    range.
    """
    known = problem.numbers
    unknown = sorted((set(constants) | set(varied)) - set(known))
    if unknown:
        raise InputError(
            f"{unknown} are no numbers of the problem, expected some of {sorted(known)}: drop them"
        )
    both = sorted(set(constants) & set(varied))
    if both:
        raise InputError(f"{both} are in the design and in constants, expected one of the two: drop one")
    for name, column in varied.items():
        if column.attrs.get("units") != known[name].units:
            raise InputError(
                f"parameter {name!r} has units {column.attrs.get('units')!r}, expected "
                f"{known[name].units!r}: convert it"
            )
        _above(name, np.asarray(column.values, dtype=np.float64), known[name])
    for name, value in constants.items():
        _above(name, np.array([value]), known[name])
    fixed = {name: number.value for name, number in known.items()} | dict(constants)
    return tuple(fixed | {name: float(v.values[i]) for name, v in varied.items()} for i in range(count))


def _above(name: str, values: np.ndarray, number: Number) -> None:
    wrong = values[~(np.isfinite(values) & (values > number.above))]
    if wrong.size:
        raise InputError(
            f"{name} ({number.meaning}) is {wrong[0]:.6g}, expected a number above {number.above:g}: "
            "correct it"
        )
