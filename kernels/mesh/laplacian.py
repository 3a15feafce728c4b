"""Morphing by a graph Laplacian: control displacements spread along edges weighted by their inverse
length."""

import itertools

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components

from kernels.errors import InputError
from kernels.mesh.rbf import affine_fit, check_controls
from kernels.mesh.sparse_solve import solve_dominant


def unique_edges(cells: np.ndarray) -> np.ndarray:
    """Edges (e, 2) of simplices (c, k), each once, the lower node first."""
    pairs = [cells[:, [a, b]] for a, b in itertools.combinations(range(cells.shape[1]), 2)]
    both = np.sort(np.concatenate(pairs).astype(np.int64), axis=1)
    base = int(both.max()) + 1
    key = np.unique(both[:, 0] * base + both[:, 1])
    return np.stack([key // base, key % base], axis=1)


def laplacian_morph(
    points: np.ndarray,
    cells: np.ndarray,
    control_nodes: np.ndarray,
    displacements: np.ndarray,
    name: str = "mesh",
) -> tuple[np.ndarray, float]:
    """Moved points (n, d) and the control error (0 up to round-off).

    sum_j (r_j - r_i) / |x_j - x_i| = 0 at every free node, r = d - affine at the controls, where
    `affine` is the least squares affine displacement through the controls: graph weights have no linear
    precision of their own, and so every affine map is still reproduced. Source of the weights: Batina,
    AIAA J. 28 (1990), spring analogy. points (n, d), cells (c, k) simplices, control_nodes (m,),
    displacements (m, d) in the unit of the points. Hold a far boundary by giving its nodes zero
    displacement. Raises InputError naming the sample for repeated controls and for parts of the mesh
    without a control. Not handled: weights that follow the motion of the mesh.
    """
    control_nodes = np.asarray(control_nodes, dtype=np.int64)
    displacements = np.asarray(displacements, dtype=float)
    if control_nodes.ndim != 1 or np.unique(control_nodes).size != control_nodes.size:
        raise InputError(
            f"{name}: a control node is given twice: give each of the {control_nodes.size} nodes once"
        )
    check_controls(points[control_nodes], displacements, name)
    affine = affine_fit(points[control_nodes], displacements)
    residual = np.zeros_like(points)
    residual[control_nodes] = displacements - affine(points[control_nodes])
    edges = unique_edges(cells)
    length = np.linalg.norm(points[edges[:, 0]] - points[edges[:, 1]], axis=1)
    if length.size and length.min() == 0.0:
        first = edges[int(length.argmin())].tolist()
        raise InputError(f"{name}: nodes {first} of one cell coincide: merge them")
    free = np.ones(len(points), dtype=bool)
    free[control_nodes] = False
    if free.any():
        _spread(edges, 1.0 / length, free, residual, name)
    moved = points + affine(points) + residual
    error = np.abs(moved[control_nodes] - points[control_nodes] - displacements).max()
    return moved, float(error)


def _spread(edges: np.ndarray, weight: np.ndarray, free: np.ndarray, residual: np.ndarray, name: str) -> None:
    rows = np.concatenate([edges[:, 0], edges[:, 1]])
    columns = np.concatenate([edges[:, 1], edges[:, 0]])
    both = np.concatenate([weight, weight])
    number = np.cumsum(free) - 1
    inside = int(free.sum())
    diagonal = np.bincount(rows, weights=both, minlength=free.size)[free]
    if inside and diagonal.min() == 0.0:
        raise InputError(f"{name}: {np.count_nonzero(diagonal == 0.0)} nodes belong to no cell: remove them")
    inner, outer = free[rows] & free[columns], free[rows] & ~free[columns]
    matrix = sp.coo_matrix(
        (
            np.concatenate([-both[inner], diagonal]),
            (
                np.concatenate([number[rows[inner]], np.arange(inside)]),
                np.concatenate([number[columns[inner]], np.arange(inside)]),
            ),
        ),
        shape=(inside, inside),
    ).tocsc()
    right = np.stack(
        [
            np.bincount(number[rows[outer]], weights=both[outer] * column[columns[outer]], minlength=inside)
            for column in residual.T
        ],
        axis=1,
    )
    parts, label = connected_components(matrix, directed=False)
    held = np.bincount(label[number[rows[outer]]], minlength=parts) > 0
    if not held.all():
        raise InputError(
            f"{name}: {np.count_nonzero(~held)} parts of the mesh have no control point: give each part "
            "at least one"
        )
    residual[free] = solve_dominant(matrix, right, name)
