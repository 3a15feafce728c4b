"""Mean and spread of a channel over many samples, the same bits whatever the blocks they are read in."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Moments:
    """Number of values, their mean, sum of squared deviations from it, smallest and largest value."""

    count: int
    mean: float
    squares: float
    low: float
    high: float

    @property
    def std(self) -> float:
        """Standard deviation of all values as a population."""
        return math.sqrt(self.squares / self.count)


def moments(values: np.ndarray) -> Moments:
    """Moments of the values of one sample, of any shape, at least one.

    Two passes with the correction of rounding in the mean: sum (v - m)^2 - (sum (v - m))^2 / n
    (Chan, Golub & LeVeque, The American Statistician 37, 1983, equation 1.7). The values are laid out in
    order first, since the order of a sum follows the memory layout.
    """
    flat = np.array(values, dtype=np.float64, order="C").ravel()
    mean = float(np.add.reduce(flat)) / flat.size
    deviation = flat - mean
    left = float(np.add.reduce(deviation))
    squares = float(np.add.reduce(deviation * deviation)) - left * left / flat.size
    return Moments(flat.size, mean, max(squares, 0.0), float(flat.min()), float(flat.max()))


def joined(parts: Sequence[Moments]) -> Moments:
    """Moments of all values of some samples, at least one sample.

    The sum of squares is that within the samples plus that between their means (Chan, Golub & LeVeque 1983,
    equation 2.1). Sums over samples are rounded once (`math.fsum`), so their order does not matter.
    """
    count = sum(part.count for part in parts)
    mean = math.fsum(part.count * part.mean for part in parts) / count
    within = math.fsum(part.squares for part in parts)
    between = math.fsum(part.count * (part.mean - mean) ** 2 for part in parts)
    low, high = min(part.low for part in parts), max(part.high for part in parts)
    return Moments(count, mean, within + between, low, high)
