"""Short forecasts against the kinetic run that they were started from."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from kernels.errors import InputError
from kernels.metrics.flow_spectrum import vorticity
from kernels.metrics.forecasts import correlation, decorrelation_time, nearly_constant, vrmse
from stages._closure_runs import SLACK, check_grid, survived

FIELDS = ("concentration", "D_xx", "D_xy", "u_x", "u_y", "E_xx", "E_xy")
"""What VRMSE is taken of; vorticity beside them."""

ALL_FIELDS = (*FIELDS, "vorticity")


@dataclass(frozen=True)
class Forecasts:
    """Scores of the forecasts of one condition by one model.

    vrmse: (forecasts, fields, times), correlation: (forecasts, times), of the vorticity; NaN where the
    truth has ended or the forecast has died; until: (forecasts,) decorrelation times, kept: those that never
    fell below; alive: forecasts that reached their end; steady: (fields,), nearly constant ones.
    """

    vrmse: np.ndarray
    correlation: np.ndarray
    until: np.ndarray
    kept: np.ndarray
    alive: np.ndarray
    steady: np.ndarray


def gather(
    truth: xr.Dataset, rows: Sequence[int], runs: xr.Dataset, threshold: float, what: str
) -> Forecasts | None:
    """Forecasts `runs` that start from the truth's samples `rows`; None where there are none.

    Raises InputError where a frame of the truth that a forecast starts from is not there, or grids differ.
    """
    check_grid(truth, runs, what)
    names = {str(truth["sample_name"].values[row]): row for row in rows}
    mine = [i for i, source in enumerate(runs["source"].values) if str(source) in names]
    if not mine:
        return None
    found = [
        _one(truth, names[str(runs["source"].values[i])], runs, i, float(runs["start"].values[i]), what)
        for i in mine
    ]
    times = np.asarray(runs["time"].values, dtype=np.float64)
    correlations = np.stack([one[1] for one in found])
    falls = [_fall(times, values, known, threshold) for _, values, known, _, _ in found]
    return Forecasts(
        np.stack([one[0] for one in found]),
        correlations,
        np.array([time for time, _ in falls]),
        np.array([not fell for _, fell in falls]),
        np.array([one[3] for one in found]),
        np.any([one[4] for one in found], axis=0),
    )


def _fall(times: np.ndarray, values: np.ndarray, known: np.ndarray, threshold: float) -> tuple[float, bool]:
    """Decorrelation over the frames that the truth has: after its end nothing is known."""
    return decorrelation_time(times[known], values[known], threshold)


_One = tuple[np.ndarray, np.ndarray, np.ndarray, bool, np.ndarray]


def _one(truth: xr.Dataset, row: int, runs: xr.Dataset, i: int, start: float, what: str) -> _One:
    """VRMSE (fields, t), correlation (t,), frames that the truth has, survival, nearly constant fields."""
    times = np.asarray(runs["time"].values, dtype=np.float64)
    own = np.asarray(truth["time"].values, dtype=np.float64)
    nearest = np.abs(own[None, :] - (start + times)[:, None]).argmin(axis=1)
    known = np.abs(own[nearest] - (start + times)) <= SLACK * max(1.0, abs(start))
    if not known.any() or not known[0]:
        raise InputError(
            f"{what!r}, sample {str(runs['sample_name'].values[i])!r}: starts at t = {start:g}, which is not "
            f"a frame of its truth (t = {own[0]:g} to {own[-1]:g}); start from a stored frame"
        )
    at = nearest[known]
    other = _values(runs.isel(sample=i, time=np.flatnonzero(known)))
    mine = _values(truth.isel(sample=row, time=np.unique(at)))[:, np.unique(at, return_inverse=True)[1]]
    length = float(truth.attrs["length"])
    mine, other = (np.concatenate([v, vorticity(v[3], v[4], length)[None]]) for v in (mine, other))
    dead = ~np.isfinite(other).all(axis=(0, 2, 3)) | (times[known] > survived(runs, i) + SLACK)
    other[:, dead] = np.nan
    error, alike = np.full((len(ALL_FIELDS), times.size), np.nan), np.full(times.size, np.nan)
    error[:, known], alike[known] = vrmse(mine, other), correlation(mine[-1], other[-1])
    return error, alike, known, not dead.any(), np.array([nearly_constant(field) for field in mine])


def _values(one: xr.Dataset) -> np.ndarray:
    """(fields, t, n, n)."""
    return np.stack([np.asarray(one[name].transpose("time", "x", "y").values, float) for name in FIELDS])


def mean_and_error(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean over the first axis of what is a number, and its standard error; NaN where there is none."""
    known = np.isfinite(values)
    count = known.sum(axis=0)
    total = np.where(known, values, 0.0).sum(axis=0)
    mean = total / np.where(count > 0, count, np.nan)
    square = np.where(known, (values - mean) ** 2, 0.0).sum(axis=0)
    error = np.sqrt(square / np.where(count > 1, count * (count - 1.0), np.nan))
    return np.asarray(mean), np.asarray(error)
