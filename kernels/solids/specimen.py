"""Rectangular bar with two circular notches: geometry check and a reproducible triangle mesh."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kernels.errors import InputError
from kernels.solids.triangles import QuadraticMesh, quadratic

if TYPE_CHECKING:
    from netgen.geom2d import SplineGeometry

TAGS = {"left": 1, "right": 2, "top": 3, "bottom": 4, "notch_1": 5, "notch_2": 6}
"""Boundary tag of each side; `notch_1` cuts the bottom side, `notch_2` the top side."""

_CURVES = (
    ((0, 1), "bottom"), ((1, 8, 9), "notch_1"), ((9, 10, 2), "notch_1"), ((2, 3), "bottom"),
    ((3, 4), "right"),
    ((4, 5), "top"), ((5, 11, 12), "notch_2"), ((12, 13, 6), "notch_2"), ((6, 7), "top"),
    ((7, 0), "left"),
)  # fmt: skip
"""Boundary curves in counter-clockwise order: their points (start, control, end), and the side."""


@dataclass(frozen=True)
class Specimen:
    """Bar `0 <= x1 <= length`, `0 <= x2 <= height` without two half discs centred on its long sides; all in
    m.

    notch_1 is centred at (notch_1_position, 0), notch_2 at (notch_2_position, height).
    Raises InputError where a notch leaves its side or the two leave too little material between them.
    """

    length: float
    height: float
    notch_1_radius: float
    notch_1_position: float
    notch_2_radius: float
    notch_2_position: float

    def __post_init__(self) -> None:
        values = vars(self)
        for name, value in values.items():
            if not (math.isfinite(value) and value > 0.0):
                raise InputError(
                    f"{name} is {value!r}, expected a positive number of m: correct the parameter"
                )
        margin = 0.05 * self.height
        for notch in ("notch_1", "notch_2"):
            radius, position = values[f"{notch}_radius"], values[f"{notch}_position"]
            if position - radius < margin or position + radius > self.length - margin:
                raise InputError(
                    f"{notch} spans {position - radius:.6g} to {position + radius:.6g} m, expected it within "
                    f"{margin:.6g} to {self.length - margin:.6g} m: move it or make it smaller"
                )
            if radius > self.height - margin:
                raise InputError(
                    f"{notch}_radius is {radius:.6g} m, expected below {self.height - margin:.6g} m: lower it"
                )
        across = math.hypot(self.notch_1_position - self.notch_2_position, self.height)
        ligament = across - self.notch_1_radius - self.notch_2_radius
        if ligament < 0.1 * self.height:
            raise InputError(
                f"the notches leave a ligament of {ligament:.6g} m, expected at least "
                f"{0.1 * self.height:.6g} m: "
                "lower their radii"
            )


def mesh_specimen(
    specimen: Specimen, mesh_size: float, notch_segments: int, grading: float = 0.15
) -> QuadraticMesh:
    """Quadratic triangle mesh: elements of mesh_size (m) far away, notch_segments edges round each notch.

    Node 0 is the corner (0, 0); the ten corners of the boundary curves come first, in the same order for
    every specimen. Middle nodes of notch edges lie on the circles. The number of edges round a notch does not
    depend on its radius, so the boundary mesh varies smoothly with it. Raises InputError where the sizes are
    out of range or the mesher fails.
    """
    if not (0.0 < mesh_size <= specimen.height) or mesh_size < specimen.height / 500.0:
        raise InputError(
            f"mesh_size is {mesh_size!r} m, expected {specimen.height / 500.0:.3g} to "
            f"{specimen.height:.3g} m "
            "for this height: change mesh_size"
        )
    if not 4 <= notch_segments <= 1000:
        raise InputError(f"notch_segments is {notch_segments!r}, expected 4 to 1000: change it")
    points, triangles, edges, tags = _netgen(_geometry(specimen, notch_segments), mesh_size, grading)
    centres = {
        TAGS["notch_1"]: (specimen.notch_1_position, 0.0, specimen.notch_1_radius),
        TAGS["notch_2"]: (specimen.notch_2_position, specimen.height, specimen.notch_2_radius),
    }

    def curve(middles: np.ndarray, on: np.ndarray) -> np.ndarray:
        moved = middles.copy()
        for tag, (x, y, radius) in centres.items():
            offset = middles[on == tag] - (x, y)
            moved[on == tag] = (x, y) + radius * offset / np.hypot(offset[:, 0], offset[:, 1])[:, None]
        return moved

    return quadratic(points, triangles, edges, tags, curve)


def _geometry(s: Specimen, notch_segments: int) -> "SplineGeometry":
    from netgen.geom2d import SplineGeometry  # a tenth of a second, for those who mesh

    geometry = SplineGeometry()
    p1, r1, p2, r2 = s.notch_1_position, s.notch_1_radius, s.notch_2_position, s.notch_2_radius
    corners = [
        (0.0, 0.0), (p1 - r1, 0.0), (p1 + r1, 0.0), (s.length, 0.0),
        (s.length, s.height), (p2 + r2, s.height), (p2 - r2, s.height), (0.0, s.height),
    ]  # fmt: skip
    inner = [
        (p1 - r1, r1),
        (p1, r1),
        (p1 + r1, r1),
        (p2 + r2, s.height - r2),
        (p2, s.height - r2),
        (p2 - r2, s.height - r2),
    ]
    n = [geometry.AppendPoint(*point) for point in corners + inner]
    # half a notch is asked for a little more than its share: netgen rounds the number of edges up
    arc = {
        "notch_1": 1.0001 * math.pi * r1 / notch_segments,
        "notch_2": 1.0001 * math.pi * r2 / notch_segments,
    }
    for number, (ends, side) in enumerate(_CURVES, start=1):
        kind = "line" if len(ends) == 2 else "spline3"
        size = {"maxh": arc[side]} if side in arc else {}
        geometry.Append([kind, *(n[k] for k in ends)], leftdomain=1, rightdomain=0, bc=number, **size)
    return geometry


def _netgen(
    geometry: "SplineGeometry", mesh_size: float, grading: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    from netgen.meshing import SetMessageImportance

    SetMessageImportance(0)
    try:
        mesh = geometry.GenerateMesh(maxh=mesh_size, grading=grading, optsteps2d=3)
    except Exception as error:  # the mesher documents no exception class
        raise InputError(
            f"the mesher failed ({error}), expected a mesh: change the notches or mesh_size"
        ) from error
    points = np.array(mesh.Coordinates(), dtype=np.float64)[:, :2]
    cells = np.array(mesh.Elements2D().NumPy()["nodes"][:, :3], dtype=np.int64) - 1
    lines = mesh.Elements1D().NumPy()
    edges = np.array(lines["nodes"][:, :2], dtype=np.int64) - 1
    tag_of = np.array([TAGS[side] for _, side in _CURVES], dtype=np.int64)
    tags = tag_of[np.array([int(line.index) for line in mesh.Elements1D()]) - 1]
    used = np.zeros(len(points), dtype=bool)
    used[cells.ravel()] = True  # control points of the arcs are no vertices
    number = np.cumsum(used) - 1
    return np.ascontiguousarray(points[used]), number[cells], number[edges], tags
