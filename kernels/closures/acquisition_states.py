"""How far closures disagree at parameters that nobody has simulated, on states that are likely there."""

from collections.abc import Sequence

import torch
from torch import Tensor

from kernels.closures import harmonics
from kernels.closures.acquisition import relative_variance
from kernels.closures.base import Closure, Moments
from kernels.closures.coarse import Coarse
from kernels.closures.physics import Physics

_SOLVES = 5
"""Stokes solves for the strain rate of a state; the error falls by 20 with each."""


def disagreement(
    closures: Sequence[Closure], c: Tensor, z2: Tensor, physics: Physics, base: Closure | None = None
) -> float:
    """Relative variance of the deviator of S:T over closures, on states c, z2 (B, n, n) at these parameters.

    All are asked at one strain rate, the mean of what their own stresses drive: the flow of a state follows
    from the parameters, so states of other parameters may be used. See `acquisition.relative_variance`; base:
    the closure whose field is the base there.
    """
    points = z2.shape[-1]
    with torch.no_grad():
        strains = []
        for closure in closures:
            model = Coarse(closure, points, physics.length, 1.0)
            known = model.rates(c, z2, physics).solve(c, z2, torch.zeros_like(z2), _SOLVES)
            strains.append(torch.view_as_real(known.flow.strain))
        mean = torch.stack(strains).sort(dim=0).values.mean(0)  # in any order of members to the same bits
        strain = torch.view_as_complex(mean.contiguous())
        moments = Moments(c, z2, strain, model.grid)
        t = harmonics.driving(strain, z2, physics.zeta)
        asked = [*closures, *([] if base is None else [base])]
        found = torch.stack([one.contract(moments, physics, 2.0 * physics.zeta * c, t) for one in asked])
    members = found.numpy()
    if base is None:
        return relative_variance(members)
    return relative_variance(members[:-1], members[-1])


def moved_on(
    closures: Sequence[Closure], c: Tensor, z2: Tensor, physics: Physics, time: float, time_step: float
) -> tuple[Tensor, Tensor]:
    """c and z2 (M, B, n, n) a time later, by the coarse model with each of M closures.

    The numbers of `physics` may be (B, 1, 1). The step is `time_step`, or half of what is stable where that
    is less; a run that does not stay sound gives its last sound state.
    """
    later = []
    for closure in closures:
        model = Coarse(closure, z2.shape[-1], physics.length, time_step)
        step = min(time_step, 0.5 * float(model.limit(c, z2, physics).min()))
        count = max(1, round(time / step + 0.5))
        run = Coarse(closure, z2.shape[-1], physics.length, time / count).run(c, z2, physics, [time])
        later.append((run.last_c, run.last_z2))
    return torch.stack([one for one, _ in later]), torch.stack([one for _, one in later])
