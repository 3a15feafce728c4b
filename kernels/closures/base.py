"""The one face of all closures in the plane: from the moments that a coarse model has to the one it lacks."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from torch import Tensor, nn

from kernels.closures.physics import Physics

if TYPE_CHECKING:
    from kernels.fields.periodic import PeriodicSquare


@dataclass(frozen=True)
class Moments:
    """What a coarse model knows, on points (...) or on grids (..., n, n): c (real), z_2 and the deviator of
    the strain rate (complex), float64; `grid` where closures that look at neighbours are asked."""

    c: Tensor
    z2: Tensor
    strain: Tensor
    grid: "PeriodicSquare | None" = None


class Closure(nn.Module):
    """A rule z_4 = f(c, z_2, e; physics), see `kernels.closures.harmonics`.

    Every closure is frame-indifferent, f(c, z_2 e^{2 i phi}, e e^{2 i phi}) = f e^{4 i phi}, and mirrored,
    f(conj) = conj f, at a point; every one but `quadratic` stays in the disc of moments that a nonnegative
    psi can have. local: looks at one point. strain_aware: looks at e.
    """

    local: ClassVar[bool] = True
    strain_aware: ClassVar[bool] = False

    @abstractmethod
    def forward(self, moments: Moments, physics: Physics) -> Tensor:
        """z_4, complex, of the shape of z_2."""
