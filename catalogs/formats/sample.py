"""One simulation as its file gives it: points, cells of any type, fields, scalars and tagged boundary
facets.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from kernels.errors import InputError
from kernels.mesh.cell_types import CELL_TYPES, cell_name, dimensions

_UNIT = re.compile(r"^(?P<name>.*?\S)\s*\[(?P<unit>[^\[\]]*)\]\s*$")
_SHOWN = 3
_NAME_BYTES = 150


@dataclass
class MeshSample:
    """One sample.

    points (nodes, 2 or 3) float64; cell_type (cells,) VTK codes; cell_size (cells,) nodes of each cell;
    cell_node (sum of sizes,) node numbers from 0. Fields are (nodes,) or (nodes, components) and (cells,) or
    (cells, components). facets: (tag, nodes of shape (facets, corners)) pairs. units: name -> unit where
    the file says it.
    """

    name: str
    source: Path
    points: np.ndarray
    cell_type: np.ndarray
    cell_size: np.ndarray
    cell_node: np.ndarray
    node_fields: dict[str, np.ndarray] = field(default_factory=dict)
    cell_fields: dict[str, np.ndarray] = field(default_factory=dict)
    scalars: dict[str, float] = field(default_factory=dict)
    parameters: dict[str, float] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)
    facets: list[tuple[str, np.ndarray]] = field(default_factory=list)
    split: int | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def dimension(self) -> int:
        """Largest topological dimension of the cells."""
        return int(dimensions(self.cell_type).max(initial=-1))

    def offsets(self) -> np.ndarray:
        """Start of every cell in `cell_node`, and the end: int64 of shape (cells + 1,)."""
        return np.concatenate(([0], np.cumsum(self.cell_size, dtype=np.int64)))

    def checked(self) -> "MeshSample":
        """The sample itself; raises InputError naming the file where lengths or node numbers do not fit."""
        nodes, cells = len(self.points), len(self.cell_type)
        if nodes == 0 or cells == 0:
            raise InputError(
                f"{self.source} has {nodes} nodes and {cells} cells, expected a mesh with at least one cell: "
                "export the mesh together with the results"
            )
        if np.any(self.cell_size < 0):
            raise InputError(
                f"{self.source}: cell {int(np.argmax(self.cell_size < 0))} ends before it starts, expected "
                "rising offsets: the file is damaged, write it again"
            )
        if len(self.cell_size) != cells or int(np.sum(self.cell_size)) != len(self.cell_node):
            raise InputError(
                f"{self.source}: the connectivity has {len(self.cell_node)} entries, its {cells} cells need "
                f"{int(np.sum(self.cell_size))}: the file is damaged, write it again"
            )
        self._check_sizes()
        check_numbers(self.cell_node, nodes, f"{self.source}: a cell")
        for tag, facet in self.facets:
            check_numbers(facet, nodes, f"{self.source}: boundary {tag!r}")
        _check_lengths(self.source, self.node_fields, nodes, "nodes")
        _check_lengths(self.source, self.cell_fields, cells, "cells")
        return self

    def _check_sizes(self) -> None:
        for code in np.unique(self.cell_type):
            entry = CELL_TYPES.get(int(code))
            sizes = self.cell_size[self.cell_type == code]
            if entry and entry.nodes and np.any(sizes != entry.nodes):
                wrong = int(sizes[sizes != entry.nodes][0])
                raise InputError(
                    f"{self.source}: a {cell_name(code)} has {wrong} nodes, expected {entry.nodes}: "
                    "the file is damaged, write it again"
                )


def check_numbers(numbers: np.ndarray, nodes: int, what: str) -> None:
    """Raise InputError where a node number is outside 0..nodes-1."""
    wrong = numbers[(numbers < 0) | (numbers >= nodes)]
    if wrong.size:
        raise InputError(
            f"{what} refers to node {int(wrong[0])} (counted from 0), expected numbers from 0 to {nodes - 1} "
            f"({wrong.size} such entries): the file is damaged or mixes numberings, write it again"
        )


def _check_lengths(source: Path, fields: dict[str, np.ndarray], length: int, what: str) -> None:
    for name, values in fields.items():
        if len(values) != length:
            raise InputError(
                f"{source}: field {name!r} has {len(values)} values, expected {length}, one for each of "
                f"the {what}: "
                "export the field on this mesh"
            )


def split_unit(label: str) -> tuple[str, str | None]:
    """Name and unit of a label such as `load [Pa]`; the unit is None where the label has none."""
    match = _UNIT.match(label.strip())
    if match is None:
        return label.strip(), None
    return match["name"].strip(), match["unit"].strip() or "1"


def safe_name(name: str) -> str:
    """The name as storage can hold it: `/`, `\\`, control characters, and dots or two underscores at its
    start become `_`, and it ends after 150 bytes.
    """
    clean = "".join("_" if c in "/\\" or not c.isprintable() else c for c in name).strip()
    bare = clean.lstrip("._").replace("zarr.json", "zarr_json")
    whole = "_" * (not clean.startswith(bare[:1]) and bool(bare)) + bare or "unnamed"
    return whole.encode()[:_NAME_BYTES].decode(errors="ignore")


def add_once(fields: dict[str, np.ndarray], name: str, values: np.ndarray, source: Path) -> None:
    """Put a field into the dictionary; raises InputError where one of that name is there already."""
    if name in fields:
        raise InputError(
            f"{source} holds two arrays called {name!r} (units in brackets are no part of a name), "
            "expected different names: rename one"
        )
    fields[name] = values


def listed(names: Iterable[object]) -> str:
    """At most three names, then how many more, for messages."""
    entries = [str(name) for name in names]
    rest = len(entries) - _SHOWN
    return ", ".join(entries[:_SHOWN]) + (f" and {rest} more" if rest > 0 else "")


def existing_file(path: Path) -> Path:
    """The path; raises InputError where it is not a file, is empty, or has a name that is no text."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise InputError(
            f"{str(path)!a}: the name is not UTF-8, expected one that can be written: rename it"
        ) from None
    if not path.is_file():
        raise InputError(f"{path} is not a file: expected a mesh or table that can be read; check the path")
    try:
        size = path.stat().st_size
        with path.open("rb") as stream:
            stream.read(1)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error}): check the permissions") from error
    if size == 0:
        raise InputError(f"{path} is empty, expected a mesh or table: write it again")
    return path
