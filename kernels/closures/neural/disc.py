"""The unit disc of second Verblunsky coefficients: where the fourth moment lies, given the second.

With q = z_2 / c, the moments of a nonnegative psi are those with z_4 / c = q^2 + (1 - |q|^2) w, |w| <= 1
(Simon 2005, Orthogonal polynomials on the unit circle, section 1.3: w is the second Verblunsky coefficient
up to sign, q the first). So a closure is a map into the unit disc, and what two of them have to say is put
together by the disc's own addition, which cannot leave it.
"""

import torch
from torch import Tensor

from kernels.closures.bingham.planar import MAP, series

TOLERANCE = 1e-13
"""Of the Bingham closure, relative to c."""


def squash(v: Tensor) -> Tensor:
    """v / sqrt(1 + |v|^2): the plane into the disc, smooth, the identity to second order."""
    return v * torch.rsqrt(1.0 + v.real**2 + v.imag**2)


def joined(first: Tensor, second: Tensor) -> Tensor:
    """(a + b) / (1 + conj(a) b), the translation of the disc by a: |.| < 1 where both are, a for b = 0.

    1 - |.|^2 = (1 - |a|^2) (1 - |b|^2) / |1 + conj(a) b|^2. Charge and mirror of a and b are kept.
    """
    return (first + second) / (1.0 + first.conj() * second)


def bingham(q: Tensor) -> Tensor:
    """The coefficient w of the Bingham closure: q^2 (v b - 1), v = 1 - |q|^2, b of `bingham.planar`; -q^2
    where |q| > 1, which no distribution has."""
    v = torch.clamp(1.0 - q.real**2 - q.imag**2, min=0.0)
    b = series(TOLERANCE)(1.0 - (2.0 + 2.0 * MAP) * v / (MAP + v))
    return q * q * (v * b - 1.0)
