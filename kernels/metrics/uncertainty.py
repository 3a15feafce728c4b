"""Whether predicted standard deviations are honest: coverage of central intervals and CRPS of a Gaussian."""

import numpy as np
from scipy import special


def interval_counts(error: np.ndarray, std: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """How many true values lie inside the central intervals of a Gaussian: |u - m| <= s sqrt(2) erfinv(p).

    error, std: (N,), u - m and s >= 0 in the same units; levels: (L,) increasing, in (0, 1); returns counts
    (L,) int64. Where s = 0 a value counts when its error is 0.
    """
    bounds = np.sqrt(2.0) * special.erfinv(levels)
    size = np.abs(error)
    safe = np.where(std > 0.0, std, 1.0)
    ratio = np.where(std > 0.0, size / safe, np.where(size > 0.0, np.inf, 0.0))
    first = np.searchsorted(bounds, ratio, side="left")
    return np.cumsum(np.bincount(first, minlength=levels.size + 1))[: levels.size]


def crps_gaussian(error: np.ndarray, std: np.ndarray) -> np.ndarray:
    """Continuous ranked probability score of N(m, s^2), s (w (2 Phi(w) - 1) + 2 phi(w) - 1 / sqrt(pi)), w =
    (u - m) / s.

    Gneiting, Raftery, Westveld, Goldman 2005, Monthly Weather Review 133, eq. 5. error, std: same shape and
    units; the result has them too. Where s = 0 it is |u - m|, the score of a prediction without spread.
    """
    safe = np.where(std > 0.0, std, 1.0)
    w = error / safe
    density = np.exp(-0.5 * w * w) / np.sqrt(2.0 * np.pi)
    score = safe * (w * (2.0 * special.ndtr(w) - 1.0) + 2.0 * density - 1.0 / np.sqrt(np.pi))
    return np.asarray(np.where(std > 0.0, score, np.abs(error)))
