"""MgNO: multigrid neural operator, as published and with levels and stencils that follow the grid."""

import itertools
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from kernels.errors import InputError
from kernels.operators.base import Batch, Operator, Signature
from kernels.operators.grids import Order, interpolate, same_grid, spacing
from kernels.operators.settings import MgnoSettings, Padding

_PADDING: dict[str, Padding] = {"dirichlet": "zeros", "neumann": "reflect", "periodic": "circular"}
_CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
_TRANSPOSED = {1: functional.conv_transpose1d, 2: functional.conv_transpose2d, 3: functional.conv_transpose3d}
_SMALLEST = 2

Grid = tuple[Tensor, ...]


class Cycle(nn.Module):
    """W of a layer: one multigrid cycle, linear, on pairs (u, f) from the finest grid to the coarsest."""

    def __init__(self, inputs: int, channels: int, dimension: int, s: MgnoSettings) -> None:
        super().__init__()
        mode = s.padding or "zeros"
        self.mode = mode

        def stencil(source: int, target: int, stride: int = 1) -> nn.Module:
            return _CONVOLUTIONS[dimension](
                source, target, 3, stride, padding=1, padding_mode=mode, bias=False
            )

        last = s.levels - 1
        down = [s.coarsest if level == last else s.pre for level in range(s.levels)]
        up = [0 if level == last else s.post for level in range(s.levels)]
        self.smooth = nn.ModuleList(
            nn.ModuleList(stencil(inputs, channels) for _ in range(a + b))
            for a, b in zip(down, up, strict=True)
        )
        self.operator = nn.ModuleList(
            nn.ModuleList(stencil(channels, inputs) for _ in range(a + b - 1))
            for a, b in zip(down, up, strict=True)
        )
        self.down, self.steps = down, [a + b for a, b in zip(down, up, strict=True)]
        self.restrict_f = nn.ModuleList(stencil(inputs, inputs, 2) for _ in range(last))
        self.restrict_u = nn.ModuleList(stencil(channels, channels, 2) for _ in range(last))
        self.prolong = nn.ParameterList(
            nn.Parameter(cast(Tensor, stencil(channels, channels).weight).detach().clone())
            for _ in range(last)
        )

    def forward(self, f: Tensor) -> Tensor:
        """u (samples, channels, *grid) from f (samples, inputs, *grid), on grids that halve from level to
        level.
        """
        return self._level(0, None, f)

    def _level(self, level: int, u: Tensor | None, f: Tensor) -> Tensor:
        down = self.down[level]
        u = self._stencil(level, 0)(f) if u is None else u + self._stencil(level, 0)(f)
        for step in range(1, down):
            u = self._smoothed(level, step, u, f)
        if level == len(self.prolong):
            return u
        below = self._level(level + 1, self.restrict_u[level](u), self.restrict_f[level](f))
        u = u + self._prolonged(level, below, u.shape[2:])
        for step in range(down, self.steps[level]):
            u = self._smoothed(level, step, u, f)
        return u

    def _smoothed(self, level: int, step: int, u: Tensor, f: Tensor) -> Tensor:
        operators = cast(nn.ModuleList, self.operator[level])
        result: Tensor = u + self._stencil(level, step)(f - operators[step - 1](u))
        return result

    def _stencil(self, level: int, step: int) -> nn.Module:
        return cast(nn.ModuleList, self.smooth[level])[step]

    def finest(self, f: Tensor) -> Tensor:
        """S f with the first stencil of the finest level."""
        result: Tensor = self._stencil(0, 0)(f)
        return result

    def _prolonged(self, level: int, u: Tensor, shape: torch.Size) -> Tensor:
        weight = self.prolong[level]
        dimension = len(shape)
        transposed = _TRANSPOSED[dimension]
        if self.mode == "zeros":
            extra = [n - (2 * m - 1) for n, m in zip(shape, u.shape[2:], strict=True)]
            return transposed(u, weight, stride=2, padding=1, output_padding=extra)
        around = functional.pad(u, [1, 1] * dimension, mode=self.mode)
        spread = transposed(around, weight, stride=2, padding=1)
        for axis, count in enumerate(shape, start=2):
            spread = spread.narrow(axis, 2, count)
        return spread


class Mgno(Operator):
    """u_{l+1} = gelu(W_l u_l + B_l u_l + b_l), W_l a multigrid cycle, and a last 1x1 convolution.

    He, Liu, Xu: MgNO, ICLR 2024, eq. 6 and algorithm 1. A cycle is linear; on every level u starts as S f and
    is smoothed by u += S (f - A u), f and u are restricted by stencils of stride 2, corrections are prolonged
    by transposed ones. Padding is the boundary condition. On the training grid this is the published network.

    On a finer grid the published network applies its finest stencils to a grid they were not trained on, and
    its coarsest grid is finer too. Here levels follow the grid: above the training grid g_0 come finer ones
    g_k with half the spacing. With injection R and interpolation P between them,

        f_{k-1} = R f_k,   u_k = P u_{k-1} + (h_k / h_0)^2 S (f_k - P f_{k-1}),

    so the trained levels see what they have been trained on, and the finest stencil S, scaled with h^2 as an
    inverse of a second-order operator, adds the part of f that g_{k-1} cannot represent; it vanishes for
    smooth f. B and the nonlinearity act on the fine grid. A coarser grid is brought to the training grid.
    """

    family = "mgno"

    def __init__(self, signature: Signature, settings: MgnoSettings) -> None:
        super().__init__(signature)
        dimension = len(signature.grid)
        if dimension not in _CONVOLUTIONS or not set(signature.axes) <= set(signature.out_axes):
            raise InputError(
                f"mgno was given inputs on the axes {signature.axes} and outputs on {signature.out_axes}, "
                "expected 1, 2 or 3 axes, and outputs on these, maybe more: choose deeponet or multionet"
            )
        self.settings = replace(settings, padding=settings.padding or _PADDING[signature.boundary])
        self._check_levels(signature)
        inputs = signature.inputs + signature.parameters
        extra = [
            len(axis)
            for name, axis in zip(signature.out_axes, signature.out_grid, strict=True)
            if name not in signature.axes
        ]
        self._extra = extra
        sizes = [inputs] + [settings.channels] * settings.layers
        pairs = list(itertools.pairwise(sizes))
        self.cycles = nn.ModuleList(Cycle(a, b, dimension, self.settings) for a, b in pairs)
        pointwise = _CONVOLUTIONS[dimension]
        self.pointwise = nn.ModuleList(pointwise(a, b, 1) for a, b in pairs)
        outputs = signature.outputs
        for count in extra:
            outputs *= count
        self.last = pointwise(settings.channels, outputs, 1)
        self.order: Order = "cubic"

    def _check_levels(self, signature: Signature) -> None:
        size = min(signature.shape)
        most = 1
        while -(-size // 2**most) >= _SMALLEST:
            most += 1
        if not 1 <= self.settings.levels <= most:
            raise InputError(
                f"mgno was asked for {self.settings.levels} levels on a grid of {signature.shape} points, "
                f"expected 1 to {most}: the coarsest grid needs {_SMALLEST} points an axis"
            )

    def forward(self, batch: Batch) -> Tensor:
        """Prediction on `batch.out_grid`; see `Operator.forward`."""
        own = tuple(torch.from_numpy(axis) for axis in self.signature.grid)
        f, grid = batch.channels(), batch.grid
        if not self.settings.as_published and _coarser(grid, own):
            f, grid = interpolate(f, grid, own), own
        grids = [own] if same_grid(grid, own) or self.settings.as_published else _ladder(grid, own)
        for cycle, pointwise in zip(self.cycles, self.pointwise, strict=True):
            f = functional.gelu(self._followed(cycle, f, grids) + pointwise(f))
        return self._shaped(self.last(f), grid, batch)

    def _followed(self, cycle: nn.Module, f: Tensor, grids: list[Grid]) -> Tensor:
        if len(grids) == 1:
            result: Tensor = cycle(f)
            return result
        fine, coarse = grids[0], grids[1]
        below = interpolate(f, fine, coarse)
        u = interpolate(self._followed(cycle, below, grids[1:]), coarse, fine, self.order)
        scale = (spacing(fine[0]) / spacing(grids[-1][0])) ** 2 if self.settings.scaled else 1.0
        detail = f - interpolate(below, coarse, fine)
        return u + scale * cast(Cycle, cycle).finest(detail)

    def _shaped(self, u: Tensor, grid: Grid, batch: Batch) -> Tensor:
        """Channels back to the axes that the input has not, and to the output's grid where it is another."""
        s = self.signature
        u = u.reshape(u.shape[0], s.outputs, *self._extra, *u.shape[2:])
        names = [name for name in s.out_axes if name not in s.axes]
        order = [*names, *s.axes]
        u = u.permute(0, 1, *(2 + order.index(name) for name in s.out_axes))
        source = [*batch.out_grid]
        for axis, name in zip(grid, s.axes, strict=True):
            source[s.out_axes.index(name)] = axis
        return interpolate(u, tuple(source), batch.out_grid, self.order)


def _coarser(grid: Grid, own: Grid) -> bool:
    return any(spacing(a) > 1.01 * spacing(b) for a, b in zip(grid, own, strict=True))


def _ladder(fine: Grid, own: Grid) -> list[Grid]:
    """Grids from the finest to the trained one, the spacing at most doubling from one to the next."""
    ratio = max(spacing(b) / spacing(a) for a, b in zip(fine, own, strict=True))
    steps = max(1, int(torch.tensor(ratio - 1e-6).log2().ceil()))
    grids = [fine]
    for k in range(steps - 1, 0, -1):
        grids.append(tuple(_between(a, b, 2.0**k) for a, b in zip(fine, own, strict=True)))
    return [*grids, own]


def _between(fine: Tensor, own: Tensor, refined: float) -> Tensor:
    """An axis `refined` times finer than `own`; its ends lie between those of both, as their spacings do."""
    step, h, h0 = spacing(own) / refined, spacing(fine), spacing(own)
    if step <= h:
        return fine
    share = (step - h) / (h0 - h)
    first, last = (float(fine[i] + share * (own[i] - fine[i])) for i in (0, -1))
    count = round((last - first) / step) + 1
    return torch.linspace(first, last, count, dtype=torch.float64)
