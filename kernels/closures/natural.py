"""Natural closure in the plane: exact for particles that were isotropic once and have not diffused since."""

from typing import Any

from torch import Tensor

from kernels.closures.base import Closure, Moments
from kernels.closures.physics import Physics

Field = Any
"""A numpy array or a torch tensor."""


class Natural(Closure):
    """z_4 = z_2^2 / c (Verleye, Dupret, Developments in Non-Newtonian Flows, ASME AMD 175, 139 (1993)).

    Without diffusion a flow turns slender particles from isotropy to psi = c / (2 pi p.B.p), B symmetric
    with det B = 1 (Dinh, Armstrong, J. Rheol. 28, 207 (1984)). In space its moments are elliptic integrals;
    in the plane p.B.p = (1 + rho^2 - 2 rho cos 2 (theta - om)) / (1 - rho^2), so psi is a Poisson kernel
    and z_{2 k} = c rho^k e^{2 i k om}: the closure is algebraic, and makes the hierarchy of moments exact.

    z_4 is the centre of the disc of moments that a nonnegative psi can have. S is symmetric, so growth rates
    about isotropy are those of the kinetic model; the nematic state without flow has r^2 = 1 - 4 d_R / zeta.
    """

    def forward(self, moments: Moments, physics: Physics) -> Tensor:
        """z_2^2 / c."""
        found: Tensor = moments.z2 * moments.z2 / moments.c
        return found


def fourth_moment(mu1: Field) -> Field:
    """S_1111 in the eigenframe of D (c = 1) for its larger eigenvalue mu1 in [1/2, 1]: mu1 (1 + mu1) / 2."""
    return mu1 * (1.0 + mu1) / 2.0
