"""Interpolation between tensor grids, one axis after the other, and what a grid's coordinates say of it."""

from collections.abc import Callable, Sequence
from functools import lru_cache, wraps
from typing import Any, Literal, ParamSpec, TypeVar

import numpy as np
import torch
from torch import Tensor

from kernels.errors import InputError

Order = Literal["linear", "cubic"]

P = ParamSpec("P")
R = TypeVar("R")


def of_coordinates(function: Callable[P, R]) -> Callable[P, R]:
    """A function of coordinates, which are constants where an operator is exported: computed, not traced."""

    @wraps(function)
    def computed(*args: P.args, **kwargs: P.kwargs) -> R:
        if not torch.compiler.is_exporting():
            return function(*args, **kwargs)
        from torch.utils._python_dispatch import _disable_current_modes

        constants: Any = [getattr(one, "constant", one) for one in args]
        with torch._C.DisableTorchFunction(), _disable_current_modes():
            return function(*constants, **kwargs)

    return computed


def interpolate(
    values: Tensor,
    source: tuple[Tensor, ...],
    target: tuple[Tensor, ...],
    order: Order = "linear",
    periodic: bool | tuple[bool, ...] = False,
) -> Tensor:
    """Values on the target grid from those on the source grid: a tensor product of Lagrange polynomials.

    values (..., *source); the polynomial of degree 1 or 3 runs through the nearest 2 or 4 points of an axis
    and goes on beyond its ends, so points that coincide keep their values and polynomials of that degree are
    exact (to round-off). Any rising coordinates. periodic: all axes or each of them, the period one spacing
    longer than the axis, so nothing is continued beyond the ends. Raises InputError where shapes do not fit.
    """
    given = tuple(values.shape[values.dim() - len(source) :])
    wanted = tuple(len(axis) for axis in source)
    if given != wanted or len(source) != len(target):
        raise InputError(
            f"values have the grid {given}, their coordinates {wanted}, the target has {len(target)} axes; "
            "expected the same: pass the coordinates of the values"
        )
    last = values.dim() == 4 and values.is_contiguous(memory_format=torch.channels_last)
    if last:  # work in the order of the memory, and stay in it
        values = values.permute(0, 2, 3, 1)
    first = values.dim() - len(source) - int(last)
    for i, (old, new) in enumerate(zip(source, target, strict=True)):
        if not same_axis(old, new):
            wraps = periodic if isinstance(periodic, bool) else periodic[i]
            values = _along(interpolation_matrix(old, new, order, wraps).to(values), values, first + i)
    return values.permute(0, 3, 1, 2) if last else values


def _along(matrix: Tensor, values: Tensor, axis: int) -> Tensor:
    """The matrix applied along one axis, as products of whole matrices."""
    before, after = values.shape[:axis], values.shape[axis + 1 :]
    if not after:
        return values @ matrix.T
    flat = values.reshape(before.numel(), values.shape[axis], after.numel())
    return (matrix @ flat).reshape(*before, matrix.shape[0], *after)


@of_coordinates
def coordinates(axes: Sequence[np.ndarray]) -> tuple[Tensor, ...]:
    """The axes of a signature as tensors, float64."""
    return tuple(torch.tensor(axis, dtype=torch.float64) for axis in axes)


@of_coordinates
def same_axis(one: Tensor, other: Tensor) -> bool:
    """Whether two axes are the same up to round-off of their coordinates."""
    if one.shape != other.shape:
        return False
    return bool(torch.allclose(one.double(), other.double(), rtol=0.0, atol=1e-6 * spacing(one)))


def same_grid(one: tuple[Tensor, ...], other: tuple[Tensor, ...]) -> bool:
    """Whether all axes are the same."""
    return len(one) == len(other) and all(map(same_axis, one, other))


@of_coordinates
def spacing(axis: Tensor) -> float:
    """Mean distance of the points of an axis; 1 where it has one point."""
    return float(axis[-1] - axis[0]) / (len(axis) - 1) if len(axis) > 1 else 1.0


@of_coordinates
def interpolation_matrix(
    source: Tensor, target: Tensor, order: Order = "linear", periodic: bool = False
) -> Tensor:
    """Matrix (target points, source points), float64, of `interpolate` along one axis."""
    return _matrix(tuple(source.double().tolist()), tuple(target.double().tolist()), order, periodic)


@lru_cache(maxsize=64)
def _matrix(source: tuple[float, ...], target: tuple[float, ...], order: Order, periodic: bool) -> Tensor:
    x, y = np.array(source), np.array(target)
    if periodic and len(x) > 1:
        around = min(2, len(x))
        period = (x[-1] - x[0]) * len(x) / (len(x) - 1)
        wide = np.concatenate([x[-around:] - period, x, x[:around] + period])
        matrix = _weights(wide, x[0] + np.mod(y - x[0], period), order)
        folded = matrix[:, around:-around].copy()
        folded[:, -around:] += matrix[:, :around]
        folded[:, :around] += matrix[:, -around:]
        return torch.from_numpy(folded)
    return torch.from_numpy(_weights(x, y, order))


def _weights(x: np.ndarray, y: np.ndarray, order: Order) -> np.ndarray:
    count = min(2 if order == "linear" else 4, len(x))
    start = np.clip(np.searchsorted(x, y, side="right") - count // 2, 0, len(x) - count)
    picked = start[:, None] + np.arange(count)
    nodes = x[picked]
    weights = np.ones_like(nodes)
    for j in range(count):
        for k in range(count):
            if k != j:
                weights[:, j] *= (y - nodes[:, k]) / (nodes[:, j] - nodes[:, k])
    matrix = np.zeros((len(y), len(x)))
    np.put_along_axis(matrix, picked, weights, axis=1)
    return matrix
