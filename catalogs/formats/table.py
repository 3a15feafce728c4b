"""A table of parameters: one row a sample, names in the first column, parameters with units in the header."""

import csv
import math
from collections.abc import Collection, Sequence
from pathlib import Path

from catalogs.formats.sample import MeshSample, existing_file, listed, safe_name, split_unit
from kernels.errors import InputError

_SPLITS = {"train": 0, "test": 1}


def merge_table(samples: Sequence[MeshSample], path: Path, beside: Collection[str] = ()) -> list[str]:
    """Add the columns of a CSV (first column: sample name, header such as `load [Pa]`) as parameters;
    return notes.

    beside: names of samples of the set that are not given here. A column `split` holds train or test. Rows
    may name a sample with or without the extension of its file.
    Raises InputError naming the file where a sample has no row, or two, or an entry is no finite number.
    """
    header, rows = _rows(path)
    missing = [sample.name for sample in samples if _row(rows, sample) is None]
    if missing:
        raise InputError(
            f"{path} has no row for {len(missing)} samples ({listed(missing)}), expected one each: add them"
        )
    for sample in samples:
        _refuse_two_rows(rows, sample, path)
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
    unused = [key for key in rows if key not in names and key not in beside]
    return [f"{path.name}: {len(unused)} rows belong to no sample ({listed(unused)})"] if unused else []


def row_of(path: Path, names: Collection[str]) -> list[list[str]]:
    """The header and every row of one of the names, as text.

    Raises InputError where the file is no table.
    """
    header, rows = _rows(path)
    return [header, *([key, *rows[key]] for key in rows if key in names)]


def _rows(path: Path) -> tuple[list[str], dict[str, list[str]]]:
    try:
        with existing_file(path).open(newline="", encoding="utf-8-sig") as stream:
            lines = [
                line
                for line in csv.reader(stream, skipinitialspace=True)
                if any(item.strip() for item in line)
            ]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(
            f"{path} cannot be read as CSV ({error}), expected comma-separated text: save it as CSV in UTF-8"
        ) from error
    lines = _without_empty_columns(lines)
    if len(lines) < 2 or len(lines[0]) < 2:
        raise InputError(
            f"{path} has no rows or no columns, expected sample names and at least one parameter, separated "
            f"by commas{_other_separator(lines)}"
        )
    header = [label.strip() for label in lines[0][1:]]
    _check_header(header, path)
    rows: dict[str, list[str]] = {}
    for number, line in enumerate(lines[1:], start=2):
        key = line[0].strip()
        if len(line) != len(lines[0]):
            raise InputError(
                f"{path}: row {key!r} has {len(line)} entries, expected {len(lines[0])}: complete it, and "
                "write numbers with a decimal point"
            )
        if key in rows:
            raise InputError(
                f"{path}: sample {key!r} has two rows (second: {number}), expected one: remove one"
            )
        rows[key] = [item.strip() for item in line[1:]]
    return header, rows


def _without_empty_columns(lines: list[list[str]]) -> list[list[str]]:
    """The table without columns at its end that are empty in every row, as a trailing comma makes them."""
    width = max((len(line) for line in lines), default=0)
    while width and all(len(line) == width and not line[-1].strip() for line in lines):
        lines, width = [line[:-1] for line in lines], width - 1
    return lines


def _other_separator(lines: list[list[str]]) -> str:
    head = lines[0][0] if lines and lines[0] else ""
    found = next((name for mark, name in ((";", "semicolons"), ("\t", "tabs")) if mark in head), None)
    return f", found {found}: save it with commas and decimal points" if found else ": add them"


def _check_header(header: list[str], path: Path) -> None:
    names = [split_unit(label)[0] for label in header]
    if "" in names:
        raise InputError(f"{path}: column {names.index('') + 2} has no name, expected one: add it")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"{path}: the header names {listed(twice)} twice, expected once: rename a column")


def _row(rows: dict[str, list[str]], sample: MeshSample) -> list[str] | None:
    return next((rows[key] for key in _keys(sample) if key in rows), None)


def _keys(sample: MeshSample) -> list[str]:
    return list(dict.fromkeys((sample.name, sample.source.name, Path(sample.name).name)))


def _refuse_two_rows(rows: dict[str, list[str]], sample: MeshSample, path: Path) -> None:
    found = [key for key in _keys(sample) if key in rows]
    if len(found) > 1:
        raise InputError(
            f"{path}: the rows {listed(map(repr, found))} are both of sample {sample.name!r}, expected one: "
            "remove one"
        )


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
