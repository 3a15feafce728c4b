"""Symmetries of a problem, drawn anew for every sample of a batch: as good as further samples."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from kernels.errors import InputError
from kernels.operators.base import Batch, Signature


def check(names: Sequence[str], signature: Signature) -> None:
    """Raise InputError where a symmetry is unknown or does not fit the grids.

    transpose: swaps the two axes of a square; flip_<axis>: mirrors an axis; translate_<axis>: shifts along
    a periodic axis. They act on scalar fields; whether the problem has them only its author knows.
    """
    axes = dict.fromkeys([*signature.axes, *signature.out_axes])
    known = ["transpose", *(f"{verb}_{axis}" for verb in ("flip", "translate") for axis in axes)]
    for name in names:
        if name not in known or signature.layout != "grid":
            raise InputError(
                f"there is no symmetry {name!r} on a {signature.layout} with axes {list(axes)}; expected "
                f"some of {known if signature.layout == 'grid' else []}"
            )
        if name.startswith("translate") and signature.boundary != "periodic":
            raise InputError(
                f"symmetry {name!r} needs a periodic grid, this one is {signature.boundary}: leave it out"
            )
        if name == "transpose":
            for grid in filter(None, (signature.grid, signature.out_grid)):
                if len(grid) != 2 or len(grid[0]) != len(grid[1]) or not _alike(grid):
                    raise InputError(
                        f"symmetry 'transpose' needs a square with equal points along both axes, got "
                        f"{signature.shape} and {signature.out_shape}: leave it out"
                    )


def _alike(grid: Sequence) -> bool:
    first, second = (axis - axis[0] for axis in grid)
    return bool((abs(first - second) <= 1e-9 * max(abs(first).max(), 1e-300)).all())


def apply(batch: Batch, names: Sequence[str], signature: Signature, generator: torch.Generator) -> Batch:
    """Every symmetry with chance one half for every sample, translations by any number of points."""
    a, u = batch.a, batch.u
    for name in names:
        verb, _, axis = name.partition("_")
        chance = torch.rand(batch.samples, generator=generator)
        if verb == "translate":
            a = _shifted(a, chance, signature.axes, axis)
            u = None if u is None else _shifted(u, chance, signature.out_axes, axis)
            continue
        chosen = chance < 0.5
        a = _turned(a, chosen, signature.axes, axis)
        u = None if u is None else _turned(u, chosen, signature.out_axes, axis)
    return replace(batch, a=a, u=u)


def _turned(values: Tensor, chosen: Tensor, axes: Sequence[str], axis: str) -> Tensor:
    mask = chosen.to(values.device).reshape(-1, *[1] * (values.dim() - 1))
    if axis == "":
        return torch.where(mask, values.transpose(2, 3), values) if len(axes) == 2 else values
    if axis not in axes:
        return values
    return torch.where(mask, values.flip(2 + axes.index(axis)), values)


def _shifted(values: Tensor, chance: Tensor, axes: Sequence[str], axis: str) -> Tensor:
    if axis not in axes:
        return values
    dim = 2 + axes.index(axis)
    count = values.shape[dim]
    shift = (chance * count).long().to(values.device)
    index = (torch.arange(count, device=values.device)[None] + shift[:, None]) % count
    shape = [1] * values.dim()
    shape[0], shape[dim] = values.shape[0], count
    return torch.gather(values, dim, index.reshape(shape).expand_as(values))
