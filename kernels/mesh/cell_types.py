"""The cell types of finite element files by their VTK code: name, dimension, nodes, and the linear type of
the corners.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class CellType:
    """One cell type: `nodes` is 0 where the number varies, `linear` is the code of the type its corners
    make (0: none).
    """

    code: int
    name: str
    dimension: int
    nodes: int
    linear: int


VERTEX, LINE, TRIANGLE, POLYGON, PIXEL, QUAD, TETRA = 1, 3, 5, 7, 8, 9, 10
HEXAHEDRON, WEDGE, PYRAMID = 12, 13, 14

_ALL = (
    CellType(VERTEX, "vertex", 0, 1, VERTEX),
    CellType(2, "poly-vertex", 0, 0, 0),
    CellType(LINE, "line", 1, 2, LINE),
    CellType(4, "poly-line", 1, 0, 0),
    CellType(TRIANGLE, "triangle", 2, 3, TRIANGLE),
    CellType(6, "triangle strip", 2, 0, 0),
    CellType(POLYGON, "polygon", 2, 0, 0),
    CellType(PIXEL, "pixel", 2, 4, PIXEL),
    CellType(QUAD, "quadrilateral", 2, 4, QUAD),
    CellType(TETRA, "tetrahedron", 3, 4, TETRA),
    CellType(11, "voxel", 3, 8, 11),
    CellType(HEXAHEDRON, "hexahedron", 3, 8, HEXAHEDRON),
    CellType(WEDGE, "wedge", 3, 6, WEDGE),
    CellType(PYRAMID, "pyramid", 3, 5, PYRAMID),
    CellType(15, "pentagonal prism", 3, 10, 15),
    CellType(16, "hexagonal prism", 3, 12, 16),
    CellType(21, "quadratic line", 1, 3, LINE),
    CellType(22, "quadratic triangle", 2, 6, TRIANGLE),
    CellType(23, "quadratic quadrilateral", 2, 8, QUAD),
    CellType(24, "quadratic tetrahedron", 3, 10, TETRA),
    CellType(25, "quadratic hexahedron", 3, 20, HEXAHEDRON),
    CellType(26, "quadratic wedge", 3, 15, WEDGE),
    CellType(27, "quadratic pyramid", 3, 13, PYRAMID),
    CellType(28, "biquadratic quadrilateral", 2, 9, QUAD),
    CellType(29, "triquadratic hexahedron", 3, 27, HEXAHEDRON),
    CellType(30, "quadratic-linear quadrilateral", 2, 6, QUAD),
    CellType(31, "quadratic-linear wedge", 3, 12, WEDGE),
    CellType(32, "biquadratic-quadratic wedge", 3, 18, WEDGE),
    CellType(33, "biquadratic-quadratic hexahedron", 3, 24, HEXAHEDRON),
    CellType(34, "biquadratic triangle", 2, 7, TRIANGLE),
    CellType(35, "cubic line", 1, 4, LINE),
    CellType(36, "quadratic polygon", 2, 0, 0),
    CellType(37, "triquadratic pyramid", 3, 19, PYRAMID),
    CellType(42, "polyhedron", 3, 0, 0),
    CellType(68, "Lagrange line", 1, 0, LINE),
    CellType(69, "Lagrange triangle", 2, 0, TRIANGLE),
    CellType(70, "Lagrange quadrilateral", 2, 0, QUAD),
    CellType(71, "Lagrange tetrahedron", 3, 0, TETRA),
    CellType(72, "Lagrange hexahedron", 3, 0, HEXAHEDRON),
    CellType(73, "Lagrange wedge", 3, 0, WEDGE),
    CellType(75, "Bezier line", 1, 0, LINE),
    CellType(76, "Bezier triangle", 2, 0, TRIANGLE),
    CellType(77, "Bezier quadrilateral", 2, 0, QUAD),
    CellType(78, "Bezier tetrahedron", 3, 0, TETRA),
)

CELL_TYPES: dict[int, CellType] = {entry.code: entry for entry in _ALL}
"""VTK code -> cell type."""

_UNKNOWN_DIMENSION = -1


def cell_name(code: int) -> str:
    """Name of a cell type for messages."""
    entry = CELL_TYPES.get(int(code))
    return entry.name if entry else f"unknown cell type {int(code)}"


def dimensions(codes: np.ndarray) -> np.ndarray:
    """Topological dimension of every cell, int64 of shape (cells,); -1 where the code is not known."""
    table = np.full(256, _UNKNOWN_DIMENSION, dtype=np.int64)
    for code, entry in CELL_TYPES.items():
        table[code] = entry.dimension
    values = np.asarray(codes, dtype=np.int64)
    known = (values >= 0) & (values < table.size)
    return np.where(known, table[np.where(known, values, 0)], _UNKNOWN_DIMENSION)


def type_counts(codes: np.ndarray) -> str:
    """Which cell types there are and how many of each, for messages: `12 triangle, 3 quadrilateral`."""
    values, counts = np.unique(np.asarray(codes, dtype=np.int64), return_counts=True)
    return (
        ", ".join(f"{count} {cell_name(code)}" for code, count in zip(values, counts, strict=True)) or "none"
    )
