"""Facets, boundary loops, orientation and quadrilaterals of triangle and tetrahedron meshes."""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import breadth_first_order, connected_components

from kernels.errors import InputError

_FACETS = {3: ((1, 2), (2, 0), (0, 1)), 4: ((1, 2, 3), (0, 3, 2), (0, 1, 3), (0, 2, 1))}
# A direction in general position: the corners of rectangles and bricks never tie along it.
_GENERIC = np.array([1.0, 0.618033988749895, 0.324717957244746])
_TIE = 1e-9


def as_cells(cells: ArrayLike, name: str = "mesh") -> NDArray[np.int32]:
    """Cells (m, k), k = 3 or 4, as int32; InputError where they are not that or are empty."""
    given = np.asarray(cells)
    if given.ndim != 2 or given.shape[1] not in _FACETS or not np.issubdtype(given.dtype, np.integer):
        raise InputError(
            f"{name}: cells have shape {given.shape} and dtype {given.dtype}; expected integers (m, 3) for "
            "triangles or (m, 4) for tetrahedra: split quadrilaterals with split_quads first"
        )
    if len(given) == 0:
        raise InputError(f"{name}: the mesh has no cells; expected at least one: check how it was read")
    low, high = int(given.min()), int(given.max())
    if low < 0 or high > np.iinfo(np.int32).max:
        raise InputError(
            f"{name}: cells refer to node {low if low < 0 else high}; expected numbers from 0 to 2^31 - 1: "
            "check whether the file counts from 1"
        )
    return np.ascontiguousarray(given, dtype=np.int32)


def as_mesh(
    points: ArrayLike, cells: ArrayLike, name: str = "mesh"
) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """Points (n, d) as float64 and cells (m, k) as int32: plane triangles, triangles in space, tetrahedra.

    Raises InputError, with `name`, for other shapes, NaN or infinite coordinates and node numbers out of
    range.
    """
    xs = np.ascontiguousarray(points, dtype=np.float64)
    corners = as_cells(cells, name)
    if xs.ndim != 2 or xs.shape[1] not in (2, 3) or xs.shape[1] < corners.shape[1] - 1:
        raise InputError(
            f"{name}: points have shape {xs.shape} and cells {corners.shape}; expected points (n, 2) or "
            "(n, 3) with triangles, (n, 3) with tetrahedra"
        )
    bad = ~np.isfinite(xs).all(axis=1)
    if bad.any():
        node = int(np.argmax(bad))
        raise InputError(
            f"{name}: {int(bad.sum())} of {len(xs)} nodes have NaN or infinite coordinates, the first is "
            f"node {node} at {xs[node].tolist()}; expected finite numbers: repair the file"
        )
    if corners.max() >= len(xs):
        raise InputError(
            f"{name}: cells refer to node {int(corners.max())} of {len(xs)} nodes; expected numbers from 0 "
            f"to {len(xs) - 1}: check whether the file counts from 1"
        )
    return xs, corners


def cell_measures(points: ArrayLike, cells: ArrayLike) -> NDArray[np.float64]:
    """Measure of every cell (m,): signed areas in the plane, positive areas in space, signed volumes.

    Positive for counter-clockwise triangles and for tetrahedra with (b - a) . ((c - a) x (d - a)) > 0.
    """
    xs, corners = as_mesh(points, cells)
    edges = xs[corners[:, 1:]] - xs[corners[:, :1]]
    if corners.shape[1] == 4:
        return np.asarray(np.sum(edges[:, 0] * np.cross(edges[:, 1], edges[:, 2]), axis=1) / 6.0)
    if xs.shape[1] == 3:
        return np.asarray(0.5 * np.linalg.norm(np.cross(edges[:, 0], edges[:, 1]), axis=1))
    return np.asarray(0.5 * (edges[:, 0, 0] * edges[:, 1, 1] - edges[:, 0, 1] * edges[:, 1, 0]))


def all_facets(cells: NDArray[np.int32]) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int64]]:
    """Facets of every cell in turn (k m, k - 1), the number of each as a node set, and uses of each number.

    Facets are oriented as the cell's boundary: outwards for cells of positive measure.
    """
    size = cells.shape[1]
    facets = cells[:, np.array(_FACETS[size])].reshape(-1, size - 1)
    ordered = np.sort(facets, axis=1).astype(np.int64)
    nodes = int(cells.max()) + 1
    key = ordered[:, 0] * nodes + ordered[:, 1]
    if size == 4:
        # node pairs are numbered first: a product of three node counts may not fit 64 bits
        pairs = np.unique(key, return_inverse=True)[1].astype(np.int64)
        key = pairs * nodes + ordered[:, 2]
    _, number, uses = np.unique(key, return_inverse=True, return_counts=True)
    return facets, number.astype(np.int64), uses.astype(np.int64)


def boundary_facets(cells: ArrayLike) -> NDArray[np.int32]:
    """Facets of exactly one cell: edges (f, 2) of triangles, faces (f, 3) of tetrahedra, in order of cells.

    Oriented with the mesh on the left of an edge, and outwards for faces, where cells have positive measure.
    """
    facets, number, uses = all_facets(as_cells(cells))
    return facets[uses[number] == 1]


def boundary_loops(cells: ArrayLike, points: ArrayLike | None = None) -> list[NDArray[np.int32]]:
    """Closed boundary loops of a triangle mesh as node numbers, each node once, oriented as the cells.

    With points, a loop starts at its node of least x (then y, z; ties within 1e-9 of the bounding box), so
    the start follows the shape and not the numbering, and loops come by falling length; without points it
    starts at the least node number, and loops come by falling number of nodes. Raises InputError where a
    boundary node belongs to more than one loop, or neighbouring cells are oriented differently.
    """
    edges = boundary_facets(cells)
    if edges.shape[1:] != (2,):
        raise InputError("cells are tetrahedra; expected triangles: take the loops of their boundary_facets")
    unique, uses = np.unique(edges[:, 0], return_counts=True)
    ends, end_uses = np.unique(edges[:, 1], return_counts=True)
    bad = np.union1d(unique[uses > 1], ends[end_uses > 1])
    if bad.size:
        raise InputError(
            f"the boundary branches at {bad.size} nodes, the first is node {int(bad[0])}; expected simple "
            "closed loops: orient the cells alike (orient), or part the mesh where it touches itself at a "
            "node"
        )
    following = dict(zip(edges[:, 0].tolist(), edges[:, 1].tolist(), strict=True))
    xs = None if points is None else np.asarray(points, dtype=np.float64)
    loops = [_start_loop(loop, xs) for loop in _chains(following)]
    if xs is None:
        return sorted(loops, key=lambda loop: (-len(loop), int(loop[0])))
    lengths = [float(np.linalg.norm(xs[loop] - xs[np.roll(loop, 1)], axis=1).sum()) for loop in loops]
    order = sorted(range(len(loops)), key=lambda i: (-lengths[i], tuple(xs[loops[i][0]])))
    return [loops[i] for i in order]


def _chains(following: dict[int, int]) -> list[NDArray[np.int32]]:
    chains = []
    while following:
        start = next(iter(following))
        chain, node = [start], following.pop(start)
        while node != start:
            chain.append(node)
            node = following.pop(node)
        chains.append(np.array(chain, dtype=np.int32))
    return chains


def _start_loop(loop: NDArray[np.int32], points: np.ndarray | None) -> NDArray[np.int32]:
    if points is None:
        return np.roll(loop, -int(np.argmin(loop)))
    candidates = np.arange(len(loop))
    tie = _TIE * float(np.linalg.norm(np.ptp(points[loop], axis=0)))
    for axis in range(points.shape[1]):
        values = points[loop[candidates], axis]
        candidates = candidates[values <= values.min() + tie]
    return np.roll(loop, -int(candidates[0]))


def euler_characteristic(cells: ArrayLike) -> int:
    """Nodes - edges + triangles of a triangle mesh: 1 for a disk, 2 - 2 genus for a closed surface."""
    corners = as_cells(cells)
    if corners.shape[1] != 3:
        raise InputError("cells are tetrahedra; expected triangles: take the boundary_facets first")
    return len(np.unique(corners)) - len(all_facets(corners)[2]) + len(corners)


def component_count(cells: ArrayLike) -> int:
    """Number of parts of the mesh that share no node."""
    corners = as_cells(cells)
    _, local = np.unique(corners, return_inverse=True)
    local = local.reshape(corners.shape)
    rows, columns = np.repeat(local[:, 0], corners.shape[1] - 1), local[:, 1:].ravel()
    size = int(local.max()) + 1
    graph = coo_array((np.ones(len(rows), np.int8), (rows, columns)), shape=(size, size))
    return int(connected_components(graph.tocsr(), directed=False)[0])


def orient(points: ArrayLike, cells: ArrayLike) -> NDArray[np.int32]:
    """Cells turned so that all agree: of positive measure in the plane and for tetrahedra.

    On a surface in space the first cell of every connected part keeps its orientation and the others follow
    across shared edges. Raises InputError for a surface that has two sides only locally (a Moebius strip).
    """
    xs, corners = as_mesh(points, cells)
    surface = xs.shape[1] == 3 and corners.shape[1] == 3
    turn = _against_neighbours(corners) if surface else cell_measures(xs, corners) < 0
    result = corners.copy()
    result[turn, -2:] = corners[turn, :-3:-1]
    return result


def _against_neighbours(cells: NDArray[np.int32]) -> NDArray[np.bool_]:
    facets, number, uses = all_facets(cells)
    order = np.argsort(number, kind="stable")
    order = order[uses[number[order]] == 2].reshape(-1, 2)
    first, second = order[:, 0] // 3, order[:, 1] // 3
    differs = facets[order[:, 0], 0] == facets[order[:, 1], 0]
    graph = coo_array((np.ones(len(first), np.int8), (first, second)), shape=(len(cells), len(cells))).tocsr()
    relation = {}
    for a, b, d in zip(first.tolist(), second.tolist(), differs.tolist(), strict=True):
        relation[a, b] = relation[b, a] = d
    turn = np.zeros(len(cells), dtype=bool)
    seen = np.zeros(len(cells), dtype=bool)
    while not seen.all():
        walk, before = breadth_first_order(graph, int(np.argmin(seen)), directed=False)
        seen[walk] = True
        for cell in walk[1:].tolist():
            turn[cell] = turn[before[cell]] ^ relation[int(before[cell]), cell]
    if np.any(turn[first] ^ turn[second] ^ differs):
        raise InputError(
            "the surface has no two sides (a Moebius strip); expected one that can be oriented: cut it open"
        )
    return turn


def split_quads(quads: ArrayLike, points: ArrayLike) -> NDArray[np.int32]:
    """Triangles (2 q, 3) of quadrilaterals (q, 4), 2 i and 2 i + 1 from quad i, oriented as the quad.

    Cut along the shorter diagonal; equal ones (to 1e-9) through the corner that comes first along a fixed
    direction, whatever the numbering. A quad with a re-entrant corner is cut there. Raises InputError for
    quads that cross themselves or have no area.
    """
    corners = np.asarray(quads)
    given = np.asarray(points, dtype=np.float64)
    if corners.ndim != 2 or corners.shape[1] != 4 or not np.issubdtype(corners.dtype, np.integer):
        raise InputError(f"quads have shape {corners.shape}, dtype {corners.dtype}; expected integers (q, 4)")
    xs = np.zeros((len(given), 3))
    xs[:, : given.shape[1]] = given
    a, b, c, d = (xs[corners[:, i]] for i in range(4))
    normal = np.cross(c - a, d - b)

    def fits(p: np.ndarray, q: np.ndarray, r: np.ndarray) -> NDArray[np.bool_]:
        return np.asarray(np.sum(np.cross(q - p, r - p) * normal, axis=1) > 0)

    along_ac, along_bd = fits(a, b, c) & fits(a, c, d), fits(a, b, d) & fits(b, c, d)
    bad = ~(along_ac | along_bd)
    if bad.any():
        quad = int(np.argmax(bad))
        raise InputError(
            f"{int(bad.sum())} of {len(corners)} quads cross themselves or have no area, the first is quad "
            f"{quad} with nodes {corners[quad].tolist()}; expected corners in order around each quad: "
            "reorder them"
        )
    ac, bd = np.linalg.norm(c - a, axis=1), np.linalg.norm(d - b, axis=1)
    first = np.argmin(np.stack([p @ _GENERIC for p in (a, b, c, d)]), axis=0)
    shorter = np.where(np.abs(ac - bd) <= _TIE * np.maximum(ac, bd), first % 2 == 0, ac < bd)
    use_ac = along_ac & (shorter | ~along_bd)
    cut = np.where(use_ac[:, None], [0, 1, 2, 0, 2, 3], [0, 1, 3, 1, 2, 3])
    return np.take_along_axis(corners, cut, axis=1).reshape(-1, 3).astype(np.int32)
