"""Files that the tests of the formats write."""

from pathlib import Path

import h5py
import numpy as np
import pyvista as pv

SQUARE = np.array(
    [[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [1.0, 1.0, 0.0], [0.0, 1.0, 0.0], [2.0, 0.0, 0.0], [2.0, 1.0, 0.0]]
)
"""Six nodes of two unit squares side by side."""


def grid(points: np.ndarray, cells: list[tuple[int, list[int]]]) -> pv.UnstructuredGrid:
    """A grid of (VTK code, nodes) cells."""
    flat = [value for _, nodes in cells for value in (len(nodes), *nodes)]
    return pv.UnstructuredGrid(
        np.array(flat), np.array([code for code, _ in cells], np.uint8), np.array(points, float)
    )


def two_triangles_and_a_quad() -> pv.UnstructuredGrid:
    """The first square as two triangles, the second as a quadrilateral, with fields of every kind."""
    mesh = grid(SQUARE, [(5, [0, 1, 2]), (5, [0, 2, 3]), (9, [1, 4, 5, 2])])
    mesh.point_data["T"] = np.arange(6.0)
    mesh.point_data["U"] = np.stack([np.arange(6.0), -np.arange(6.0), np.zeros(6)], axis=1)
    mesh.cell_data["q"] = np.array([1.0, 2.0, 3.0])
    mesh.field_data["drag"] = np.array([0.25])
    return mesh


def node(parent: h5py.Group, name: str, label: str, data: object = None) -> h5py.Group:
    """A CGNS node."""
    group = parent.create_group(name, track_order=True)
    group.attrs["name"], group.attrs["label"] = np.bytes_(name), np.bytes_(label)
    if isinstance(data, str):
        data = np.frombuffer(data.encode(), np.int8)
    if data is not None:
        group.create_dataset(" data", data=np.asarray(data))
    return group


def section(
    zone: h5py.Group, name: str, code: int, first: int, count: int, connectivity: object, kind: type
) -> None:
    """An Elements_t node."""
    group = node(zone, name, "Elements_t", np.array([code, 0], np.int32))
    node(group, "ElementRange", "IndexRange_t", np.array([first, first + count - 1], kind))
    node(group, "ElementConnectivity", "DataArray_t", np.array(connectivity, kind))


def write_cgns(
    path: Path, kind: type = np.int32, mixed: bool = False, zones: int = 1, zone_type: str = "Unstructured"
) -> Path:
    """Two squares as quadrilaterals with edges, two boundary conditions, nodal and cell fields, a global
    number.
    """
    with h5py.File(path, "w", track_order=True) as file:
        node(file, "CGNSLibraryVersion", "CGNSLibraryVersion_t", np.array([4.0], np.float32))
        base = node(file, "Base", "CGNSBase_t", np.array([2, 2], np.int32))
        node(base, "Walls", "Family_t")
        for number in range(zones):
            zone = node(base, f"Zone{number or ''}", "Zone_t", np.array([[6], [2], [0]], kind))
            node(zone, "ZoneType", "ZoneType_t", zone_type)
            grid_node = node(zone, "GridCoordinates", "GridCoordinates_t")
            for axis, values in zip("XY", SQUARE.T[:2], strict=True):
                node(grid_node, f"Coordinate{axis}", "DataArray_t", values)
            _sections(zone, kind, mixed)
            _solutions(zone)
            _conditions(zone, kind)
        extra = node(file, "Global", "CGNSBase_t", np.array([1, 1], np.int32))
        node(extra, "angle_in", "DataArray_t", np.array([12.5]))
        node(extra, "power", "DataArray_t", np.array([3.0]))
        node(extra, "history", "DataArray_t", np.array([1.0, 2.0]))
    return path


def _sections(zone: h5py.Group, kind: type, mixed: bool) -> None:
    if mixed:
        section(zone, "Mixed", 20, 1, 2, [7, 1, 2, 3, 4, 7, 2, 5, 6, 3], kind)
    else:
        section(zone, "Quads", 7, 1, 2, [1, 2, 3, 4, 2, 5, 6, 3], kind)
    section(zone, "Lower", 3, 3, 2, [1, 2, 2, 5], kind)
    section(zone, "Right", 3, 5, 1, [5, 6], kind)


def _solutions(zone: h5py.Group) -> None:
    nodal = node(zone, "VertexFields", "FlowSolution_t")
    node(nodal, "GridLocation", "GridLocation_t", "Vertex")
    pressure = node(nodal, "pressure", "DataArray_t", np.arange(6, dtype=np.float32))
    node(pressure, "DimensionalExponents", "DimensionalExponents_t", np.array([1.0, -1.0, -2.0, 0.0, 0.0]))
    names = "".join(name.ljust(32) for name in ("Kilogram", "Meter", "Second", "Kelvin", "Radian"))
    node(pressure, "DimensionalUnits", "DimensionalUnits_t", names)
    cells = node(zone, "CellFields", "FlowSolution_t")
    node(cells, "GridLocation", "GridLocation_t", "CellCenter")
    node(cells, "q", "DataArray_t", np.array([10.0, 20.0]))


def _conditions(zone: h5py.Group, kind: type) -> None:
    conditions = node(zone, "ZoneBC", "ZoneBC_t")
    lower = node(conditions, "BC1", "BC_t", "FamilySpecified")
    node(lower, "FamilyName", "FamilyName_t", "Walls")
    node(lower, "GridLocation", "GridLocation_t", "EdgeCenter")
    node(lower, "PointRange", "IndexRange_t", np.array([[3, 4]], kind))
    left = node(conditions, "Left", "BC_t", "BCInflow")
    node(left, "PointList", "IndexArray_t", np.array([[1, 4]], kind))


SU2_SQUARE = """%% two squares
ndime = 2
NELEM=3
5 0 1 2 0
5 0 2 3
9 1 4 5 2 2   % a quad
NPOIN= 6 6
0.0 0.0 0
1.0 0.0
1.0D0 1.0 2
0.0 1.0 3

2.0 0.0 4
2.0e-000 1.0 5
Nmark = 2
MARKER_TAG=  lower wall
MARKER_ELEMS = 2
3 0 1
3 1 4 1
MARKER_TAG= right
MARKER_ELEMS= 1
3 4 5
"""

SU2_TET = """NDIME= 3
NPOIN= 4
0 0 0 0
1 0 0 1
0 1 0 2
0 0 1 3
NELEM= 1
10 0 1 2 3 0
NMARK= 1
MARKER_TAG= skin
MARKER_ELEMS= 2
5 0 2 1
5 0 1 3
"""
