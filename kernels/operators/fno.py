"""The Fourier neural operator of the library neuraloperator, with the face of the others."""

import os
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kernels.errors import InputError
from kernels.operators.base import Batch, Operator, Signature
from kernels.operators.grids import coordinates, interpolate
from kernels.operators.settings import FnoSettings


class Fno(Operator):
    """Fourier neural operator: v_{l+1} = gelu(F^-1(R_l F v_l) + W_l v_l) between lifting and projection.

    Li et al., ICLR 2021, eq. 2-4; the network is `neuralop.models.FNO`. Its input channels are the input
    fields, the parameters, and the coordinates scaled to [0, 1] on the training domain (which takes the place
    of the library's own embedding, whose points depend on the resolution alone). Output axes that the input
    has not, such as time, become channels; where input and output have as many axes under other names, they
    are taken in order and the output is interpolated. `padding` extends the domain by that part of it
    before the transforms, for boundaries that are not periodic.

    A grid too coarse for the modes is brought to the training grid first, all others are served as they are.
    """

    family = "fno"

    def __init__(self, signature: Signature, settings: FnoSettings) -> None:
        super().__init__(signature)
        # numbers alone are spread over the output grid
        self._axes = signature.axes or signature.out_axes
        self._own = tuple(map(torch.tensor, signature.grid or signature.out_grid))
        self._extra = _further_axes(signature, self._axes)
        self._check(settings)
        self.modes = settings.modes
        channels = signature.outputs * int(np.prod([len(signature.out_grid[i]) for i in self._extra]))
        self.network = library()(
            n_modes=(settings.modes,) * len(self._axes),
            in_channels=signature.inputs + signature.parameters + len(self._axes),
            out_channels=channels,
            hidden_channels=settings.width,
            n_layers=settings.layers,
            positional_embedding=None,
            domain_padding=settings.padding or None,
        )

    def _check(self, settings: FnoSettings) -> None:
        points = tuple(map(len, self._own))
        if not 1 <= len(points) <= 3:
            raise InputError(f"fno was given fields on {len(points)} axes, expected 1, 2 or 3")
        if not 1 <= settings.modes <= min(points):
            raise InputError(
                f"fno was asked for {settings.modes} modes on a grid of {points} points, expected 1 to "
                f"{min(points)}: a grid has no more modes than points"
            )
        if settings.width < 1 or settings.layers < 1 or settings.padding < 0.0:
            raise InputError(f"fno was given {settings}, expected positive numbers, padding zero or more")

    def forward(self, batch: Batch) -> Tensor:
        """Prediction on `batch.out_grid`.

        Raises InputError where the batch has another number of axes than the training data.
        """
        grid = batch.grid if self.signature.axes else batch.out_grid
        if len(grid) != len(self._own) or len(batch.out_grid) != len(self.signature.out_grid):
            raise InputError(
                f"fno was given {len(grid)} input and {len(batch.out_grid)} output axes, it was trained on "
                f"{len(self._own)} and {len(self.signature.out_grid)}: it cannot serve another dimension"
            )
        fields = batch.a
        if any(len(axis) < self.modes for axis in grid):
            if self.signature.inputs:
                fields = interpolate(fields, grid, self._own, "linear", self.signature.around)
            grid = self._own
        return self._placed(self.network(self._channels(fields, batch.parameters, grid)), grid, batch)

    def _channels(self, fields: Tensor, parameters: Tensor, grid: tuple[Tensor, ...]) -> Tensor:
        shape = tuple(map(len, grid))
        size = (parameters.shape[0], *shape)
        scaled = [
            ((axis - own[0]) / (own[-1] - own[0]) if len(own) > 1 else axis - own[0])
            for axis, own in zip(grid, self._own, strict=True)
        ]
        place = torch.stack(torch.meshgrid(*scaled, indexing="ij")).to(parameters)
        pieces = [place.expand(parameters.shape[0], *place.shape)]
        if self.signature.inputs:
            pieces.insert(0, fields)
        if self.signature.parameters:
            flat = parameters.reshape(*parameters.shape, *[1] * len(shape))
            pieces.insert(-1, flat.expand(size[0], parameters.shape[1], *shape))
        return torch.cat(pieces, dim=1)

    def _placed(self, u: Tensor, grid: tuple[Tensor, ...], batch: Batch) -> Tensor:
        """Channels back to the axes that the input has not, and to the output's grid where it is another."""
        s = self.signature
        further = [len(s.out_grid[i]) for i in self._extra]
        u = u.reshape(u.shape[0], s.outputs, *further, *u.shape[2:])
        kept = [i for i in range(len(s.out_axes)) if i not in self._extra]
        if set(self._axes) <= set(s.out_axes):
            kept = [s.out_axes.index(name) for name in self._axes]
        order = [*self._extra, *kept]
        source = list(coordinates(s.out_grid))
        for i, axis in zip(kept, grid, strict=True):
            source[i] = axis
        u = u.permute(0, 1, *(2 + order.index(i) for i in range(len(order))))
        return interpolate(u, tuple(source), batch.out_grid, "cubic", s.out_around)


def _further_axes(signature: Signature, axes: tuple[str, ...]) -> tuple[int, ...]:
    """Positions of the output axes that become channels."""
    if set(axes) <= set(signature.out_axes):
        return tuple(i for i, name in enumerate(signature.out_axes) if name not in axes)
    if len(axes) == len(signature.out_axes):
        return ()
    raise InputError(
        f"fno was given inputs on the axes {axes} and outputs on {signature.out_axes}, expected outputs on "
        "the input's axes, maybe more, or on as many others: choose deeponet or multionet"
    )


def library() -> Any:
    """The class FNO of neuraloperator, imported without a message of what it imports."""
    # the library imports a tracker of experiments, which would otherwise report its own errors to its makers
    before = os.environ.get("WANDB_ERROR_REPORTING")
    os.environ["WANDB_ERROR_REPORTING"] = "false"
    try:
        from neuralop.models import FNO
    finally:
        if before is None:
            del os.environ["WANDB_ERROR_REPORTING"]
        else:
            os.environ["WANDB_ERROR_REPORTING"] = before
    return FNO
