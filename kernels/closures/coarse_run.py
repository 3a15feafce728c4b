"""Long runs of the coarse model: frame by frame, with an eye on what goes wrong."""

import time as clock
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from kernels.closures import harmonics
from kernels.closures.coarse_checks import check_step, stable_step, taken
from kernels.closures.coarse_fast import FastSteps
from kernels.closures.coarse_rates import Known, Rates
from kernels.closures.physics import Physics
from kernels.errors import InputError

if TYPE_CHECKING:
    from kernels.closures.coarse import Coarse

LOOKED = 8
"""Steps between two looks at whether runs are still sound."""
ROUNDING = 1e-9
"""What a moment may leave its bounds by, relative to c."""
Observer = Callable[[int, float, Known, Tensor], None]


@dataclass
class Run:
    """A batch of runs: fields (B, frames, n, n), NaN after the end of a run, None where they were observed.

    survived_until: time (B,) of the last sound state, which is last_c, last_z2 (B, n, n): a run ends where
    a field is not finite or <|z_2|^2> is above 4 times the largest c^2 of the start. violations: points of
    all frames (B,) with c <= 0, |z_2| > c or z_4 out of its disc. power_residual: the largest of all frames
    (B,), see `Known.power_residual`. step_limit: smallest stable step (B,) of all frames and of the last
    states of runs that ended. step_seconds: wall time of a step of the whole batch, observing excluded.
    """

    times: np.ndarray
    c: Tensor | None
    z2: Tensor | None
    survived_until: Tensor
    violations: Tensor
    power_residual: Tensor
    step_limit: Tensor
    last_c: Tensor
    last_z2: Tensor
    step_seconds: float = 0.0


@dataclass
class _Batch:
    """Runs that are still going: their numbers in the whole batch, and where they are."""

    numbers: Tensor
    rates: Rates
    stepper: Any
    state: tuple[Tensor, ...]
    physics: Physics
    fast: FastSteps | None = None
    sound: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.sound = self.state[0]

    def move(self, compiled: bool) -> None:
        """A step of all."""
        if compiled and len(self.state) == len(self.rates.history) == 3 and self.sound.device.type == "cpu":
            self.fast = self.fast or FastSteps(self.rates, self.stepper, len(self.numbers))
            self.state = self.fast.advance(self.state)
        else:
            self.state = advance(self.rates, self.stepper, self.state)


def advance(rates: Rates, stepper: Any, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """The state one step later."""
    starting = rates.extrapolate and len(state) == 1
    state = stepper.move(state, rates)
    if starting:  # what the starting step saw inside itself is not one of evenly spaced times
        rates.history = rates.history[:1]
    return state


def stream(
    model: "Coarse", c: Tensor, z2: Tensor, physics: Physics, times: Sequence[float], observe: Observer | None
) -> Run:
    """See `Coarse.run`."""
    counts = _steps(times, model.time_step)
    with torch.no_grad():
        c, z2 = c.detach(), z2.detach()
        rates = model.rates(c, z2, physics)
        known = rates.solve(c, z2, torch.zeros_like(z2))
        limit = stable_step(model.method, known, physics, model.grid.points, model.grid.length)
        check_step(limit, model.time_step)
        runs, shape = len(c), (len(c), len(counts), *c.shape[1:])
        out = Run(
            np.asarray(times, dtype=np.float64),
            None if observe else c.new_full(shape, torch.nan),
            None if observe else z2.new_full(shape, complex(np.nan, np.nan)),
            c.new_zeros(runs), c.new_zeros(runs, dtype=torch.int64), c.new_zeros(runs), limit,
            c.clone(), z2.clone(),
        )  # fmt: skip
        stepper = model.method.of(rates.linear(), model.time_step)
        batch = _Batch(torch.arange(runs, device=c.device), rates, stepper, (rates.joined(c, z2),), physics)
        ceiling, done, spent = 4.0 * c.amax(dim=(-2, -1)) ** 2, 0, 0.0
        for frame, count in enumerate(counts):
            while done < count and len(batch.numbers):
                start = clock.perf_counter()
                part = min(LOOKED - done % LOOKED, count - done)
                for _ in range(part):
                    batch.move(model.compiled)
                done += part
                spent += clock.perf_counter() - start
                _look(model, batch, ceiling, out, done * model.time_step)
            _record(model, batch, out, frame, float(times[frame]), observe)
        if len(batch.numbers):
            out.last_c[batch.numbers], out.last_z2[batch.numbers] = batch.rates.fields(batch.sound)
    out.step_seconds = spent / max(done, 1)
    return out


def _steps(times: Sequence[float], step: float) -> list[int]:
    wanted = np.asarray(times, dtype=np.float64)
    if wanted.ndim != 1 or not len(wanted) or not np.isfinite(wanted).all() or wanted[0] < 0.0:
        raise InputError(f"times are {list(times)}, expected rising numbers from 0 on")
    counts = np.rint(wanted / step)
    if (np.diff(counts) <= 0).any() or (abs(counts * step - wanted) > 1e-6 * step).any():
        raise InputError(
            f"times are {list(times)}, expected rising multiples of the time step {step:.6g}: choose a step "
            "that divides the times"
        )
    return [int(count) for count in counts]


def _energy(v: Tensor, points: int) -> Tensor:
    """<|z_2|^2> of coefficients (B, ..., n, n // 2 + 1)."""
    square = (v[:, -2:].real ** 2 + v[:, -2:].imag ** 2).sum(dim=(1, 2))
    whole = 2.0 * square.sum(dim=-1) - square[:, 0] - (square[:, -1] if points % 2 == 0 else 0.0)
    return whole / points**4


def _look(model: "Coarse", batch: _Batch, ceiling: Tensor, out: Run, time: float) -> None:
    """End the runs that are not sound any more."""
    v = batch.state[0]
    fine = torch.isfinite(torch.view_as_real(v)).all(dim=-1).all(dim=-1).all(dim=-1).all(dim=-1)
    fine &= _energy(v, model.grid.points) <= ceiling[batch.numbers]
    if not bool(fine.all()):  # the model exploded, or the step is too long for what the flow has become
        c, z2 = batch.rates.fields(batch.sound)
        ended = batch.numbers[~fine]
        known = batch.rates.solve(c, z2, torch.zeros_like(z2))
        limit = stable_step(model.method, known, batch.physics, model.grid.points, model.grid.length)
        out.step_limit[ended] = torch.minimum(out.step_limit[ended], limit[~fine])
        out.last_c[ended], out.last_z2[ended] = c[~fine], z2[~fine]
        batch.numbers, batch.state = batch.numbers[fine], tuple(part[fine] for part in batch.state)
        batch.physics = taken(batch.physics, fine)
        batch.rates = batch.rates.taken(fine, batch.physics)
        batch.stepper, batch.fast = model.method.of(batch.rates.linear(), model.time_step), None
    batch.sound = batch.state[0]
    out.survived_until[batch.numbers] = time


def _record(
    model: "Coarse", batch: _Batch, out: Run, frame: int, time: float, observe: Observer | None
) -> None:
    alive = torch.zeros_like(out.survived_until, dtype=torch.bool)
    alive[batch.numbers] = True
    if not len(batch.numbers):
        return
    known = batch.rates.exact(*batch.rates.fields(batch.state[0]))
    c, z2, at = known.c, known.z2, batch.numbers
    slack = ROUNDING * c
    out_of = (c <= 0.0) | (z2.abs() > c + slack) | (harmonics.excess(c, z2, known.z4) > slack)
    out.violations[at] += out_of.sum(dim=(-2, -1))
    out.power_residual[at] = torch.maximum(out.power_residual[at], known.power_residual(batch.physics))
    limit = stable_step(model.method, known, batch.physics, model.grid.points, model.grid.length)
    out.step_limit[at] = torch.minimum(out.step_limit[at], limit)
    if observe is not None:
        observe(frame, time, known, alive)
    elif out.c is not None and out.z2 is not None:
        out.c[at, frame], out.z2[at, frame] = c, z2
