"""How what a reduced basis and a transfer miss at a node grows with the field there."""

from dataclasses import dataclass

import numpy as np

KNOTS = 12
"""Knots of a growth curve."""

_LOWEST, _HIGHEST, _BINS = 1e-4, 1e3, 1400  # bins of 1.2 %: much finer than a group
_EDGES = np.geomspace(_LOWEST, _HIGHEST, _BINS - 1)


@dataclass(frozen=True)
class Growth:
    """g(u), piecewise linear through (knots, values), both (KNOTS,), and constant beyond the ends."""

    knots: np.ndarray
    values: np.ndarray

    def at(self, size: np.ndarray, scale: np.ndarray) -> np.ndarray:
        """g(|size| / scale), of the shape of `size`; scale (N,), in its units; g(0) where the scale is 0."""
        ratio = np.abs(size) / np.where(scale > 0.0, scale, 1.0)
        return np.asarray(np.interp(np.where(scale > 0.0, ratio, 0.0), self.knots, self.values))


class GrowthTally:
    """Gathers fields and the squares missed of them, a block at a time, and fits r_ij^2 = r_j^2 g(u_ij).

    u_ij = |s_ij| / scale_j. In groups of as many pairs (i, j) each, g = sum e_ij^2 / r_j over sum r_j, knot =
    mean u: a variance function by binned squares (Carroll, Ruppert 1988, Transformation and Weighting in
    Regression, chapter 3), each pair weighted by r_j, between one weight a node and one weight a square.

    scale (N,): root mean square of the field at each node; variance (N,): r_j^2, the mean of e_ij^2, in the
    square of its units. Nodes where either is 0 tell nothing and are left out.
    """

    def __init__(self, scale: np.ndarray, variance: np.ndarray) -> None:
        self._nodes = np.flatnonzero((scale > 0.0) & (variance > 0.0))
        self._scale, self._spread = scale[self._nodes], np.sqrt(variance[self._nodes])
        self._sums = np.zeros((4, _BINS))

    def add(self, size: np.ndarray, squares: np.ndarray) -> None:
        """Fields as the basis gives them and squares e_ij^2 of what it misses, both (s, N)."""
        ratio = np.abs(size[:, self._nodes]) / self._scale
        bins = np.searchsorted(_EDGES, ratio.ravel())
        expected = np.broadcast_to(self._spread, ratio.shape)
        found = squares[:, self._nodes] / self._spread
        for total, values in zip(self._sums, (np.ones_like(ratio), ratio, found, expected), strict=True):
            total += np.bincount(bins, values.ravel(), _BINS)

    def growth(self) -> Growth:
        """The fitted curve; 1 everywhere where nothing was gathered."""
        every = self._sums[0].sum()
        if every == 0.0:
            return Growth(np.zeros(KNOTS), np.ones(KNOTS))
        middle = np.cumsum(self._sums[0]) - 0.5 * self._sums[0]
        group = np.minimum((KNOTS * middle / every).astype(np.int64), KNOTS - 1)
        count, ratio, found, expected = (np.bincount(group, total, KNOTS) for total in self._sums)
        full = np.flatnonzero(count > 0.0)
        full = np.append(full, np.full(KNOTS - full.size, full[-1]))
        return Growth(ratio[full] / count[full], found[full] / expected[full])
