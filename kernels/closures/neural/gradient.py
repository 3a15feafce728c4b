"""Learned closure that also looks at derivatives of q."""

from torch import Tensor

from kernels.closures.base import Moments
from kernels.closures.neural.pointwise import Neural, strain_scalars, strain_terms
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

    def _scalars(self, q: Tensor, moments: Moments) -> list[Tensor]:
        up, down, _, laplacian, inner = derivatives(q, grid_of(self.family, moments))
        e = moments.strain
        return [
            *strain_scalars(q, e), up.real**2 + up.imag**2, down.real**2 + down.imag**2,
            (q.conj() * laplacian).real, (e.conj() * laplacian).real, inner.real,
        ]  # fmt: skip

    def _basis(self, q: Tensor, moments: Moments) -> list[Tensor]:
        up, down, twice, laplacian, _ = derivatives(q, grid_of(self.family, moments))
        e = moments.strain
        return [
            *strain_terms(q, e), q * laplacian, e * laplacian, up * down,
            (q.real**2 + q.imag**2) * twice, (e.real**2 + e.imag**2) * twice,
        ]  # fmt: skip


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


def derivatives(q: Tensor, grid: PeriodicSquare) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """dq, d*q, ddq, Lap q, d*d*q, complex, d = d_x + i d_y, of a complex field on a torch grid."""
    real, imag = grid.forward(q.real), grid.forward(q.imag)
    pairs = [grid.gradient(one) for one in (real, imag)]
    (rx, ry), (sx, sy) = [(grid.backward(x), grid.backward(y)) for x, y in pairs]
    seconds = []
    for x, y in pairs:
        (xx, xy), (_, yy) = grid.gradient(x), grid.gradient(y)
        seconds.append((grid.backward(xx - yy), grid.backward(2.0 * xy), grid.backward(xx + yy)))
    (rd, rm, rl), (sd, sm, sl) = seconds
    up, down = (rx - sy) + 1j * (ry + sx), (rx + sy) + 1j * (sx - ry)
    twice, inner = (rd - sm) + 1j * (rm + sd), (rd + sm) + 1j * (sd - rm)
    return up, down, twice, rl + 1j * sl, inner
