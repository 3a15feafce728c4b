"""The same samples on a finer grid, for training at several resolutions with data of one."""

from dataclasses import replace

import torch
from torch import Tensor

from kernels.errors import InputError
from kernels.operators.base import Batch, Signature
from kernels.operators.grids import interpolate, spacing


def at_resolution(batch: Batch, factor: int, signature: Signature) -> Batch:
    """The batch on a grid `factor` times finer: a guess of what lies between its points.

    Inputs and outputs are interpolated by cubic polynomials, on a periodic axis across its ends. Axes that
    the outputs alone have, such as time, stay. An input channel of two values, such as a material, keeps two
    values: cubic interpolation of its indicator, cut half-way, gives a smooth interface.
    Where the points of the old grid are among the new ones (all but cell centres with an even factor) their
    outputs are the data; those between are as good as the interpolation. factor 1 gives the batch itself.

    Raises InputError where the factor is not positive or the batch is on a mesh.
    """
    if factor < 1 or batch.mesh is not None:
        kind = "a grid" if batch.mesh is None else "a mesh"
        raise InputError(
            f"resolution factor {factor} on {kind}: expected a factor from 1 on and a grid: leave it out"
        )
    if factor == 1:
        return batch
    around, out_around = signature.around, signature.out_around
    pairs = zip(batch.grid, around, strict=True)
    grid = tuple(_refined(axis, factor, periodic) for axis, periodic in pairs)
    own = set(signature.axes) & set(signature.out_axes) or set(signature.out_axes)
    out_grid = tuple(
        _refined(axis, factor, periodic) if name in own else axis
        for axis, name, periodic in zip(batch.out_grid, signature.out_axes, out_around, strict=True)
    )
    u = None if batch.u is None else interpolate(batch.u, batch.out_grid, out_grid, "cubic", out_around)
    return replace(batch, a=_inputs(batch, grid, around), u=u, grid=grid, out_grid=out_grid)


def _inputs(batch: Batch, grid: tuple[Tensor, ...], around: tuple[bool, ...]) -> Tensor:
    if not grid:
        return batch.a
    finer = interpolate(batch.a, batch.grid, grid, "cubic", around)
    for channel in range(batch.a.shape[1]):
        given = batch.a[:, channel]
        low, high = given.amin(), given.amax()
        if bool(((given == low) | (given == high)).all()):
            finer[:, channel] = torch.where(finer[:, channel] > 0.5 * (low + high), high, low)
    return finer


def _refined(axis: Tensor, factor: int, periodic: bool) -> Tensor:
    """The axis with `factor` points an interval, of its own kind: cell centres (i + 1/2) h stay
    cell centres; an odd number of points that is not periodic runs from end to end; else i h without the far
    end.
    """
    count, first = len(axis), float(axis[0])
    h = spacing(axis)
    if abs(first - 0.5 * h) < 1e-3 * h:
        return (torch.arange(count * factor, dtype=torch.float64) + 0.5) * (h / factor)
    total = (count - 1) * factor + 1 if count % 2 and not periodic else count * factor
    return first + torch.arange(total, dtype=torch.float64) * (h / factor)
