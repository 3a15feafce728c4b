"""Draws of independent normal variables with exact first and second moments, seeded by position."""

import numpy as np
from scipy.linalg import solve_triangular
from scipy.special import ndtri

from kernels.errors import InputError


def standard_normals(count: int, dimensions: int, seed: int, position: int) -> np.ndarray:
    """Normal draws (count, dimensions) whose sample mean is 0 and sample covariance I, to rounding.

    z = Phi^-1(u), u a scrambled Sobol sequence (Owen 1998, J. Complexity 14), then z <- (z - mean) L^-T with
    L L^T the sample covariance (divisor count): moment matching (Boyle, Broadie, Glasserman 1997, section
    3.2). Every linear map of the draws therefore has its closed-form mean and variance. The scrambling is
    seeded by (seed, position): neither the number of workers nor the order of the calls changes a draw.

    Raises InputError for count <= dimensions, where no such draws exist. Not handled: more than 21201
    dimensions; the tails follow the normal law only as far as `count` allows.
    """
    if count <= dimensions or count < 2:
        raise InputError(
            f"{count} draws of {dimensions} normal variables; their covariance can only be matched with "
            "more draws "
            f"than variables: ask for at least {max(4 * dimensions, 64)}"
        )
    if dimensions == 0:
        return np.empty((count, 0))
    from scipy.stats import qmc  # a third of a second, for those who draw

    generator = np.random.default_rng((seed, position))
    sequence = qmc.Sobol(dimensions, scramble=True, rng=generator)
    uniform = sequence.random_base2(int(np.ceil(np.log2(count))))[:count]
    half = 0.5**33  # half a cell of the 32-bit sequence keeps Phi^-1 finite at 0 and 1
    normal = ndtri(np.clip(uniform, half, 1.0 - half))
    normal -= normal.mean(axis=0)
    factor = np.linalg.cholesky(normal.T @ normal / count)
    return np.ascontiguousarray(solve_triangular(factor, normal.T, lower=True).T)


def draws(mean: np.ndarray, std: np.ndarray, count: int, seed: int, position: int) -> np.ndarray:
    """Draws (count, k) of independent N(mean_k, std_k^2), x = mean + std z, z from `standard_normals`.

    mean and std (k,) in any units. Sample mean and variance (divisor count) equal mean and std^2 to
    rounding. Raises InputError for count <= k, shapes that differ and a negative std. Does not handle
    correlated variables.
    """
    mean, std = np.asarray(mean, dtype=np.float64), np.asarray(std, dtype=np.float64)
    if mean.ndim != 1 or mean.shape != std.shape or (std < 0.0).any():
        raise InputError(
            f"mean of shape {mean.shape} and std of shape {std.shape}, smallest std "
            f"{std.min(initial=0.0):g}; expected two "
            "vectors of one length and std >= 0"
        )
    return mean + std * standard_normals(count, mean.size, seed, position)
