"""S:A for an S that is orthotropic in the eigenframe of D, with a gradient where eigenvalues coincide.

A change of D off the diagonal of its eigenframe, h = dD_ij, turns the axes i and j by h / (mu_i - mu_j), and

    dS_iiij = h a,  a = (S_iiii - 3 S_iijj) / (mu_i - mu_j),
    dS_ijjj = h b,  b = (3 S_iijj - S_jjjj) / (mu_i - mu_j),
    dS_ijkk = h g,  g = (S_iikk - S_jjkk) / (mu_i - mu_j),       a + b + g = 1.

All three are bounded: where mu_i = mu_j, S is isotropic in the plane of i and j. g is an even function of the
gap mu_i - mu_j and a - b an odd one, so for a small gap both are taken from derivatives along it instead.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

_GAP = 1e-5  # rounding 1e-16 / gap below, curvature gap^2 above: both 1e-10
_PAIRS = ((0, 1, 2), (0, 2, 1), (1, 2, 0))


class Contraction(torch.autograd.Function):
    """S:A (..., 3, 3) of symmetric D (..., 3, 3) of trace 1 and A; mixed: sorted eigenvalues of D (..., 3) to
    S_2233, S_1133, S_1122 (..., 3), differentiable."""

    @staticmethod
    def forward(ctx: Any, second: Tensor, tensor: Tensor, mixed: Callable[[Tensor], Tensor]) -> Tensor:
        """S:A."""
        mu, axes = torch.linalg.eigh(second)
        mu, axes = mu.flip(-1).clamp(min=0.0), axes.flip(-1)
        mu = mu / mu.sum(-1, keepdim=True)
        ctx.mixed = mixed
        ctx.save_for_backward(mu, axes, tensor)
        return _back(axes, _contracted(mu, mixed(mu), _into(axes, tensor)))

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        """Gradients with respect to D and A."""
        mu, axes, tensor = ctx.saved_tensors
        weight, a = _into(axes, (gradient + gradient.transpose(-1, -2)) / 2.0), _into(axes, tensor)
        s, slopes = _with_slopes(ctx.mixed, mu)
        to_tensor = _back(
            axes, _contracted(mu, s, weight)
        )  # S:A is symmetric in A and what it is weighted by
        return _back(axes, _to_second(mu, s, slopes, weight, a)), to_tensor, None


def _contracted(mu: Tensor, s: Tensor, a: Tensor) -> Tensor:
    found = torch.diag_embed(mu * a.diagonal(dim1=-2, dim2=-1))
    for i, j, k in _PAIRS:
        exchange = s[..., k] * (a[..., j, j] - a[..., i, i])
        found[..., i, i] += exchange
        found[..., j, j] -= exchange
        found[..., i, j] = found[..., j, i] = 2.0 * s[..., k] * a[..., i, j]
    return found


def _with_slopes(mixed: Callable[[Tensor], Tensor], mu: Tensor) -> tuple[Tensor, Tensor]:
    """s (..., 3) and ds_k / dmu_i (..., k, i)."""
    with torch.enable_grad():
        mu = mu.detach().requires_grad_()
        s = mixed(mu)
        slopes = [torch.autograd.grad(s[..., k].sum(), mu, retain_graph=True)[0] for k in range(3)]
    return s.detach(), torch.stack(slopes, -2)


def _to_second(mu: Tensor, s: Tensor, slopes: Tensor, w: Tensor, a: Tensor) -> Tensor:
    """Gradient of w:S:a with respect to D, in the eigenframe."""
    wd, ad = w.diagonal(dim1=-2, dim2=-1), a.diagonal(dim1=-2, dim2=-1)
    found = torch.zeros_like(w)
    diagonal = wd * ad
    for i, j, k in _PAIRS:
        to_s = 4.0 * w[..., i, j] * a[..., i, j] - (wd[..., i] - wd[..., j]) * (ad[..., i] - ad[..., j])
        diagonal = diagonal + to_s[..., None] * slopes[..., k, :]
        qa, qb, qg = _turned(mu, s, slopes, i, j, k)
        wij, aij = w[..., i, j], a[..., i, j]
        found[..., i, j] = found[..., j, i] = (
            qa * (wd[..., i] * aij + wij * ad[..., i])
            + qb * (wd[..., j] * aij + wij * ad[..., j])
            + qg * (wd[..., k] * aij + wij * ad[..., k])
            + 2.0 * qg * (w[..., i, k] * a[..., j, k] + w[..., j, k] * a[..., i, k])
        )
    return found + torch.diag_embed(diagonal)


def _turned(mu: Tensor, s: Tensor, slopes: Tensor, i: int, j: int, k: int) -> tuple[Tensor, Tensor, Tensor]:
    """a, b, g of the pair i, j."""
    gap = mu[..., i] - mu[..., j]
    along = (slopes[..., i] - slopes[..., j]) / 2.0  # ds / dgap at constant sum
    small = gap < _GAP
    safe = torch.where(small, torch.ones_like(gap), gap)
    g = torch.where(small, along[..., j] - along[..., i], (s[..., j] - s[..., i]) / safe)
    even = mu[..., i] + mu[..., j] - 8.0 * s[..., k] - s[..., i] - s[..., j]
    odd = torch.where(small, -4.0 * along[..., k] - (along[..., i] + along[..., j]) / 2.0, even / safe)
    return (1.0 - g + odd) / 2.0, (1.0 - g - odd) / 2.0, g


def _into(axes: Tensor, tensor: Tensor) -> Tensor:
    return axes.transpose(-1, -2) @ tensor @ axes


def _back(axes: Tensor, tensor: Tensor) -> Tensor:
    return axes @ tensor @ axes.transpose(-1, -2)
