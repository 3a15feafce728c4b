"""Windows of observed moments on the grid of a coarse model, and the noise in them."""

from dataclasses import dataclass

import torch
from torch import Tensor

from kernels.errors import InputError
from kernels.fields.periodic import PeriodicSquare

FLOOR = 1e-4
"""Smallest standard deviation of noise that is assumed, relative to that of the field."""


@dataclass(frozen=True)
class Record:
    """One observed run: c (frames, n, n), and z2 (frames, n, n) complex, velocity (frames, 2, n, n), or both.

    interval: time between frames. float64, complex128.
    """

    c: Tensor
    interval: float
    z2: Tensor | None = None
    velocity: Tensor | None = None

    def __post_init__(self) -> None:
        if self.z2 is None and self.velocity is None:
            raise InputError("neither D nor u is observed, expected at least one of them: name it")
        fields = {"c": self.c, "D": self.z2, "u": self.velocity}
        for name, field in fields.items():
            if field is not None and not bool(torch.isfinite(torch.view_as_real(field) if field.is_complex()
                                                             else field).all()):  # fmt: skip
                raise InputError(
                    f"the observed {name} is not finite, expected numbers everywhere: leave out those frames"
                )

    @property
    def frames(self) -> int:
        """Number of observed frames."""
        return len(self.c)


@dataclass(frozen=True)
class Windows:
    """W windows of K + 1 frames, on the model's grid, waves that the model keeps only.

    c (W, n, n) at the first frame; z2 (W, K + 1, n, n), velocity (W, K + 1, 2, n, n), or None. sigma_z2,
    sigma_u: standard deviations of white noise in (Re, Im) of z2 and in both components of u, at a point of
    this grid. known: real numbers that a scalar frame holds, i.e. kept waves.
    """

    c: Tensor
    z2: Tensor | None
    velocity: Tensor | None
    sigma_z2: Tensor
    sigma_u: Tensor
    known: int

    def __len__(self) -> int:
        return len(self.c)

    @property
    def observed(self) -> int:
        """Independent real numbers observed in one window."""
        per_frame = 2 * ((self.z2 is not None) + (self.velocity is not None))
        given = self.z2 if self.z2 is not None else self.velocity
        assert given is not None
        return per_frame * given.shape[1] * self.known

    def split(self) -> "Windows":
        """Every interval between two frames as a window of its own, (W K, 2, ...)."""

        def pairs(field: Tensor | None) -> Tensor | None:
            if field is None:
                return None
            return torch.stack([field[:, :-1], field[:, 1:]], dim=2).flatten(0, 1)

        count = next(f for f in (self.z2, self.velocity) if f is not None).shape[1] - 1
        c = self.c.repeat_interleave(count, dim=0)
        return Windows(c, pairs(self.z2), pairs(self.velocity), self.sigma_z2, self.sigma_u, self.known)


def restrict(field: Tensor, fine: PeriodicSquare, coarse: PeriodicSquare) -> Tensor:
    """The waves that `coarse` keeps of a real or complex field (..., fine n, fine n), at its points."""
    if field.is_complex():
        return torch.complex(restrict(field.real, fine, coarse), restrict(field.imag, fine, coarse))
    n, m = fine.points, coarse.points
    reach = int(coarse.kept[0].sum()) - 1
    all_of = fine.forward(field)
    found = all_of.new_zeros((*all_of.shape[:-2], m, m // 2 + 1))
    found[..., : reach + 1, : reach + 1] = all_of[..., : reach + 1, : reach + 1]
    found[..., m - reach :, : reach + 1] = all_of[..., n - reach :, : reach + 1]
    return coarse.backward(found * (m / n) ** 2)


def noise_level(field: Tensor, grid: PeriodicSquare) -> float | None:
    """Standard deviation of white noise in a real field (..., n, n), from the waves that no model keeps.

    Simulations dealiased by the 2/3 rule have nothing there. None: the grid has no such waves.
    """
    out = ~grid.kept
    if not bool(out.any()):
        return None
    weight = torch.full(grid.kept.shape, 2.0, dtype=torch.float64)  # conjugate waves are stored once
    weight[:, 0] = 1.0
    if grid.points % 2 == 0:
        weight[:, -1] = 1.0
    power = grid.forward(field).abs().square() / grid.points**2
    return float(((power * weight)[..., out].sum(-1) / weight[out].sum()).mean().sqrt())


def _deviation(field: Tensor, relative: float | None, grid: PeriodicSquare) -> float:
    spread = float(field.std())
    level = relative * spread if relative is not None else noise_level(field, grid)
    return max(level or 0.0, FLOOR * spread, 1e-12)


def cut(
    record: Record, length: float, grid: PeriodicSquare, intervals: int, most: int, noise: float | None
) -> Windows:
    """Windows of `intervals` intervals, apart, at most `most` spread over the record, on the model's `grid`.

    noise: standard deviation relative to that of each field; None: from the shortest waves of the record.
    Raises InputError where the record is shorter than two windows or coarser than the grid.
    """
    frames, n = intervals + 1, record.c.shape[-1]
    whole = record.frames // frames
    if whole < 2:
        raise InputError(
            f"the record has {record.frames} frames, expected at least {2 * frames}, two windows of {frames} "
            "frames: observe for longer, or lower window"
        )
    if n < grid.points:
        raise InputError(
            f"the observations have {n} points along a side and the model {grid.points}, expected no finer a "
            "model: lower points"
        )
    fine = PeriodicSquare(n, length, "torch")
    count = min(whole, most)
    starts = [round(i * (whole - 1) / max(count - 1, 1)) * frames for i in range(count)]
    scale = grid.points / n  # white noise keeps its power in a wave

    def windows(field: Tensor) -> Tensor:
        return restrict(torch.stack([field[s : s + frames] for s in starts]), fine, grid)

    def levels(parts: list[Tensor]) -> Tensor:
        return scale * torch.tensor([_deviation(part, noise, fine) for part in parts], dtype=torch.float64)

    one, z2, u = torch.ones(2, dtype=torch.float64), record.z2, record.velocity
    reach = int(grid.kept[0].sum()) - 1
    return Windows(
        torch.stack([restrict(record.c[s], fine, grid) for s in starts]),
        None if z2 is None else windows(z2),
        None if u is None else windows(u),
        one if z2 is None else levels([z2.real, z2.imag]),
        one if u is None else levels([u[:, 0], u[:, 1]]),
        (2 * reach + 1) ** 2,
    )
