"""Bounding-volume tree over the cells of a mesh, halved at the median centre: grading does not matter."""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

LEAF = 8
"""Most cells of a leaf: between 4 and 12 the search time on CFD meshes hardly moves."""


class Tree(NamedTuple):
    """Structure that `_scalar.nearest` walks, cells in the order of the tree.

    order (m,) int32: cell at each place; corners (m, k, 3): its vertices, z = 0 in the plane;
    boxes (nodes, 6): low x, y, z, high x, y, z; links (nodes, 3) int32: left child or -1, first place, end.
    """

    order: NDArray[np.int32]
    corners: NDArray[np.float64]
    boxes: NDArray[np.float64]
    links: NDArray[np.int32]


def build_tree(points: NDArray[np.float64], cells: NDArray[np.integer]) -> Tree:
    """Tree over `cells` (m, k) of `points` (n, d), d = 2 or 3; ties in the split go by cell number."""
    space = np.zeros((len(points), 3))
    space[:, : points.shape[1]] = points
    low, high = _cell_boxes(space, cells)
    order, boxes, links = _split(low, high, points.shape[1], LEAF)
    return Tree(order, space[cells[order]], boxes, links)


@njit(cache=True, nogil=True)
def _cell_boxes(space, cells):
    count, size = cells.shape
    low, high = np.empty((count, 3)), np.empty((count, 3))
    for i in range(count):
        for a in range(3):
            low[i, a] = high[i, a] = space[cells[i, 0], a]
            for j in range(1, size):
                low[i, a] = min(low[i, a], space[cells[i, j], a])
                high[i, a] = max(high[i, a], space[cells[i, j], a])
    return low, high


@njit(cache=True, nogil=True)
def _select(keys, order, middle):
    """Reorder keys and cells together so that none before `middle` comes after it; ties go by cell number."""
    low, high = 0, len(keys) - 1
    while low < high:
        pivot = (low + high) // 2
        key, cell = keys[pivot], order[pivot]
        i, j = low, high
        while i <= j:
            while keys[i] < key or (keys[i] == key and order[i] < cell):
                i += 1
            while keys[j] > key or (keys[j] == key and order[j] > cell):
                j -= 1
            if i <= j:
                keys[i], keys[j] = keys[j], keys[i]
                order[i], order[j] = order[j], order[i]
                i += 1
                j -= 1
        if middle <= j:
            high = j
        elif middle >= i:
            low = i
        else:
            return


@njit(cache=True, nogil=True)
def _widest(order, centre, dim, first, end):
    axis, widest = 0, -1.0
    for a in range(dim):
        low = high = centre[order[first], a]
        for i in range(first + 1, end):
            value = centre[order[i], a]
            low, high = min(low, value), max(high, value)
        if high - low > widest:
            axis, widest = a, high - low
    return axis


@njit(cache=True, nogil=True)
def _split(low, high, dim, leaf):
    count = len(low)
    order = np.arange(count).astype(np.int32)
    centre = low + high
    keys = np.empty(count)
    capacity = max(1, 4 * count // max(leaf, 1) + 4)
    boxes = np.empty((capacity, 6))
    links = np.empty((capacity, 3), np.int32)
    links[0, 0], links[0, 1], links[0, 2] = -1, 0, count
    used, node = 1, 0
    while node < used:  # breadth first: children always stand behind their parent
        first, end = links[node, 1], links[node, 2]
        if end - first > leaf:
            middle = (first + end) // 2
            axis = _widest(order, centre, dim, first, end)
            for i in range(first, end):
                keys[i] = centre[order[i], axis]
            _select(keys[first:end], order[first:end], middle - first)
            links[node, 0] = used
            links[used, 0], links[used, 1], links[used, 2] = -1, first, middle
            links[used + 1, 0], links[used + 1, 1], links[used + 1, 2] = -1, middle, end
            used += 2
        node += 1
    for node in range(used - 1, -1, -1):
        left = links[node, 0]
        for a in range(3):
            if left < 0:
                boxes[node, a], boxes[node, a + 3] = np.inf, -np.inf
                for i in range(links[node, 1], links[node, 2]):
                    boxes[node, a] = min(boxes[node, a], low[order[i], a])
                    boxes[node, a + 3] = max(boxes[node, a + 3], high[order[i], a])
            else:
                boxes[node, a] = min(boxes[left, a], boxes[left + 1, a])
                boxes[node, a + 3] = max(boxes[left, a + 3], boxes[left + 1, a + 3])
    return order, boxes[:used].copy(), links[:used].copy()
