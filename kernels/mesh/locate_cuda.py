"""CUDA face of point location and P1 interpolation: launchers over the scalar functions of the CPU face."""

from typing import Any

import numpy as np
from numba import cuda, float64, int32
from numpy.typing import ArrayLike

from kernels.cuda_support import require
from kernels.errors import InputError
from kernels.mesh._scalar import STACK, nearest
from kernels.mesh.locate import Location, Locator

_BLOCK = 128


def locate_kernel(kind, order, corners, boxes, links, targets, cell, barycentric, distance):
    """One thread a target: walk the tree, write cell (q,), barycentric (q, k) and distance (q,)."""
    i = cuda.grid(1)
    if i < targets.shape[0]:
        stack = cuda.local.array(STACK, int32)
        reach = cuda.local.array(STACK, float64)
        z = 0.0
        if targets.shape[1] == 3:
            z = targets[i, 2]
        place, square, w0, w1, w2, w3 = nearest(
            kind, corners, boxes, links, targets[i, 0], targets[i, 1], z, stack, reach
        )
        cell[i] = order[place]
        distance[i] = square**0.5
        barycentric[i, 0] = w0
        barycentric[i, 1] = w1
        barycentric[i, 2] = w2
        if barycentric.shape[1] == 4:
            barycentric[i, 3] = w3


def interpolate_kernel(cells, cell, barycentric, field, out):
    """One thread a target and component: out[i, c] = sum_j barycentric[i, j] field[cells[cell[i], j], c]."""
    i, c = cuda.grid(2)
    if i < out.shape[0] and c < out.shape[1]:
        total = 0.0
        for j in range(barycentric.shape[1]):
            total += barycentric[i, j] * field[cells[cell[i], j], c]
        out[i, c] = total


class CudaLocator:
    """A `Locator` whose structure lies on the GPU. Raises InputError where there is none.

    Cells and barycentrics may differ from the CPU face in the last bits (fused multiply-add), hence in which
    of two cells holds a point on their common edge.
    """

    def __init__(self, locator: Locator) -> None:
        require()
        self.locator = locator
        tree = locator.tree
        self._tree = [cuda.to_device(part) for part in (tree.order, tree.corners, tree.boxes, tree.links)]
        self._cells = cuda.to_device(locator.cells)
        self._locate = cuda.jit(locate_kernel)
        self._interpolate = cuda.jit(interpolate_kernel)

    def locate(self, targets: ArrayLike, tolerance: float | None = None) -> Location:
        """What `Locator.locate` answers, from the GPU."""
        given = self.locator.as_targets(targets)
        cell, barycentric, distance = (part.copy_to_host() for part in self._run(given))
        return Location(cell, barycentric, distance, distance > self.locator.reach(cell, tolerance))

    def interpolate(self, targets: ArrayLike, field: ArrayLike) -> np.ndarray:
        """P1 values (q, c) of a nodal field (n, c) at the targets (q, d), clamped to the mesh outside."""
        values = np.ascontiguousarray(field, dtype=np.float64)
        nodes = len(self.locator.points)
        if values.ndim != 2 or len(values) != nodes:
            raise InputError(
                f"field has shape {values.shape}; expected ({nodes}, components): one row a node"
            )
        given = self.locator.as_targets(targets)
        cell, barycentric, _ = self._run(given)
        out = cuda.device_array((len(given), values.shape[1]), np.float64)
        if out.size:
            grid = (-(-out.shape[0] // _BLOCK), out.shape[1])
            self._interpolate[grid, (_BLOCK, 1)](self._cells, cell, barycentric, cuda.to_device(values), out)
        return np.asarray(out.copy_to_host())

    def _run(self, targets: np.ndarray) -> tuple[Any, Any, Any]:
        count, corners = len(targets), self.locator.cells.shape[1]
        cell = cuda.device_array(count, np.int32)
        barycentric = cuda.device_array((count, corners), np.float64)
        distance = cuda.device_array(count, np.float64)
        if count:
            self._locate[-(-count // _BLOCK), _BLOCK](
                self.locator.kind, *self._tree, cuda.to_device(targets), cell, barycentric, distance
            )
        return cell, barycentric, distance
