"""Checks that a mesh is sound before anything is computed on it; removal of nodes that no cell uses."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kernels.errors import InputError
from kernels.mesh.topology import all_facets, as_mesh, cell_measures

ZERO_MEASURE = 1e-14
"""A cell is flat where its measure is below this times its longest edge to the power of its dimension."""


def check_mesh(points: ArrayLike, cells: ArrayLike, name: str) -> None:
    """Raise InputError, naming `name`, the value and the remedy, for the first thing wrong with a mesh.

    In turn: shapes, NaN or infinite coordinates, node numbers out of range, cells of no measure, cells given
    twice, nodes of no cell, facets of more than two cells, cells oriented differently (in the plane and for
    tetrahedra: any of negative measure). points (n, d), cells (m, k). Not checked: cells that overlap.
    """
    xs, corners = as_mesh(points, cells, name)
    _check_measures(xs, corners, name)
    _check_duplicates(corners, name)
    unused = np.flatnonzero(np.bincount(corners.ravel(), minlength=len(xs)) == 0)
    if unused.size:
        raise InputError(
            f"{name}: {unused.size} of {len(xs)} nodes belong to no cell, the first is node "
            f"{int(unused[0])}; expected every node in a cell: drop them with drop_unused_nodes"
        )
    _check_facets(xs, corners, name)


def _check_measures(points: NDArray[np.float64], cells: NDArray[np.int32], name: str) -> None:
    vertices = points[cells]
    square = np.zeros(len(cells))
    for i in range(cells.shape[1]):
        for j in range(i):
            square = np.maximum(square, np.sum((vertices[:, i] - vertices[:, j]) ** 2, axis=1))
    measure = np.abs(cell_measures(points, cells))
    flat = np.flatnonzero(~(measure > ZERO_MEASURE * square ** ((cells.shape[1] - 1) / 2)))
    if flat.size:
        raise InputError(
            f"{name}: {flat.size} of {len(cells)} cells have no measure, the first is cell {int(flat[0])} "
            f"with nodes {cells[flat[0]].tolist()} and measure {measure[flat[0]]:.3g}; expected more than "
            f"{ZERO_MEASURE:g} of its longest edge to the power of its dimension: remove these cells or "
            "merge their nodes"
        )


def _check_duplicates(cells: NDArray[np.int32], name: str) -> None:
    ordered = np.sort(cells, axis=1)
    nodes = int(cells.max()) + 1
    if nodes ** cells.shape[1] < 2**63:
        # One number a cell: sorting those costs a tenth of sorting rows, and nearly every mesh passes.
        key = np.sort(ordered.astype(np.int64) @ nodes ** np.arange(cells.shape[1], dtype=np.int64))
        if (key[1:] != key[:-1]).all():
            return
    order = np.lexsort(ordered.T)
    same = np.flatnonzero((ordered[order[1:]] == ordered[order[:-1]]).all(axis=1))
    if same.size:
        one, other = sorted((int(order[same[0]]), int(order[same[0] + 1])))
        raise InputError(
            f"{name}: {same.size} cells are given twice, such as cells {one} and {other} with nodes "
            f"{cells[one].tolist()}; expected every cell once: remove the copies"
        )


def _check_facets(points: NDArray[np.float64], cells: NDArray[np.int32], name: str) -> None:
    facets, number, uses = all_facets(cells)
    facet = "edges" if cells.shape[1] == 3 else "faces"
    crowded = uses > 2
    if crowded.any():
        first = facets[np.argmax(crowded[number])]
        raise InputError(
            f"{name}: {int(crowded.sum())} {facet} belong to more than two cells, such as {first.tolist()} "
            f"of {int(uses[number[np.argmax(crowded[number])]])}; expected a manifold, two at most: "
            "separate the parts"
        )
    if points.shape[1] == cells.shape[1] - 1:
        wrong = np.flatnonzero(cell_measures(points, cells) < 0)
        what = "have negative measure"
    else:
        # in a surface, two neighbours that agree run through their common edge in opposite directions
        pairs = np.sort(facets, axis=1)[:, 0] == facets[:, 0]
        forward = np.bincount(number, weights=pairs, minlength=len(uses))
        wrong = np.flatnonzero(((uses == 2) & (forward != 1))[number]) // 3
        wrong = np.unique(wrong)
        what = "disagree with a neighbour on which side is up"
    if wrong.size:
        raise InputError(
            f"{name}: {wrong.size} of {len(cells)} cells {what}, the first is cell {int(wrong[0])}; "
            "expected one orientation, counter-clockwise in the plane: turn them with orient(points, cells)"
        )


def drop_unused_nodes(
    points: ArrayLike, cells: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.int32], NDArray[np.int64]]:
    """Points and cells without the nodes of no cell, and the kept node numbers, in order (for the fields)."""
    xs, corners = as_mesh(points, cells)
    kept, local = np.unique(corners, return_inverse=True)
    return xs[kept], local.reshape(corners.shape).astype(np.int32), kept.astype(np.int64)
