"""Errors of fields and scalars over a set of samples, from statistics of each sample that can be gathered in
any order.

A scalar is a field of one node: the published formula of scalars is that of fields with N = 1.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Truth:
    """Statistics of the true values of n samples, arrays of shape (n,).

    count: values N_i; mean; spread: sum_r (u_r - mean)^2; peak: max_r |u_r|; low, high: extremes.
    """

    count: np.ndarray
    mean: np.ndarray
    spread: np.ndarray
    peak: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @property
    def range(self) -> float:
        """Largest less smallest true value of the set."""
        return float(self.high.max() - self.low.min())


def describe(values: np.ndarray) -> tuple[float, float, float, float, float, float]:
    """count, mean, spread, peak, low, high of one sample's values, shape (N,), in the order of `Truth`."""
    mean = float(values.mean())
    low, high = float(values.min()), float(values.max())
    return float(values.size), mean, float(((values - mean) ** 2).sum()), max(abs(low), abs(high)), low, high


def relative_errors(mean_square: np.ndarray, peak: np.ndarray) -> np.ndarray:
    """Error of each sample relative to its own largest value, e_i = sqrt((1/N_i) |U_i - V_i|_2^2 /
    |U_i|_inf^2).

    mean_square: (n, ...), (1/N_i) |U_i - V_i|_2^2; peak: (n,), |U_i|_inf; returns the shape of mean_square,
    NaN where the peak is zero.
    """
    scale = np.where(peak > 0.0, peak, np.nan).reshape(-1, *[1] * (mean_square.ndim - 1))
    return np.asarray(np.sqrt(mean_square) / scale)


def rrmse(mean_square: np.ndarray, peak: np.ndarray, included: np.ndarray) -> np.ndarray:
    """Relative root-mean-square error of a set, sqrt(mean_i((1/N_i) |U_i - V_i|_2^2 / |U_i|_inf^2)).

    Casenave, Staber, Roynard 2023, arXiv 2305.12871, section 4; with N = 1 their formula of scalars.
    mean_square: (n, ...); peak and included: (n,), the mask of the samples that count; returns shape (...),
    NaN where none counts.
    """
    if not included.any():
        return np.full(mean_square.shape[1:], np.nan)
    return np.asarray(np.sqrt((relative_errors(mean_square[included], peak[included]) ** 2).mean(axis=0)))


def nrmse(mean_square: np.ndarray, truth: Truth) -> np.ndarray:
    """Root-mean-square error over the range of the set, sqrt(mean_i (1/N_i) |U_i - V_i|_2^2) / (max U - min
    U).

    mean_square: (n, ...); returns shape (...), NaN where the truth does not vary over the set.
    """
    width = truth.range
    return np.asarray(np.sqrt(mean_square.mean(axis=0)) / (width if width > 0.0 else np.nan))


def q2(mean_square: np.ndarray, truth: Truth) -> np.ndarray:
    """Coefficient of determination over all values of the set, 1 - sum (u - v)^2 / sum (u - mean u)^2.

    Truth in the first place: the quotient is not symmetric. mean_square: (n, ...); the pooled sum of squares
    is put together from those of the samples (Chan, Golub, LeVeque 1983, The American Statistician 37, eq.
    2.1b). Returns shape (...), NaN where the truth does not vary.
    """
    weights = truth.count.reshape(-1, *[1] * (mean_square.ndim - 1))
    mean = (truth.count * truth.mean).sum() / truth.count.sum()
    total = float((truth.spread + truth.count * (truth.mean - mean) ** 2).sum())
    return np.asarray(1.0 - (weights * mean_square).sum(axis=0) / (total if total > 0.0 else np.nan))
