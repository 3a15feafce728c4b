"""Points of a design as columns; a longer design of the same kind begins with the shorter one."""

import itertools
import math
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import qmc

from kernels.errors import InputError
from pipelines.studies.constraints import keep
from pipelines.studies.definition import Design, Range

LARGEST = 10_000_000
"""Points of a design."""


def columns(design: Design) -> tuple[np.ndarray, dict[str, list[Any]]]:
    """Numbers of the points (n,), and every parameter's values, repeats innermost, without those that `where`
    drops.

    Prefix property: with a larger `samples` (or entries added at the end) the first points stay the same.
    random: parameter j has its own generator, seeded by (seed, name), so other parameters do not change it.
    sobol, saltelli: the scrambled sequence by index (Owen 1998). latin_hypercube: blocks, each a Latin
    hypercube of its own (McKay, Beckman, Conover 1979) seeded by (seed, block), so that blocks can be added;
    the union of blocks is a stratified sample of each, not one Latin hypercube. Raises InputError where
    nothing is left, the file cannot be read or `where` is wrong.
    """
    values = _values(design)
    count = len(next(iter(values.values())))
    if count * (design.repeats.count if design.repeats else 1) > LARGEST:
        raise InputError(f"the design has {count} points, expected at most {LARGEST}: use fewer levels")
    numbers = np.arange(count)
    if design.where:
        arrays = {name: np.array(column) for name, column in values.items()}
        numbers = np.flatnonzero(keep(design.where, arrays))
        if not len(numbers):
            raise InputError(f"where: {design.where!r} leaves none of the {count} points: relax it")
    values = {name: [column[i] for i in numbers] for name, column in values.items()}
    if design.repeats is None:
        return numbers, values
    if design.repeats.field in values:
        raise InputError(f"{design.repeats.field!r} is a parameter and the field of repeats: drop one")
    times = design.repeats.count
    repeated = {name: [one for one in column for _ in range(times)] for name, column in values.items()}
    repeated[design.repeats.field] = list(range(times)) * len(numbers)
    return (numbers[:, None] * times + np.arange(times)).ravel(), repeated


def _values(design: Design) -> dict[str, list[Any]]:
    if design.method == "table":
        return _from_file(design.file or Path())
    if design.method == "list":
        return _from_rows(design.points)
    if design.method == "zip":
        return {name: list(entry) for name, entry in design.parameters.items() if isinstance(entry, tuple)}
    if design.method == "grid":
        levels = {name: grid_levels(entry) for name, entry in design.parameters.items()}
        size = math.prod(map(len, levels.values()))
        if size > LARGEST:
            raise InputError(f"the grid has {size} points, expected at most {LARGEST}: use fewer levels")
        return dict(
            zip(levels, map(list, zip(*itertools.product(*levels.values()), strict=True)), strict=True)
        )
    unit = unit_points(design)
    return {name: _stretched(entry, unit[:, j]) for j, (name, entry) in enumerate(design.parameters.items())}


def unit_points(design: Design) -> np.ndarray:
    """Points of a sampled design in the unit cube, (points, parameters)."""
    dims, count = len(design.parameters), sum(design.blocks)
    rows = count * (_rows_a_base(design, dims) if design.method == "saltelli" else 1)
    if rows > LARGEST:
        raise InputError(f"the design has {rows} points, expected at most {LARGEST}: use fewer samples")
    if design.method == "random":
        seeds = [[design.seed, zlib.crc32(name.encode())] for name in design.parameters]
        return np.stack([np.random.default_rng(seed).random(count) for seed in seeds], axis=1)
    if design.method == "latin_hypercube":
        blocks = [
            qmc.LatinHypercube(dims, rng=np.random.default_rng([design.seed, i])).random(size)
            for i, size in enumerate(design.blocks)
        ]
        return np.concatenate(blocks)
    if design.method == "sobol":
        return _sobol(dims, count, design.seed)
    return _saltelli(design, dims, count)


def _sobol(dims: int, count: int, seed: int) -> np.ndarray:
    sampler = qmc.Sobol(dims, scramble=True, rng=np.random.default_rng(seed))
    return np.asarray(sampler.random_base2(max(math.ceil(math.log2(count)), 0)))[:count]


def _rows_a_base(design: Design, dims: int) -> int:
    return 2 + dims * (2 if design.second_order else 1)


def _saltelli(design: Design, dims: int, count: int) -> np.ndarray:
    """Rows A, A with column j of B, (B with column j of A), B of every base point, in the order of SALib."""
    base = _sobol(2 * dims, count, design.seed)
    first, second = base[:, :dims], base[:, dims:]
    rows = [first]
    for into, other in ((first, second), (second, first))[: 2 if design.second_order else 1]:
        for j in range(dims):
            mixed = into.copy()
            mixed[:, j] = other[:, j]
            rows.append(mixed)
    return np.stack([*rows, second], axis=1).reshape(-1, dims)


def grid_levels(entry: Range | tuple[Any, ...]) -> list[Any]:
    """Values of one parameter on a grid."""
    if isinstance(entry, tuple):
        return list(entry)
    count = entry.count or 1
    unit = np.linspace(0.0, 1.0, count) if count > 1 else np.array([0.5])
    levels = entry.low + (entry.high - entry.low) * unit
    if entry.log:
        levels = entry.low * (entry.high / entry.low) ** unit
    if entry.integer:
        return list(dict.fromkeys(int(value) for value in np.rint(levels)))
    return [float(value) for value in np.clip(levels, entry.low, entry.high)]


def _stretched(entry: Range | tuple[Any, ...], unit: np.ndarray) -> list[Any]:
    if isinstance(entry, tuple):
        return [entry[min(int(u * len(entry)), len(entry) - 1)] for u in unit]
    # an integer stands for the cell of width one around it
    low, high = (entry.low - 0.5, entry.high + 0.5) if entry.integer else (entry.low, entry.high)
    spread = low * (high / low) ** unit if entry.log and low > 0.0 else low + (high - low) * unit
    if entry.integer:
        return [int(v) for v in np.clip(np.floor(spread + 0.5), entry.low, entry.high)]
    return [float(v) for v in np.clip(spread, entry.low, entry.high)]


def _from_rows(rows: tuple[Mapping[str, Any], ...]) -> dict[str, list[Any]]:
    names = list(rows[0])
    for i, row in enumerate(rows):
        if set(row) != set(names):
            raise InputError(
                f"design.points: point {i} has {sorted(row)}, point 0 has {sorted(names)}: give every point "
                "the same parameters"
            )
    if not names:
        raise InputError("design.points: the points have no parameters: give at least one")
    return {name: [row[name] for row in rows] for name in names}


def _from_file(path: Path) -> dict[str, list[Any]]:
    readers: dict[str, Callable[[Path], pd.DataFrame]] = {".csv": pd.read_csv, ".parquet": pd.read_parquet}
    if path.suffix not in readers:
        raise InputError(f"design.file {path}: expected a .csv or .parquet file")
    try:
        table = readers[path.suffix](path)
    except (OSError, ValueError) as error:
        raise InputError(f"design.file {path} cannot be read: {error}") from error
    if table.empty:
        raise InputError(f"design.file {path} has no rows: expected one a point")
    holes = [str(name) for name in table.columns if table[name].isna().any()]
    if holes:
        raise InputError(f"design.file {path}: the columns {holes} have empty cells: fill them")
    return {str(name): table[name].tolist() for name in table.columns}
