"""The one face of all closures in the plane: from the moments that a coarse model has to the one it lacks."""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from torch import Tensor, nn

from kernels.closures.physics import Physics

if TYPE_CHECKING:
    from kernels.fields.periodic import PeriodicSquare


@dataclass(frozen=True)
class Moments:
    """What a coarse model knows, on points (...) or on grids (..., n, n): c (real), z_2 and the deviator of
    the strain rate (complex), float64; `grid` where closures that look at neighbours are asked.

    kept: what a closure has made of c and z_2 alone, by name, for those who ask again at this state with
    another strain rate: they hand on a dictionary that is of no other state. None: nothing is kept.
    """

    c: Tensor
    z2: Tensor
    strain: Tensor
    grid: "PeriodicSquare | None" = None
    kept: dict[str, Tensor] | None = None


class Closure(nn.Module):
    """A rule z_4 = f(c, z_2, e; physics), see `kernels.closures.harmonics`.

    Every closure is frame-indifferent, f(c, z_2 e^{2 i phi}, e e^{2 i phi}) = f e^{4 i phi}, and mirrored,
    f(conj) = conj f, at a point. local: looks at one point. strain_aware: looks at e. realizable: S is that
    of a nonnegative psi, whatever the weights, so f stays in the disc of such moments (`harmonics.excess`).
    What a coarse model needs of S is

        deviator of S:A = (tr A z_2 + conj(a) f + a g) / 4,    a = deviator of A,

    with g = `isotropic`, which is c wherever S is a symmetric tensor of trace D, that is for all closures
    but `quadratic`. The moment equation reads d_t z_2 = ... + (2 c - g) t - conj(t) f for any g.
    """

    local: ClassVar[bool] = True
    strain_aware: ClassVar[bool] = False
    realizable: ClassVar[bool] = True

    @abstractmethod
    def forward(self, moments: Moments, physics: Physics) -> Tensor:
        """z_4, complex, of the shape of z_2."""

    def frozen(self, physics: Physics) -> Callable[[Moments], Tensor]:
        """The same rule for who asks often, without gradients, while neither weights nor physics change: what
        follows from these is made once."""
        return lambda moments: self(moments, physics)

    def isotropic(self, moments: Moments) -> Tensor:
        """g (real), the part of S:A that is along A: c, unless the closure breaks the symmetry of S."""
        return moments.c

    def contract(self, moments: Moments, physics: Physics, trace: Tensor, deviator: Tensor) -> Tensor:
        """Deviator of S:A for a symmetric A of this trace (real) and deviator (complex); its trace is D:A."""
        z4, g = self(moments, physics), self.isotropic(moments)
        found: Tensor = (trace * moments.z2 + deviator.conj() * z4 + deviator * g) / 4.0
        return found
