"""Solution tables of CSV form that lie beside a mesh: one row a node, matched by number and checked by
position.
"""

import csv
from pathlib import Path

import numpy as np

from catalogs.formats.sample import MeshSample, add_once, existing_file, listed, safe_name, split_unit
from kernels.errors import InputError

_AXES = ("x", "y", "z")
_NODE_NUMBER = ("pointid", "point_id", "global_index", "nodeid", "node_id")
_POSITION_TOLERANCE = 1e-5
"""Largest distance, relative to the size of the mesh, between a row's position and its node: files print 6
digits or more.
"""


def read_csv_numbers(path: Path) -> dict[str, np.ndarray]:
    """Columns of a CSV of numbers: header label -> float64 of shape (rows,).

    Empty entries after the last column (a trailing comma) are allowed. Raises InputError naming the file
    and line.
    """
    try:
        with existing_file(path).open(newline="", encoding="utf-8-sig") as stream:
            rows = [
                row for row in csv.reader(stream, skipinitialspace=True) if any(item.strip() for item in row)
            ]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(
            f"{path} cannot be read as CSV ({error}), expected comma-separated text: save it as CSV in UTF-8"
        ) from error
    if not rows:
        raise InputError(f"{path} has no header, expected names of columns in the first line")
    header = [label.strip().strip('"') for label in rows[0]]
    while header and not header[-1]:
        header.pop()
    if len(set(header)) != len(header):
        raise InputError(f"{path}: the header names a column twice ({listed(header)}): rename one")
    width = len(header)
    values = np.empty((len(rows) - 1, width))
    for number, row in enumerate(rows[1:]):
        extra = row[width:]
        if len(row) < width or any(item.strip() for item in extra):
            raise InputError(
                f"{path}: row {number + 1} has {len(row)} entries, expected {width} as in the header: "
                "the file is truncated or damaged, write it again"
            )
        try:
            values[number] = [float(item) for item in row[:width]]
        except ValueError as error:
            raise InputError(
                f"{path}: row {number + 1} holds an entry that is no number ({error}): remove it"
            ) from error
    return {label: values[:, i] for i, label in enumerate(header)}


def add_solution(sample: MeshSample, path: Path) -> MeshSample:
    """Add the columns of a solution CSV to the nodal fields of the sample, in node order.

    A column PointID (numbers from 0) orders the rows; columns x, y, z are compared with the nodes (1e-5 of
    the size of the mesh). Without both, row i belongs to node i. Raises InputError naming the file where
    the rows do not fit.
    """
    columns = read_csv_numbers(path)
    lower = {label.lower(): label for label in columns}
    nodes = len(sample.points)
    rows = len(next(iter(columns.values())))
    if rows != nodes:
        raise InputError(
            f"{path} has {rows} rows, expected {nodes}, one for each node of {sample.source}: "
            "give the solution that was computed on this mesh"
        )
    number = next((lower[key] for key in _NODE_NUMBER if key in lower), None)
    order = np.arange(nodes)
    if number is not None:
        order = _order(columns.pop(number), nodes, path, number)
    _check_positions(sample, {a: columns.pop(lower[a])[order] for a in _AXES if a in lower}, path)
    for label, values in columns.items():
        name, unit = split_unit(label)
        name = safe_name(name)
        add_once(sample.node_fields, name, values[order], path)
        if unit is not None:
            sample.units[name] = unit
    return sample


def _order(numbers: np.ndarray, nodes: int, path: Path, label: str) -> np.ndarray:
    whole = np.isfinite(numbers) & (numbers == np.rint(np.nan_to_num(numbers)))
    order = np.full(nodes, -1, dtype=np.int64)
    valid = whole & (numbers >= 0) & (numbers < nodes)
    if valid.all():
        order[numbers.astype(np.int64)] = np.arange(nodes)
    if not valid.all() or np.any(order < 0):
        raise InputError(
            f"{path}: column {label!r} is no numbering of the nodes 0 to {nodes - 1}, each once: "
            "give the solution that was computed on this mesh"
        )
    return order


def _check_positions(sample: MeshSample, given: dict[str, np.ndarray], path: Path) -> None:
    axes = [axis for axis in _AXES[: sample.points.shape[1]] if axis in given]
    if not axes:
        return
    own = sample.points[:, [_AXES.index(axis) for axis in axes]]
    distance = np.linalg.norm(own - np.stack([given[axis] for axis in axes], axis=1), axis=1)
    size = float(np.max(np.ptp(sample.points, axis=0)))
    wrong = ~(distance <= _POSITION_TOLERANCE * size)
    if np.any(wrong):
        worst = int(np.argmax(np.where(np.isnan(distance), np.inf, distance)))
        raise InputError(
            f"{path}: {int(wrong.sum())} of {len(own)} rows are not at the node of their number in "
            f"{sample.source} "
            f"(node {worst} is {distance[worst]:.3g} away): give the solution that was computed on this mesh"
        )
