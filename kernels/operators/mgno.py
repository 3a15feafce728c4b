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
_PLAIN = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}
_TRANSPOSED = {1: functional.conv_transpose1d, 2: functional.conv_transpose2d, 3: functional.conv_transpose3d}
_FORMATS = {2: torch.channels_last}
_SMALLEST = 2

Grid = tuple[Tensor, ...]


class Cycle(nn.Module):
    """W of a layer: one multigrid cycle, linear, on pairs (u, f) from the finest grid to the coarsest."""

    def __init__(self, inputs: int, channels: int, dimension: int, s: MgnoSettings) -> None:
        super().__init__()
        self.above = None
        mode = s.padding or "zeros"
        self.mode = mode

        def stencil(source: int, target: int, stride: int = 1) -> nn.Module:
            return _CONVOLUTIONS[dimension](
                source, target, 3, stride, padding=1, padding_mode=mode, bias=False
            )

        last = (s.levels or 1) - 1
        down = [s.pre] * last + [s.coarsest]
        up = [s.post] * last + [0]
        self.smooth = nn.ModuleList(
            nn.ModuleList(stencil(inputs, channels) for _ in range(a + b))
            for a, b in zip(down, up, strict=True)
        )
        self.operator = nn.ModuleList(
            nn.ModuleList(stencil(channels, inputs) for _ in range(a + b - 1))
            for a, b in zip(down, up, strict=True)
        )
        if s.halvings:
            self.above = stencil(inputs, channels)
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

    def detail(self, f: Tensor, dilation: int) -> Tensor:
        """S f of the levels above those of the cycle: their own stencil, or the first of the finest level.

        Its points lie `dilation` points apart, so on a finer grid as far as on the training grid.
        """
        weight = cast(Tensor, (self.above or self._stencil(0, 0)).weight)
        convolve = _PLAIN[f.dim() - 2]
        if self.mode == "zeros":
            return convolve(f, weight, padding=dilation, dilation=dilation)
        around = functional.pad(f, [dilation] * 2 * (f.dim() - 2), mode=self.mode)
        return convolve(around, weight, dilation=dilation)

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
    its coarsest grid is finer too. Here levels follow the grid: the published cycle C runs on a base grid,
    and the grids above it have interpolation P in place of learnt transfers. With h the spacing in training,
    h_k that of the grid at hand, f_h the values of f at the points of the training grid, and R the way from
    there to the base grid,

        u = P C(R f_h) + d,   d = S (f - P R f_h),

    so the cycle sees what it has been trained on, and S adds the part of f that the base grid cannot
    represent. `halvings` = 0: the base grid is the training grid (R = 1, so d = 0 there), and S is the first
    stencil of the cycle times (h_k / h)^2, as an inverse of a second-order operator is. `halvings` >= 1: the
    base grid is coarser by as many halvings, R averages, and S is a stencil of its own whose points lie h
    apart on every grid; so training has such a level itself. Learnt transposed convolutions leave patterns of
    the parity of a point, which a finer grid does not have; P does not. B and the nonlinearity act on the
    grid at hand. A grid coarser than that of training is brought to it.
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
        inputs = signature.inputs + signature.parameters
        extra = [
            len(axis)
            for name, axis in zip(signature.out_axes, signature.out_grid, strict=True)
            if name not in signature.axes
        ]
        self._extra = extra
        self._around = signature.boundary == "periodic"
        self._trained = tuple(torch.tensor(axis) for axis in signature.grid)
        self._base = self._trained
        for _ in range(settings.halvings):
            self._base = tuple(map(_halved, self._base))
        levels = _levels(settings.levels, tuple(map(len, self._base)))
        self.settings = replace(
            settings, padding=settings.padding or _PADDING[signature.boundary], levels=levels
        )
        sizes = [inputs] + [settings.channels] * settings.layers
        pairs = list(itertools.pairwise(sizes))
        self.cycles = nn.ModuleList(Cycle(a, b, dimension, self.settings) for a, b in pairs)
        pointwise = _CONVOLUTIONS[dimension]
        self.pointwise = nn.ModuleList(pointwise(a, b, 1) for a, b in pairs)
        outputs = signature.outputs
        for count in extra:
            outputs *= count
        self.last = pointwise(settings.channels, outputs, 1)
        # channels last lets the CPU's convolutions work in place: a quarter of the time on 64 x 64 points
        self._format = _FORMATS.get(dimension, torch.contiguous_format)
        self.to(memory_format=self._format)  # type: ignore[call-overload]

    def forward(self, batch: Batch) -> Tensor:
        """Prediction on `batch.out_grid`; see `Operator.forward`."""
        f, grid = batch.channels(), batch.grid
        if not self.settings.as_published and _coarser(grid, self._trained):
            f, grid = interpolate(f, grid, self._trained, "linear", self._around), self._trained
        f = f.contiguous(memory_format=self._format)
        for cycle, pointwise in zip(self.cycles, self.pointwise, strict=True):
            f = functional.gelu(self._followed(cast(Cycle, cycle), f, grid) + pointwise(f))
        return self._shaped(self.last(f), grid, batch)

    def _followed(self, cycle: Cycle, f: Tensor, grid: Grid) -> Tensor:
        """W f on any grid."""
        finer = not same_grid(grid, self._trained)
        if self.settings.as_published or (not finer and not self.settings.halvings):
            result: Tensor = cycle(f)
            return result
        here = self._moved(f, grid, self._trained, "cubic") if finer else f
        below = self._moved(here, self._trained, self._base, "linear")
        u, plain = cycle(below), below
        for source, target in ((self._base, self._trained), (self._trained, grid)):
            u = self._moved(u, source, target, "cubic")
            plain = self._moved(plain, source, target, "linear" if target is self._trained else "cubic")
        ratio = spacing(self._trained[0]) / spacing(grid[0])
        if self.settings.halvings:
            return u + cycle.detail(f - plain, round(ratio))
        return u + cycle.detail(f - plain, 1) / (ratio**2 if self.settings.scaled else 1.0)

    def _moved(self, values: Tensor, source: Grid, target: Grid, order: Order) -> Tensor:
        return values if source is target else interpolate(values, source, target, order, self._around)

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
        return interpolate(u, tuple(source), batch.out_grid, "cubic", self.signature.out_around)


def _levels(asked: int | None, shape: tuple[int, ...]) -> int:
    """Levels of a cycle on a grid; by default the coarsest grid has at most 4 points along its shortest axis.

    Raises InputError where the grid has not as many.
    """
    size, most = min(shape), 1
    while -(-size // 2**most) >= _SMALLEST:
        most += 1
    if asked is None:
        return next(k for k in range(1, most + 1) if -(-size // 2 ** (k - 1)) <= 4 or k == most)
    if not 1 <= asked <= most:
        raise InputError(
            f"mgno was asked for {asked} levels on a grid of {shape} points, expected 1 to {most}: the "
            f"coarsest grid needs {_SMALLEST} points an axis"
        )
    return asked


def _halved(axis: Tensor) -> Tensor:
    """The axis with twice the spacing, of its own kind."""
    h = spacing(axis)
    if abs(float(axis[0]) - 0.5 * h) < 1e-3 * h:
        return (torch.arange(len(axis) // 2, dtype=torch.float64) + 0.5) * (2.0 * h)
    return axis[::2].clone()


def _coarser(grid: Grid, own: Grid) -> bool:
    return any(spacing(a) > 1.01 * spacing(b) for a, b in zip(grid, own, strict=True))
