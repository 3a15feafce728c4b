"""Weak residuals of -div(a grad u) = f against compactly supported test functions, without labels."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from kernels.errors import InputError
from kernels.operators.base import Batch, Signature
from kernels.operators.training.losses import Scales


@dataclass(frozen=True)
class Diffusion:
    """-div(a grad u) = f: channels of a and u, f a number or an input channel, and how it is tested.

    weight: of the residual beside the loss. centres: test functions a step. radius: of their support, in
    grid spacings.
    """

    coefficient: int
    output: int
    source: float | int
    source_is_channel: bool = False
    weight: float = 0.1
    centres: int = 100
    radius: float = 3.0


def check(equation: Diffusion, signature: Signature) -> None:
    """Raise InputError where the residual cannot be computed for such fields."""
    if signature.layout != "grid" or signature.axes != signature.out_axes:
        raise InputError(
            "the weak form needs inputs and outputs on one grid, got "
            f"{signature.layout} with axes {signature.axes} and {signature.out_axes}: leave out `equation`"
        )
    if signature.shape != signature.out_shape or min(signature.shape) < 2 * math.ceil(equation.radius) + 2:
        raise InputError(
            f"the weak form has test functions of radius {equation.radius} grid spacings on a grid of "
            f"{signature.shape}; expected at least {2 * math.ceil(equation.radius) + 2} points along every "
            "axis: lower `radius`"
        )


def residual(
    predicted: Tensor, batch: Batch, scales: Scales, equation: Diffusion, generator: torch.Generator
) -> Tensor:
    """sqrt(sum_j r_j^2 / sum_j F_j^2) of every sample, (samples,), 0 for an exact solution.

    r_j = int a grad u . grad w_j - f w_j, F_j = int |f| w_j with Wendland's C2 functions w_j (Wendland 1995;
    Zang and Koutsourelakis 2025, section 3.2) around centres drawn uniformly where their supports lie inside
    the domain. Midpoint rule on the cells of the grid, a averaged over corners, so exact to second order
    where a is smooth, for supports of one size: with a radius of a few spacings on ever finer grids the error
    of quadrature, about the flux times a part of int |grad w|, outgrows int |f| w, so raise it as the grid is
    refined. a and f are physical also where the scales are those of the logarithm.
    """
    dtype, device = predicted.dtype, predicted.device
    middles = [0.5 * (axis[1:] + axis[:-1]).to(device, dtype) for axis in batch.grid]
    widths = [(axis[1:] - axis[:-1]).to(device, dtype) for axis in batch.grid]
    points = torch.stack(torch.meshgrid(*middles, indexing="ij"), dim=-1).reshape(-1, len(middles))
    volume = _outer(widths).reshape(-1)
    a = _cells(scales.input_value(batch.a[:, equation.coefficient], equation.coefficient))
    slopes = _slopes(predicted[:, equation.output] * scales.output_scale[equation.output].to(dtype), batch)
    flux = (a[..., None] * slopes).flatten(1, -2)
    w, gradient = _tests(points, batch, equation, generator)
    if equation.source_is_channel:
        channel = int(equation.source)
        f = _cells(scales.input_value(batch.a[:, channel], channel)).flatten(1)
    else:
        f = torch.full_like(flux[..., 0], float(equation.source))
    r = torch.einsum("spd,jpd,p->sj", flux, gradient, volume) - torch.einsum("sp,jp,p->sj", f, w, volume)
    whole = torch.einsum("sp,jp,p->sj", f.abs(), w, volume)
    return torch.sqrt((r**2).sum(1) / ((whole**2).sum(1) + torch.finfo(dtype).tiny) + 1e-12)


def _tests(
    points: Tensor, batch: Batch, equation: Diffusion, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """w = (1 - q)^4 (4 q + 1) with q = |D^-1 (x - c)|, (centres, points), and its gradient.

    D: the radii along the axes, `radius` mean spacings each.
    """
    low = torch.stack([axis[0] for axis in batch.grid]).to(points)
    high = torch.stack([axis[-1] for axis in batch.grid]).to(points)
    counts = torch.tensor([len(axis) - 1 for axis in batch.grid]).to(points)
    radius = equation.radius * (high - low) / counts
    drawn = torch.rand(equation.centres, len(batch.grid), generator=generator, dtype=torch.float64)
    centres = low + radius + drawn.to(points) * (high - low - 2.0 * radius)
    offset = (points[None] - centres[:, None]) / radius
    q = offset.square().sum(-1).sqrt().clamp(max=1.0)
    w = (1.0 - q) ** 4 * (4.0 * q + 1.0)
    return w, -20.0 * ((1.0 - q) ** 3)[..., None] * offset / radius


def _cells(values: Tensor) -> Tensor:
    """Means over the corners of every cell of a grid: one point fewer along every axis."""
    for axis in range(1, values.dim()):
        n = values.shape[axis]
        values = 0.5 * (values.narrow(axis, 0, n - 1) + values.narrow(axis, 1, n - 1))
    return values


def _slopes(u: Tensor, batch: Batch) -> Tensor:
    """Gradient at the middle of every cell: (samples, cells..., dimension)."""
    found = []
    for axis, x in enumerate(batch.grid, start=1):
        n = u.shape[axis]
        shape = [1] * u.dim()
        shape[axis] = n - 1
        width = (x[1:] - x[:-1]).to(u).reshape(shape)
        slope = (u.narrow(axis, 1, n - 1) - u.narrow(axis, 0, n - 1)) / width
        for other in range(1, u.dim()):
            if other != axis:
                m = slope.shape[other]
                slope = 0.5 * (slope.narrow(other, 0, m - 1) + slope.narrow(other, 1, m - 1))
        found.append(slope)
    return torch.stack(found, dim=-1)


def _outer(widths: list[Tensor]) -> Tensor:
    total = torch.ones((), dtype=widths[0].dtype, device=widths[0].device)
    for width in widths:
        total = total[..., None] * width
    return total
