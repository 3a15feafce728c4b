"""SU2 meshes: the native text format, with boundary markers, and a solution CSV beside it."""

import codecs
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from catalogs.formats.facets import among_sides, cell_sides, has_sides, lift_lower_cells
from catalogs.formats.sample import MeshSample, existing_file, listed
from catalogs.formats.solution import add_solution
from kernels.errors import InputError
from kernels.mesh.cell_types import CELL_TYPES

_KEYWORD = re.compile(r"^([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*)$")
_SEND_RECEIVE = "SEND_RECEIVE"


class _Lines:
    """Lines without comments and blanks, with the number of the last one for messages."""

    def __init__(self, path: Path, text: str) -> None:
        self.path = path
        self.number = 0
        lines = text.splitlines()
        self.count = len(lines)
        self._lines = enumerate(lines, start=1)

    def __iter__(self) -> Iterator[str]:
        for number, line in self._lines:
            self.number = number
            content = line.split("%", 1)[0].strip()
            if content:
                yield content

    def block(self, count: int, what: str) -> Iterator[list[str]]:
        """The next `count` lines as words; InputError where the block ends early."""
        if count > self.count - self.number:
            raise InputError(
                f"{self.path}: {what} ends after {self.count - self.number} lines (line {self.number}), "
                f"expected {count}: the file is truncated, write it again"
            )
        stream = iter(self)
        for done in range(count):
            line = next(stream, None)
            if line is None or "=" in line:
                raise InputError(
                    f"{self.path}: {what} ends after {done} lines (line {self.number}), expected {count}: "
                    "the file is truncated, write it again"
                )
            yield line.split()

    def fail(self, message: str) -> InputError:
        """The error for the current line."""
        return InputError(f"{self.path}, line {self.number}: {message}")


class _Mesh:
    """What has been read so far."""

    def __init__(self) -> None:
        self.dimension: int | None = None
        self.points: np.ndarray | None = None
        self.cells: tuple[list[int], list[int], list[int]] | None = None
        self.tag = ""
        self.markers: int | None = None
        self.tags = 0
        self.facets: list[tuple[str, np.ndarray]] = []
        self.notes: list[str] = []


def read_su2(path: Path, name: str, solution: Path | None = None) -> MeshSample:
    """The sample of a SU2 mesh file: cells of mixed type, markers as facets, and the columns of a solution
    CSV.

    solution: the CSV; without it `<mesh>.csv` in the same folder is taken where it exists. Comments,
    blanks, upper and lower case, a second number after NPOIN and missing trailing numbers are allowed; node
    and cell numbers are the order in the file, as in SU2. Raises InputError naming file and line. Not
    handled: several zones, FFD boxes and periodic sections (skipped), communication markers (skipped).
    """
    try:
        text = existing_file(path).read_bytes().removeprefix(codecs.BOM_UTF8).decode("latin-1")
    except OSError as error:
        raise InputError(
            f"{path} cannot be read as SU2 text ({error}): expected the native ASCII format"
        ) from error
    mesh = _parse(_Lines(path, text))
    missing = [
        key
        for key, value in (("NDIME", mesh.dimension), ("NPOIN", mesh.points), ("NELEM", mesh.cells))
        if value is None
    ]
    if missing or mesh.points is None or mesh.cells is None:
        raise InputError(f"{path} has no {listed(missing)}: it is truncated or no SU2 mesh; write it again")
    kinds, sizes, nodes = mesh.cells
    sample = MeshSample(
        name=name,
        source=path,
        points=mesh.points,
        cell_type=np.array(kinds, dtype=np.int32),
        cell_size=np.array(sizes, dtype=np.int64),
        cell_node=np.array(nodes, dtype=np.int64),
        facets=mesh.facets,
        notes=[f"{name}: {note}" for note in mesh.notes],
    ).checked()
    _check_markers(sample, mesh)
    sample = lift_lower_cells(sample)
    table = solution if solution is not None else _beside(path)
    return sample if table is None else add_solution(sample, table)


def _check_markers(sample: MeshSample, mesh: _Mesh) -> None:
    """InputError where markers are missing or name facets that bound no cell: the file ended early or was
    mixed up.
    """
    if mesh.markers is not None and mesh.markers != mesh.tags:
        raise InputError(
            f"{sample.source} has {mesh.tags} markers, expected NMARK = {mesh.markers}: the file is "
            f"truncated, write it "
            "again"
        )
    if not has_sides(sample):
        return
    sides = cell_sides(sample)
    for tag, rows in sample.facets:
        wrong = np.flatnonzero(~among_sides(rows, sides))
        if wrong.size:
            raise InputError(
                f"{sample.source}: marker {tag!r} has {wrong.size} elements that bound no cell, the "
                f"first with nodes "
                f"{rows[wrong[0]].tolist()}: the file is truncated or damaged, write it again"
            )


def _beside(path: Path) -> Path | None:
    table = path.with_suffix(".csv")
    return table if table.is_file() else None


def solution_beside(path: Path) -> Path | None:
    """The CSV that would be read with this mesh when no other is named, or None."""
    return _beside(path)


def _parse(lines: _Lines) -> _Mesh:
    mesh = _Mesh()
    for line in lines:
        match = _KEYWORD.match(line)
        if match is None:
            continue
        key, value = match[1].upper(), match[2].strip()
        if key in ("NZONE", "IZONE"):
            if key == "NZONE" and _integer(lines, key, value) != 1:
                raise lines.fail(
                    f"the file has NZONE = {value} zones, expected one: write one file for each zone"
                )
        elif key == "NDIME":
            mesh.dimension = _integer(lines, key, value)
            if mesh.dimension not in (2, 3):
                raise lines.fail(f"NDIME is {value}, expected 2 or 3")
        elif key == "NPOIN":
            mesh.points = _points(lines, _integer(lines, key, value), mesh.dimension)
        elif key == "NELEM":
            mesh.cells = _elements(lines, _integer(lines, key, value), "NELEM")
        elif key == "NMARK":
            mesh.markers = _integer(lines, key, value)
        elif key == "MARKER_TAG":
            mesh.tag = "_".join(value.split())
        elif key == "MARKER_ELEMS":
            mesh.tags += 1
            _marker(lines, _integer(lines, key, value), mesh)
    return mesh


def _integer(lines: _Lines, key: str, value: str) -> int:
    try:
        number = int(value.split()[0])
    except (ValueError, IndexError):
        raise lines.fail(f"{key} is {value!r}, expected a whole number: write the file again") from None
    if number < 0:
        raise lines.fail(f"{key} is {number}, expected a number that is not negative: write the file again")
    return number


def _points(lines: _Lines, count: int, dimension: int | None) -> np.ndarray:
    if dimension is None:
        raise lines.fail("NPOIN comes before NDIME, expected NDIME first: move it to the top of the file")
    points: list[list[float]] = []
    for words in lines.block(count, "NPOIN"):
        try:
            if len(words) < dimension:
                raise ValueError
            points.append([float(word.replace("D", "E").replace("d", "e")) for word in words[:dimension]])
        except ValueError:
            raise lines.fail(
                f"{' '.join(words)!r} is no position of {dimension} numbers: write the file again"
            ) from None
    return np.array(points, dtype=np.float64).reshape(-1, dimension)


def _elements(lines: _Lines, count: int, what: str) -> tuple[list[int], list[int], list[int]]:
    kinds: list[int] = []
    sizes: list[int] = []
    nodes: list[int] = []
    for words in lines.block(count, what):
        try:
            code = int(words[0])
            entry = CELL_TYPES[code]
            corners = [_node(word) for word in words[1 : 1 + entry.nodes]]
        except (ValueError, KeyError):
            raise lines.fail(
                f"{' '.join(words)!r} is no cell (VTK type, then nodes): write the file again"
            ) from None
        if entry.nodes == 0:
            raise lines.fail(
                f"{' '.join(words)!r} is a {entry.name}, which SU2 files do not have: split it into triangles"
            )
        if len(corners) != entry.nodes:
            raise lines.fail(
                f"{' '.join(words)!r} is no {entry.name} of {entry.nodes} nodes: write the file again"
            )
        kinds.append(code)
        sizes.append(entry.nodes)
        nodes.extend(corners)
    return kinds, sizes, nodes


def _node(word: str) -> int:
    number = int(word)
    if abs(number) > np.iinfo(np.int32).max:
        raise ValueError
    return number


def _marker(lines: _Lines, count: int, mesh: _Mesh) -> None:
    if mesh.tag.upper() == _SEND_RECEIVE:
        for _ in range(count):
            next(iter(lines), None)
        return
    kinds, sizes, nodes = _elements(lines, count, f"marker {mesh.tag!r}")
    starts = np.concatenate(([0], np.cumsum(sizes, dtype=np.int64)))[:-1].astype(np.int64)
    entries = np.array(nodes, dtype=np.int64)
    for code in sorted(set(kinds)):
        entry = CELL_TYPES[code]
        chosen = np.array(kinds) == code
        if entry.dimension != (mesh.dimension or 0) - 1:
            mesh.notes.append(f"skipped {int(chosen.sum())} {entry.name} elements of marker {mesh.tag!r}")
            continue
        corners = CELL_TYPES[entry.linear].nodes
        mesh.facets.append((mesh.tag, entries[starts[chosen][:, None] + np.arange(corners)]))
