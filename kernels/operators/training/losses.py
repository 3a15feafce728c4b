"""The one list of losses: relative errors of every sample and output, in physical units."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from kernels.operators.base import Batch, Boundary
from kernels.operators.training.gradients import along, on_cells
from kernels.operators.training.options import Loss

_SMALL = 1e-12


@dataclass(frozen=True)
class Scales:
    """Mean and scale of every channel: a physical value is value * scale + mean.

    input_logarithm: of which inputs this is the logarithm, bool (inputs,); None: of none.
    """

    input_mean: Tensor
    input_scale: Tensor
    output_mean: Tensor
    output_scale: Tensor
    input_logarithm: Tensor | None = None

    def to(self, dtype: torch.dtype, device: torch.device | str) -> "Scales":
        """The same numbers elsewhere."""
        own = (self.input_mean, self.input_scale, self.output_mean, self.output_scale)
        moved = [one.to(device, dtype) for one in own]
        return Scales(moved[0], moved[1], moved[2], moved[3], self.input_logarithm)

    def input_value(self, values: Tensor, channel: int) -> Tensor:
        """Physical values of an input channel from the normalised ones of it."""
        scale, mean = (one[channel].to(values) for one in (self.input_scale, self.input_mean))
        stored = values * scale + mean
        is_logarithm = self.input_logarithm is not None and bool(self.input_logarithm[channel])
        return torch.exp(stored) if is_logarithm else stored


Measure = Callable[[Tensor, Batch, Scales, Boundary], Tensor]
"""Prediction, normalised as batch.u -> errors (samples, outputs)."""


def relative_l2(predicted: Tensor, batch: Batch, scales: Scales, boundary: Boundary) -> Tensor:
    """||u - v|| / ||u|| over the points or nodes of a sample, for each output: (samples, outputs).

    In physical units, where a channel's scale s drops out: u / s = normalised + mean / s. Li et al. 2021
    (arXiv 2010.08895), section 5.
    """
    del boundary
    target = _target(batch)
    error = _sums((predicted - target) ** 2, batch)
    return _ratio(error, _sums((target + _shift(scales, target)) ** 2, batch))


def h1(predicted: Tensor, batch: Batch, scales: Scales, boundary: Boundary) -> Tensor:
    """Relative H1 error sqrt(|e|^2 + L^2 |grad e|^2) / sqrt(|u|^2 + L^2 |grad u|^2): (samples, outputs).

    L, the longest extent of the domain, makes both terms of one unit; 1 on the unit square. Central
    differences on grids, P1 gradients and lumped masses on meshes (He, Liu, Xu 2024, arXiv 2310.19809,
    section 5).
    """
    target = _target(batch)
    error, whole = predicted - target, target + _shift(scales, target)
    if batch.mesh is not None:
        return _ratio(_mesh_norm(error, batch), _mesh_norm(whole, batch))
    return _ratio(_grid_norm(error, batch, boundary), _grid_norm(whole, batch, boundary))


def l2_h1(predicted: Tensor, batch: Batch, scales: Scales, boundary: Boundary) -> Tensor:
    """relative_l2 + h1 / 5: gradients say where a prediction is wrong, values keep its mean in place."""
    values = relative_l2(predicted, batch, scales, boundary)
    return values + 0.2 * h1(predicted, batch, scales, boundary)


def _target(batch: Batch) -> Tensor:
    assert batch.u is not None
    return batch.u


def _shift(scales: Scales, target: Tensor) -> Tensor:
    ratio = (scales.output_mean / scales.output_scale).to(target.dtype)
    return ratio.reshape(1, -1, *[1] * (target.dim() - 2))


def _ratio(error: Tensor, whole: Tensor) -> Tensor:
    """Root of a quotient, with a finite derivative where the error vanishes."""
    return torch.sqrt(error + _SMALL) / torch.sqrt(whole + _SMALL)


def _sums(values: Tensor, batch: Batch) -> Tensor:
    """Means over the points of every sample: (samples, channels)."""
    if batch.mesh is None:
        return values.flatten(2).mean(dim=2)
    return _by_sample(values, batch.mesh.sample, batch.samples, mean=True)


def _by_sample(values: Tensor, sample: Tensor, count: int, mean: bool = False) -> Tensor:
    found = torch.zeros(count, values.shape[1], dtype=values.dtype, device=values.device)
    found = found.index_add(0, sample, values)
    if mean:
        found = found / torch.bincount(sample, minlength=count).to(values.dtype)[:, None]
    return found


def _grid_norm(values: Tensor, batch: Batch, boundary: Boundary) -> Tensor:
    total = _sums(values**2, batch)
    axes = [axis for axis in batch.out_grid if len(axis) > 1]
    length = max((float(axis[-1] - axis[0]) for axis in axes), default=1.0)
    for number, axis in enumerate(batch.out_grid):
        if len(axis) > 1:
            slope = along(values, 2 + number, axis / length, boundary == "periodic" and len(axis) > 2)
            total = total + _sums(slope**2, batch)
    return total


def _mesh_norm(values: Tensor, batch: Batch) -> Tensor:
    mesh = batch.mesh
    assert mesh is not None
    slopes, measure = on_cells(mesh, values)
    owner, count = mesh.sample[mesh.connectivity[:, 0]], batch.samples
    extent = values.new_tensor([mesh.longest()])
    squares = (values**2)[mesh.connectivity].mean(dim=1) + extent**2 * (slopes**2).sum(dim=2)
    volume = _by_sample(measure[:, None], owner, count)
    return _by_sample(squares * measure[:, None], owner, count) / volume


LOSSES: dict[Loss, Measure] = {"relative_l2": relative_l2, "h1": h1, "l2_h1": l2_h1}
