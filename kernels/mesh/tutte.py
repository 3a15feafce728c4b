"""Maps of disk-like triangle meshes, in the plane or in space, to the unit disk without folds."""

import math
from dataclasses import dataclass

import numba
import numpy as np
import scipy.sparse as sp

from kernels.errors import InputError
from kernels.mesh.boundary import PinRule, Walk, arc_coordinate, mesh_loops, signed_area, walk_loop
from kernels.mesh.sparse_solve import solve_dominant

WEIGHTS = ("uniform", "mean_value")
_START_ANGLE = 1.25 * np.pi
"""The start, by default the lower left pin, lies at the lower left of the disk."""


@dataclass(frozen=True)
class DiskMap:
    """Mapped nodes (n, 2) in the unit disk, and the boundary walk that pinned them."""

    mapped: np.ndarray
    walk: Walk


def disk_loop(points: np.ndarray, cells: np.ndarray, name: str = "mesh") -> np.ndarray:
    """The boundary loop of a disk-like triangle mesh, counter-clockwise in the plane, along the cells
    in space.

    A mesh is disk-like where it has one boundary loop and the Euler characteristic nodes - edges + cells = 1.
    Raises InputError naming the sample otherwise, and where nodes belong to no cell.
    """
    if cells.ndim != 2 or cells.shape[1] != 3:
        raise InputError(
            f"{name}: the map to the disk needs triangles, got cells of {cells.shape[-1]} nodes: split them"
        )
    loops = mesh_loops(cells, name)
    if len(loops) != 1:
        raise InputError(
            f"{name}: the map to the disk needs one boundary loop, the mesh has {len(loops)}: use method "
            "'rbf' or "
            "'laplacian' for meshes with holes, 'identity' for closed surfaces with shared connectivity"
        )
    loop = loops[0]
    used = np.zeros(len(points), dtype=bool)
    used[cells.ravel()] = True
    if not used.all():
        raise InputError(
            f"{name}: {np.count_nonzero(~used)} nodes belong to no cell (first: {int(np.argmin(used))}): "
            "remove them"
        )
    euler = (2 * len(points) - len(cells) - loop.size) / 2
    if euler != 1:
        raise InputError(
            f"{name}: nodes - edges + cells is {euler:g}, a disk has 1: the mesh has a handle or several "
            "parts"
        )
    return loop if _runs_forward(points, cells, loop) else loop[::-1].copy()


def _runs_forward(points: np.ndarray, cells: np.ndarray, loop: np.ndarray) -> bool:
    if points.shape[1] == 2:
        return signed_area(points[loop]) > 0.0
    first, second = loop[0], loop[1]
    both = np.any(cells == first, axis=1) & np.any(cells == second, axis=1)
    cell = cells[np.flatnonzero(both)[0]].tolist()
    return cell[(cell.index(first) + 1) % 3] == second


def disk_map(
    points: np.ndarray,
    cells: np.ndarray,
    rule: PinRule = PinRule(),  # noqa: B008  (frozen)
    weights: str = "mean_value",
    shares: np.ndarray | None = None,
    pattern: np.ndarray | None = None,
    facet_node: np.ndarray | None = None,
    facet_tag: np.ndarray | None = None,
    name: str = "mesh",
) -> DiskMap:
    """Map a disk-like triangle mesh to the unit disk.

    points (n, 2) or (n, 3), cells (c, 3). The boundary goes to the circle by arc length between pins
    (each arc filling its share of the circle, equal shares where None), the interior by `interior_map`.
    `pattern`: see `walk_loop`. With positive weights and a convex boundary no triangle turns over
    (Tutte, How to draw a graph, 1963; Floater, Math. Comp. 72, 2003, theorem 1) up to round-off, which
    `quality` counts. Raises InputError naming the sample for other topologies. Not handled: cells that
    are inconsistently oriented surfaces, and more than three nodes a cell.
    """
    loop = disk_loop(points, cells, name)
    walk = walk_loop(points, loop, rule, name, facet_node, facet_tag, pattern)
    angle = _START_ANGLE + 2.0 * np.pi * arc_coordinate(points, walk, shares)
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return DiskMap(interior_map(points, cells, walk.nodes, circle, weights, name), walk)


def interior_map(
    points: np.ndarray,
    cells: np.ndarray,
    boundary: np.ndarray,
    at: np.ndarray,
    weights: str,
    name: str = "mesh",
) -> np.ndarray:
    """Interior nodes as convex combinations of their neighbours, the boundary nodes (b,) fixed at `at`
    (b, 2).

    sum_j w_ij (u_j - u_i) = 0, with w_ij = 1 ("uniform": Tutte 1963), or w_ij = (tan(alpha/2) +
    tan(beta/2)) / |x_j - x_i| with the angles alpha, beta at node i beside edge ij ("mean_value":
    Floater, Mean value coordinates, CAGD 20, 2003, eq. 2.1). Returns (n, 2). The uniform map depends on
    the mesh; the mean-value map, in the limit of fine meshes, on the shape alone. Raises InputError
    where the system is singular.
    """
    if weights not in WEIGHTS:
        raise InputError(f"weights {weights!r} are not known: choose one of {WEIGHTS}")
    number = np.zeros(len(points), dtype=np.int64)
    number[boundary] = -1 - np.arange(boundary.size)
    inside = np.flatnonzero(number == 0)
    number[inside] = np.arange(inside.size)
    mapped = np.empty((len(points), 2))
    mapped[boundary] = at
    if inside.size == 0:
        return mapped
    rows, columns, values, right = _assemble(
        np.ascontiguousarray(points, dtype=float), np.ascontiguousarray(cells, dtype=np.int64), number, at,
        inside.size, weights == "mean_value",
    )  # fmt: skip
    matrix = sp.coo_matrix((values, (rows, columns)), shape=(inside.size, inside.size)).tocsc()
    mapped[inside] = solve_dominant(matrix, right, name)
    return mapped


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _assemble(points, cells, number, at, inside, mean_value):
    size = 6 * cells.shape[0] + inside
    rows = np.empty(size, np.int32)
    columns = np.empty(size, np.int32)
    values = np.empty(size)
    right = np.zeros((inside, 2))
    diagonal = np.zeros(inside)
    filled = 0
    for c in range(cells.shape[0]):
        for k in range(3):
            row = number[cells[c, k]]
            if row < 0:
                continue
            i, j, m = cells[c, k], cells[c, (k + 1) % 3], cells[c, (k + 2) % 3]
            first, second = 0.5, 0.5
            if mean_value:
                first, second = _half_weights(points, i, j, m)
            diagonal[row] += first + second
            for node, weight in ((j, first), (m, second)):
                column = number[node]
                if column < 0:
                    right[row, 0] += weight * at[-1 - column, 0]
                    right[row, 1] += weight * at[-1 - column, 1]
                else:
                    rows[filled], columns[filled], values[filled] = row, column, -weight
                    filled += 1
    for row in range(inside):
        rows[filled], columns[filled], values[filled] = row, row, diagonal[row]
        filled += 1
    return rows[:filled], columns[:filled], values[:filled], right


@numba.njit(cache=True, nogil=True, inline="always", error_model="numpy")
def _half_weights(points, i, j, m):
    """tan(alpha/2) / length of both edges at node i of a triangle, from |sin| / (1 + cos), stable for
    thin cells."""
    a, b, dot = 0.0, 0.0, 0.0
    for d in range(points.shape[1]):
        u, v = points[j, d] - points[i, d], points[m, d] - points[i, d]
        a += u * u
        b += v * v
        dot += u * v
    # |u|^2 |v|^2 - (u.v)^2 cancels for thin angles; the plane has the cross product at no cost.
    if points.shape[1] == 2:
        cross = abs(
            (points[j, 0] - points[i, 0]) * (points[m, 1] - points[i, 1])
            - (points[j, 1] - points[i, 1]) * (points[m, 0] - points[i, 0])
        )
    else:
        u0, u1, u2 = points[j, 0] - points[i, 0], points[j, 1] - points[i, 1], points[j, 2] - points[i, 2]
        v0, v1, v2 = points[m, 0] - points[i, 0], points[m, 1] - points[i, 1], points[m, 2] - points[i, 2]
        cross = math.sqrt((u1 * v2 - u2 * v1) ** 2 + (u2 * v0 - u0 * v2) ** 2 + (u0 * v1 - u1 * v0) ** 2)
    a, b = math.sqrt(a), math.sqrt(b)
    tangent = cross / (a * b + dot) if dot >= 0.0 else (a * b - dot) / cross
    return tangent / a, tangent / b
