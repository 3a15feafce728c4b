"""Computes the stored coefficients from the exact integrals: python -m kernels.closures.bingham.build_tables.

In the plane in arithmetic of 60 digits, by mpmath, which torch brings (through sympy) and the closures do not
need; in space by quadrature in float64, all terms positive. Takes about a minute.
"""

from pathlib import Path

import mpmath
import numpy as np
from scipy import fft

from kernels.closures.bingham import spatial
from kernels.closures.bingham.exact import moments, solve
from kernels.closures.bingham.planar import MAP

_NODES = 80
_OUTER = (56, 48)
_INNER = (18, 12)


def planar_coefficients() -> np.ndarray:
    """Coefficients of b(t) in `planar`, from its values at 80 Chebyshev points; below 1e-17 left off."""
    with mpmath.workdps(60):
        nodes = [mpmath.cos(mpmath.pi * (2 * i + 1) / (2 * _NODES)) for i in range(_NODES)]
        values = np.array([float(_b(t)) for t in nodes])
    coefficients = fft.dct(values, type=2) / _NODES
    coefficients[0] /= 2.0
    return coefficients[: int(np.flatnonzero(np.abs(coefficients) > 1e-16)[-1]) + 1]


def _b(t: mpmath.mpf) -> mpmath.mpf:
    s = (1 - t) / 2
    v = MAP * s / (1 + MAP - s)
    r = mpmath.sqrt(1 - v)
    xi = _xi(r)
    x = 1 - v
    return ((1 - 2 * r / xi) / x - x) / v**2


def _xi(r: mpmath.mpf) -> mpmath.mpf:
    """Newton for I_1(xi) / I_0(xi) = r."""
    xi = r * (2 - r * r) / (1 - r * r)
    for _ in range(50):
        ratio = mpmath.besseli(1, xi) / mpmath.besseli(0, xi)
        step = (ratio - r) / (1 - ratio / xi - ratio**2)
        xi -= step
        if abs(step) < mpmath.mpf(10) ** -36 * xi:
            return xi
    raise ArithmeticError(f"no xi found for r = {r}")


def outer_coefficients(counts: tuple[int, int] = _OUTER) -> np.ndarray:
    """Coefficients (3, n, m) of k_12, k_13 + k_23, (k_13 - k_23) / w on the outer patch of `spatial`."""
    values = np.empty((3, *counts))
    top = (1.0 - spatial.U0) / (spatial.MAP + 1.0 - spatial.U0)
    for i, x in enumerate(_points(counts[0])):
        s = (1.0 - x) / 2.0 * top
        v = spatial.MAP * s / (1.0 - s)
        for j, y in enumerate(_points(counts[1])):
            q = (1.0 - y) / 2.0
            w = np.sqrt(1.0 - spatial.MAP * q / (1.0 + spatial.MAP - q))
            mu3 = v / 3.0
            k12, k13, k23 = _factors(mu3, (1.0 - mu3 - w * (1.0 - v)) / 2.0)
            values[:, i, j] = k12, k13 + k23, (k13 - k23) / w
    return _transformed(values)


def inner_coefficients(counts: tuple[int, int] = _INNER) -> np.ndarray:
    """Coefficients (1, n, m) of k_ij in mu_k and (mu_i - mu_j)^2 on the inner patch of `spatial`."""
    values = np.empty((1, *counts))
    for i, x in enumerate(_points(counts[0])):
        muk = (1.0 - spatial.U0 * (1.5 * x - 0.5)) / 3.0
        for j, y in enumerate(_points(counts[1])):
            gap = spatial.U0 * np.sqrt((1.0 + y) / 2.0)
            mu = np.array([(1.0 - muk + gap) / 2.0, (1.0 - muk - gap) / 2.0, muk])
            order = np.argsort(mu)  # the k-th smallest is left out of the pair
            values[0, i, j] = _factors(*mu[order[:2]])[int(np.flatnonzero(order == 2)[0])]
    return _transformed(values)


def _factors(mu3: float, mu2: float) -> tuple[float, float, float]:
    """k_12, k_13, k_23 of sorted moments."""
    m1, m2, m3, s12, s13, s23 = moments(*solve(float(mu2), float(mu3)))
    return s12 / (m1 * m2), s13 / (m1 * m3), s23 / (m2 * m3)


def _points(count: int) -> np.ndarray:
    return np.cos(np.pi * (np.arange(count) + 0.5) / count)


def _transformed(values: np.ndarray) -> np.ndarray:
    found = fft.dctn(values, type=2, axes=(1, 2)) / (values.shape[1] * values.shape[2])
    found[:, 0] /= 2.0
    found[:, :, 0] /= 2.0
    return found


def main() -> None:
    """Writes the tables beside this file."""
    here = Path(__file__)
    np.savez(here.with_name("planar.npz"), coefficients=planar_coefficients())
    np.savez(here.with_name("spatial.npz"), outer=outer_coefficients(), inner=inner_coefficients())


if __name__ == "__main__":
    main()
