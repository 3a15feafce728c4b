"""The CGNS tree of nodes inside an HDF5 file: names, labels, data, and units."""

from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np

from kernels.errors import InputError

_DATA = " data"
_SYMBOLS = {
    "Kilogram": "kg", "Gram": "g", "Slug": "slug", "PoundMass": "lb",
    "Meter": "m", "Centimeter": "cm", "Millimeter": "mm", "Foot": "ft", "Inch": "in",
    "Second": "s", "Kelvin": "K", "Celsius": "degC", "Rankine": "degR", "Fahrenheit": "degF",
    "Degree": "degree", "Radian": "rad",
}  # fmt: skip
_NAME_LENGTH = 32
_LARGEST_RATIO = 1100
"""zlib shrinks at most 1032 times: what claims more is damaged."""


class Node:
    """One node of the tree: a group with the attributes `label` and `name` and the data set ` data`."""

    def __init__(self, group: h5py.Group, path: Path) -> None:
        """Node of an HDF5 group; path names the file in messages."""
        self._group, self._path = group, path
        self._children: list[Node] | None = None
        self.name = _text(group.attrs.get("name", b"")) or str(group.name).rsplit("/", 1)[-1]
        self.label = _text(group.attrs.get("label", b""))

    def children(self, label: str | None = None) -> Iterator["Node"]:
        """Child nodes in the order of creation where the file keeps it, optionally of one label."""
        if self._children is None:
            items = (self._group.get(key) for key in self._group)
            self._children = [Node(item, self._path) for item in items if isinstance(item, h5py.Group)]
        return iter([child for child in self._children if label is None or child.label == label])

    def child(self, name: str) -> "Node | None":
        """The child of that name, or None."""
        return next((child for child in self.children() if child.name == name), None)

    def first(self, label: str) -> "Node | None":
        """The first child with that label, or None."""
        return next(self.children(label), None)

    def data(self) -> np.ndarray | None:
        """The values of the node in memory, or None where it has none."""
        item = self._group.get(_DATA)
        if not isinstance(item, h5py.Dataset):
            return None
        limit = _LARGEST_RATIO * max(self._path.stat().st_size, 2**20)
        if item.size is not None and item.size * item.dtype.itemsize > limit:
            raise InputError(
                f"{self._path}: node {self._group.name} claims {item.size} values, more than the file can "
                "hold: it is damaged, write it again"
            )
        return np.asarray(item[()])

    def integers(self) -> np.ndarray:
        """The values as flat int64; InputError where there are none or they are no integers."""
        values = self.data()
        if values is None or values.dtype.kind not in "iu":
            raise InputError(
                f"{self._path}: node {self._group.name} holds no integers: the file is damaged, write it "
                f"again"
            )
        return values.ravel().astype(np.int64)

    def text(self) -> str:
        """The values as text, empty where there is none."""
        values = self.data()
        return "" if values is None else values.tobytes().decode("latin-1").strip("\x00 ")

    def unit(self, inherited: list[str]) -> str | None:
        """Unit from DimensionalExponents and the nearest DimensionalUnits; None where the file does not say.

        inherited: names of the base units from a node above, see `unit_names`.
        """
        exponents = self.first("DimensionalExponents_t")
        values = exponents.data() if exponents is not None else None
        if values is None:
            return None
        names = unit_names(self) or inherited
        parts = []
        for power, name in zip(values.ravel(), names or [""] * len(values.ravel()), strict=False):
            if power == 0:
                continue
            symbol = _SYMBOLS.get(name)
            if symbol is None:
                return None
            parts.append(symbol if power == 1 else f"{symbol}{power:g}")
        return " ".join(parts) or "1"


def unit_names(node: Node) -> list[str]:
    """Names of the five base units at a node (mass, length, time, temperature, angle), empty where it has
    none.
    """
    units = node.first("DimensionalUnits_t")
    values = units.data() if units is not None else None
    if values is None:
        return []
    text = values.tobytes().decode("latin-1").ljust(5 * _NAME_LENGTH)
    return [text[i * _NAME_LENGTH : (i + 1) * _NAME_LENGTH].strip("\x00 ") for i in range(5)]


def _text(value: object) -> str:
    if isinstance(value, np.ndarray):
        value = value.tobytes()
    return value.decode("latin-1").strip("\x00 ") if isinstance(value, bytes) else str(value).strip("\x00 ")
