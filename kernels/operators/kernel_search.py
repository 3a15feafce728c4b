"""Kernels, metrics and their cross-validated choice, for `kernel_ridge`."""

from dataclasses import dataclass, replace
from itertools import product

import torch
from torch import Tensor

from kernels.errors import InputError
from kernels.operators.flat import folds, rotated
from kernels.operators.settings import KernelRidgeSettings

KERNELS = ("rbf", "matern")
RIDGES = tuple(10.0**k for k in range(-13, 0))
LENGTHS = (0.5, 1.0, 2.0, 4.0, 8.0)
FINER = (0.5, 0.7, 1.0, 1.4)
_SMOOTHINGS = (1e-4, 1e-3, 1e-2)
_POWERS = (0.5, 1.0)
_FOLDS, _FEW, _MOST, _COMPONENTS = 5, 300, 2000, 64


@dataclass(frozen=True)
class Choice:
    """All that fixes a kernel, as numbers: a position in KERNELS, the power p and ridge of the metric, the
    length l, the factor c of the linear kernel, the ridge r."""

    kernel: float
    power: float
    smoothing: float
    length: float
    linear: float
    ridge: float


def describe(choice: Choice) -> str:
    """The choice in words."""
    metric = f"sensitivity^{choice.power:g} (ridge {choice.smoothing:g})" if choice.power else "plain"
    added = " + linear" if choice.linear else ""
    return (
        f"{KERNELS[int(choice.kernel)]}{added}, metric {metric}, length {choice.length:.3g}, "
        f"ridge {choice.ridge:.0e}"
    )


def transform(x: Tensor, y: Tensor, choice: Choice) -> Tensor:
    """T (features, rank) of the metric, or one number where it is the identity times that.

    x (samples, features), y (samples, values), both centred. Scaled to a mean square distance of one.
    """
    if choice.power == 0.0:
        return _to_unit(x).reshape(1)
    u, s, vt = torch.linalg.svd(x, full_matrices=False)
    return _sensitivity(u, s, vt, y, choice)


def _sensitivity(u: Tensor, s: Tensor, vt: Tensor, y: Tensor, choice: Choice) -> Tensor:
    weights = s / (s.square() + choice.smoothing * s.square().sum().clamp_min(1e-300))
    rows = weights[:, None] * (u.T @ y)
    values, vectors = torch.linalg.eigh(rows @ rows.T)
    kept = values > 1e-14 * values[-1]
    if not bool(kept.any()):
        raise InputError("the outputs do not depend on the inputs, or are constant: check the data")
    root = (values[kept] / values[-1]) ** (choice.power / 2.0)
    matrix = vt.T @ (vectors[:, kept] * root)
    return matrix * _to_unit(x=(u * s) @ (vectors[:, kept] * root))


def _to_unit(x: Tensor) -> Tensor:
    distance = 2.0 * (x - x.mean(dim=0)).square().sum(dim=1).mean()
    if float(distance) == 0.0:
        raise InputError("the inputs of all training samples are the same: there is nothing to learn from")
    return distance.rsqrt()


def squares(one: Tensor, other: Tensor) -> Tensor:
    """Square distances (samples, others) of rows."""
    joint = one.square().sum(dim=1)[:, None] + other.square().sum(dim=1) - 2.0 * one @ other.T
    return joint.clamp_min(0.0)


def gram(one: Tensor, other: Tensor, choice: Choice) -> Tensor:
    """Kernel values (samples, others) of rows in the metric of the choice."""
    return _kernel(squares(one, other), one @ other.T, choice)


def _kernel(distance: Tensor, inner: Tensor, choice: Choice) -> Tensor:
    scaled = distance / choice.length**2
    if KERNELS[int(choice.kernel)] == "rbf":
        values = torch.exp(-0.5 * scaled)
    else:
        r = torch.sqrt(5.0 * scaled)
        values = (1.0 + r + r.square() / 3.0) * torch.exp(-r)
    return values + choice.linear * inner / choice.length**2 if choice.linear else values


def solve(kernel: Tensor, y: Tensor, ridge: float) -> Tensor:
    """alpha of (K + r trace(K)/n I) alpha = y, by Cholesky, or by eigenvalues where round-off wins."""
    shift = ridge * kernel.diagonal().mean()
    shifted = kernel + shift * torch.eye(len(kernel), dtype=kernel.dtype)
    factor, info = torch.linalg.cholesky_ex(shifted)
    if int(info) == 0:
        return torch.cholesky_solve(y, factor)
    values, vectors = torch.linalg.eigh(kernel)
    floor = 1e-15 * float(values[-1])
    return vectors @ ((vectors.T @ y) / (values + shift).clamp_min(floor)[:, None])


def chosen(x: Tensor, y: Tensor, settings: KernelRidgeSettings) -> Choice:
    """The choice of least mean error norm in cross-validation; what the settings give is kept."""
    powers = (0.0, *_POWERS) if settings.sensitivity is None else (settings.sensitivity,)
    metrics = [(p, s) for p in powers for s in (_SMOOTHINGS if p else (0.0,))]
    kernels = (1, 0) if settings.kernel is None else (KERNELS.index(settings.kernel),)
    linear = (0.0, 1.0) if settings.linear is None else (float(settings.linear),)
    lengths = LENGTHS if settings.length is None else (settings.length,)
    ridges = RIDGES if settings.ridge is None else (settings.ridge,)
    few, most = ((rotated(x[:n]), rotated(y[:n])) for n in (_FEW, _MOST))
    first = product(metrics, kernels[:1], lengths, linear[:1])
    best = _best(*few, [Choice(float(k), p, s, at, c, 0.0) for (p, s), k, at, c in first], ridges)
    second = product(kernels, lengths, linear)
    best = _best(*few, [replace(best, kernel=float(k), length=at, linear=c) for k, at, c in second], ridges)
    factors = FINER if settings.length is None else (1.0,)
    return _best(*most, [replace(best, length=best.length * factor) for factor in factors], ridges)


def _best(x: Tensor, y: Tensor, candidates: list[Choice], ridges: tuple[float, ...]) -> Choice:
    if len(candidates) * len(ridges) == 1:
        return replace(candidates[0], ridge=ridges[0])
    errors = torch.zeros(len(candidates), len(ridges), dtype=torch.float64)
    for kept, left in folds(len(x), _FOLDS):
        errors += _errors(x, y, kept, left, candidates, ridges)
    i, j = divmod(int(errors.argmin()), len(ridges))
    return replace(candidates[i], ridge=ridges[j])


def _errors(
    x: Tensor, y: Tensor, kept: Tensor, left: Tensor, candidates: list[Choice], ridges: tuple[float, ...]
) -> Tensor:
    """Summed error norms (candidates, ridges) of the samples left out."""
    shift, mean = x[kept].mean(dim=0), y[kept].mean(dim=0)
    xk, xl, yk, yl = x[kept] - shift, x[left] - shift, y[kept] - mean, y[left] - mean
    u, s, vt = torch.linalg.svd(xk, full_matrices=False)
    # errors are judged in the leading principal components of the outputs: the rest is the same for all
    directions = torch.linalg.svd(yk, full_matrices=False)[2][:_COMPONENTS]
    ys, yt = yk @ directions.T, yl @ directions.T
    result = torch.zeros(len(candidates), len(ridges), dtype=torch.float64)
    metric = None
    for i, choice in enumerate(candidates):
        if (choice.power, choice.smoothing) != metric:
            metric = choice.power, choice.smoothing
            if choice.power:
                matrix = _sensitivity(u, s, vt, yk, choice)
                one, other = xk @ matrix, xl @ matrix
            else:
                one, other = xk * _to_unit(xk), xl * _to_unit(xk)
            near, far = (squares(one, one), one @ one.T), (squares(other, one), other @ one.T)
        values, vectors = torch.linalg.eigh(_kernel(*near, choice))
        values = values.clamp_min(0.0)
        rows, targets = _kernel(*far, choice) @ vectors, vectors.T @ ys
        for j, ridge in enumerate(ridges):
            wrong = (rows / (values + ridge * values.mean())) @ targets - yt
            result[i, j] = wrong.norm(dim=1).sum()
    return result
