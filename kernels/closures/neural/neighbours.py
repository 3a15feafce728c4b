"""Nonlocal learned closures: convolutions and a Fourier neural operator over invariants.

Their inputs and outputs are scalar fields. A scalar map commutes with turns of the box by 90 degrees and with
its mirrors if its stencils are isotropic, or if it is averaged over these eight; it gives coefficients of
terms that are equivariant by themselves.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn

from kernels.closures.base import Moments
from kernels.closures.neural.gradient import grid_of
from kernels.closures.neural.network import algebraic
from kernels.closures.neural.pointwise import Neural, strain_seen
from kernels.closures.neural.settings import CnnSettings, FnoSettings
from kernels.errors import InputError


class _Nonlocal(Neural):
    local = False
    strain_aware = True
    invariants = 3
    terms = 3

    def seen(self, q: Tensor, moments: Moments) -> tuple[list[Tensor], list[Tensor]]:
        """As `pointwise.strain_seen`."""
        grid_of(self.family, moments)
        return strain_seen(q, moments.strain)

    def coefficients(self, inputs: Tensor) -> Tensor:
        """The network of channels (..., n, n, k), as (samples, k, n, n)."""
        fields = inputs.reshape(-1, *inputs.shape[-3:]).movedim(-1, 1)
        found = self._of_channels(fields).movedim(1, -1)
        return found.reshape(*inputs.shape[:-1], self.terms)

    def _of_channels(self, fields: Tensor) -> Tensor:
        found: Tensor = self.network(fields)
        return found


class Cnn(_Nonlocal):
    """Periodic convolutions, `depth` with an activation and one without, stencils averaged over the eight
    turns and mirrors of the square."""

    family = "cnn"
    settings: CnnSettings

    def _make(self, inputs: int) -> None:
        s = self.settings
        if s.points < 1 or s.points % 2 == 0 or s.depth < 1:
            raise InputError(f"cnn was given {s}, expected an odd number of points and at least one layer")
        sizes = [inputs, *[s.width] * s.depth, self.terms]
        self.network = nn.Sequential(
            *(_Stencils(n, m, s.points, last=i == s.depth)
              for i, (n, m) in enumerate(pairwise(sizes)))
        )  # fmt: skip


class _Stencils(nn.Module):
    def __init__(self, inputs: int, outputs: int, points: int, last: bool) -> None:
        super().__init__()
        draw = torch.randn(outputs, inputs, points, points, dtype=torch.float64)
        scale = 0.0 if last else (8.0 / (inputs * points**2)) ** 0.5
        self.kernel = nn.Parameter(draw * scale)
        self.bias = nn.Parameter(torch.zeros(outputs, dtype=torch.float64))
        self._last, self._half = last, points // 2

    def forward(self, x: Tensor) -> Tensor:
        """One layer, with its activation unless it is the last."""
        turned = torch.stack([torch.rot90(self.kernel, k, (2, 3)) for k in range(4)]).sum(0) / 8.0
        kernel = turned + turned.flip(2)
        h = self._half
        if h > min(x.shape[-2:]):
            raise InputError(
                f"stencils of {2 * h + 1} points do not fit a grid of {tuple(x.shape[-2:])}: use a finer grid"
            )
        padded = torch.nn.functional.pad(x, (h, h, h, h), mode="circular")
        y = torch.nn.functional.conv2d(padded, kernel, self.bias)
        return y if self._last else algebraic(y)


class Fno(_Nonlocal):
    """The Fourier neural operator of the library neuraloperator, averaged over the eight turns and
    mirrors of the square.

    The library sums its Fourier modes in single precision whatever it is given, so turns commute, and
    gradients agree with differences, to that precision alone.
    """

    family = "fno"
    settings: FnoSettings

    def _make(self, inputs: int) -> None:
        from kernels.operators.fno import library

        s = self.settings
        if s.modes < 1 or s.layers < 1:
            raise InputError(f"fno was given {s}, expected positive numbers")
        self.network = library()(
            n_modes=(s.modes, s.modes), in_channels=inputs, out_channels=self.terms,
            hidden_channels=s.width, n_layers=s.layers, positional_embedding=None,
        )  # fmt: skip
        for name, values in list(self.network.named_parameters()):
            owner, _, leaf = name.rpartition(".")
            wide = torch.complex128 if values.is_complex() else torch.float64
            setattr(self.network.get_submodule(owner), leaf, nn.Parameter(values.detach().to(wide)))
        with torch.no_grad():
            last = list(self.network.projection.parameters())[-2:]
            for values in last:
                values.zero_()

    def _of_channels(self, fields: Tensor) -> Tensor:
        """The mean over the eight, which all are applied to the inputs and undone on the outputs."""
        if min(fields.shape[-2:]) < self.settings.modes:
            raise InputError(
                f"fno has {self.settings.modes} modes, the grid {tuple(fields.shape[-2:])} points: use a "
                "finer grid"
            )
        found = torch.zeros((), dtype=fields.dtype, device=fields.device)
        for k in range(4):
            turned = torch.rot90(fields, k, (2, 3))
            found = found + torch.rot90(self.network(turned), -k, (2, 3))
            mirrored = self.network(turned.flip(2)).flip(2)
            found = found + torch.rot90(mirrored, -k, (2, 3))
        return found / 8.0
