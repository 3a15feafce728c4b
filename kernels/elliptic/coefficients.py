"""Coefficients a of -div(a grad u) = f, from random fields and random factors."""

import numpy as np

from kernels.errors import InputError


def log_normal(g: np.ndarray, amplitude: float) -> np.ndarray:
    """Smooth: a = exp(amplitude g) of a random field g (Charrier, SIAM J. Numer. Anal. 50, 2012)."""
    return np.exp(amplitude * g)


def two_valued(g: np.ndarray, low: float, contrast: float) -> np.ndarray:
    """Rough: a = low where g < 0, contrast * low elsewhere (Li et al. 2021, appendix A.3.2: 3 and 12)."""
    return np.where(g < 0.0, low, contrast * low)


def check_factors(cells: int, factors: int) -> None:
    """Raise InputError where `multiscale` has waves shorter than four of the cells along x1."""
    shortest = 2.0 / (4.5 * 2.0 ** (factors - 1))
    if cells * shortest < 4.0:
        raise InputError(
            f"{cells} cells along x1 for waves of length {shortest:.3g}, expected at least "
            f"{int(np.ceil(4.0 / shortest))}: raise refine or resolution, or lower modes ({factors} factors)"
        )


def multiscale(x1: np.ndarray, x2: np.ndarray, factors: int, random: np.random.Generator) -> np.ndarray:
    """Multiscale: a = product over k of (1 + cos(b_k pi (x1 + x2)) / 2) (1 + sin(b_k pi (x2 - 3 x1)) / 2).

    b_k uniform in [2^(k-1), 1.5 * 2^(k-1)], k = 1 ... factors, a (len(x1), len(x2)): the trigonometric
    coefficient of Liu, Xu, Cao, Zhang (Mitigating spectral bias for the multiscale operator learning, J.
    Comput. Phys. 506, 2024), after Owhadi (2017), which the paper of MgNO uses. The shortest wave along x1 is
    2 / (4.5 * 2^(factors - 1)) long. Raises InputError where the grid has fewer than four points in it.
    """
    check_factors(len(x1), factors)
    a = np.ones((len(x1), len(x2)))
    for k in range(factors):
        b = np.pi * 2.0**k * (1.0 + 0.5 * random.random())
        a *= 1.0 + 0.5 * np.cos(b * (x1[:, None] + x2))
        a *= 1.0 + 0.5 * np.sin(b * (x2 - 3.0 * x1[:, None]))
    return a
