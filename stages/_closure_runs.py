"""Runs of one condition read for scores: who is scored, where, and one run's frames at a time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from kernels.errors import InputError
from stages.variables import TEST

TRUTH = "kinetic"
"""Row of the kinetic runs that all closures are compared with."""

SLACK = 1e-6
"""Times that differ by less are equal."""


@dataclass(frozen=True)
class Condition:
    """A point (alpha, zeta) and the rows of its test samples in the truth; rows in the order of its seeds."""

    alpha: float
    zeta: float
    rows: tuple[int, ...]

    @property
    def name(self) -> str:
        """What tables call it."""
        return f"alpha={self.alpha:g}, zeta={self.zeta:g}"


def conditions_of(truth: xr.Dataset) -> list[Condition]:
    """The points of the test samples, by rising alpha and zeta; every sample where there is no split.

    Raises InputError where no sample is one of the test part.
    """
    rows = np.arange(truth.sizes["sample"])
    if "split" in truth:
        rows = rows[truth["split"].values == TEST]
    if rows.size == 0:
        raise InputError(
            f"none of the {truth.sizes['sample']} kinetic runs belongs to the test part: give some "
            "conditions to the test part (split = 1), with seeds of their own"
        )
    alpha, zeta = (np.asarray(truth[name].values, dtype=np.float64) for name in ("alpha", "zeta"))
    points = sorted({(float(alpha[i]), float(zeta[i])) for i in rows})
    return [Condition(*p, tuple(int(i) for i in rows if (alpha[i], zeta[i]) == p)) for p in points]


def labels_of(given: Mapping[str, xr.Dataset], kind: str) -> dict[str, xr.Dataset]:
    """Inputs "<kind>.<closure>" by closure. Raises InputError for one that is called as the truth."""
    found = {n.partition(".")[2]: one for n, one in given.items() if n.partition(".")[0] == kind}
    if TRUTH in found:
        raise InputError(f"input '{kind}.{TRUTH}': this is the name of the truth; call the closure otherwise")
    return found


def rows_by_name(runs: xr.Dataset, truth: xr.Dataset, rows: Sequence[int], what: str) -> list[int]:
    """Rows of `runs` that continue the truth's samples. Raises InputError where one is missing."""
    at = {str(name): i for i, name in enumerate(runs["sample_name"].values)}
    names = [str(truth["sample_name"].values[i]) for i in rows]
    lacking = [name for name in names if name not in at]
    if lacking:
        raise InputError(
            f"{what!r} lacks {len(lacking)} of {len(names)} test samples, such as {lacking[:3]}: statistics "
            "over different runs cannot be compared; run the closure from every test sample"
        )
    return [at[name] for name in names]


@dataclass(frozen=True)
class Frames:
    """Frames of one run: times (t,); c, u, v real, z2 complex, (t, n, n); side of the square.

    alive: whether the run has frames up to the end that was asked for.
    """

    times: np.ndarray
    c: np.ndarray
    z2: np.ndarray
    u: np.ndarray
    v: np.ndarray
    length: float
    alive: bool

    def between(self, start: float, end: float) -> "Frames":
        """Frames with start <= t <= end."""
        kept = (self.times >= start - SLACK) & (self.times <= end + SLACK)
        c, z2, u, v = (part[kept] for part in (self.c, self.z2, self.u, self.v))
        return Frames(self.times[kept], c, z2, u, v, self.length, self.alive)


def frames_of(runs: xr.Dataset, row: int, end: float | None = None) -> Frames:
    """One run up to its death or to `end`: what is not finite, or survived_until, ends it."""
    times = np.asarray(runs["time"].values, dtype=np.float64)
    last = times[-1] if end is None else min(float(end), float(times[-1]))
    one = runs[["concentration", "D_xx", "D_xy", "u_x", "u_y"]].isel(sample=row, time=times <= last + SLACK)
    values = {str(n): np.asarray(v.transpose("time", "x", "y").values) for n, v in one.data_vars.items()}
    good = np.all([np.isfinite(v).all(axis=(1, 2)) for v in values.values()], axis=0)
    good &= times[: len(good)] <= survived(runs, row) + SLACK
    count = len(good) if good.all() else int(np.argmin(good))
    c = values["concentration"][:count]
    z2 = 2.0 * values["D_xx"][:count] - c + 2j * values["D_xy"][:count]
    flow = values["u_x"][:count], values["u_y"][:count]
    return Frames(times[:count], c, z2, *flow, float(runs.attrs["length"]), count == len(good))


def survived(runs: xr.Dataset, row: int) -> float:
    """Until when a run is good; infinity where the data set does not say."""
    return float(runs["survived_until"].values[row]) if "survived_until" in runs else float("inf")


def unit_cost(runs: xr.Dataset, row: int, end: float) -> float:
    """Seconds of computing for one unit of time; NaN where the run does not tell.

    step_seconds over the time step (an attribute), else run_seconds over the time that the run had from t = 0
    to its `end`, whatever frames were left out at its beginning.
    """
    if "step_seconds" in runs and "step" in runs.attrs:
        return float(runs["step_seconds"].values[row]) / float(runs.attrs["step"])
    if "run_seconds" in runs and end > 0.0:
        return float(runs["run_seconds"].values[row]) / end
    return float("nan")


def check_grid(truth: xr.Dataset, runs: xr.Dataset, what: str) -> None:
    """Raise InputError where point-wise comparison is asked of fields on other points."""
    for axis in ("x", "y"):
        mine, theirs = truth[axis].values, runs[axis].values
        if mine.shape != theirs.shape or not np.allclose(mine, theirs, rtol=1e-9, atol=1e-9):
            raise InputError(
                f"{what!r} has {theirs.size} points along {axis!r}, the truth {mine.size}, or they are at "
                "other places: forecasts are compared point by point; take the moments at the grid of the "
                "coarse model"
            )
