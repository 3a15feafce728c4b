"""Linear finite elements on triangles for -Laplace u = f."""

from typing import Any

import numpy as np
from skfem import Basis, BilinearForm, ElementTriP1, LinearForm, MeshTri, condense
from skfem.helpers import dot, grad

from kernels.elliptic.direct import solve_definite
from kernels.errors import InputError

ORDER = 2
"""Order in the mesh size of nodal values, for a smooth solution."""


@BilinearForm
def _stiffness(u: Any, v: Any, _: Any) -> Any:
    return dot(grad(u), grad(v))


@LinearForm
def _load(v: Any, w: Any) -> Any:
    return w["f"] * v


def solve_poisson(x: np.ndarray, cells: np.ndarray, f: np.ndarray, boundary: np.ndarray) -> np.ndarray:
    """u (nodes,): integral of grad u . grad v = integral of f v for all v, u = 0 where `boundary`.

    P1 elements (Ern and Guermond, Finite Elements II, 2021, chapter 32), f (nodes,) linear in every cell, so
    both integrals are exact. x (nodes, 2), cells (cells, 3), boundary (nodes,) bool.
    Raises InputError where no node is free or prescribed, or f does not fit.
    """
    if f.shape != (len(x),) or not np.isfinite(f).all():
        raise InputError(f"f has shape {f.shape} or values that are not finite, expected ({len(x)},) numbers")
    if boundary.all() or not boundary.any():
        raise InputError(
            f"{int(boundary.sum())} of {len(x)} nodes are on the boundary, expected some and not all: refine"
        )
    basis = Basis(
        MeshTri(np.ascontiguousarray(x.T), np.ascontiguousarray(cells.T)), ElementTriP1(), intorder=2
    )
    matrix = _stiffness.assemble(basis)
    right = _load.assemble(basis, f=basis.interpolate(f))
    inner, load, u, free = condense(matrix, right, D=np.flatnonzero(boundary))
    u[free] = solve_definite(inner, load)
    return np.asarray(u)


def halved(
    x: np.ndarray, cells: np.ndarray, boundary: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every triangle in four; the given nodes come first, edges of the boundary stay straight."""
    coarse = MeshTri(np.ascontiguousarray(x.T), np.ascontiguousarray(cells.T))
    fine = coarse.refined(1)
    marked = np.zeros(fine.p.shape[1], dtype=bool)
    marked[: len(x)] = boundary
    marked[fine.boundary_nodes()] = True
    return fine.p.T.copy(), fine.t.T.astype(np.int64), marked
