"""An artifact as rows: what is known of it, and every value by which it can be found."""

import hashlib
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
import sqlalchemy as sa
import xarray as xr
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection, Engine

from catalogs import environment, tables
from catalogs.database import insert_new, insert_rows, writing
from catalogs.keys import canonical, is_text, plain
from catalogs.where import storable_text
from kernels.errors import InputError

LONGEST_VALUE = 1000
"""Bytes of a name with its text, above which an artifact is not found by them."""


@dataclass(frozen=True)
class Record:
    """What is known about an artifact besides its numbers: the recipe of its key, the time it took, what it
    measured.
    """

    stage: str
    version: int
    config: Mapping[str, Any]
    inputs: Mapping[str, str]
    started: datetime
    seconds: float
    metrics: Mapping[str, Any] = field(default_factory=dict)
    literature: Sequence[str] = ()


@dataclass(frozen=True)
class Description:
    """What is known about a dataset without its arrays: length of every dim, schema, range of every
    parameter.
    """

    sizes: dict[str, int]
    schema: dict[str, Any]
    ranges: dict[str, tuple[float, float]]


def describe(dataset: xr.Dataset) -> Description:
    """Sizes, schema and parameter ranges of a dataset; of the arrays only parameters are read."""
    variables, ranges = {}, {}
    for name, variable in dataset.variables.items():
        entry = {
            "dims": [str(dim) for dim in variable.dims],
            "dtype": "string" if is_text(variable.dtype) else str(variable.dtype),
            "units": variable.attrs.get("units"),
        }
        if "role" in variable.attrs:
            entry["role"] = variable.attrs["role"]
        variables[str(name)] = entry
        if entry.get("role") == "parameter" and variable.size and variable.dtype.kind in "biuf":
            values = np.asarray(variable.values, dtype=np.float64)
            low, high = float(values.min()), float(values.max())
            if math.isfinite(low) and math.isfinite(high):
                ranges[str(name)] = (low, high)
    sizes = {str(dim): int(size) for dim, size in dataset.sizes.items()}
    return Description(sizes, {"variables": plain(variables)}, ranges)


@dataclass(frozen=True)
class Item:
    """An artifact to be inserted with others; `location` as in the table of artifacts."""

    key: str
    record: Record
    about: Description
    size: int
    location: str | None


class Writer:
    """Inserts artifacts; keeps the numbers of this process's run and of the schemas that it has seen."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._run: int | None = None
        self._schemas: dict[str, int] = {}

    def numbers(self, about: Description) -> tuple[int, int]:
        """Numbers of this run and of the schema; to be asked for before a transaction begins."""
        return self.run(), self.schema(about.schema)

    def insert(
        self, connection: Connection, key: str, record: Record, about: Description, size: int, location: str,
        numbers: tuple[int, int],
    ) -> int | None:  # fmt: skip
        """Insert an artifact with its edges and values; its number, None where another process published the
        key meanwhile.

        Raises InputError where one of its inputs is not in the catalog.
        """
        row = _row(key, record, about, size, location, numbers)
        number = insert_new(connection, tables.artifacts, row, "id")
        if number is None:
            return None
        _insert_edges(connection, [(number, record)])
        for table, rows in values(number, row, about.ranges).items():
            insert_rows(connection, table, rows)
        return int(number)

    def insert_many(self, connection: Connection, items: Sequence["Item"]) -> dict[str, int]:
        """Insert artifacts with few statements, those that are there already left out; key -> number of those
        that were inserted.

        `numbers` of all items are to be asked for before the transaction begins. Raises InputError where an
        input of one of them is not in the catalog.
        """
        unique = {item.key: item for item in sorted(items, key=lambda item: item.key)}
        rows = {
            key: _row(key, item.record, item.about, item.size, item.location, self.numbers(item.about))
            for key, item in unique.items()
        }
        columns = tables.artifacts.c
        dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
        statement = dialect.insert(tables.artifacts).on_conflict_do_nothing()
        inserted = connection.execute(statement.returning(columns.id, columns.key), list(rows.values()))
        made = {str(row.key): int(row.id) for row in inserted}
        _insert_edges(connection, [(number, unique[key].record) for key, number in made.items()])
        found: dict[sa.Table, list[dict[str, Any]]] = {}
        for key, number in made.items():
            for table, some in values(number, rows[key], unique[key].about.ranges).items():
                found.setdefault(table, []).extend(some)
        for table, some in found.items():
            insert_rows(connection, table, some)
        return made

    def run(self) -> int:
        """Number of this process among the runs."""
        if self._run is None:
            now = time.time()
            row = {
                "process": environment.process_name(),
                "host": environment.host(),
                "user": environment.user(),
                "code": environment.code_version(),
                "packages": environment.package_versions(),
                "started": now,
                "seen": now,
            }
            self._run = self._number(tables.runs, row, "process")
        return self._run

    def schema(self, content: dict[str, Any]) -> int:
        """Number of a schema."""
        digest = hashlib.sha256(canonical(content)).hexdigest()
        if digest not in self._schemas:
            row = {"digest": digest, "content": content}
            self._schemas[digest] = self._number(tables.schemas, row, "digest")
        return self._schemas[digest]

    def _number(self, table: sa.Table, row: dict[str, Any], unique: str) -> int:
        # in a transaction of its own, so that one that fails later takes no number back that is remembered
        with writing(self._engine) as connection:
            insert_new(connection, table, row)
            found = connection.execute(sa.select(table.c.id).where(table.c[unique] == row[unique]))
            return int(found.scalar_one())


def _row(
    key: str, record: Record, about: Description, size: int, location: str | None, numbers: tuple[int, int]
) -> dict[str, Any]:
    return {
        "key": key,
        "stage": record.stage,
        "version": record.version,
        "config": plain(record.config),
        "metrics": finite(plain(record.metrics)),
        "sizes": about.sizes,
        "literature": list(record.literature),
        "started": record.started.timestamp(),
        "created": time.time(),
        "seconds": record.seconds,
        "bytes": size,
        "location": location,
        "run": numbers[0],
        "schema": numbers[1],
    }


def _insert_edges(connection: Connection, made: Sequence[tuple[int, Record]]) -> None:
    columns = tables.artifacts.c
    wanted = sorted({key for _, record in made for key in record.inputs.values()})
    known: dict[str, int] = {}
    for start in range(0, len(wanted), 500):
        some = columns.key.in_(wanted[start : start + 500])
        known |= {
            row.key: row.id for row in connection.execute(sa.select(columns.key, columns.id).where(some))
        }
    rows = []
    for number, record in made:
        lost = [f"{name} = {key}" for name, key in record.inputs.items() if key not in known]
        if lost:
            raise InputError(
                f"the inputs {', '.join(lost)} of stage {record.stage!r} are not in the catalog: expected "
                "keys of published artifacts; somebody may have removed them meanwhile, run again"
            )
        rows += [
            {"artifact": number, "name": name, "input": known[key]} for name, key in record.inputs.items()
        ]
    insert_rows(connection, tables.edges, rows)


def values(
    number: int, row: Mapping[str, Any], ranges: Mapping[str, tuple[float, float]]
) -> dict[sa.Table, list[dict[str, Any]]]:
    """Rows of the tables by which artifacts are found, of an artifact with its number and row."""
    mine = {"artifact": number, "stage": row["stage"]}
    return {
        tables.metrics: [
            {"name": name, "value": float(value), **mine}
            for name, value in leaves(row["metrics"])
            if not isinstance(value, str)
        ],
        tables.settings: [
            {
                "name": name,
                "number": 0.0 if isinstance(value, str) else float(value),
                "text": value if isinstance(value, str) else "",
                **mine,
            }
            for name, value in leaves(row["config"])
        ],
        tables.parameters: [
            {"name": name, "low": low, "high": high, **mine}
            for name, (low, high) in ranges.items()
            if _fits(name)
        ],
    }


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, float | str]]:
    """(dotted name, value) of every number and text in nested names; lists, which have no name, are left out.

    So is text that is empty, or longer with its name than 1,000 bytes: PostgreSQL indexes 2,700 bytes.
    """
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from leaves(item, f"{path}.{name}" if path else str(name))
    elif isinstance(value, bool | int | float):
        if _fits(path) and math.isfinite(value):
            yield path, float(value)
    elif isinstance(value, str) and value and _fits(path + value):
        yield path, value


def _fits(text: str) -> bool:
    return storable_text(text) and len(text.encode()) <= LONGEST_VALUE


def finite(value: Any) -> Any:
    """The value with null for every number that is none: JSON has neither NaN nor infinity."""
    if isinstance(value, dict):
        return {name: finite(item) for name, item in value.items()}
    if isinstance(value, list):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
