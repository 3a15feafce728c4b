"""Quadratic triangles: numbering, gradients, edge loads, recovery at nodes, split into linear triangles."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from skfem import CellBasis, ElementTriP2, MeshTri, MeshTri2

from kernels.errors import InputError

POINTS = np.array([[1.0, 4.0, 1.0], [1.0, 1.0, 4.0]]) / 6.0
"""Three-point rule of degree 2 on the reference triangle, (2, points)."""
WEIGHTS = np.full(3, 1.0 / 6.0)

_CORNERS = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.5, 0.0], [0.5, 0.5], [0.0, 0.5]])
_LINEAR = np.stack([1.0 - POINTS[0] - POINTS[1], POINTS[0], POINTS[1]], axis=1)
EXTRAPOLATION = np.stack(
    [1.0 - _CORNERS[:, 0] - _CORNERS[:, 1], _CORNERS[:, 0], _CORNERS[:, 1]], axis=1
) @ np.linalg.inv(_LINEAR)
"""Values at the six nodes of the linear function through the three quadrature values, (6, 3)."""


@dataclass(frozen=True)
class QuadraticMesh:
    """Six-node triangles with what the solver needs.

    x (nodes, 2) in m: vertices first, then mid-edge nodes; cells (cells, 6): vertices a b c, mid nodes ab bc
    ac; edges (edges, 3): tagged boundary edges, start, end, middle, the domain on the left; tags (edges,).
    gradients (cells, 3, 6, 2) in 1/m and weights (cells, 3) in m2 at the points of `POINTS`.
    """

    x: np.ndarray
    cells: np.ndarray
    edges: np.ndarray
    tags: np.ndarray
    gradients: np.ndarray
    weights: np.ndarray

    def nodes_of(self, tag: int) -> np.ndarray:
        """Sorted numbers of the nodes on the edges of one tag."""
        return np.unique(self.edges[self.tags == tag])


def quadratic(
    points: np.ndarray,
    triangles: np.ndarray,
    edges: np.ndarray,
    tags: np.ndarray,
    curve: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None,
) -> QuadraticMesh:
    """Quadratic mesh on the vertices points (n, 2), triangles (m, 3) and tagged boundary edges (k, 2).

    curve(middles (k, 2), tags (k,)) moves the middle nodes of the boundary edges onto the true boundary
    (isoparametric elements, Ciarlet 1978, section 4.3). Raises InputError where a moved node folds an element
    or an edge belongs to no triangle. Holes are allowed; edges inside the domain are not handled.
    """
    linear = MeshTri(np.ascontiguousarray(points.T), np.ascontiguousarray(triangles.T))
    count = len(points)
    facets = linear.facets.astype(np.int64)
    keys = facets.min(axis=0) * count + facets.max(axis=0)
    order = np.argsort(keys)
    wanted = edges.min(axis=1).astype(np.int64) * count + edges.max(axis=1)
    place = np.minimum(np.searchsorted(keys[order], wanted), len(keys) - 1)
    facet = order[place]
    if np.any(keys[facet] != wanted):
        raise InputError(
            f"{int(np.sum(keys[facet] != wanted))} tagged edges belong to no triangle, expected edges "
            f"of the mesh: "
            "pass edges between neighbouring vertices"
        )
    x = np.concatenate([points, 0.5 * (points[facets[0]] + points[facets[1]])])
    middle = count + facet
    if curve is not None:
        x[middle] = curve(x[middle], tags)
    cells = np.concatenate([linear.t, count + linear.t2f]).T.astype(np.int64)
    gradients, weights = _gradients(linear, x)
    return QuadraticMesh(
        x, cells, np.column_stack([edges, middle]).astype(np.int64), tags, gradients, weights
    )


def _gradients(linear: MeshTri, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    bent = MeshTri2(np.ascontiguousarray(x.T), linear.t, sort_t=False)
    basis = CellBasis(bent, ElementTriP2(), quadrature=(POINTS, WEIGHTS))
    turned = basis.mapping.detDF(POINTS)
    folded = int(np.sum(np.any(turned * np.sign(turned[:, :1]) <= 0.0, axis=1)))
    if folded:
        raise InputError(
            f"{folded} elements are folded by the curved boundary, expected none: use a finer mesh"
        )
    gradients = np.stack([np.asarray(basis.basis[a][0].grad) for a in range(6)])  # (6, 2, cells, points)
    return np.ascontiguousarray(gradients.transpose(2, 3, 0, 1)), np.ascontiguousarray(basis.dx)


def edge_force(
    mesh: QuadraticMesh, tag: int, traction: tuple[float, float] = (0.0, 0.0), pressure: float = 0.0
) -> np.ndarray:
    """Nodal forces (nodes, 2) in N/m of a uniform traction and a pressure (Pa) on the edges of one tag.

    `F_a = int N_a (t - p n) ds` by three Gauss points on each quadratic edge, n the outward normal.
    """
    edges = mesh.edges[mesh.tags == tag]
    force = np.zeros_like(mesh.x)
    corners = mesh.x[edges]
    for s, weight in zip(*np.polynomial.legendre.leggauss(3), strict=True):
        shape = np.array([0.5 * s * (s - 1.0), 0.5 * s * (s + 1.0), 1.0 - s * s])
        slope = np.array([s - 0.5, s + 0.5, -2.0 * s])
        tangent = np.einsum("a,kai->ki", slope, corners)
        length = np.hypot(tangent[:, 0], tangent[:, 1])
        normal = np.stack([tangent[:, 1], -tangent[:, 0]], axis=1)
        load = weight * (length[:, None] * np.asarray(traction) - pressure * normal)
        for a in range(3):
            np.add.at(force, edges[:, a], shape[a] * load)
    return force


def recover(mesh: QuadraticMesh, values: np.ndarray) -> np.ndarray:
    """Nodal values (nodes, k) of quadrature values (cells, 3, k).

    Inside each element the linear function through its three values is extended to its six nodes; a node
    takes the mean over its elements weighted by area (Hinton and Campbell, Int. J. Numer. Meth. Eng. 8,
    1974). Bounds of the quadrature values are not kept.
    """
    area = mesh.weights.sum(axis=1)
    nodes, flat = len(mesh.x), mesh.cells.ravel()
    local = np.einsum("ap,cpk->cak", EXTRAPOLATION, values) * area[:, None, None]
    total = np.bincount(flat, np.repeat(area, 6), nodes)
    columns = [np.bincount(flat, local[:, :, k].ravel(), nodes) for k in range(values.shape[2])]
    return np.stack(columns, axis=1) / total[:, None]


def split(mesh: QuadraticMesh) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Linear mesh on all nodes: triangles (4 cells, 3) counter-clockwise, boundary facets (2 edges, 2), their
    tags."""
    a, b, c, ab, bc, ac = mesh.cells.T
    four = np.stack(
        [np.stack(t, axis=1) for t in ((a, ab, ac), (ab, b, bc), (ac, bc, c), (ab, bc, ac))], axis=1
    )
    triangles = four.reshape(-1, 3).astype(np.int32)
    p, q, r = (mesh.x[triangles[:, k]] for k in range(3))
    clockwise = (q[:, 0] - p[:, 0]) * (r[:, 1] - p[:, 1]) - (q[:, 1] - p[:, 1]) * (r[:, 0] - p[:, 0]) < 0.0
    triangles[clockwise] = triangles[clockwise][:, [0, 2, 1]]
    start, end, middle = mesh.edges.T
    halves = np.stack([np.stack([start, middle], axis=1), np.stack([middle, end], axis=1)], axis=1)
    return triangles, halves.reshape(-1, 2).astype(np.int32), np.repeat(mesh.tags, 2).astype(np.int32)
