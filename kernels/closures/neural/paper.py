"""The architecture of Maddu, Weady and Shelley, without what the other families have by construction."""

from torch import Tensor

from kernels.closures import harmonics
from kernels.closures.base import Moments
from kernels.closures.neural.network import Perceptron
from kernels.closures.neural.pointwise import Neural
from kernels.closures.neural.settings import PaperSettings
from kernels.closures.physics import Physics


class Paper(Neural):
    """S:T = (a_0 + 2 zeta b_0) I + (a_1 + 2 zeta b_1) D + a_2 E; a, b: network of tr D.D, tr E.E, tr D.E.

    J. Comput. Phys. 2024, section 3, and the code of its authors. The trace of S:T is D:T and needs no
    network, so a_0 and b_0 are not here. Frame-indifferent; not realizable, and growth about isotropy is
    what training makes of it. As a rule for z_4 it has to divide by the deviator of T: z_4 is taken as t x /
    (|t|^2 + 1e-12), so that the contraction with T is the network's wherever |t| is well above 1e-6.
    """

    family = "paper"
    strain_aware = True
    realizable = False
    invariants = 3
    terms = 3
    settings: PaperSettings

    def _make(self, inputs: int) -> None:
        self.network = Perceptron(inputs, self.terms, self.settings.width, self.settings.depth, "sine")

    def seen(self, q: Tensor, moments: Moments) -> tuple[list[Tensor], list[Tensor]]:
        """tr D.D, tr E.E, tr D.E; deviators of D, twice, and of E, for their scales alone."""
        z2, e, c = moments.z2, moments.strain, moments.c
        scalars = [
            (c * c + z2.real**2 + z2.imag**2) / 2.0, 2.0 * (e.real**2 + e.imag**2),
            z2.real * e.real + z2.imag * e.imag,
        ]  # fmt: skip
        return scalars, [z2 / 2.0, z2 / 2.0, e]

    def forward(self, moments: Moments, physics: Physics) -> Tensor:
        """z_4 of which the contraction with T is what the network says."""
        z2 = moments.z2
        scalars, _ = self.seen(z2, moments)
        a = self.coefficients(self.inputs(scalars, physics)) / self.term_scale
        deviator = (a[..., 0] + 2.0 * physics.zeta * a[..., 1]) * z2 / 2.0 + a[..., 2] * moments.strain
        t = harmonics.driving(moments.strain, z2, physics.zeta)
        rest = 4.0 * deviator - 2.0 * physics.zeta * moments.c * z2 - t * moments.c
        found: Tensor = t * rest / (t.real**2 + t.imag**2 + 1e-12)
        return found
