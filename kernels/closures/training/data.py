"""Moments of kinetic runs as tensors, and what a closure is measured by."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from kernels.closures import harmonics
from kernels.closures.base import Closure, Moments
from kernels.closures.bingham.planar import Bingham
from kernels.closures.physics import Physics
from kernels.errors import InputError
from kernels.fields.periodic import PeriodicSquare

LEAST = 1e-3
"""Least error of Bingham in a run over the largest in any: what is below is not worth a closure's
capacity."""

EXACT = 1e-20
"""Error from which Bingham is taken for exact."""

NUMBERS = ("alpha", "zeta", "beta", "rotary", "translational")


@dataclass(frozen=True)
class Runs:
    """Runs of the kinetic model on one grid at the same times.

    c (run, time, n, n) float64; z2, z4, strain alike, complex128; numbers: each of NUMBERS (run,); time
    (time,); length: side of the square; names: of the runs, for messages.
    """

    c: Tensor
    z2: Tensor
    z4: Tensor
    strain: Tensor
    numbers: dict[str, Tensor]
    time: Tensor
    length: float
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        fields = (self.c, self.z2, self.z4, self.strain)
        shape = self.c.shape
        if len(shape) != 4 or shape[2] != shape[3] or any(one.shape != shape for one in fields):
            raise InputError(
                f"moments have the shapes {[tuple(one.shape) for one in fields]}, expected four equal ones "
                "(run, time, n, n)"
            )
        if not all(bool(torch.isfinite(one.abs()).all()) for one in fields):
            raise InputError("moments are not finite: leave out runs that failed")

    @property
    def grid(self) -> PeriodicSquare:
        """The grid of all fields."""
        return PeriodicSquare(self.c.shape[-1], self.length, "torch", str(self.c.device))

    def frames(self) -> int:
        """Runs times times."""
        return self.c.shape[0] * self.c.shape[1]

    def physics(self, runs: Tensor, dims: int) -> Physics:
        """Numbers of these runs, with `dims` further axes of length one."""
        given: dict[str, Any] = {
            name: one[runs].reshape(-1, *[1] * dims) for name, one in self.numbers.items()
        }
        return Physics(**given, length=self.length)

    def at_frames(self, frames: Tensor) -> tuple[Moments, Tensor, Physics]:
        """Moments, z_4 and physics of frames counted through all runs, on the grid."""
        flat = [one.reshape(-1, *one.shape[2:])[frames] for one in (self.c, self.z2, self.strain, self.z4)]
        runs = torch.div(frames, self.c.shape[1], rounding_mode="floor")
        return Moments(flat[0], flat[1], flat[2], self.grid), flat[3], self.physics(runs, 2)

    def at_points(self, points: Tensor) -> tuple[Moments, Tensor, Physics]:
        """Moments, z_4 and physics of points counted through all frames."""
        flat = [one.reshape(-1)[points] for one in (self.c, self.z2, self.strain, self.z4)]
        runs = torch.div(points, self.c[0].numel(), rounding_mode="floor")
        return Moments(flat[0], flat[1], flat[2]), flat[3], self.physics(runs, 0)

    def part(self, runs: list[int]) -> "Runs":
        """Some of the runs."""
        index = torch.tensor(runs, dtype=torch.int64)
        fields = {name: getattr(self, name)[index] for name in ("c", "z2", "z4", "strain")}
        numbers = {name: one[index] for name, one in self.numbers.items()}
        names = tuple(self.names[i] for i in runs) if self.names else ()
        return replace(self, **fields, numbers=numbers, names=names)


def target(moments: Moments, z4: Tensor, physics: Physics) -> tuple[Tensor, Tensor]:
    """Trace and deviator of S:T, T = E + 2 zeta D."""
    t = harmonics.driving(moments.strain, moments.z2, physics.zeta)
    found: tuple[Tensor, Tensor] = harmonics.contraction(
        moments.c, moments.z2, z4, t, 2.0 * physics.zeta * moments.c
    )
    return found


def predicted(closure: Closure, moments: Moments, physics: Physics) -> Tensor:
    """Deviator of S:T as the closure has it."""
    t = harmonics.driving(moments.strain, moments.z2, physics.zeta)
    return closure.contract(moments, physics, 2.0 * physics.zeta * moments.c, t)


def powers(runs: Runs) -> Tensor:
    """Mean squares of (S:T)_xx and (S:T)_xy over the points and times of each run, (run, 2)."""
    found = []
    for run in range(runs.c.shape[0]):
        frames = torch.arange(runs.c.shape[1]) + run * runs.c.shape[1]
        moments, z4, physics = runs.at_frames(frames)
        trace, deviator = target(moments, z4, physics)
        found.append(torch.stack([((trace / 2.0 + deviator.real) ** 2).mean(), (deviator.imag**2).mean()]))
    return torch.stack(found)


def balanced(runs: Runs) -> Tensor:
    """Weights (run, 2) of square errors: over the power of each component, and over what the Bingham closure
    leaves of it in that run, mean 1 over the runs.

    The error that a closure can still take away differs by a factor of a hundred between conditions. Without
    the second factor those where Bingham is nearly exact count for nothing, and a network makes them worse.
    """
    left = nmse(Bingham(), runs).mean(dim=1)
    left = torch.clamp(left, min=max(LEAST * float(left.max()), EXACT))
    return (1.0 / left / (1.0 / left).mean())[:, None] / powers(runs)


def nmse(closure: Closure, runs: Runs, most: int = 16) -> Tensor:
    """Mean (S:T - closure)^2 / mean (S:T)^2 of the components xx and xy of each run, (run, 2).

    most: frames at a time. The trace of S:T is D:T and the same for every closure.
    """
    errors = torch.zeros(runs.c.shape[0], 2, dtype=torch.float64)
    steps = runs.c.shape[1]
    with torch.no_grad():
        for run in range(runs.c.shape[0]):
            for begin in range(0, steps, most):
                frames = torch.arange(begin, min(begin + most, steps)) + run * steps
                moments, z4, physics = runs.at_frames(frames)
                difference = predicted(closure, moments, physics) - target(moments, z4, physics)[1]
                sums = [(difference.real**2).sum(), (difference.imag**2).sum()]
                errors[run] += torch.stack(sums) / runs.c[run].numel()
        return errors / powers(runs)
