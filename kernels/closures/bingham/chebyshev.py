"""Chebyshev series in one variable: compiled on the processor, torch elsewhere, differentiable throughout."""

from functools import cached_property
from typing import Any

import numpy as np
import torch
from numba import njit
from numpy.polynomial import chebyshev
from torch import Tensor

Field = Any
"""A numpy array or a torch tensor."""

_BLOCK = 64  # points side by side, by vector instructions, with their recurrences in the nearest cache


class Series:
    """f(t) = sum_k a_k T_k(t), -1 <= t <= 1, of real arrays or tensors of any shape.

    coefficients: (degree + 1,). Gradients of tensors, to any order, are the series of the derivative.
    """

    def __init__(self, coefficients: np.ndarray) -> None:
        self.coefficients = np.ascontiguousarray(coefficients, dtype=np.float64)

    def __len__(self) -> int:
        return len(self.coefficients)

    @cached_property
    def derivative(self) -> "Series":
        """df/dt, again a series."""
        return Series(chebyshev.chebder(self.coefficients))

    def __call__(self, t: Field) -> Field:
        """f at t."""
        return (
            _Values.apply(t, self) if isinstance(t, Tensor) else _clenshaw(np.asarray(t), self.coefficients)
        )


def truncated(coefficients: np.ndarray, tolerance: float) -> np.ndarray:
    """The leading coefficients; what is left off sums to at most the tolerance in modulus."""
    left = np.cumsum(np.abs(coefficients[::-1]))[::-1]
    return coefficients[: max(int(np.count_nonzero(left > tolerance)), 1)]


class _Values(torch.autograd.Function):
    @staticmethod
    def forward(t: Tensor, series: Series) -> Tensor:
        if t.device.type == "cpu" and t.dtype == torch.float64:
            return torch.from_numpy(_clenshaw(t.detach().numpy(), series.coefficients))
        below, last = torch.zeros_like(t), torch.zeros_like(t)
        for a in series.coefficients[:0:-1].tolist():
            below, last = last, 2.0 * t * last - below + a
        return t * last - below + float(series.coefficients[0])

    @staticmethod
    def setup_context(ctx, inputs, output):
        t, ctx.series = inputs
        ctx.save_for_backward(t)
        ctx.save_for_forward(t)

    @staticmethod
    def backward(ctx, gradient):
        (t,) = ctx.saved_tensors
        return gradient * ctx.series.derivative(t), None

    @staticmethod
    def jvp(ctx, tangent, _):
        (t,) = ctx.saved_tensors
        return tangent * ctx.series.derivative(t)

    @staticmethod
    def vmap(info, dims, t, series):
        return _Values.apply(t, series), dims[0]


def _clenshaw(t: np.ndarray, coefficients: np.ndarray) -> np.ndarray:
    found = np.empty(t.shape)
    _blocks(np.ascontiguousarray(t, dtype=np.float64).reshape(-1), coefficients, found.reshape(-1))
    return found


@njit(cache=True, nogil=True)
def _blocks(t, coefficients, found):
    last, below = np.empty(_BLOCK), np.empty(_BLOCK)
    for start in range(0, t.size, _BLOCK):
        count = min(_BLOCK, t.size - start)
        part = t[start : start + count]
        last[:] = 0.0
        below[:] = 0.0
        for k in range(coefficients.size - 1, 0, -1):
            a = coefficients[k]
            for i in range(count):
                new = 2.0 * part[i] * last[i] - below[i] + a
                below[i] = last[i]
                last[i] = new
        for i in range(count):
            found[start + i] = part[i] * last[i] - below[i] + coefficients[0]
