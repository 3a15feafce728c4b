"""The mesh of triangles that a mesh was made from by splitting each triangle in four."""

import numpy as np

from kernels.errors import InputError


def parents(
    x: np.ndarray, connectivity: np.ndarray, tolerance: float = 1e-6
) -> tuple[np.ndarray, np.ndarray]:
    """Undo a split in four: nodes that are corners (corners,), and triangles (cells / 4, 3) among those.

    x (nodes, 2), connectivity (cells, 3). A triangle is the middle of four where its corners are the
    midpoints of the outer corners of its three neighbours. Where several choices overlap, as on regular
    meshes, those that a triangle has no other choice than are taken first. Raises InputError where the
    triangles cannot be grouped in fours.
    """
    if connectivity.shape[1] != 3:
        raise InputError(
            f"quadratic elements were asked for on cells of {connectivity.shape[1]} corners; expected "
            "triangles split in four: choose degree 1"
        )
    groups, outer = _candidates(x, connectivity, tolerance)
    chosen = _cover(groups, len(connectivity))
    if chosen is None:
        raise InputError(
            f"quadratic elements were asked for, but the mesh of {len(connectivity)} triangles is not one "
            "whose triangles were split in four at the midpoints of their edges: choose degree 1"
        )
    corners, cells = np.unique(outer[chosen], return_inverse=True)
    return corners, cells.reshape(-1, 3)


def _candidates(x: np.ndarray, connectivity: np.ndarray, tolerance: float) -> tuple[np.ndarray, np.ndarray]:
    """Groups of four cells (groups, 4), the middle first, and their outer corners (groups, 3)."""
    cells = len(connectivity)
    # side k of a cell lies opposite of its corner k
    sides = np.sort(
        np.stack([connectivity[:, [1, 2]], connectivity[:, [2, 0]], connectivity[:, [0, 1]]], 1), -1
    )
    key = sides.reshape(-1, 2) @ np.array([len(x), 1])
    order = np.argsort(key, kind="stable")
    pairs = np.flatnonzero(np.diff(key[order]) == 0)
    first, second = order[pairs], order[pairs + 1]
    neighbour, opposite = np.full(3 * cells, -1), np.full(3 * cells, -1)
    neighbour[first], neighbour[second] = second // 3, first // 3
    opposite[first], opposite[second] = connectivity.ravel()[second], connectivity.ravel()[first]
    beside, across = neighbour.reshape(-1, 3), opposite.reshape(-1, 3)
    inner = np.flatnonzero((beside >= 0).all(axis=1))
    far = x[across[inner]]
    middle = 0.5 * (far[:, [1, 2, 0]] + far[:, [2, 0, 1]])
    off = np.abs(middle - x[connectivity[inner]]).max(axis=(1, 2))
    inner = inner[off <= tolerance * np.ptp(far, axis=1).max(axis=1)]
    return np.column_stack([inner, beside[inner]]), across[inner]


def _cover(groups: np.ndarray, cells: int) -> np.ndarray | None:
    """Groups that contain every cell once, by taking at each step those that some cell needs."""
    alive, chosen = np.ones(len(groups), dtype=bool), np.zeros(len(groups), dtype=bool)
    covered = np.zeros(cells, dtype=bool)
    while not covered.all():
        count = np.bincount(groups[alive].ravel(), minlength=cells)
        if (count[~covered] == 0).any():
            return None
        forced = alive & ((count == 1) & ~covered)[groups].any(axis=1)
        if not forced.any():
            forced = np.zeros_like(alive)
            forced[np.flatnonzero(alive)[0]] = True
        if np.bincount(groups[forced].ravel(), minlength=cells).max() > 1:
            return None
        chosen |= forced
        covered[groups[forced].ravel()] = True
        alive &= ~covered[groups].any(axis=1)
    return np.flatnonzero(chosen)
