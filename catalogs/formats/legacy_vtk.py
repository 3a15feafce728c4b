"""A check of legacy VTK text files, whose reader takes an array that ends early for a whole one."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kernels.errors import InputError

# the type is spelt out, since a line of data may end in "nan"
_FIELD_ARRAY = re.compile(
    r"^(\S+)\s+(\d+)\s+(\d+)\s+(bit|string|float|double|(?:unsigned_)?(?:char|short|int|long)|vtk\w+)\s*$"
)
_COMPONENTS = {"VECTORS": 3, "NORMALS": 3, "TENSORS": 9, "TENSORS6": 6}
_CELLS = ("CELLS", "VERTICES", "LINES", "POLYGONS", "TRIANGLE_STRIPS")
_AXES = ("X_COORDINATES", "Y_COORDINATES", "Z_COORDINATES")
_KINDS = (b"UNSTRUCTURED_GRID", b"POLYDATA", b"STRUCTURED_GRID", b"STRUCTURED_POINTS", b"RECTILINEAR_GRID")
_UNCOUNTED = (
    "METADATA",
    "LOOKUP_TABLE",
    "FIELD",
    "INFORMATION",
    "NAME",
    "DATA",
    "COMPONENT_NAMES",
    "DATASET",
    "DIMENSIONS",
    "ORIGIN",
    "SPACING",
    "ASPECT_RATIO",
    "COLOR_SCALARS",
    "TEXTURE_COORDINATES",
    "GLOBAL_IDS",
    "PEDIGREE_IDS",
)


@dataclass
class _Section:
    """An array that its header announced, and the numbers that followed."""

    name: str
    expected: int | None
    got: int = 0
    bad: str | None = None

    def add(self, words: list[str]) -> None:
        self.got += len(words)
        if self.expected is not None and self.bad is None:
            self.bad = next((word for word in words if not _is_number(word)), None)

    def check(self, path: Path) -> None:
        if self.expected is None or (self.got == self.expected and self.bad is None):
            return
        has = f"{self.got} values" if self.bad is None else f"{self.bad!r} among its values"
        raise InputError(
            f"{path}: array {self.name!r} has {has}, expected {self.expected} numbers: the file is truncated "
            "or damaged, write it again"
        )


def check_legacy(path: Path) -> None:
    """Raise InputError naming the file and array where a legacy ASCII file holds fewer or more values than
    it states, or something that is no number.

    Points, cells, cell types, axes and all attribute arrays are counted: VTK's own reader leaves what is
    missing uninitialised. Other files pass: binary and XML readers notice a file that ends early. Not
    checked: string arrays and colours, and a last number that lost its last digits.
    """
    with path.open("rb") as stream:
        head = [stream.readline(512) for _ in range(3)]
        kinds = (stream.readline(512).split() for _ in range(10))
        kind = next((words for words in kinds if words), [])
    if not head[0].startswith(b"# vtk DataFile"):
        return
    if len(kind) > 1 and kind[0].upper() == b"DATASET" and kind[1].upper() not in _KINDS:
        raise InputError(
            f"{path} holds a data set of kind {kind[1].decode('latin-1')}, expected a single mesh: write one "
            "file for each block, as VTU"
        )
    if head[2].strip().upper() != b"ASCII":
        return
    with path.open(encoding="latin-1") as lines:
        for _ in range(3):
            next(lines)
        _check_sections(path, lines)


def _check_sections(path: Path, lines: Iterator[str]) -> None:
    rows, section, metadata = 0, _Section("", None), False
    cells: list[int] = []
    for line in lines:
        words = line.split()
        if not words:
            metadata = False
            continue
        key = words[0].upper()
        if metadata or (key == "LOOKUP_TABLE" and len(words) == 2):
            continue
        if key in ("OFFSETS", "CONNECTIVITY") and len(words) == 2 and cells:
            # since version 5.1 the sizes of both arrays stand in the line before the first
            if key == "CONNECTIVITY":
                section.check(path)
            section = _Section(words[0], cells[0] if key == "OFFSETS" else cells[1])
            continue
        try:
            header = _header(words, line, rows)
        except (IndexError, ValueError):
            raise InputError(
                f"{path}: the line {line.strip()[:80]!r} is incomplete: the file is truncated or damaged, "
                "write it again"
            ) from None
        if header is None:
            section.add(words)
            continue
        section.check(path)
        rows, section, cells = header
        metadata = key == "METADATA"
    section.check(path)


def _header(words: list[str], line: str, rows: int) -> tuple[int, _Section, list[int]] | None:
    """(tuples in the section, the array that follows, both sizes of cells) of a header line; None for a line
    of data."""
    found = _announced(words, line, rows)
    return found and (*found, [int(word) for word in words[1:3]] if words[0].upper() in _CELLS else [])


def _announced(words: list[str], line: str, rows: int) -> tuple[int, _Section] | None:
    key = words[0].upper()
    match = _FIELD_ARRAY.match(line)
    if match is not None:
        return rows, _Section(match[1], None if match[4] == "string" else int(match[2]) * int(match[3]))
    if key in ("POINT_DATA", "CELL_DATA"):
        return int(words[1]), _Section("", None)
    if key == "POINTS":
        return rows, _Section(words[0], 3 * int(words[1]))
    if key in _CELLS:
        return rows, _Section(words[0], int(words[2]))
    if key in _AXES or key == "CELL_TYPES":
        return rows, _Section(words[0], int(words[1]))
    if key == "SCALARS":
        return rows, _Section(words[1], rows * (int(words[3]) if len(words) > 3 else 1))
    if key in _COMPONENTS:
        return rows, _Section(words[1], _COMPONENTS[key] * rows)
    if key in _UNCOUNTED:
        return rows, _Section("", None)
    return None


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
