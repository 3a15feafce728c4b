"""Errors of forecasts against the run that they were started from: by variance, and by correlation."""

import numpy as np

from kernels.errors import InputError

FLOOR = 1e-7
"""Added to the variance by the published definition of VRMSE."""

_STEADY = 100.0 * FLOOR
"""A field of a smaller variance is nearly constant: its VRMSE measures the floor, not the forecast."""


def nmse(truth: np.ndarray, guess: np.ndarray) -> float:
    """mean (x - y)^2 / mean y^2 over all values, y the truth; NaN where the truth is zero.

    truth, guess: of one shape, real or complex (squares of absolute values). Notes of the closure of Maddu,
    Weady, Shelley, J. Comput. Phys. 2024.
    """
    size = float((np.abs(truth) ** 2).mean())
    return float((np.abs(guess - truth) ** 2).mean()) / size if size > 0.0 else float("nan")


def vrmse(truth: np.ndarray, guess: np.ndarray) -> np.ndarray:
    """sqrt(mean (x - y)^2 / (var(y) + 1e-7)), mean and variance over space; 1 is the error of the mean of y.

    truth, guess: (..., n, n); returns (...). Ohana et al. 2024, The Well, NeurIPS 37, arXiv 2412.00568,
    section 4. A nearly constant truth (see `nearly_constant`) makes it meaningless.
    """
    error = (np.abs(guess - truth) ** 2).mean(axis=(-2, -1))
    return np.asarray(np.sqrt(error / (truth.var(axis=(-2, -1)) + FLOOR)))


def nearly_constant(truth: np.ndarray) -> bool:
    """Whether the mean spatial variance of (..., n, n) is so small that the floor of `vrmse` counts."""
    return bool(truth.var(axis=(-2, -1)).mean() < _STEADY)


def correlation(truth: np.ndarray, guess: np.ndarray) -> np.ndarray:
    """<x, y> / (|x| |y|) over space, without taking means off; (..., n, n) -> (...), NaN where one is zero.

    Kochkov et al. 2021, PNAS 118, e2101784118, section 3 (of vorticity, whose mean is zero).
    """
    over = (-2, -1)
    sizes = np.sqrt((truth**2).sum(axis=over) * (guess**2).sum(axis=over))
    return np.asarray((truth * guess).sum(axis=over) / np.where(sizes > 0.0, sizes, np.nan))


def decorrelation_time(
    times: np.ndarray, correlations: np.ndarray, threshold: float = 0.95
) -> tuple[float, bool]:
    """First time that the correlation falls below the threshold, and whether it does within the series.

    times, correlations: (frames,), times rising. Linear between frames; a value that is not a number is a
    forecast that has died, decorrelated from its last frame on. Where it never falls below, the last time:
    a lower bound. Kochkov et al. 2021, as `correlation`. Raises InputError for an empty series.
    """
    if not len(times) or len(times) != len(correlations):
        raise InputError(
            f"{len(times)} times and {len(correlations)} correlations: expected as many of both, one at least"
        )
    with np.errstate(invalid="ignore"):
        below = ~(np.asarray(correlations) >= threshold)
    if not below.any():
        return float(times[-1]), False
    i = int(np.argmax(below))
    if i == 0:
        return float(times[0]), True
    before, after = float(correlations[i - 1]), float(correlations[i])
    if not np.isfinite(after):
        return float(times[i - 1]), True
    share = (before - threshold) / (before - after)
    return float(times[i - 1] + share * (times[i] - times[i - 1])), True
