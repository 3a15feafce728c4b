"""Quadratic closure in the plane: S from a product of D with itself, exact where all are aligned."""

from torch import Tensor

from kernels.closures.base import Closure, Moments
from kernels.closures.physics import Physics


class Quadratic(Closure):
    """S:A = D (D:A) / c for every symmetric A (Doi, J. Polym. Sci. Polym. Phys. Ed. 19, 229 (1981)).

    As harmonics: z_4 = z_2^2 / c, and |z_2|^2 / c takes the place of c as the factor of a (`isotropic`), so
    the trace of S:A stays D:A but S is not a symmetric tensor: S_ijij is D:D / c instead of c. S:A is
    therefore of second order about isotropy, where it should be c A / 4, and small disturbances grow with

        longitudinal s = 2 zeta - 4 d_R - d_T k^2,
        transverse   s = 2 zeta + (zeta beta - alpha) / 2 - 4 d_R - d_T k^2,

    not with the rates of the kinetic model. The nematic state without flow has r^2 = 1 - 2 d_R / zeta and
    begins at zeta = 2 d_R, half of the kinetic value. The same z_4 with c left in its place is a symmetric S
    with the kinetic rates: the natural closure, see `kernels.closures.natural`.
    """

    realizable = False

    def forward(self, moments: Moments, physics: Physics) -> Tensor:
        """z_2^2 / c."""
        found: Tensor = moments.z2 * moments.z2 / moments.c
        return found

    def isotropic(self, moments: Moments) -> Tensor:
        """|z_2|^2 / c."""
        z2 = moments.z2
        found: Tensor = (z2.real**2 + z2.imag**2) / moments.c
        return found
