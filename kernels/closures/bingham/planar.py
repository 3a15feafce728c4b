"""Bingham closure in the plane: one series in one variable, exact at isotropy and at full alignment.

psi = c exp(xi cos 2 (theta - om)) / (2 pi I_0(xi)) has r = |z_2| / c = I_1(xi) / I_0(xi) and |z_4| / c =
I_2(xi) / I_0(xi) = 1 - 2 r / xi (Weady, Stein, Shelley, Phys. Rev. Fluids 7, 063301 (2022)). With x = r^2,
v = 1 - x it is written

    z_4 = (z_2^2 / c) (x + v^2 b),    b = 1 / 2 at isotropy, 0 where all are aligned,

which needs no eigenvectors and stays among the moments of a nonnegative psi for every b in [-1, 2], that is
however few terms b has: |z_4 / c - z_2^2 / c^2| = v x |1 - v b| <= v. b is a Chebyshev series in t = 1 - 2 s,
s = (1 + K) v / (K + v): an even function of r, so one of x. At full alignment b is smooth but not analytic
(its series in 1 / xi diverges), and the map brings the points near there: half of the degree that a series
in r, or in mu_1 = (1 + r) / 2, takes.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kernels.closures.base import Closure, Moments
from kernels.closures.bingham.chebyshev import Series, truncated
from kernels.closures.physics import Physics
from kernels.errors import InputError

Field = Any
"""A numpy array or a torch tensor."""

TOLERANCE = 1e-15
MAP = 0.3
"""K of the map."""
_WEIGHT = 4.0 / 27.0  # the largest x v^2: what an error of b does to z_4 / c


@lru_cache(maxsize=16)
def series(tolerance: float = TOLERANCE) -> Series:
    """b(t), with the terms that z_4 / c needs to be within the tolerance; see `build_tables`.

    Raises InputError where the tolerance is not positive.
    """
    if not tolerance > 0.0:
        raise InputError(f"the tolerance is {tolerance!r}, expected a positive number such as 1e-12")
    with np.load(Path(__file__).with_name("planar.npz")) as stored:
        return Series(truncated(stored["coefficients"], tolerance / _WEIGHT))


def fourth_harmonic(c: Field, z2: Field, tolerance: float = TOLERANCE) -> Field:
    """z_4 of the Bingham distribution of moments c > 0 and z_2 (complex), arrays or tensors that broadcast.

    Where |z_2| > c, which no distribution has, z_4 is that of full alignment, c (z_2 / |z_2|)^2.
    """
    x = (z2.real**2 + z2.imag**2) / (c * c)
    return z2 * z2 * (_factor(x, tolerance) / c)


def fourth_moment(mu1: Field, tolerance: float = TOLERANCE) -> Field:
    """S_1111 in the eigenframe of D (c = 1) for its larger eigenvalue mu1, array or tensor in [1/2, 1].

    S_1122 = mu1 - S_1111, S_2222 = 1 - 2 mu1 + S_1111, the others are zero. Raises InputError for mu1
    outside.
    """
    mu1 = mu1 if isinstance(mu1, Tensor) else np.asarray(mu1, dtype=np.float64)
    if not bool(((mu1 >= 0.5) & (mu1 <= 1.0)).all()):
        raise InputError(
            "mu1 has values outside [0.5, 1], expected the larger eigenvalue of D / c: sort them"
        )
    r = 2.0 * mu1 - 1.0
    x = r * r
    return (3.0 + 4.0 * r + x * _factor(x, tolerance)) / 8.0


def _factor(x: Field, tolerance: float) -> Field:
    """z_4 c / z_2^2 from x = (|z_2| / c)^2."""
    where = torch.where if isinstance(x, Tensor) else np.where
    over = x > 1.0
    v = where(over, 0.0 * x, 1.0 - x)
    b = series(tolerance)(1.0 - (2.0 + 2.0 * MAP) * v / (MAP + v))
    return where(over, 1.0 / where(over, x, 0.0 * x + 1.0), 1.0 - v + v * v * b)


@dataclass(frozen=True)
class BinghamSettings:
    """tolerance: largest error of z_4 / c; degree 53 for 1e-15, 40 for 1e-12, 17 for 1e-6."""

    tolerance: float = TOLERANCE


class Bingham(Closure):
    """The closure of the least informative psi, exact about isotropy, where aligned, and in nematic states
    without flow."""

    def __init__(self, settings: BinghamSettings | None = None) -> None:
        super().__init__()
        self.settings = settings or BinghamSettings()
        series(self.settings.tolerance)

    def forward(self, moments: Moments, physics: Physics) -> Tensor:
        """z_4, see `fourth_harmonic`."""
        found: Tensor = fourth_harmonic(moments.c, moments.z2, self.settings.tolerance)
        return found
