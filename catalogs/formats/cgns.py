"""CGNS files (HDF5): one unstructured zone with its element sections, solutions, boundary conditions and
globals.
"""

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import h5py
import numpy as np

from catalogs.formats.cgns_tree import Node, unit_names
from catalogs.formats.facets import boundary_sides, sides_of_nodes
from catalogs.formats.sample import MeshSample, existing_file, listed, safe_name, split_unit
from kernels.errors import InputError
from kernels.mesh.cell_types import CELL_TYPES

_VTK_OF_CGNS = {
    2: 1, 3: 3, 4: 21, 5: 5, 6: 22, 7: 9, 8: 23, 9: 28, 10: 10, 11: 24,
    12: 14, 13: 37, 14: 13, 15: 26, 16: 32, 17: 12, 18: 25, 19: 29, 21: 27,
}  # fmt: skip
"""CGNS ElementType_t -> VTK code; the corner nodes come first, in the same order, in both."""

_MIXED, _NGON, _NFACE = 20, 22, 23
_AXES = ("CoordinateX", "CoordinateY", "CoordinateZ")
_LENGTHS = {"Meter": 1.0, "Centimeter": 1e-2, "Millimeter": 1e-3, "Foot": 0.3048, "Inch": 0.0254}
_FACE_LOCATIONS = ("FaceCenter", "EdgeCenter", "IFaceCenter", "JFaceCenter", "KFaceCenter")


@dataclass
class _Elements:
    """All elements of a zone in the order of their numbers, and the section that each comes from."""

    number: np.ndarray
    kind: np.ndarray
    size: np.ndarray
    node: np.ndarray
    section: np.ndarray
    names: list[str]

    def starts(self) -> np.ndarray:
        return np.concatenate(([0], np.cumsum(self.size, dtype=np.int64)))[:-1]


def read_cgns(path: Path, name: str, base: str | None = None) -> MeshSample:
    """The sample of a CGNS file by the SIDS layout.

    Elements of the largest dimension are cells; sections one dimension below become facets, tagged by the
    boundary condition (its family where it names one) or else by the section. FlowSolution arrays at Vertex
    are nodal fields, at CellCenter cell fields. One-valued arrays of a base without zones (as in PLAID) are
    scalars. `base` chooses among several bases; without it the one of the largest cell dimension is taken.
    Raises InputError naming the file where it is damaged, has several zones, a structured zone, or
    NGON/NFACE elements. Not handled: ADF files, rind cells, face-centred solutions (skipped with a note).
    """
    try:
        with h5py.File(existing_file(path), "r") as file:
            return _Reader(path, name, base).read(Node(file, path))
    except InputError:
        raise
    except (OSError, LookupError, RuntimeError, ArithmeticError, ValueError, TypeError, MemoryError) as error:
        raise InputError(
            f"{path} cannot be read as CGNS/HDF5 ({' '.join(str(error).split())[:200]}): it is "
            f"truncated, or of the old "
            "ADF format, which the tool adf2hdf converts"
        ) from error


class _Reader:
    """State of the reading of one file."""

    def __init__(self, path: Path, name: str, base: str | None) -> None:
        self.path, self.name, self.wanted = path, name, base
        self.notes: list[str] = []
        self.units: list[str] = []

    def fail(self, message: str) -> InputError:
        return InputError(f"{self.path}: {message}")

    def read(self, root: Node) -> MeshSample:
        bases = list(root.children("CGNSBase_t"))
        if not bases and len(list(root.children())):
            raise self.fail(
                "no group is labelled as a CGNS base, expected the CGNS layout of HDF5 (some converters, "
                "such as meshio, leave the labels out): export the mesh as VTU"
            )
        base, zone = self._zone(bases)
        self._refuse_steps(base)
        self.units = unit_names(zone) or unit_names(base)
        points = self._points(zone)
        elements = self._elements(zone)
        kinds = np.array([CELL_TYPES[int(code)].dimension for code in elements.kind], dtype=np.int64)
        top = int(kinds.max(initial=-1))
        cells = kinds == top
        sample = MeshSample(
            name=self.name,
            source=self.path,
            points=points,
            cell_type=elements.kind[cells].astype(np.int32),
            cell_size=elements.size[cells],
            cell_node=elements.node[np.repeat(cells, elements.size)],
        ).checked()
        self._solutions(zone, sample)
        self._boundaries(zone, sample, elements, kinds, top)
        for other in bases:
            if other.first("Zone_t") is None:
                self._globals(other, sample)
        sample.notes += [f"{self.name}: {note}" for note in self.notes]
        return sample.checked()

    def _zone(self, bases: list[Node]) -> tuple[Node, Node]:
        meshed = [base for base in bases if base.first("Zone_t") is not None]
        if self.wanted is not None:
            meshed = [base for base in meshed if base.name == self.wanted]
        if not meshed:
            wanted = f" named {self.wanted!r}" if self.wanted else ""
            raise self.fail(
                f"no base{wanted} with a zone, expected one among {listed(b.name for b in bases) or 'none'}: "
                "export the mesh"
            )
        rank = [int(base.integers()[0]) for base in meshed]
        best = [base for base, dimension in zip(meshed, rank, strict=True) if dimension == max(rank)]
        if len(best) > 1:
            raise self.fail(
                f"the bases {listed(b.name for b in best)} all hold a mesh, expected one: set base"
            )
        if len(meshed) > 1:
            self.notes.append(f"took base {best[0].name!r} of {listed(b.name for b in meshed)}")
        zones = list(best[0].children("Zone_t"))
        if len(zones) > 1:
            raise self.fail(
                f"{len(zones)} zones ({listed(z.name for z in zones)}), expected one: join them before "
                f"the export"
            )
        kind = zones[0].child("ZoneType")
        if kind is not None and kind.text() != "Unstructured":
            raise self.fail(
                f"zone {zones[0].name!r} is {kind.text()}, expected Unstructured: convert it to an "
                f"unstructured zone"
            )
        return best[0], zones[0]

    def _refuse_steps(self, base: Node) -> None:
        iteration = base.first("BaseIterativeData_t")
        if iteration is None or iteration.data() is None:
            return
        steps = int(iteration.integers()[0])
        if steps > 1:
            raise self.fail(
                f"base {base.name!r} holds {steps} time steps, expected one state: write the step to use to "
                "a file of its own"
            )

    def _points(self, zone: Node) -> np.ndarray:
        grid = zone.child("GridCoordinates") or zone.first("GridCoordinates_t")
        if grid is None:
            raise self.fail(f"zone {zone.name!r} has no GridCoordinates: export the mesh")
        arrays = [(axis, grid.child(axis)) for axis in _AXES]
        columns = [(axis, node.data()) for axis, node in arrays if node is not None]
        if len(columns) < 2 or [axis for axis, _ in columns] != list(_AXES[: len(columns)]):
            found = listed(child.name for child in grid.children("DataArray_t"))
            raise self.fail(
                f"coordinates {found or 'none'}, expected CoordinateX, CoordinateY (and CoordinateZ)"
            )
        nodes = int(zone.integers()[0])
        for axis, values in columns:
            if values is None or values.size != nodes:
                count = 0 if values is None else values.size
                raise self.fail(
                    f"{axis} has {count} values, expected {nodes}, one a node: write the file again"
                )
        points = np.stack([np.asarray(values, np.float64).ravel() for _, values in columns], axis=1)
        return points * self._metres(grid)

    def _metres(self, grid: Node) -> float:
        """Length of the unit of the coordinates, in metres; 1 where the file does not say."""
        array = grid.child(_AXES[0])
        names = (unit_names(array) if array is not None else []) or unit_names(grid) or self.units
        unit = names[1] if len(names) > 1 else ""
        if _LENGTHS.get(unit, 1.0) != 1.0:
            self.notes.append(f"converted coordinates from {unit} to m")
        return _LENGTHS.get(unit, 1.0)

    def _elements(self, zone: Node) -> _Elements:
        parts = []
        for section in zone.children("Elements_t"):
            code = int(section.integers()[0])
            if code in (_NGON, _NFACE):
                raise self.fail(
                    f"section {section.name!r} holds polygons or polyhedra (NGON_n, NFACE_n), expected "
                    f"triangles, "
                    "quadrilaterals or tetrahedra: convert the mesh to these"
                )
            if code != _MIXED and code not in _VTK_OF_CGNS:
                raise self.fail(
                    f"section {section.name!r} has element type {code}, which is not supported: convert it"
                )
            limits, entries = section.child("ElementRange"), section.child("ElementConnectivity")
            if limits is None or entries is None:
                raise self.fail(
                    f"section {section.name!r} has no ElementRange or ElementConnectivity: write it again"
                )
            first, last = (int(v) for v in limits.integers()[:2])
            parts.append(
                (
                    first,
                    section.name,
                    *self._section(section.name, code, last - first + 1, entries.integers()),
                )
            )
        if not parts:
            raise self.fail(f"zone {zone.name!r} has no elements: export the mesh with its connectivity")
        parts.sort(key=lambda part: part[0])
        for one, other in pairwise(parts):
            if one[0] + len(one[2]) > other[0]:
                raise self.fail(
                    f"the sections {one[1]!r} and {other[1]!r} both number element {other[0]}, expected "
                    "every number once: write the file again"
                )
        return _Elements(
            number=np.concatenate([part[0] + np.arange(len(part[2])) for part in parts]),
            kind=np.concatenate([part[2] for part in parts]),
            size=np.concatenate([part[3] for part in parts]),
            node=np.concatenate([part[4] for part in parts]) - 1,
            section=np.concatenate([np.full(len(part[2]), i) for i, part in enumerate(parts)]),
            names=[part[1] for part in parts],
        )

    def _section(
        self, name: str, code: int, count: int, entries: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        if code == _MIXED:
            return self._mixed(name, count, entries)
        kind = _VTK_OF_CGNS[code]
        nodes = CELL_TYPES[kind].nodes
        if entries.size != count * nodes:
            raise self.fail(
                f"section {name!r} has {entries.size} connectivity entries, its {count} elements need "
                f"{count * nodes}: "
                "write the file again"
            )
        return np.full(count, kind, np.int64), np.full(count, nodes, np.int64), entries

    def _mixed(self, name: str, count: int, entries: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        if not 0 <= count <= entries.size:
            raise self.fail(
                f"section {name!r} has {entries.size} connectivity entries, too few for its {count} elements"
                ": write the file again"
            )
        kinds, keep, at = np.empty(count, np.int64), np.ones(entries.size, bool), 0
        for i in range(count):
            code = int(entries[at]) if at < entries.size else -1
            if code not in _VTK_OF_CGNS:
                raise self.fail(
                    f"section {name!r}: element {i + 1} has type {code}, which is not supported: convert it"
                )
            kinds[i] = _VTK_OF_CGNS[code]
            keep[at] = False
            at += 1 + CELL_TYPES[int(kinds[i])].nodes
        if at != entries.size:
            raise self.fail(
                f"section {name!r} has {entries.size} connectivity entries, its {count} elements need {at}: "
                "write the file again"
            )
        return kinds, np.array([CELL_TYPES[int(kind)].nodes for kind in kinds], np.int64), entries[keep]

    def _solutions(self, zone: Node, sample: MeshSample) -> None:
        for solution in zone.children("FlowSolution_t"):
            located = solution.child("GridLocation")
            place = located.text() if located is not None else "Vertex"
            names = unit_names(solution) or self.units
            for array in solution.children("DataArray_t"):
                values = array.data()
                if values is None or values.dtype.kind not in "fiu" or place not in ("Vertex", "CellCenter"):
                    self.notes.append(f"skipped {solution.name}/{array.name} at {place}")
                    continue
                label, unit = split_unit(array.name)
                label = safe_name(label)
                unit = array.unit(names) or unit
                target = sample.node_fields if place == "Vertex" else sample.cell_fields
                if label in sample.node_fields or label in sample.cell_fields:
                    label = f"{label}_{safe_name(solution.name)}"
                target[label] = values.ravel().astype(np.float64)
                if unit is not None:
                    sample.units[label] = unit

    def _globals(self, base: Node, sample: MeshSample) -> None:
        for array in base.children("DataArray_t"):
            values = array.data()
            if values is None or values.dtype.kind not in "fiu" or values.size != 1:
                self.notes.append(f"skipped {base.name}/{array.name}, which is no single number")
                continue
            label, unit = split_unit(array.name)
            unit = array.unit(unit_names(base)) or unit
            sample.scalars[safe_name(label)] = float(values.ravel()[0])
            if unit is not None:
                sample.units[safe_name(label)] = unit

    def _boundaries(
        self, zone: Node, sample: MeshSample, elements: _Elements, kinds: np.ndarray, top: int
    ) -> None:
        lower = kinds == top - 1
        used = np.zeros(len(kinds), dtype=bool)
        outer: np.ndarray | None = None
        largest = max(int(elements.number.max(initial=0)), len(sample.points))
        for group in zone.children("ZoneBC_t"):
            for condition in group.children("BC_t"):
                tag, place, numbers = self._condition(condition, largest)
                if place == "Vertex":
                    outer = boundary_sides(sample) if outer is None else outer
                    inside = numbers[(numbers >= 1) & (numbers <= len(sample.points))]
                    rows = sides_of_nodes(outer, inside - 1, len(sample.points))
                    if len(rows) == 0:
                        self.notes.append(
                            f"boundary {tag!r} of {numbers.size} nodes holds no facet and is left out"
                        )
                    sample.facets.append((tag, rows))
                    continue
                chosen = lower & np.isin(elements.number, numbers)
                if not chosen.any():
                    self.notes.append(f"boundary {tag!r} names no element of the boundary and is left out")
                used |= chosen
                sample.facets += [(tag, rows) for rows in self._rows(elements, chosen, top)]
        for index, section in enumerate(elements.names):
            chosen = lower & ~used & (elements.section == index)
            sample.facets += [(section, rows) for rows in self._rows(elements, chosen, top)]
        if np.any((kinds < top - 1) & (kinds >= 0)):
            self.notes.append(f"left out {int(np.sum(kinds < top - 1))} elements of lower dimension")

    def _rows(self, elements: _Elements, chosen: np.ndarray, top: int) -> list[np.ndarray]:
        starts, found = elements.starts(), []
        for kind in np.unique(elements.kind[chosen]):
            corners = CELL_TYPES[CELL_TYPES[int(kind)].linear].nodes if top > 1 else 1
            first = starts[chosen & (elements.kind == kind)]
            found.append(elements.node[first[:, None] + np.arange(corners)])
        return found

    def _condition(self, condition: Node, largest: int) -> tuple[str, str, np.ndarray]:
        """Tag, location and 1-based node or element numbers of one boundary condition."""
        family = condition.first("FamilyName_t")
        tag = "_".join(((family.text() if family is not None else "") or condition.name).split())
        located = condition.child("GridLocation")
        place = located.text() if located is not None else "Vertex"
        for key in ("PointList", "PointRange", "ElementList", "ElementRange"):
            node = condition.child(key)
            if node is None:
                continue
            numbers = node.integers()
            if key.endswith("Range"):
                if not 1 <= numbers[0] <= numbers[-1] <= max(largest, 1):
                    raise self.fail(
                        f"boundary {tag!r} has the range {int(numbers[0])} to {int(numbers[-1])}, expected "
                        f"numbers from 1 to at most {largest}: write the file again"
                    )
                numbers = np.arange(numbers[0], numbers[-1] + 1)
            if key.startswith("Element"):
                place = "FaceCenter"
            if place != "Vertex" and place not in (*_FACE_LOCATIONS, "CellCenter"):
                raise self.fail(
                    f"boundary {tag!r} is located at {place!r}, expected Vertex or FaceCenter: convert it"
                )
            return tag, place, numbers
        return tag, place, np.empty(0, np.int64)
