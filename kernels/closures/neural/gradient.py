"""Learned closure that also looks at derivatives of q."""

import torch
from torch import Tensor

from kernels.closures.base import Moments
from kernels.closures.neural.pointwise import Neural, strain_seen
from kernels.closures.neural.settings import GradientSettings
from kernels.errors import InputError
from kernels.fields.periodic import PeriodicSquare


class Gradient(Neural):
    """Strain-aware, and with derivatives of q: w from the terms below, coefficients of the invariants below.

    d = d_x + i d_y has charge 1, its conjugate -1, so dq has charge 3, d*q (the divergence) 1, Lap q 2, ddq
    4. Terms: q^2, q e, e^2, q Lap q, e Lap q, (dq)(d*q), |q|^2 ddq, |e|^2 ddq; ddq alone would change growth
    about isotropy. Invariants: |q|^2, |e|^2, Re conj(q) e, |dq|^2, |d*q|^2, Re conj(q) Lap q, Re conj(e) Lap
    q, Re d*d*q.
    """

    family = "gradient"
    local = False
    strain_aware = True
    invariants = 8
    terms = 8
    settings: GradientSettings

    def seen(self, q: Tensor, moments: Moments) -> tuple[list[Tensor], list[Tensor]]:
        """As in the class."""
        up, down, twice, laplacian, inner = combined(self.slopes(q, moments))
        e = moments.strain
        scalars, terms = strain_seen(q, e)
        scalars += [
            up.real**2 + up.imag**2, down.real**2 + down.imag**2,
            (q.conj() * laplacian).real, (e.conj() * laplacian).real, inner.real,
        ]  # fmt: skip
        terms += [q * laplacian, e * laplacian, up * down, scalars[0] * twice, scalars[1] * twice]
        return scalars, terms

    def slopes(self, q: Tensor, moments: Moments) -> Tensor:
        """`derivatives`, made once for a state where its asker keeps them, as its Stokes solves do."""
        if moments.kept is None:
            return derivatives(q, grid_of(self.family, moments))
        if "slopes" not in moments.kept:
            moments.kept["slopes"] = derivatives(q, grid_of(self.family, moments))
        return moments.kept["slopes"]


def grid_of(family: str, moments: Moments) -> PeriodicSquare:
    """The grid of moments; raises InputError where they have none."""
    grid = moments.grid
    if grid is None or moments.z2.shape[-2:] != (grid.points, grid.points):
        raise InputError(
            f"{family!r} looks at neighbours and was given moments of shape {tuple(moments.z2.shape)} "
            f"{'without a grid' if grid is None else f'for a grid of {grid.points} points'}: give it fields "
            "(..., n, n) and their PeriodicSquare"
        )
    return grid


def derivatives(q: Tensor, grid: PeriodicSquare) -> Tensor:
    """d_x, d_y, d_xx - d_yy, 2 d_xy, Lap of the real and the imaginary part of q, (5, 2, ..., n, n) real."""
    both = grid.forward(torch.stack((q.real, q.imag)))
    factors = grid.curvatures.reshape(5, *[1] * (both.dim() - 2), *both.shape[-2:])
    found: Tensor = grid.backward(both * factors)
    return found


def combined(slopes: Tensor) -> tuple[Tensor, ...]:
    """dq, d*q, ddq, Lap q, d*d*q, complex, d = d_x + i d_y, from `derivatives`."""
    (rx, sx), (ry, sy), (rd, sd), (rm, sm), (rl, sl) = slopes
    return (
        torch.complex(rx - sy, ry + sx), torch.complex(rx + sy, sx - ry), torch.complex(rd - sm, rm + sd),
        torch.complex(rl, sl), torch.complex(rd + sm, sd - rm),
    )  # fmt: skip
