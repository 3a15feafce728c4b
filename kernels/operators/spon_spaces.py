"""Finite element spaces on simplices: projection, interpolation, evaluation at any point, error norms.

A function of the space is u_h(x) = sum_i c_i phi_i(x). Encoding f is the Galerkin projection M c = b with
M_ij = int phi_i phi_j, b_i = int f phi_i (Bouziani & Boulle, "Structure-preserving operator learning", 2024,
section 3), or interpolation c_i = f(x_i); decoding is the sum. For smooth f the projection converges with
h^(degree + 1) in L2 and h^degree in H1.
"""

from collections.abc import Callable
from functools import cached_property

import numpy as np
import scipy.sparse as sp
import scipy.sparse.linalg as spl
import skfem

from kernels.errors import InputError
from kernels.operators.spon_split import parents

Function = Callable[[np.ndarray], np.ndarray]
"""Values (points,) of a function at points (points, dimension)."""

_MESHES = {1: skfem.MeshLine1, 2: skfem.MeshTri1, 3: skfem.MeshTet1}
_ELEMENTS = {
    (1, 1): skfem.ElementLineP1, (1, 2): skfem.ElementLineP2, (2, 1): skfem.ElementTriP1,
    (2, 2): skfem.ElementTriP2, (3, 1): skfem.ElementTetP1, (3, 2): skfem.ElementTetP2,
}  # fmt: skip
_QUADRATURE = 6
"""Polynomial degree that integrals with given functions are exact for."""


def check_cells(x: np.ndarray, connectivity: np.ndarray, flattest: float = 1e-12) -> None:
    """Raise InputError unless the cells are simplices of the dimension of x, none of them degenerate.

    x (nodes, dimension); connectivity (cells, dimension + 1). Degenerate: measure at most `flattest` times
    the longest edge to the power of the dimension.
    """
    dimension = x.shape[1]
    if dimension not in _MESHES or connectivity.shape[1] != dimension + 1:
        raise InputError(
            f"the mesh has coordinates in {dimension} dimensions and cells of {connectivity.shape[1]} "
            "corners; expected simplices: 2 corners in 1-D, 3 in 2-D, 4 in 3-D: split other cells"
        )
    edges = x[connectivity[:, 1:]] - x[connectivity[:, :1]]
    volume = np.abs(np.linalg.det(edges))
    longest = np.sqrt((edges**2).sum(axis=2).max(axis=1))
    flat = ~(volume > flattest * longest**dimension)
    if flat.any():
        cell = int(np.flatnonzero(flat)[0])
        raise InputError(
            f"{int(flat.sum())} of {len(flat)} cells are degenerate, the first is cell {cell} with the nodes "
            f"{connectivity[cell].tolist()} and a measure of {volume[cell]:.3g}: repair the mesh"
        )
    used = np.zeros(len(x), dtype=bool)
    used[connectivity.ravel()] = True
    if not used.all():
        raise InputError(
            f"{int((~used).sum())} of {len(x)} nodes belong to no cell, the first is node "
            f"{int(np.flatnonzero(~used)[0])}: remove them"
        )


class Space:
    """Continuous Lagrange elements of degree 1 or 2 on a mesh of simplices.

    x (nodes, dimension) float64, connectivity (cells, dimension + 1). `points` (dofs, dimension) are where
    the degrees of freedom lie: c_i = u_h(points[i]). The first `nodes` of them are the nodes of the mesh.
    Raises InputError where cells are degenerate or not simplices.
    """

    def __init__(self, x: np.ndarray, connectivity: np.ndarray, degree: int = 1) -> None:
        x, connectivity = np.asarray(x, dtype=np.float64), np.asarray(connectivity, dtype=np.int64)
        check_cells(x, connectivity)
        if degree not in (1, 2):
            raise InputError(f"degree {degree!r} was given, expected 1 or 2")
        self.degree, self.dimension = degree, x.shape[1]
        mesh = _MESHES[self.dimension](np.ascontiguousarray(x.T), np.ascontiguousarray(connectivity.T))
        self.basis = skfem.Basis(mesh, _ELEMENTS[self.dimension, degree](), intorder=_QUADRATURE)
        self.order = self._order(len(x))
        self.points = np.ascontiguousarray(self.basis.doflocs.T)[self.order]

    def _order(self, nodes: int) -> np.ndarray:
        """Number in the basis of each degree of freedom: nodes as given come first."""
        first = self.basis.nodal_dofs[0]
        rest = np.setdiff1d(np.arange(self.basis.N), first)
        order = np.empty(self.basis.N, dtype=np.int64)
        order[:nodes], order[nodes:] = first, rest
        return order

    @property
    def dofs(self) -> int:
        """Number of degrees of freedom."""
        return int(self.basis.N)

    @cached_property
    def mass(self) -> sp.csc_matrix:
        """M_ij = int phi_i phi_j, (dofs, dofs)."""
        return self._ordered(skfem.BilinearForm(lambda u, v, w: u * v).assemble(self.basis))

    @cached_property
    def stiffness(self) -> sp.csc_matrix:
        """K_ij = int grad phi_i . grad phi_j, (dofs, dofs)."""
        return self._ordered(
            skfem.BilinearForm(lambda u, v, w: sum(a * b for a, b in zip(u.grad, v.grad, strict=True)))
            .assemble(self.basis)
        )  # fmt: skip

    def _ordered(self, matrix: sp.spmatrix) -> sp.csc_matrix:
        return matrix.tocsc()[self.order][:, self.order]

    @cached_property
    def _solve_mass(self) -> Callable[[np.ndarray], np.ndarray]:
        solve: Callable[[np.ndarray], np.ndarray] = spl.factorized(self.mass)
        return solve

    def load(self, function: Function) -> np.ndarray:
        """b_i = int f phi_i by quadrature, (dofs,)."""
        form = skfem.LinearForm(lambda v, w: self._at(function, w.x) * v)
        return np.asarray(form.assemble(self.basis))[self.order]

    @staticmethod
    def _at(function: Function, x: np.ndarray) -> np.ndarray:
        return np.asarray(function(x.reshape(len(x), -1).T)).reshape(x.shape[1:])

    def project(self, function: Function) -> np.ndarray:
        """Encode: degrees of freedom (dofs,) of the Galerkin (L2) projection of a function."""
        return self._solve_mass(self.load(function))

    def interpolate(self, function: Function) -> np.ndarray:
        """Encode: the function's values at `points`, (dofs,)."""
        return np.asarray(function(self.points), dtype=np.float64)

    def evaluate(self, dofs: np.ndarray, points: np.ndarray) -> np.ndarray:
        """Decode: sum_i c_i phi_i at points (points, dimension); dofs (dofs,) or (dofs, channels).

        Raises InputError where a point lies outside the mesh, or the dimension is another.
        """
        dofs, points = np.asarray(dofs, dtype=np.float64), np.asarray(points, dtype=np.float64)
        if dofs.shape[0] != self.dofs:
            raise InputError(f"{dofs.shape[0]} degrees of freedom were given, the space has {self.dofs}")
        return np.asarray(self.probes(points) @ dofs)

    def probes(self, points: np.ndarray) -> sp.csr_matrix:
        """phi_j(points[i]), (points, dofs); a point beside the mesh by rounding is taken as on its edge."""
        points = np.asarray(points, dtype=np.float64)
        if points.ndim != 2 or points.shape[1] != self.dimension:
            raise InputError(
                f"points of shape {points.shape} were given, expected (points, {self.dimension}) as the mesh "
                f"has {self.dimension} dimensions"
            )
        matrix = self.basis.probes(self._inside(points).T)
        return sp.csr_matrix(matrix)[:, self.order]

    def _inside(self, points: np.ndarray) -> np.ndarray:
        """The points, those outside by rounding alone moved in; InputError names one further out."""
        finder = self.basis.mesh.element_finder()
        try:
            finder(*points.T)
        except ValueError:
            outside = [i for i, p in enumerate(points) if not _found(finder, p)]
        else:
            return points
        moved = points.copy()
        corners = self.basis.mesh.p.T[self.basis.mesh.t.T]
        centres, size = corners.mean(axis=1), np.ptp(corners, axis=1).max()
        for i in outside:
            centre = centres[np.argmin(((centres - points[i]) ** 2).sum(axis=1))]
            moved[i] += 1e-9 * (centre - points[i])
            if not _found(finder, moved[i]):
                raise InputError(
                    f"{len(outside)} of {len(points)} points lie outside the mesh, the first is point {i} at "
                    f"{points[i].tolist()} (largest cell: {size:.3g}): evaluate inside the mesh"
                )
        return moved

    def l2_error(self, dofs: np.ndarray, function: Function) -> float:
        """(int (u_h - f)^2)^(1/2)."""
        return float(np.sqrt(self._integral(lambda w: (w["u"] - self._at(function, w.x)) ** 2, dofs)))

    def h1_error(self, dofs: np.ndarray, gradient: Function) -> float:
        """(int |grad u_h - grad f|^2)^(1/2); gradient: (points, dimension) at points (points, dimension)."""

        def difference(w: dict) -> np.ndarray:
            exact = np.asarray(gradient(w.x.reshape(len(w.x), -1).T)).T.reshape(w.x.shape)  # type: ignore[attr-defined]
            squares: np.ndarray = ((w["u"].grad - exact) ** 2).sum(axis=0)
            return squares

        return float(np.sqrt(self._integral(difference, dofs)))

    def _integral(self, density: Callable, dofs: np.ndarray) -> float:
        given = np.empty(self.dofs)
        given[self.order] = dofs
        return float(skfem.Functional(density).assemble(self.basis, u=self.basis.interpolate(given)))


def _found(finder: Callable, point: np.ndarray) -> bool:
    try:
        finder(*point[:, None])
    except ValueError:
        return False
    return True


def nodal_space(x: np.ndarray, connectivity: np.ndarray, degree: int = 1) -> Space:
    """The space whose degrees of freedom are values at the nodes given, in their order.

    Degree 1: linear elements on the mesh. Degree 2: the mesh must be a mesh of triangles split in four, then
    these are quadratic elements on the mesh before the split. Raises InputError where it is not.
    """
    if degree == 1:
        return Space(x, connectivity, 1)
    x, connectivity = np.asarray(x, dtype=np.float64), np.asarray(connectivity, dtype=np.int64)
    check_cells(x, connectivity)
    corners, cells = parents(x, connectivity)
    space = Space(x[corners], cells, 2)
    nearest = _same_points(x, space.points)
    space.order, space.points = space.order[nearest], space.points[nearest]
    return space


def _same_points(x: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Index of the point that lies where each x lies."""
    from scipy.spatial import cKDTree

    distance, index = cKDTree(points).query(x)
    if len(x) != len(points) or len(np.unique(index)) != len(x) or distance.max() > 1e-6 * np.ptp(x):
        raise InputError(
            f"the mesh has {len(x)} nodes, quadratic elements on the mesh before the split {len(points)} at "
            "other places: expected straight triangles split at the midpoints of their edges"
        )
    found: np.ndarray = index
    return found
