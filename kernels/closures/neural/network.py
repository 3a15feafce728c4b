"""Small perceptrons with an activation that needs no exponential."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

Activation = Literal["algebraic", "sine"]


def algebraic(x: Tensor) -> Tensor:
    """x / sqrt(1 + x^2): a square root and a division, which vectorise on every processor."""
    return x * torch.rsqrt(1.0 + x * x)


class Perceptron(nn.Module):
    """Inputs (..., k) -> outputs (..., m) through `depth` hidden layers of `width`, float64.

    The last layer starts at zero, so that a new network says nothing.
    """

    def __init__(
        self, inputs: int, outputs: int, width: int, depth: int, activation: Activation = "algebraic"
    ) -> None:
        super().__init__()
        sizes = [inputs, *[width] * depth, outputs]
        self.weights = nn.ParameterList(_drawn(n, m) for n, m in pairwise(sizes))
        self.biases = nn.ParameterList(torch.zeros(m, dtype=torch.float64) for m in sizes[1:])
        with torch.no_grad():
            for bias in list(self.biases)[:-1]:
                bias.uniform_(-1.0, 1.0)
            self.weights[-1].zero_()
        self._act = algebraic if activation == "algebraic" else torch.sin

    def forward(self, x: Tensor) -> Tensor:
        """Outputs of the last layer, without an activation."""
        last = len(self.weights) - 1
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = torch.nn.functional.linear(x, weight, bias)
            x = x if i == last else self._act(x)
        return x


def _drawn(inputs: int, outputs: int) -> nn.Parameter:
    scale = math.sqrt(1.0 / max(1, inputs))
    return nn.Parameter(torch.randn(outputs, inputs, dtype=torch.float64) * scale)


def standardised(values: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each list of numbers; 1 where it does not vary."""
    mean = torch.stack([one.mean() for one in values])
    scale = torch.stack([one.std(correction=0) for one in values])
    varies = scale > 1e-9 * (1.0 + mean.abs())
    return mean, torch.where(varies, scale, torch.ones_like(scale))
