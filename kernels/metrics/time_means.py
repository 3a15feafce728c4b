"""Means over time with errors that know of memory within a run and of the scatter between runs."""

from dataclasses import dataclass

import numpy as np
from scipy import fft

from kernels.errors import InputError

_WINDOW = 5.0
"""Autocorrelations are summed up to this many correlation times, Sokal's rule."""


@dataclass(frozen=True)
class Mean:
    """A mean, its standard error, and how many independent values (or runs) it stands on."""

    value: float
    error: float
    independent: float


def correlation_time(series: np.ndarray) -> float:
    """Integrated autocorrelation time tau = 1/2 + sum_k rho_k of evenly spaced values (n,), in frames.

    Summed to the first lag that is not below 5 tau. Sokal 1997, Monte Carlo Methods in Statistical Mechanics,
    section 3; 1/2 where values are independent or all alike.
    """
    n = series.size
    if n < 2:
        return 0.5
    centred = series - series.mean()
    size = fft.next_fast_len(2 * n)
    covariance = fft.irfft(np.abs(fft.rfft(centred, size)) ** 2, size)[:n]
    scale = max(float(np.abs(series).max()), np.finfo(float).tiny)
    if not covariance[0] > n * (1e-14 * scale) ** 2:
        return 0.5
    sums = 0.5 + np.cumsum(covariance[1:] / covariance[0])
    enough = np.arange(1, n) >= _WINDOW * sums
    chosen = sums[int(np.argmax(enough))] if enough.any() else sums.max()
    return float(max(chosen, 0.5))


def time_mean(series: np.ndarray) -> Mean:
    """Mean over a stationary run of evenly spaced values (n,); its error is sqrt(2 tau / n) deviations.

    See `correlation_time`; n / 2 tau values are independent, one at least. A run of one value has no error
    (NaN). Raises InputError where it has none, or one that is not a number.
    """
    series = np.asarray(series, dtype=np.float64)
    if series.ndim != 1 or not series.size or not np.isfinite(series).all():
        raise InputError(
            f"a mean over time of values of shape {series.shape}, not all finite or none: expected one "
            "series of finite values; end it where the run died"
        )
    if series.size == 1:
        return Mean(float(series[0]), float("nan"), 1.0)
    independent = max(series.size / (2.0 * correlation_time(series)), 1.0)
    return Mean(float(series.mean()), float(series.std(ddof=1) / np.sqrt(independent)), independent)


def mean_over_runs(runs: list[Mean]) -> Mean:
    """Mean of the means of runs that weigh alike, its error the larger one of two estimates.

    std(means) / sqrt(runs), from the scatter of the runs, and sqrt(sum error^2) / runs, from the memory
    within them: with two or three runs the first alone may be small by chance. NaN where neither is known.
    Raises InputError without a run.
    """
    if not runs:
        raise InputError("a mean over no runs: expected one at least")
    values = np.array([one.value for one in runs])
    inner = np.array([one.error for one in runs])
    known = [float(values.std(ddof=1) / np.sqrt(values.size))] if values.size > 1 else []
    if np.isfinite(inner).all():
        known.append(float(np.sqrt((inner**2).sum()) / values.size))
    return Mean(float(values.mean()), max(known, default=float("nan")), float(values.size))


def z_score(difference: float, *errors: float) -> float:
    """Difference over the root of the sum of squared standard errors: within +-2 it may be chance.

    Zero where there is no difference; NaN where no error is known or all are zero.
    """
    if difference == 0.0:
        return 0.0
    size = float(np.sqrt(np.sum(np.square(errors))))
    return difference / size if size > 0.0 else float("nan")
