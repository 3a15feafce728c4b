"""The coarse model of an active suspension in the plane, with any closure, differentiable."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from kernels.closures.base import Closure
from kernels.closures.coarse_checks import check_fields, check_physics, check_step, stable_step
from kernels.closures.coarse_rates import ROUGH, Known, Multipliers, Rates
from kernels.closures.coarse_run import Run, advance, stream
from kernels.closures.physics import Physics
from kernels.errors import InputError
from kernels.fields.exponential import Etdrk2, Etdrk4
from kernels.fields.imex import Ars222, Sbdf2
from kernels.fields.periodic import PeriodicSquare

STEPPERS: dict[str, Any] = {"sbdf2": Sbdf2, "ars222": Ars222, "etdrk2": Etdrk2, "etdrk4": Etdrk4}
Stepper = Literal["sbdf2", "ars222", "etdrk2", "etdrk4"]


class Coarse(nn.Module):
    """Moment equations of apolar active particles in Stokes flow, closed by z_4 = f(c, z_2, e):

    c_t + u.grad c = d_T Lap c,
    z_2_t + u.grad z_2 = i omega z_2 + t c - conj(t) z_4 - 4 d_R z_2 + d_T Lap z_2,   t = e + zeta z_2,
    -Lap u + grad q = div sigma,  div u = 0,  mean u = 0,  sigma as in `harmonics.stress`

    (Maddu, Weady, Shelley, J. Comput. Phys. 2024, eq. 12-15 in complex form). Pseudo-spectral on n x n points
    of a square of side L, waves from n / 3 on of the nonlinear terms dropped; diffusion is implicit
    (`sbdf2`, `ars222`) or exact (`etdrk2`, `etdrk4`). Fields are (B, n, n): c real, z_2 complex. Numbers of
    `Physics` are floats or tensors (B, 1, 1), so runs of other numbers share a batch, and may require
    gradients. iterations: Stokes solves of a rate, whose stress has the strain rate in it; None: as
    many as keep extrapolation in time stable (sbdf2; 2 for beta c = 0.8), else 7; what is handed out is
    solved to rounding. compiled: steps of `run` by `sbdf2` on the CPU in compiled loops. Raises InputError
    for numbers out of range.
    """

    def __init__(
        self,
        closure: Closure,
        points: int,
        length: float,
        time_step: float,
        stepper: Stepper = "sbdf2",
        iterations: int | None = None,
        compiled: bool = True,
    ) -> None:
        super().__init__()
        if stepper not in STEPPERS:
            raise InputError(f"stepper is {stepper!r}, expected one of {', '.join(STEPPERS)}")
        if not (math.isfinite(time_step) and time_step > 0.0):
            raise InputError(f"time_step is {time_step!r}, expected a positive number")
        if iterations is not None and iterations < 1:
            raise InputError(f"iterations is {iterations}, expected at least 1")
        self.closure, self.time_step, self.method = closure, float(time_step), STEPPERS[stepper]
        self.multistep = self.method.evaluations == 1
        self.iterations, self.compiled = iterations, compiled
        self.grid = PeriodicSquare(points, length, "torch")
        self._multipliers: dict[torch.device, Multipliers] = {}

    def rates(self, c: Tensor, z2: Tensor, physics: Physics) -> Rates:
        """Right-hand side for runs that start from these fields (B, n, n)."""
        if z2.device not in self._multipliers:
            self._multipliers[z2.device] = Multipliers(self.grid, z2.device)
        found = c.detach()
        largest, uniform = found.amax(dim=(-2, -1), keepdim=True), None
        if not c.requires_grad and bool((found == largest).all()):
            uniform = largest
        return Rates(
            self.closure, self.grid, self._multipliers[z2.device], physics, largest, self.iterations, uniform,
            self.multistep,
        )  # fmt: skip

    def look(self, c: Tensor, z2: Tensor, physics: Physics) -> Known:
        """z_4 and the flow of fields (B, n, n), solved to rounding; differentiable."""
        c, z2 = self._checked(c, z2, physics)
        return self.rates(c, z2, physics).solve(c, z2, torch.zeros_like(z2))

    def limit(self, c: Tensor, z2: Tensor, physics: Physics) -> Tensor:
        """Largest stable time step (B,) at these fields, see `coarse_checks.stable_step`."""
        c, z2 = self._checked(c, z2, physics)
        with torch.no_grad():
            known = self.rates(c, z2, physics).solve(c, z2, torch.zeros_like(z2), ROUGH)
        return stable_step(self.method, known, physics, self.grid.points, self.grid.length)

    def forward(
        self, c: Tensor, z2: Tensor, physics: Physics, steps: int, every: int = 1,
        segment: int | None = None, stability: bool = True,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """c and z_2 (B, steps / every, n, n) after every, 2 every, ... steps from fields (B, n, n).

        Where gradients are asked for, the graph of `segment` steps at a time is held (None: about the root
        of `steps`; 0: of all) and computed again in the backward pass, with the same bits. Raises InputError
        for fields that are not finite, of another grid or with c <= 0, and, unless `stability` is left out
        where fields close to these were looked at, for an unstable time step.
        """
        c, z2 = self._checked(c, z2, physics)
        if steps < 1 or every < 1 or steps % every:
            raise InputError(
                f"steps is {steps} and every {every}, expected steps to be a multiple of every, from 1"
            )
        if stability:
            check_step(self.limit(c, z2, physics), self.time_step)
        rates = self.rates(c, z2, physics)
        stepper = self.method.of(rates.linear(), self.time_step)
        length = segment or (steps if segment == 0 else max(1, math.isqrt(steps)))
        state: tuple[Tensor, ...] = (rates.joined(c, z2),)
        history: list[Tensor] = []
        frames: list[Tensor] = []
        for first in range(0, steps, length):
            part = _Segment(rates, stepper, first, min(length, steps - first), every, len(state))
            tensors = (*state, *history)
            if segment == 0 or not torch.is_grad_enabled():
                out = part(*tensors)
            else:
                out = checkpoint(part, *tensors, use_reentrant=False, preserve_rng_state=False)
            state, history = out[: part.states], list(out[part.states : part.states + part.strains])
            frames += out[part.states + part.strains :]
        fields = [rates.fields(v) for v in frames]
        return torch.stack([f[0] for f in fields], dim=1), torch.stack([f[1] for f in fields], dim=1)

    def run(
        self,
        c: Tensor,
        z2: Tensor,
        physics: Physics,
        times: Sequence[float],
        observe: Callable[[int, float, Known, Tensor], None] | None = None,
    ) -> Run:
        """Fields at the times, rising from 0 on, multiples of the time step; see `Run`.

        observe(frame, time, known, alive) is given every frame as it comes, with alive (B,) the members that
        are still running; then no fields are kept. Raises InputError as `forward` does, and for other times.
        """
        c, z2 = self._checked(c, z2, physics)
        return stream(self, c, z2, physics, times, observe)

    def _checked(self, c: Tensor, z2: Tensor, physics: Physics) -> tuple[Tensor, Tensor]:
        check_fields(c, z2, self.grid.points)
        check_physics(physics, len(z2), self.grid.length)
        return c, z2


@dataclasses.dataclass
class _Segment:
    """Some steps as a function of tensors alone, so that it may run twice: from the `given` tensors of the
    state and the strain rates before it to those after it, `states` and `strains` of them, and the frames."""

    rates: Rates
    stepper: Any
    first: int
    count: int
    every: int
    given: int
    states: int = 0
    strains: int = 0

    def __call__(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        state, frames = tensors[: self.given], []
        self.rates.history = list(tensors[self.given :])
        for step in range(self.first + 1, self.first + self.count + 1):
            state = advance(self.rates, self.stepper, state)
            if step % self.every == 0:
                frames.append(state[0])
        self.states, self.strains = len(state), len(self.rates.history)
        return (*state, *self.rates.history, *frames)
