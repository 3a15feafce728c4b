"""Processors on degrees of freedom: messages by bilinear forms, a cycle over nested coarse spaces."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kernels.operators.spon_mesh import Geometry


class _Product(torch.autograd.Function):
    """y = A x for a sparse A without gradient, and its transpose for the way back: one fused pass each."""

    @staticmethod
    def forward(ctx, x, columns, pointer, values, t_columns, t_pointer, t_values):
        ctx.save_for_backward(t_columns, t_pointer, t_values)
        return _rows(x, columns, pointer, values)

    @staticmethod
    def backward(ctx, gradient):
        columns, pointer, values = ctx.saved_tensors
        return _rows(gradient, columns, pointer, values), None, None, None, None, None, None


def _rows(x: Tensor, columns: Tensor, pointer: Tensor, values: Tensor) -> Tensor:
    return F.embedding_bag(
        columns, x.contiguous(), pointer, mode="sum", per_sample_weights=values, include_last_offset=True
    )


class Sparse:
    """Sparse matrix by rows and by columns: columns (entries,), pointer (rows + 1,), values (entries,)."""

    def __init__(
        self,
        columns: Tensor,
        pointer: Tensor,
        values: Tensor,
        t_columns: Tensor,
        t_pointer: Tensor,
        t_values: Tensor,
    ) -> None:
        self.by_rows, self.by_columns = (columns, pointer, values), (t_columns, t_pointer, t_values)

    def __matmul__(self, x: Tensor) -> Tensor:
        found: Tensor = _Product.apply(x.to(self.by_rows[2].dtype), *self.by_rows, *self.by_columns)
        return found

    @property
    def transposed(self) -> "Sparse":
        """The transpose."""
        return Sparse(*self.by_columns, *self.by_rows)


def operators(geometry: Geometry, dtype: torch.dtype) -> list[Sparse]:
    """The bilinear forms as sparse matrices (nodes, nodes), in the order of `spon_mesh.forms`."""
    values = geometry.forms.to(dtype)
    back = geometry.back
    return [
        Sparse(geometry.start, geometry.pointer, v, geometry.start, geometry.pointer, v[back]) for v in values
    ]


def embedding(geometry: Geometry, dtype: torch.dtype) -> Sparse:
    """Values on the finest coarse grid -> at the nodes, (nodes, samples * points)."""
    corners = geometry.coarse.shape[1]
    columns, values = geometry.coarse.reshape(-1), geometry.weight.to(dtype).reshape(-1)
    nodes = torch.arange(len(geometry.coarse), device=columns.device)
    order = torch.argsort(columns, stable=True)
    count = torch.bincount(columns, minlength=geometry.coarse_mass.numel())
    t_pointer = torch.cat([count.new_zeros(1), count.cumsum(0)])
    pointer = torch.arange(0, columns.numel() + 1, corners, device=columns.device)
    return Sparse(columns, pointer, values, nodes.repeat_interleave(corners)[order], t_pointer, values[order])


class Activation(nn.Module):
    """gelu along an axis of channels; linear: of their first half, the others stay as they are.

    Solution operators are often linear or nearly so, and gelu alone has to make a straight line of its bend,
    which no optimiser does well.
    """

    def __init__(self, linear: bool, axis: int = -1) -> None:
        super().__init__()
        self.linear, self.axis = linear, axis

    def forward(self, x: Tensor) -> Tensor:
        """Of the shape of x."""
        if not self.linear:
            return F.gelu(x)
        rest = x.shape[self.axis] // 2
        bent, straight = x.split([x.shape[self.axis] - rest, rest], self.axis)
        return torch.cat([F.gelu(bent), straight], self.axis)


class MessagePassing(nn.Module):
    """z = mlp([x, A_1 x, ..., A_k x]), A the bilinear forms: (nodes, width) -> (nodes, width)."""

    def __init__(self, width: int, kinds: int) -> None:
        super().__init__()
        self.mix = nn.Linear(width * (1 + kinds), width)

    def forward(self, x: Tensor, forms: list[Sparse]) -> Tensor:
        """One exchange between neighbours."""
        found: Tensor = self.mix(torch.cat([x, *(form @ x for form in forms)], dim=1))
        return found


_CONVOLUTION = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
_MODE = {1: "linear", 2: "bilinear", 3: "trilinear"}


class Level(nn.Module):
    """x + W act(S x), S a stencil of 3 points along each axis on a coarse space, W pointwise."""

    def __init__(self, width: int, dimension: int, linear: bool) -> None:
        super().__init__()
        kind = _CONVOLUTION[dimension]
        self.act = Activation(linear, 1)
        self.stencil = kind(width, width, 3, padding=1)
        self.point = kind(width, width, 1)

    def forward(self, x: Tensor, inside: Tensor) -> Tensor:
        """(samples, width, *points) alike; `inside` is 0 at points whose functions vanish on the mesh."""
        found: Tensor = x + self.point(self.act(self.stencil(x))) * inside
        return found


class Cycle(nn.Module):
    """V-cycle over nested coarse spaces, finest first, with a learnt processor on each on both ways."""

    def __init__(self, width: int, dimension: int, levels: int, linear: bool) -> None:
        super().__init__()
        self.dimension = dimension
        self.down = nn.ModuleList(Level(width, dimension, linear) for _ in range(levels))
        self.up = nn.ModuleList(Level(width, dimension, linear) for _ in range(levels - 1))

    def forward(self, x: Tensor, masses: list[Tensor]) -> Tensor:
        """x (samples, width, *points of the finest) alike; masses: (samples, 1, *points) of every level."""
        inside = [(mass > 0).to(x.dtype) for mass in masses]
        kept = []
        for level, processor in enumerate(self.down):
            x = processor(x, inside[level])
            if level + 1 < len(self.down):
                kept.append(x)
                x = restrict(x, masses[level], masses[level + 1])
        for level in range(len(kept) - 1, -1, -1):
            x = kept[level] + prolong(x, kept[level].shape[2:]) * inside[level]
            x = self.up[level](x, inside[level])
        return x


def prolong(x: Tensor, shape: torch.Size) -> Tensor:
    """The same function in the next finer space: multilinear elements on twice the cells."""
    return F.interpolate(x, size=shape, mode=_MODE[len(shape)], align_corners=True)


def gather(mass: Tensor) -> Tensor:
    """Transpose of `prolong`: (samples, channels, *points) -> every second point."""
    dimension, channels = mass.dim() - 2, mass.shape[1]
    one = torch.tensor([0.5, 1.0, 0.5], dtype=mass.dtype, device=mass.device)
    kernel = one
    for _ in range(dimension - 1):
        kernel = kernel[..., None] * one
    convolve = (F.conv1d, F.conv2d, F.conv3d)[dimension - 1]
    weight = kernel.expand(channels, 1, *kernel.shape)
    return convolve(mass, weight, stride=2, padding=1, groups=channels)


def restrict(x: Tensor, mass: Tensor, coarse_mass: Tensor) -> Tensor:
    """P^T (m x) / P^T m, m the masses: a constant stays the same; 0 where no mass is."""
    return gather(x * mass) / coarse_mass.clamp(min=1e-12)
