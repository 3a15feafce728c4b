"""Bingham closure in space: S from the second moment D of psi = exp(p.B.p) / Z on the sphere.

In the eigenframe of D (mu_1 >= mu_2 >= mu_3, sum 1) S has the components S_iijj = mu_i mu_j k_ij and S_iiii =
mu_i - sum_j S_iijj, so three factors k of two variables are what is stored, as Chebyshev series of values by
quadrature (`exact`, `build_tables`). k_13 = k_23 = 1 where mu_3 = 0, so planar and aligned ends are exact.

outer patch, u = 1 - 3 mu_3 >= U0: series in (v, w^2), v = 3 mu_3, w = (mu_1 - mu_2) / u, of k_12, k_13 + k_23
    and (k_13 - k_23) / w, which an exchange of 1 and 2 leaves as they are; both variables are mapped as in
    `planar`, since the factors are smooth but not analytic where mu_3 = 0.
inner patch: (u, w) are polar coordinates about isotropy and no good there; one series of k_ij in mu_k and
    (mu_i - mu_j)^2 serves all three pairs, and is analytic.

Weady, Stein, Shelley, Phys. Rev. Fluids 7, 063301 (2022), has one patch in mu_1, mu_2.
"""

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kernels.closures.bingham.planar import TOLERANCE
from kernels.closures.bingham.spatial_rotation import Contraction
from kernels.errors import InputError

Field = Any
"""A numpy array or a torch tensor."""

MAP = 0.3
U0 = 0.2


def contract(second: Field, tensor: Field, tolerance: float = TOLERANCE) -> Field:
    """S:A (..., 3, 3) for the second moment D (..., 3, 3), of trace c > 0, and a symmetric A (..., 3, 3).

    Arrays or float64 tensors; both are made symmetric. Gradients of tensors, of first order, are finite
    wherever eigenvalues coincide (`spatial_rotation`). Eigenvalues below zero, which no psi has, count as
    zero. tolerance: of the components of S / c.
    """
    if not (isinstance(second, Tensor) and isinstance(tensor, Tensor)):
        return contract(_copied(second), _copied(tensor), tolerance).numpy()
    for name, x in (("second moment", second), ("tensor", tensor)):
        if x.shape[-2:] != (3, 3):
            raise InputError(f"the {name} has the shape {tuple(x.shape)}, expected (..., 3, 3)")
    second, tensor = torch.broadcast_tensors(second, tensor)
    c = second.diagonal(dim1=-2, dim2=-1).sum(-1)[..., None, None]
    normal, symmetric = ((x + x.transpose(-1, -2)) / 2.0 for x in (second / c, tensor))
    return c * Contraction.apply(normal, symmetric, lambda mu: mixed_moments(mu, tolerance))


def fourth_moment(mu1: Field, mu2: Field, tolerance: float = TOLERANCE) -> tuple[Field, ...]:
    """S_1111, S_2222, S_3333, S_1122, S_1133, S_2233 in the eigenframe of D (c = 1), arrays or tensors (...).

    Takes the eigenvalues mu1 >= mu2 >= mu3 = 1 - mu1 - mu2 >= 0; raises InputError for others.
    """
    if not isinstance(mu1, Tensor):
        return tuple(x.numpy() for x in fourth_moment(_copied(mu1), _copied(mu2), tolerance))
    mu1, mu2 = torch.broadcast_tensors(mu1, mu2)
    mu3 = 1.0 - mu1 - mu2
    if not bool(((mu1 - mu2 > -1e-13) & (mu2 - mu3 > -1e-13) & (mu3 > -1e-13)).all()):
        raise InputError("expected eigenvalues mu1 >= mu2 >= 1 - mu1 - mu2 >= 0 of D / c: sort them")
    s1, s2, s3 = mixed_moments(torch.stack([mu1, mu2, mu3.clamp(min=0.0)], -1), tolerance).unbind(-1)
    return mu1 - s3 - s2, mu2 - s3 - s1, mu3 - s2 - s1, s3, s2, s1


def mixed_moments(mu: Tensor, tolerance: float = TOLERANCE) -> Tensor:
    """S_2233, S_1133, S_1122 (..., 3) for sorted eigenvalues mu (..., 3); differentiable to any order."""
    outer, inner = (torch.as_tensor(table, device=mu.device) for table in _tables(tolerance))
    mu1, mu2, mu3 = mu.unbind(-1)
    near = 1.0 - 3.0 * mu3 < U0
    centre, away = mu.new_full((3,), 1.0 / 3.0), mu.new_tensor([0.6, 0.3, 0.1])
    factors = torch.where(
        near[..., None],
        _inner(torch.where(near[..., None], mu, centre), inner),
        _outer(torch.where(near[..., None], away, mu), outer),
    )
    return torch.stack([mu2 * mu3, mu1 * mu3, mu1 * mu2], -1) * factors


def _copied(array: Any) -> Tensor:
    return torch.tensor(np.array(array, dtype=np.float64))


def outer_point(v: Field, w2: Field) -> tuple[Field, Field]:
    """Variables of the series of the outer patch, both in [-1, 1], for v = 3 mu_3 and w^2."""
    top = (1.0 - U0) / (MAP + 1.0 - U0)
    return 1.0 - 2.0 * v / ((MAP + v) * top), 1.0 - 2.0 * (1.0 + MAP) * (1.0 - w2) / (MAP + 1.0 - w2)


def inner_point(muk: Field, square: Field) -> tuple[Field, Field]:
    """Variables of the series of the inner patch for mu_k and (mu_i - mu_j)^2."""
    return (1.0 - 3.0 * muk + 0.5 * U0) / (1.5 * U0), 2.0 * square / U0**2 - 1.0


def _outer(mu: Tensor, table: Tensor) -> Tensor:
    mu1, mu2, mu3 = mu.unbind(-1)
    w = (mu1 - mu2) / (1.0 - 3.0 * mu3)
    k12, total, odd = _series(table, *outer_point(3.0 * mu3, w * w)).unbind(0)
    return torch.stack([(total - w * odd) / 2.0, (total + w * odd) / 2.0, k12], -1)


def _inner(mu: Tensor, table: Tensor) -> Tensor:
    first, second = mu[..., [1, 0, 0]], mu[..., [2, 2, 1]]
    return _series(table, *inner_point(mu, (first - second) ** 2))[0]


def _series(table: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """sum_nm a_fnm T_n(x) T_m(y), (f, ...), by one matrix product."""
    along = _polynomials(x.reshape(-1), table.shape[1])
    found = (table @ _polynomials(y.reshape(-1), table.shape[2]) * along).sum(1)
    return found.reshape(table.shape[0], *x.shape)


def _polynomials(x: Tensor, count: int) -> Tensor:
    rows = [torch.ones_like(x), x]
    for _ in range(count - 2):
        rows.append(2.0 * x * rows[-1] - rows[-2])
    return torch.stack(rows[:count])


@lru_cache(maxsize=16)
def _tables(tolerance: float) -> tuple[np.ndarray, np.ndarray]:
    if not tolerance > 0.0:
        raise InputError(f"the tolerance is {tolerance!r}, expected a positive number such as 1e-12")
    with np.load(Path(__file__).with_name("spatial.npz")) as stored:
        return _truncated(stored["outer"], tolerance), _truncated(stored["inner"], tolerance)


def _truncated(table: np.ndarray, tolerance: float) -> np.ndarray:
    """The leading rows and columns (f, n, m); what is left off of each f sums to at most the tolerance."""
    size = np.abs(table)
    kept = []
    for axis in (1, 2):
        lines = size.sum(3 - axis)
        left = np.cumsum(lines[:, ::-1], 1)[:, ::-1].max(0)
        kept.append(max(int(np.count_nonzero(left > tolerance / 2.0)), 2))
    return np.ascontiguousarray(table[:, : kept[0], : kept[1]])
