"""Which cell of a triangle or tetrahedron mesh holds a point, and how far outside the mesh the point lies."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kernels.errors import InputError
from kernels.mesh import _scalar
from kernels.mesh._tree import build_tree
from kernels.mesh.topology import as_mesh

VOLUME_TOLERANCE = 1e-12
"""Distance, over the diagonal of the bounding box, beyond which a point is outside (2D, tetrahedra)."""

SURFACE_TOLERANCE = 1e-6
"""Distance, over the longest edge of the nearest cell, beyond which a point is off a surface in space."""


class Location(NamedTuple):
    """Where q targets lie in a mesh of cells with k corners.

    cell (q,) int32: containing cell, or the nearest one; barycentric (q, k): of the closest point of that
    cell, in [0, 1]; distance (q,): Euclidean distance to the mesh, 0 inside, units of the coordinates;
    outside (q,) bool: distance above the tolerance.
    """

    cell: NDArray[np.int32]
    barycentric: NDArray[np.float64]
    distance: NDArray[np.float64]
    outside: NDArray[np.bool_]


class Locator:
    """Point location in triangles of the plane (d = 2, k = 3), of space (d = 3, k = 3), or tetrahedra (3, 4).

    A bounding-volume tree over the cells, walked by branch and bound, so the distance of an outside point is
    exact and its cost does not depend on how strongly the mesh is graded. Cells may be of either orientation.

    points (n, d) float; cells (m, k) integer node numbers. Raises InputError where they do not make a mesh.
    Not handled: quadrilaterals (see `topology.split_quads`), curved cells.
    """

    def __init__(self, points: ArrayLike, cells: ArrayLike) -> None:
        self.points, self.cells = as_mesh(points, cells)
        if self.cells.shape[1] == 4:
            self.kind = _scalar.TETRAHEDRON
        elif self.points.shape[1] == 3:
            self.kind = _scalar.SURFACE_TRIANGLE
        else:
            self.kind = _scalar.PLANE_TRIANGLE
        self.tree = build_tree(self.points, self.cells)

    def locate(self, targets: ArrayLike, tolerance: float | None = None) -> Location:
        """Containing or nearest cell of every target (q, d).

        tolerance: distance above which a target counts as outside, in the units of the coordinates. None: in
        the plane and in tetrahedra 1e-12 of the diagonal of the mesh's bounding box, on surfaces 1e-6 of the
        longest edge of the nearest cell. Where a point lies on several cells, which of them is answered
        depends on the mesh alone. Raises InputError for targets of the wrong shape or with NaN or infinite
        coordinates.
        """
        given = self.as_targets(targets)
        if tolerance is not None and not tolerance >= 0:
            raise InputError(f"tolerance is {tolerance}; expected a distance >= 0, or None for the default")
        tree = self.tree
        cell, barycentric, distance = _scalar.locate_all(
            self.kind, tree.order, tree.corners, tree.boxes, tree.links, given
        )
        return Location(cell, barycentric, distance, distance > self.reach(cell, tolerance))

    def reach(self, cell: NDArray[np.int32], tolerance: float | None = None) -> float | NDArray[np.float64]:
        """Distance above which a target nearest to `cell` counts as outside; see `locate`."""
        if tolerance is not None:
            return tolerance
        if self.kind != _scalar.SURFACE_TRIANGLE:
            return VOLUME_TOLERANCE * float(np.linalg.norm(np.ptp(self.points, axis=0)))
        vertices = self.points[self.cells[cell]]
        edges = vertices - np.roll(vertices, 1, axis=1)
        return SURFACE_TOLERANCE * np.sqrt(np.max(np.sum(edges**2, axis=2), axis=1))

    def as_targets(self, targets: ArrayLike) -> NDArray[np.float64]:
        """Targets as contiguous float64 (q, d); InputError where they are not points of this space."""
        given = np.ascontiguousarray(targets, dtype=np.float64)
        dim = self.points.shape[1]
        if given.ndim != 2 or given.shape[1] != dim:
            raise InputError(
                f"targets have shape {given.shape}; expected (q, {dim}) for a mesh with {dim} coordinates "
                "a node"
            )
        bad = ~np.isfinite(given).all(axis=1)
        if bad.any():
            raise InputError(
                f"{int(bad.sum())} of {len(given)} targets have NaN or infinite coordinates, the first is "
                f"number {int(np.argmax(bad))}; expected finite numbers: remove or repair them"
            )
        return given
