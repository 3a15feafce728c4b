"""Computes the stored coefficients from the exact integrals: python -m kernels.closures.bingham.build_tables.

In arithmetic of 60 digits, by mpmath, which torch brings (through sympy); the closures do not need it.
"""

from pathlib import Path

import mpmath
import numpy as np
from scipy import fft

from kernels.closures.bingham.planar import MAP

_NODES = 80


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


def main() -> None:
    """Writes the tables beside this file."""
    np.savez(Path(__file__).with_name("planar.npz"), coefficients=planar_coefficients())


if __name__ == "__main__":
    main()
