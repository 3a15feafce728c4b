"""One mesh of any cell types made canonical: linear triangles or tetrahedra, oriented, without flaws."""

from dataclasses import dataclass

import numpy as np

from kernels.errors import InputError
from kernels.mesh.cell_types import (
    CELL_TYPES,
    PIXEL,
    POLYGON,
    QUAD,
    TETRA,
    TRIANGLE,
    cell_name,
    dimensions,
    type_counts,
)
from kernels.mesh.check import check_mesh
from kernels.mesh.topology import as_mesh, cell_measures, orient, split_quads

LARGEST = 1e100
"""Numbers above this, or below its negative, are refused: their squares and products overflow."""

_PIXEL_ORDER = [0, 1, 3, 2]


@dataclass(frozen=True)
class MeshRules:
    """How to treat the meshes of a set: dimension of the cells, and what the config of `ingest` says."""

    dimension: int
    flatten: bool
    scale: float
    linearise: bool
    drop_unused: bool


@dataclass
class Mesh:
    """A canonical mesh: points (n, axes) in m, cells (m, k), the raw node and cell that each comes from,
    and counts.
    """

    points: np.ndarray
    cells: np.ndarray
    kept_nodes: np.ndarray
    cell_source: np.ndarray
    facets: np.ndarray
    facet_tags: np.ndarray
    split_cells: int
    flipped_cells: int
    dropped_cells: int
    dropped_nodes: int

    def to_nodes(self, values: np.ndarray) -> np.ndarray:
        """Nodal values (n,) of a cell field (m,): f_j = sum_c |c| f_c / sum_c |c| over the cells c around
        node j.
        """
        weight = np.repeat(np.abs(cell_measures(self.points, self.cells)), self.cells.shape[1])
        corner = self.cells.ravel()
        total = np.bincount(
            corner, weights=weight * np.repeat(values, self.cells.shape[1]), minlength=len(self.points)
        )
        return np.asarray(total / np.bincount(corner, weights=weight, minlength=len(self.points)))


def canonical_mesh(name: str, raw: dict[str, np.ndarray], rules: MeshRules) -> Mesh:
    """The canonical mesh of one raw sample (x, cell_type, cell_size, cell_node, facet_node, facet_tag).

    Raises InputError naming the sample, the value and the remedy for what cannot be mended.
    """
    what = f"sample {name!r}"
    points = np.asarray(raw["x"], np.float64) * rules.scale
    if rules.flatten:
        points = points[:, :2]
    largest = np.abs(points[np.isfinite(points)]).max(initial=0.0)
    if largest > LARGEST:
        raise InputError(
            f"{what} has a coordinate of {largest:.3g} m, expected at most {LARGEST:g}: repair the file"
        )
    cells, source, split, lower = _linear_cells(what, raw, points, rules)
    as_mesh(points, cells, what)
    kept = _kept_nodes(what, raw, cells, len(points), rules)
    number = np.full(len(points), -1, dtype=np.int64)
    number[kept] = np.arange(len(kept))
    points, cells = points[kept], number[cells].astype(np.int32)
    try:
        turned = orient(points, cells)
    except InputError as error:
        check_mesh(points, cells, what)
        raise InputError(f"{what}: {error}") from error
    check_mesh(points, turned, what)
    facets, tags = _facets(what, raw, number, rules.dimension)
    return Mesh(
        points=points,
        cells=turned,
        kept_nodes=kept,
        cell_source=source,
        facets=facets,
        facet_tags=tags,
        split_cells=split,
        flipped_cells=int(np.sum(np.any(turned != cells, axis=1))),
        dropped_cells=lower,
        dropped_nodes=len(number) - len(kept),
    )


def _linear_cells(
    what: str, raw: dict[str, np.ndarray], points: np.ndarray, rules: MeshRules
) -> tuple[np.ndarray, np.ndarray, int, int]:
    """Simplices (m, k), the raw cell of each, the number of quadrilaterals cut, and of lower cells left
    out.
    """
    codes = np.asarray(raw["cell_type"], np.int64)
    sizes = np.asarray(raw["cell_size"], np.int64)
    starts = np.concatenate(([0], np.cumsum(sizes)))[:-1].astype(np.int64)
    found = dimensions(codes)
    _refuse_dimension(what, codes, found, rules.dimension)
    top = np.flatnonzero(found == rules.dimension)
    linear = _linear_codes(what, codes[top], sizes[top], rules)
    nodes = np.asarray(raw["cell_node"], np.int64)

    def rows(code: int, corners: list[int]) -> tuple[np.ndarray, np.ndarray]:
        chosen = top[linear == code]
        return nodes[starts[chosen][:, None] + np.array(corners)], chosen

    lower = len(codes) - len(top)
    if rules.dimension == 3:
        cells, source = rows(TETRA, [0, 1, 2, 3])
        return cells, source, 0, lower
    triangles, triangle_source = rows(TRIANGLE, [0, 1, 2])
    quads, quad_source = rows(QUAD, [0, 1, 2, 3])
    pixels, pixel_source = rows(PIXEL, _PIXEL_ORDER)
    quads, quad_source = np.concatenate([quads, pixels]), np.concatenate([quad_source, pixel_source])
    if len(quads) == 0:
        return triangles, triangle_source, 0, lower
    as_mesh(points, quads[:, :3], what)
    as_mesh(points, quads[:, 1:], what)
    try:
        halves = split_quads(quads, points)
    except InputError as error:
        raise InputError(f"{what}: {error}") from error
    source = np.concatenate([triangle_source, np.repeat(quad_source, 2)])
    order = np.argsort(source, kind="stable")
    return np.concatenate([triangles, halves])[order], source[order], len(quads), lower


def _refuse_dimension(what: str, codes: np.ndarray, found: np.ndarray, dimension: int) -> None:
    if np.any(found < 0):
        bad = codes[found < 0]
        raise InputError(
            f"{what} has {bad.size} cells of VTK type {int(bad[0])}, which is not known: convert the mesh"
        )
    own = int(found.max(initial=-1))
    if dimension not in (2, 3) or own != dimension:
        expected = dimension if dimension in (2, 3) else "2 or 3"
        raise InputError(
            f"{what} has cells of dimension {own} ({type_counts(codes)}), expected dimension {expected}: "
            "give a mesh of triangles, quadrilaterals or tetrahedra, of one dimension in the whole set"
        )


def _linear_codes(what: str, codes: np.ndarray, sizes: np.ndarray, rules: MeshRules) -> np.ndarray:
    """VTK code of the linear type of each cell; InputError where it is none that is handled."""
    linear = codes.copy()
    for code in np.unique(codes):
        entry = CELL_TYPES[int(code)]
        if entry.linear not in (0, entry.code):
            if not rules.linearise:
                raise InputError(
                    f"{what} has {int(np.sum(codes == code))} {cell_name(code)} cells, expected linear "
                    f"ones: export linear "
                    "cells, or set quadratic = 'linearise', which keeps the corners and loses the values "
                    "at mid-side nodes"
                )
            linear[codes == code] = entry.linear
    linear[(codes == POLYGON) & (sizes == 3)] = TRIANGLE
    linear[(codes == POLYGON) & (sizes == 4)] = QUAD
    allowed = (TETRA,) if rules.dimension == 3 else (TRIANGLE, QUAD, PIXEL)
    wrong = ~np.isin(linear, allowed)
    if np.any(wrong):
        expected = "tetrahedra only" if rules.dimension == 3 else "triangles and quadrilaterals"
        raise InputError(
            f"{what} has cells that are not handled ({type_counts(codes[wrong])} among "
            f"{type_counts(codes)}), expected "
            f"{expected}: split them before the export (Triangulate or Tetrahedralize in ParaView)"
        )
    return linear


def _kept_nodes(
    what: str, raw: dict[str, np.ndarray], cells: np.ndarray, count: int, rules: MeshRules
) -> np.ndarray:
    """Numbers of the nodes that stay: without mid-side nodes, and without nodes of no cell where they are
    dropped.
    """
    used = np.zeros(count, dtype=bool)
    used[cells.ravel()] = True
    if rules.drop_unused:
        return np.flatnonzero(used)
    mentioned = np.zeros(count, dtype=bool)
    mentioned[np.asarray(raw["cell_node"], np.int64)] = True
    loose = np.flatnonzero(~mentioned)
    if loose.size:
        raise InputError(
            f"{what}: {loose.size} of {count} nodes belong to no cell, the first is node "
            f"{int(loose[0])}, expected every "
            "node in a cell: mend the mesh, or set unused_nodes = 'drop'"
        )
    if rules.linearise:
        return np.flatnonzero(used)
    lonely = np.flatnonzero(~used)
    if lonely.size:
        raise InputError(
            f"{what}: {lonely.size} nodes belong only to cells of lower dimension, the first is node "
            f"{int(lonely[0])}, "
            "expected every node in a cell: mend the mesh, or set unused_nodes = 'drop'"
        )
    return np.flatnonzero(used)


def _facets(
    what: str, raw: dict[str, np.ndarray], number: np.ndarray, dimension: int
) -> tuple[np.ndarray, np.ndarray]:
    """Facets (f, dimension) in the new node numbers and their tags; facets on dropped nodes go."""
    rows = np.asarray(raw["facet_node"], np.int64)
    tags = np.asarray(raw["facet_tag"], np.int32)
    if len(rows) == 0:
        return np.empty((0, dimension), np.int32), np.empty(0, np.int32)
    corners = np.sum(rows >= 0, axis=1)
    if rows.shape[1] < dimension or np.any(corners != dimension):
        bad = corners[corners != dimension]
        raise InputError(
            f"{what} has {bad.size} boundary facets of {int(bad[0]) if bad.size else rows.shape[1]} "
            f"nodes, expected "
            f"{dimension}: tag the edges of triangles or the faces of tetrahedra"
        )
    renumbered = number[rows[:, :dimension]]
    whole = np.all(renumbered >= 0, axis=1)
    return renumbered[whole].astype(np.int32), tags[whole]
