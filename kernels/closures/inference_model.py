"""A coarse model as a function of what is estimated: parameters, and the state at the start of a window."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from kernels.closures.inference_windows import Windows
from kernels.closures.physics import Physics
from kernels.errors import InputError
from kernels.fields.periodic import PeriodicSquare

if TYPE_CHECKING:
    from kernels.closures.coarse import Coarse

NAMES = ("alpha", "zeta", "rotary")
"""What can be estimated; the last two are positive and estimated by their logarithms."""

_STEP = 1e-5


class Model(Protocol):
    """What inference asks of a coarse model, for a batch of states c (B, n, n), z2 (B, n, n)."""

    grid: PeriodicSquare

    def states(
        self, c: Tensor, z2: Tensor, physics: Physics, frames: int, stability: bool
    ) -> tuple[Tensor, Tensor]:
        """c and z2 (frames + 1, B, n, n) at the start and every frame after it; stability: refuse what the
        time step is too long for."""
        ...

    def velocity(self, c: Tensor, z2: Tensor, physics: Physics) -> Tensor:
        """Velocity (B, 2, n, n) of states."""
        ...


@dataclass(frozen=True)
class Parameters:
    """What is estimated, in coordinates x in which a step of 0.1 is a change by about a tenth.

    alpha = scale x; zeta, rotary = e^x. physics: all other numbers. scale: |alpha| that x = 1 stands for.
    """

    names: tuple[str, ...]
    physics: Physics
    scale: float = 1.0

    def __post_init__(self) -> None:
        if not self.names or set(self.names) - set(NAMES) or len(set(self.names)) < len(self.names):
            raise InputError(
                f"asked to estimate {list(self.names)}, expected some of {list(NAMES)}, each once"
            )

    def coordinates(self, values: Sequence[float]) -> Tensor:
        """x (p,) of values in the order of `names`."""
        wrong = [n for n, v in zip(self.names, values, strict=True) if n != "alpha" and not v > 0.0]
        if wrong:
            raise InputError(f"the start of {wrong} is not positive, expected a positive number: raise it")
        rows = zip(self.names, torch.tensor(list(values), dtype=torch.float64), strict=True)
        return torch.stack([v / self.scale if name == "alpha" else v.log() for name, v in rows])

    def values(self, x: Tensor) -> Tensor:
        """Parameters (..., p) of coordinates x (..., p)."""
        rows = zip(self.names, x.unbind(-1), strict=True)
        return torch.stack([v * self.scale if name == "alpha" else v.exp() for name, v in rows], dim=-1)

    def slopes(self, x: Tensor) -> Tensor:
        """d value / d x (p,), which is diagonal."""
        values = self.values(x)
        return torch.stack([
            torch.full_like(v, self.scale) if name == "alpha" else v
            for name, v in zip(self.names, values, strict=True)
        ])  # fmt: skip

    def of(self, x: Tensor) -> Physics:
        """Numbers of a batch from x (B, p), each (B, 1, 1)."""
        values = self.values(x)[..., None, None]
        given: dict[str, Any] = {name: values[:, i] for i, name in enumerate(self.names)}
        return replace(self.physics, **given)


class Forecast:
    """Observables of all windows, divided by their noise, as a function of x (B, p) and the states at the
    start of the windows; B is W or a multiple of it.
    """

    def __init__(self, model: Model, parameters: Parameters, windows: Windows) -> None:
        self.model, self.parameters, self.windows = model, parameters, windows
        given = windows.z2 if windows.z2 is not None else windows.velocity
        assert given is not None
        self.frames = given.shape[1] - 1
        self.data = self._joined(windows.z2, windows.velocity)

    def _joined(self, z2: Tensor | None, velocity: Tensor | None) -> Tensor:
        """Rows (B, N) of real numbers of unit noise from (B, K + 1, ...)."""
        parts = []
        if z2 is not None:
            parts.append((torch.view_as_real(z2) / self.windows.sigma_z2).flatten(1))
        if velocity is not None:
            parts.append((velocity / self.windows.sigma_u[:, None, None]).flatten(1))
        return torch.cat(parts, dim=1)

    def projected(self, z2: Tensor) -> Tensor:
        """The waves of a complex field that the model keeps."""
        grid = self.model.grid
        real, imag = (grid.backward(grid.forward(part) * grid.kept) for part in (z2.real, z2.imag))
        return torch.complex(real, imag)

    def __call__(self, x: Tensor, start: Tensor, stability: bool = False) -> Tensor:
        """(B, N) for x (B, p) and starts (B, n, n); stability: refuse x that the steps are too long for."""
        physics, copies = self.parameters.of(x), len(start) // len(self.windows)
        c = self.windows.c.repeat(copies, 1, 1)
        all_c, all_z2 = self.model.states(c, self.projected(start), physics, self.frames, stability)
        velocity = None
        if self.windows.velocity is not None:
            numbers = self.parameters.of(x.repeat(len(all_c), 1))
            velocity = self.model.velocity(all_c.flatten(0, 1), all_z2.flatten(0, 1), numbers)
            velocity = velocity.unflatten(0, all_c.shape[:2]).transpose(0, 1)
        return self._joined(all_z2.transpose(0, 1) if self.windows.z2 is not None else None, velocity)


class Tangent:
    """The derivatives of a forecast at x (p,), starts (W, n, n): columns of parameters, and products with the
    start's Jacobian M.

    M^T v is by reverse differentiation through the solver. M d is a difference quotient: it needs no more of
    a closure than its values, and its error, about 1e-5 of it, only slows the linear solver.
    """

    def __init__(self, forecast: Forecast, x: Tensor, start: Tensor) -> None:
        self.forecast, self.x, self.start = forecast, x, start
        self._leaf = start.detach().clone().requires_grad_(True)
        self._rows = forecast(x.expand(len(start), -1), self._leaf)
        self.values = self._rows.detach()

    def columns(self) -> Tensor:
        """d forecast / d x as (p, W, N)."""
        p, w = len(self.x), len(self.start)
        shift = _STEP * torch.eye(p, dtype=torch.float64).repeat_interleave(w, dim=0)
        starts = self.start.repeat(p, 1, 1)
        with torch.no_grad():
            up, down = (self.forecast(self.x + sign * shift, starts) for sign in (1.0, -1.0))
        return ((up - down) / (2.0 * _STEP)).reshape(p, w, -1)

    def forward(self, directions: Tensor) -> Tensor:
        """M d (R, W, N) for d (R, W, n, n)."""
        r, w = directions.shape[:2]
        size = directions.abs().square().mean((-2, -1), keepdim=True).sqrt()
        step = _STEP * 0.1 / size.clamp_min(1e-300)
        starts = (self.start + step * directions).flatten(0, 1)
        with torch.no_grad():
            moved = self.forecast(self.x.expand(r * w, -1), starts).reshape(r, w, -1)
        quotient: Tensor = (moved - self.values) / step.flatten(2)
        return quotient

    def backward(self, rows: Tensor) -> Tensor:
        """M^T v (R, W, n, n) for v (R, W, N)."""
        return torch.stack([
            torch.autograd.grad(self._rows, self._leaf, v, retain_graph=True)[0] for v in rows
        ])  # fmt: skip


class CoarseModel:
    """`kernels.closures.coarse.Coarse` as inference asks for it: `every` time steps make an interval."""

    def __init__(self, coarse: "Coarse", every: int) -> None:
        self.coarse, self.every, self.grid = coarse, every, coarse.grid

    def states(
        self, c: Tensor, z2: Tensor, physics: Physics, frames: int, stability: bool
    ) -> tuple[Tensor, Tensor]:
        """See `Model`; the graph of all steps is held, since it is gone through backward many times."""
        later_c, later_z2 = self.coarse(c, z2, physics, frames * self.every, self.every, 0, stability)
        return torch.cat([c[None], later_c.transpose(0, 1)]), torch.cat([z2[None], later_z2.transpose(0, 1)])

    def velocity(self, c: Tensor, z2: Tensor, physics: Physics) -> Tensor:
        """See `Model`."""
        flow = self.coarse.look(c, z2, physics).flow
        return torch.stack([flow.u, flow.v], dim=1)
