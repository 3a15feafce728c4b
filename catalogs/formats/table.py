"""A table of parameters: one row a sample, names in the first column, parameters with units in the header."""

import csv
import math
from collections.abc import Sequence
from pathlib import Path

from catalogs.formats.sample import MeshSample, existing_file, listed, safe_name, split_unit
from kernels.errors import InputError

_SPLITS = {"train": 0, "test": 1}


def merge_table(samples: Sequence[MeshSample], path: Path) -> list[str]:
    """Add the columns of a CSV (first column: sample name, header such as `load [Pa]`) as parameters;
    return notes.

    A column `split` holds train or test. Rows may name a sample with or without the extension of its file.
    Raises InputError naming the file where a sample has no row, or two, or an entry is no finite number.
    """
    header, rows = _rows(path)
    missing = [sample.name for sample in samples if _row(rows, sample) is None]
    if missing:
        raise InputError(
            f"{path} has no row for {len(missing)} samples ({listed(missing)}), expected one each: add them"
        )
    for sample in samples:
        row = _row(rows, sample) or []
        for label, entry in zip(header, row, strict=True):
            if label.lower() == "split":
                sample.split = _split(entry, sample.name, path)
                continue
            name, unit = split_unit(label)
            name = safe_name(name)
            if name in sample.scalars:
                raise InputError(
                    f"{path}: {name!r} is also a scalar in {sample.source}, expected one of the two: "
                    f"rename it"
                )
            sample.parameters[name] = _number(entry, sample.name, label, path)
            if unit is not None:
                sample.units[name] = unit
    names = {key for sample in samples for key in (sample.name, sample.source.name, Path(sample.name).name)}
    unused = [key for key in rows if key not in names]
    return [f"{path.name}: {len(unused)} rows belong to no sample ({listed(unused)})"] if unused else []


def _rows(path: Path) -> tuple[list[str], dict[str, list[str]]]:
    try:
        with existing_file(path).open(newline="", encoding="utf-8-sig") as stream:
            lines = [
                line
                for line in csv.reader(stream, skipinitialspace=True)
                if any(item.strip() for item in line)
            ]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} cannot be read as CSV ({error}): expected comma-separated text") from error
    if len(lines) < 2 or len(lines[0]) < 2:
        raise InputError(
            f"{path} has no rows or no columns, expected sample names and at least one parameter"
        )
    rows: dict[str, list[str]] = {}
    for number, line in enumerate(lines[1:], start=2):
        key = line[0].strip()
        if len(line) != len(lines[0]):
            raise InputError(
                f"{path}: row {key!r} has {len(line)} entries, expected {len(lines[0])}: complete it"
            )
        if key in rows:
            raise InputError(
                f"{path}: sample {key!r} has two rows (second: {number}), expected one: remove one"
            )
        rows[key] = [item.strip() for item in line[1:]]
    return [label.strip() for label in lines[0][1:]], rows


def _row(rows: dict[str, list[str]], sample: MeshSample) -> list[str] | None:
    for key in (sample.name, sample.source.name, Path(sample.name).name):
        if key in rows:
            return rows[key]
    return None


def _split(entry: str, name: str, path: Path) -> int:
    if entry.lower() not in _SPLITS:
        raise InputError(f"{path}: sample {name!r} has split {entry!r}, expected train or test")
    return _SPLITS[entry.lower()]


def _number(entry: str, name: str, label: str, path: Path) -> float:
    try:
        value = float(entry)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(
            f"{path}: sample {name!r} has {label!r} = {entry!r}, expected a finite number: mend the entry"
        )
    return value
