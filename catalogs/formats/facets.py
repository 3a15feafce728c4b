"""Boundary facets of meshes of mixed cells: edges of faces, faces of tetrahedra, and those that a set of
nodes selects.
"""

import numpy as np

from catalogs.formats.sample import MeshSample
from kernels.mesh.cell_types import CELL_TYPES, POLYGON, QUAD, TETRA, TRIANGLE, dimensions

_SIDES = {
    TRIANGLE: ((0, 1), (1, 2), (2, 0)),
    QUAD: ((0, 1), (1, 2), (2, 3), (3, 0)),
    8: ((0, 1), (1, 3), (3, 2), (2, 0)),
    TETRA: ((0, 2, 1), (0, 1, 3), (1, 2, 3), (0, 3, 2)),
}
"""Corners of each side, outward for tetrahedra, for the linear types whose sides have one shape."""


def cell_sides(sample: MeshSample) -> np.ndarray:
    """Sides of all cells of the largest dimension: (sides, corners) node numbers, corner nodes of the
    linear cell only.

    Not handled: hexahedra, wedges, pyramids and cells without a fixed number of corners, which give no
    sides; polygons of three or four nodes count as triangles and quadrilaterals.
    """
    dimension = sample.dimension
    starts = sample.offsets()[:-1]
    codes = linear_codes(sample.cell_type, sample.cell_size)
    sides = [np.empty((0, dimension), np.int64)]
    for code, corners in _SIDES.items():
        if CELL_TYPES[code].dimension != dimension:
            continue
        first = starts[codes == code]
        sides += [sample.cell_node[first[:, None] + np.array(side)] for side in corners]
    return np.concatenate(sides)


def has_sides(sample: MeshSample) -> bool:
    """Whether `cell_sides` gives the sides of every cell, all with as many corners as the mesh has
    dimensions.
    """
    return bool(np.all(np.isin(linear_codes(sample.cell_type, sample.cell_size), tuple(_SIDES))))


def linear_codes(cell_type: np.ndarray, cell_size: np.ndarray) -> np.ndarray:
    """VTK code of the linear cell that the corners make; 0 where there is none."""
    codes = np.zeros(len(cell_type), dtype=np.int64)
    for code in np.unique(cell_type):
        entry = CELL_TYPES.get(int(code))
        codes[cell_type == code] = entry.linear if entry else 0
    codes[(cell_type == POLYGON) & (cell_size == 3)] = TRIANGLE
    codes[(cell_type == POLYGON) & (cell_size == 4)] = QUAD
    return codes


def boundary_sides(sample: MeshSample) -> np.ndarray:
    """Sides that belong to one cell only: (sides, corners) node numbers in the orientation of that cell."""
    sides = cell_sides(sample)
    if len(sides) == 0:
        return sides
    _, first, counts = np.unique(np.sort(sides, axis=1), axis=0, return_index=True, return_counts=True)
    return sides[np.sort(first[counts == 1])]


def sides_of_nodes(sides: np.ndarray, nodes: np.ndarray, node_count: int) -> np.ndarray:
    """The sides whose every corner is among the nodes."""
    member = np.zeros(node_count, dtype=bool)
    member[nodes] = True
    return sides[member[sides].all(axis=1)] if len(sides) else sides


def lift_lower_cells(
    sample: MeshSample, tags: np.ndarray | None = None, label: str = "boundary"
) -> MeshSample:
    """Move cells one dimension below the largest to the facets, and drop cells below that, with a note of
    the counts.

    tags: (cells,) integers that name the facets `label_<value>`; without them all are called `label`. Cell
    fields keep the values of the remaining cells. A lower cell that is no side of any cell is dropped.
    """
    found = dimensions(sample.cell_type)
    top = sample.dimension
    if top < 2 or np.all((found == top) | (found < 0)):
        return sample
    starts = sample.offsets()[:-1]
    corners = np.where(linear_codes(sample.cell_type, sample.cell_size) > 0, top, 0)
    lower = (
        (found == top - 1)
        & (corners > 0)
        & (linear_codes(sample.cell_type, sample.cell_size) == (3 if top == 2 else 5))
    )
    rows = sample.cell_node[starts[lower][:, None] + np.arange(top)]
    is_side = among_sides(rows, cell_sides(sample))
    values = (
        np.zeros(int(lower.sum()), np.int64) if tags is None else np.asarray(tags)[lower].astype(np.int64)
    )
    for value in np.unique(values[is_side]):
        name = label if tags is None else f"{label}_{value}"
        sample.facets.append((name, rows[is_side & (values == value)]))
    dropped = int(np.sum((found < top) & (found >= 0))) - int(is_side.sum())
    if dropped:
        sample.notes.append(f"{sample.name}: dropped {dropped} cells of lower dimension that bound no cell")
    keep = (found == top) | (found < 0)
    sample.cell_node = sample.cell_node[np.repeat(keep, sample.cell_size)]
    sample.cell_type, sample.cell_size = sample.cell_type[keep], sample.cell_size[keep]
    sample.cell_fields = {name: field[keep] for name, field in sample.cell_fields.items()}
    return sample


def among_sides(rows: np.ndarray, sides: np.ndarray) -> np.ndarray:
    """Whether each row (rows, corners) is one of the sides, whatever the order of its nodes: bool (rows,)."""
    if len(rows) == 0 or len(sides) == 0:
        return np.zeros(len(rows), dtype=bool)
    joined = np.sort(np.concatenate([sides, rows]), axis=1)
    _, inverse = np.unique(joined, axis=0, return_inverse=True)
    inverse = inverse.ravel()
    return np.isin(inverse[len(sides) :], inverse[: len(sides)])
