"""MgNO: multigrid neural operator, as published and with levels and stencils that follow the grid."""

import itertools
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from kernels.errors import InputError
from kernels.operators.base import Batch, Operator, Signature
from kernels.operators.grids import Order, coordinates, interpolate, same_grid, spacing
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

    def around(self, f: Tensor, pointwise: nn.Module, dilation: int) -> Tensor:
        """S f + B f + b with the stencil of the levels above the cycle, as one stencil.

        Its points lie `dilation` points apart, so on a finer grid as far as on the training grid.
        """
        own, centre = cast(Tensor, cast(nn.Module, self.above).weight), cast(Tensor, pointwise.weight)
        weight = own + functional.pad(centre, [1, 1] * (f.dim() - 2))
        return self._convolved(f, weight, cast(Tensor, pointwise.bias), dilation)

    def detail(self, f: Tensor) -> Tensor:
        """S f with the first stencil of the finest level."""
        return self._convolved(f, cast(Tensor, self._stencil(0, 0).weight), None, 1)

    def _convolved(self, f: Tensor, weight: Tensor, bias: Tensor | None, dilation: int) -> Tensor:
        convolve = _PLAIN[f.dim() - 2]
        if self.mode == "zeros":
            return convolve(f, weight, bias, padding=dilation, dilation=dilation)
        around = functional.pad(f, [dilation] * 2 * (f.dim() - 2), mode=self.mode)
        return convolve(around, weight, bias, dilation=dilation)

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
    its coarsest grid is finer too. Here levels follow the grid. With C the published cycle, h the spacing in
    training, h_k that of the grid at hand, f_h the values of f at the points of the training grid, and P
    interpolation,

        halvings = 0:   W f = P C f_h + (h_k / h)^2 S (f - P f_h),
        halvings >= 1:  W f = P C R f_h + S_h f.

    Without halvings C runs on the training grid and S is its first stencil, scaled as the inverse of a
    second-order operator is; it adds what the training grid cannot represent, on that grid nothing. With
    halvings C runs on a coarser base grid, R averages down to it, and the stencil S_h has its points h
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
        _check(settings)
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
        if settings.as_published and settings.halvings:
            raise InputError(
                f"mgno was given {settings.halvings} halvings and as_published, expected one of them: the "
                "published network has no halvings"
            )
        for _ in range(settings.halvings):
            self._base = tuple(map(_halved, self._base))
        base = tuple(map(len, self._base))
        if settings.halvings and min(base) < _SMALLEST:
            raise InputError(
                f"mgno was asked for {settings.halvings} halvings of a grid of {signature.shape} points, "
                f"which leave {base}; expected {_SMALLEST} points an axis: take fewer halvings"
            )
        levels = _levels(settings.levels, base)
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
            f = functional.gelu(self._linear(cast(Cycle, cycle), pointwise, f, grid))
        return self._shaped(self.last(f), grid, batch)

    def _linear(self, cycle: Cycle, pointwise: nn.Module, f: Tensor, grid: Grid) -> Tensor:
        """W f + B f + b on any grid."""
        s, ratio = self.settings, spacing(self._trained[0]) / spacing(grid[0])
        finer = not s.as_published and not same_grid(grid, self._trained)
        at_training = self._moved(f, grid, self._trained, "cubic") if finer else f
        if s.halvings:
            below = self._moved(at_training, self._trained, self._base, "linear")
            u = self._moved(cycle(below), self._base, self._trained, "cubic")
            if finer:
                u = self._moved(u, self._trained, grid, "cubic")
            return cycle.around(f, pointwise, round(ratio)) + u
        u = cycle(at_training) if finer else cycle(f) + pointwise(f)
        if not finer:
            return u
        plain = self._moved(at_training, self._trained, grid, "cubic")
        detail = cycle.detail(f - plain) / (ratio**2 if s.scaled else 1.0)
        return self._moved(u, self._trained, grid, "cubic") + detail + pointwise(f)

    def _moved(self, values: Tensor, source: Grid, target: Grid, order: Order) -> Tensor:
        return values if source is target else interpolate(values, source, target, order, self._around)

    def _shaped(self, u: Tensor, grid: Grid, batch: Batch) -> Tensor:
        """Channels back to the axes that the input has not, and to the output's grid where it is another."""
        s = self.signature
        u = u.reshape(u.shape[0], s.outputs, *self._extra, *u.shape[2:])
        names = [name for name in s.out_axes if name not in s.axes]
        order = [*names, *s.axes]
        u = u.permute(0, 1, *(2 + order.index(name) for name in s.out_axes))
        source = list(coordinates(s.out_grid))
        for axis, name in zip(grid, s.axes, strict=True):
            source[s.out_axes.index(name)] = axis
        return interpolate(u, tuple(source), batch.out_grid, "cubic", self.signature.out_around)


def _check(settings: MgnoSettings) -> None:
    """Raise InputError naming the numbers that no network can have."""
    least = {"channels": 1, "layers": 1, "pre": 1, "coarsest": 1, "post": 0, "halvings": 0}
    wrong = {name: low for name, low in least.items() if getattr(settings, name) < low}
    if wrong:
        asked = ", ".join(f"{name} {getattr(settings, name)}" for name in wrong)
        wanted = ", ".join(f"{name} from {low} on" for name, low in wrong.items())
        raise InputError(f"mgno was asked for {asked}, expected {wanted}: correct its settings")


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
