"""Gradients of nodal values: central differences on tensor grids, of P1 elements on meshes."""

import torch
from torch import Tensor

from kernels.errors import InputError
from kernels.operators.base import MeshBatch


def along(values: Tensor, axis: int, x: Tensor, periodic: bool = False) -> Tensor:
    """du/dx along an axis: (u[i+1] - u[i-1]) / (x[i+1] - x[i-1]), one-sided at the ends unless periodic.

    Second order inside on even grids, first order at the ends. A periodic axis has no point twice: its
    period is x[-1] - x[0] + (x[1] - x[0]). x (points,): any unit, the result is per unit of it.
    """
    moved = values.movedim(axis, -1)
    x = x.to(values.dtype)
    if periodic:
        period = x[-1] - x[0] + (x[1] - x[0])
        right, left = torch.roll(x, -1), torch.roll(x, 1)
        width = right - left
        width = torch.where(width <= 0.0, width + period, width)
        found = (torch.roll(moved, -1, -1) - torch.roll(moved, 1, -1)) / width
    else:
        inner = (moved[..., 2:] - moved[..., :-2]) / (x[2:] - x[:-2])
        first = (moved[..., 1:2] - moved[..., :1]) / (x[1] - x[0])
        last = (moved[..., -1:] - moved[..., -2:-1]) / (x[-1] - x[-2])
        found = torch.cat([first, inner, last], dim=-1)
    return found.movedim(-1, axis)


def on_cells(mesh: MeshBatch, values: Tensor) -> tuple[Tensor, Tensor]:
    """Gradient of P1 functions, (cells, channels, dimension), and measure of every cell, (cells,).

    With edges E (dimension, corners - 1) of a cell: grad u = E (E^T E)^-1 (u_i - u_0), measure
    sqrt(det E^T E) / (corners - 1)!, so that triangles may lie on a surface in space (Dziuk and Elliott
    2013, section 2). Raises InputError where cells are not simplices.
    """
    corners, dimension = mesh.connectivity.shape[1], mesh.x.shape[1]
    if corners - 1 > dimension:
        raise InputError(
            f"cells of {corners} corners in {dimension} dimensions; expected simplices for gradients: divide "
            "the cells, or train with the loss relative_l2"
        )
    x = mesh.x[mesh.connectivity]
    edges = (x[:, 1:] - x[:, :1]).transpose(1, 2)
    gram = edges.transpose(1, 2) @ edges
    factorial = float(torch.prod(torch.arange(1, corners)))
    measure = torch.sqrt(torch.det(gram)) / factorial
    basis = (edges @ torch.linalg.inv(gram)).to(values.dtype)
    at = values[mesh.connectivity]
    differences = (at[:, 1:] - at[:, :1]).transpose(1, 2)
    return torch.einsum("cdk,cuk->cud", basis, differences), measure.to(values.dtype)
