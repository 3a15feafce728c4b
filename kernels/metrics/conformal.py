"""Split-conformal half widths of intervals mean +- factor * std, from samples that trained nothing."""

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np

from kernels.errors import InputError

Bound = Literal["possible", "seen"]

_FEWEST = 5


def least_samples(level: float, bound: Bound = "possible") -> int:
    """Fewest calibration samples n with which a level can be promised: 1 / (n + 1) <= 1 - level.

    For the bound "seen" of `pointwise_factor`: five. Raises InputError for a level outside (0, 1).
    """
    if not 0.0 < level < 1.0:
        raise InputError(f"level is {level}, expected a number between 0 and 1, such as 0.9")
    if bound == "seen":
        return _FEWEST
    return math.ceil(level / (1.0 - level) - 1e-9)


def pointwise_factor(ratios: Sequence[np.ndarray], level: float, bound: Bound = "possible") -> float:
    """Smallest factor such that a new sample has at least `level` of its points inside, in expectation.

    ratios: of each of n samples |u - mean| / std at its points (points,), of its own number. The loss L_i of
    a sample is the part of its points with ratio > factor; the factor is the smallest with

        n / (n + 1) * mean(L_i) + B / (n + 1) <= 1 - level,

    conformal risk control (Angelopoulos, Bates, Fisch, Lei, Schuster, ICLR 2024, eq. 4 and theorem 1), where
    B stands for the loss of the sample that is not known. bound = "possible": B = 1, the largest loss there
    is; then the promise holds for any samples exchangeable with these, and is exceeded by up to 1 / (n + 1).
    bound = "seen": B = max(L_i), the largest loss among the n; closer to the level where there are few
    samples (n = 10, level 0.9: 0.91 of the points instead of 0.98), without the theorem. Infinite where n <
    `least_samples`. Raises InputError where a sample has no points.
    """
    n = len(ratios)
    if n < least_samples(level, bound):
        return math.inf
    rows = [np.sort(one, axis=None) for one in ratios]
    if not all(row.size for row in rows):
        raise InputError("a calibration sample has no points: leave it out")
    found = np.unique(np.concatenate([[0.0], *rows]))
    low, high = 0, found.size - 1
    while low < high:
        middle = (low + high) // 2
        losses = np.array(
            [1.0 - np.searchsorted(row, found[middle], side="right") / row.size for row in rows]
        )
        largest = 1.0 if bound == "possible" else losses.max()
        if (losses.sum() + largest) / (n + 1) <= 1.0 - level + 1e-12:
            high = middle
        else:
            low = middle + 1
    return float(found[low])


def simultaneous_factor(largest: np.ndarray, level: float) -> float:
    """Factor such that all points of a new sample are inside with probability at least `level`.

    largest (n,): of each calibration sample the largest |u - mean| / std; the factor is the
    ceil((n + 1) level)-th of them in rising order (Vovk, Gammerman, Shafer 2005, section 2.2; Lei, G'Sell,
    Rinaldo, Tibshirani, Wasserman, JASA 113, 2018, algorithm 2). Infinite where n < `least_samples`.
    """
    n = len(largest)
    if n < least_samples(level):
        return math.inf
    return float(np.sort(largest)[math.ceil((n + 1) * level - 1e-9) - 1])


def floor_of_spread(square_error: float, variance: float) -> float:
    """Floor f of a spread sqrt(variance of the members + f^2), so that its mean square is that of the errors.

    square_error, variance: means over calibration samples and points of (u - mean)^2 and of the variance.
    With one member f is the root mean square error. At least a tenth of it: members that agree by chance, or
    spread more than they err, must not give intervals without width.
    """
    if not (square_error >= 0.0 and variance >= 0.0):
        raise InputError(f"mean square error {square_error} and variance {variance}: expected both >= 0")
    return max(math.sqrt(max(square_error - variance, 0.0)), 0.1 * math.sqrt(square_error), 1e-150)
