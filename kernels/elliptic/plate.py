"""Triangle meshes of the unit square with a round hole: one mapped by the hole, one made anew for it."""

import math
from dataclasses import dataclass

import numpy as np

from kernels.errors import InputError

STRETCH = 1.2
"""Layers grow outwards by exp(STRETCH) in all, so cells near the hole are about as wide as long."""
MARGIN = 0.05
"""Least distance between the hole and the sides."""


@dataclass(frozen=True)
class Hole:
    """Disc of `radius` round (x1, x2) that the unit square lacks; lengths in m.

    Raises InputError where it comes within `MARGIN` of a side.
    """

    radius: float
    x1: float
    x2: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.radius) and self.radius > 0.0):
            raise InputError(f"hole_radius is {self.radius!r} m, expected a positive number: correct it")
        room = min(self.x1, self.x2, 1.0 - self.x1, 1.0 - self.x2) - MARGIN
        if not self.radius <= room + 1e-12:
            raise InputError(
                f"a hole of radius {self.radius:.6g} m at ({self.x1:.6g}, {self.x2:.6g}) m, expected a "
                f"radius of at most {max(room, 0.0):.6g} m there, {MARGIN} m from the sides: move it or "
                "make it smaller"
            )


@dataclass(frozen=True)
class Plate:
    """x (nodes, 2), cells (cells, 3) counter-clockwise, boundary (nodes,) bool: on a side or on the hole."""

    x: np.ndarray
    cells: np.ndarray
    boundary: np.ndarray


def mapped_plate(hole: Hole, sides: int, layers: int) -> Plate:
    """The same topology for every hole: `layers` rings of cells round it, `sides` edges along each side.

    Node (j, i), numbered j * 4 sides + i, lies on the straight line from point i of the outline to the
    centre, at s(j / layers) of the way from the circle, s(t) = (exp(STRETCH t) - 1) / (exp(STRETCH) - 1). So
    the nodes are smooth functions of the hole, and those of a mesh are among those of one k times finer.
    """
    t = np.arange(sides) / sides
    ones = np.ones(sides)
    outline = np.concatenate([np.c_[t, 0 * t], np.c_[ones, t], np.c_[1.0 - t, ones], np.c_[0 * t, 1.0 - t]])
    centre = np.array([hole.x1, hole.x2])
    ray = outline - centre
    circle = centre + hole.radius * ray / np.hypot(ray[:, 0], ray[:, 1])[:, None]
    s = np.expm1(STRETCH * np.arange(layers + 1) / layers) / math.expm1(STRETCH)
    x = circle + s[:, None, None] * (outline - circle)
    x[-1] = outline
    around = 4 * sides
    node = np.arange((layers + 1) * around).reshape(layers + 1, around)
    following = np.roll(node, -1, axis=1)
    a, b, c, d = (part.ravel() for part in (node[:-1], node[1:], following[1:], following[:-1]))
    cells = np.concatenate([np.c_[a, b, c], np.c_[a, c, d]])
    boundary = np.zeros((layers + 1, around), dtype=bool)
    boundary[[0, -1]] = True
    return Plate(x.reshape(-1, 2), cells, boundary.ravel())


def free_plate(hole: Hole, mesh_size: float) -> Plate:
    """A mesh of its own: edges of about `mesh_size`, at least 16 round the hole, made by netgen.

    Raises InputError where the mesher fails.
    """
    from netgen.geom2d import SplineGeometry  # a tenth of a second, for those who mesh
    from netgen.meshing import SetMessageImportance

    SetMessageImportance(0)
    geometry = SplineGeometry()
    geometry.AddRectangle((0.0, 0.0), (1.0, 1.0))
    geometry.AddCircle(
        (hole.x1, hole.x2), hole.radius, leftdomain=0, rightdomain=1,
        maxh=min(mesh_size, 2.0 * math.pi * hole.radius / 16.0),
    )  # fmt: skip
    try:
        mesh = geometry.GenerateMesh(maxh=mesh_size)
    except Exception as error:  # the mesher documents no exception class
        raise InputError(
            f"the mesher failed ({error}), expected a mesh: change the hole or resolution"
        ) from error
    points = np.array(mesh.Coordinates(), dtype=np.float64)[:, :2]
    cells = np.array(mesh.Elements2D().NumPy()["nodes"][:, :3], dtype=np.int64) - 1
    edges = np.array(mesh.Elements1D().NumPy()["nodes"][:, :2], dtype=np.int64) - 1
    used = np.unique(cells)  # control points of the circle are no vertices
    number = np.full(len(points), -1)
    number[used] = np.arange(len(used))
    boundary = np.zeros(len(used), dtype=bool)
    boundary[number[edges.ravel()]] = True
    return Plate(np.ascontiguousarray(points[used]), number[cells], boundary)
