"""Fills an empty catalog with N artifacts as years of use would leave them, directly through its tables.

Ten stages in chains of twelve artifacts; metrics only where a stage measures, parameters on what holds
samples, 22 tags of which three are common, a fifth of a percent of them rare; names with versions.
"""

import importlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import sqlalchemy as sa

from catalogs import tables
from catalogs.catalog import Catalog
from catalogs.rows import Description, Writer

STAGES = np.array(
    ["design", "simulate", "ingest", "common_mesh", "morph", "reduce", "train_gp", "predict", "evaluate",
     "study_point"]
)  # fmt: skip
WEIGHTS = (0.02, 0.15, 0.02, 0.01, 0.05, 0.05, 0.1, 0.2, 0.2, 0.2)
METRICS = {
    "rmse": ("evaluate", "study_point"),
    "q2": ("evaluate",),
    "loss": ("train_gp",),
    "iterations": ("simulate",),
}
PARAMETERS = ("simulate", "ingest", "morph", "predict", "evaluate", "study_point")
TAGS = {"train": 0.2, "test": 0.1, "nightly": 0.1} | {
    f"paper-{i}": 0.02 / (1 + i) for i in range(19)
}  # fmt: skip
CHAIN = 12
_STEP = 100_000


def fill(catalog: Catalog, count: int) -> None:
    """Insert `count` artifacts; the catalog is empty before."""
    engine, generator = catalog.engine, np.random.default_rng(7)
    everything = _columns(
        Writer(catalog.engine).numbers(Description({}, {"variables": {}}, {})), count, generator
    )
    with engine.connect() as connection:
        indices = _set_aside(connection)
        for table, columns in everything:
            _insert(connection, table, columns)
        connection.commit()
        _restore(connection, indices)
        importlib.import_module("catalogs.migrations.versions.v0003_search_indices").count_all(connection)
        connection.commit()
    engine.dispose()  # with what was set on the connection
    if engine.dialect.name == "postgresql":
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("VACUUM ANALYZE")  # the server does it by itself in time
            table = "SELECT setval(pg_get_serial_sequence('artifacts', 'id'), max(id)) FROM artifacts"
            connection.exec_driver_sql(table)


def _columns(
    numbers: tuple[int, int], count: int, generator: np.random.Generator
) -> Iterator[tuple[sa.Table, dict[str, Any]]]:
    run, schema = numbers
    number = np.arange(1, count + 1)
    stage = generator.choice(len(STAGES), count, p=WEIGHTS)
    created = 1.7e9 + np.cumsum(generator.exponential(20.0, count))
    modes, seed = generator.integers(2, 33, count), generator.integers(0, 2**31, count)
    kernel = np.array(["matern32", "matern52", "rbf"])[generator.integers(0, 3, count)]
    rmse, low = 10 ** generator.uniform(-4, 0, count), 10 ** generator.uniform(3, 6, count)
    high = low * (1 + generator.exponential(0.2, count))
    keys = [bytes.hex() for bytes in map(bytes, generator.integers(0, 256, (count, 16), dtype=np.uint8))]
    config = [
        f'{{"modes": {m}, "seed": {s}, "kernel": "{k}", "mesh": {{"size": 0.02}}}}'
        for m, s, k in zip(modes, seed, kernel, strict=True)
    ]
    same = {"version": 1, "literature": "[]", "seconds": 1.5, "bytes": 40_000, "location": "", "note": ""}
    yield tables.artifacts, {
        "id": number, "key": keys, "stage": STAGES[stage], "created": created, "started": created,
        "config": config, "metrics": [f'{{"rmse": {r:.6g}}}' for r in rmse],
        "sizes": ['{"sample": 10, "node": 4000}'] * count, "run": np.full(count, run),
        "schema": np.full(count, schema), **{name: [value] * count for name, value in same.items()},
    }  # fmt: skip
    within = (number - 1) % CHAIN
    steps = [(1, "input", within >= 1), (2, "mesh", (within >= 2) & (generator.random(count) < 0.3))]
    for back, name, mine in steps:
        yield tables.edges, {"artifact": number[mine], "name": name, "input": number[mine] - back}
    values = {"rmse": rmse, "q2": 1 - rmse, "loss": generator.normal(size=count), "iterations": modes * 1.0}
    for name, stages in sorted(METRICS.items()):
        mine = np.isin(STAGES[stage], stages)
        yield tables.metrics, {"name": name, "value": values[name][mine], **_of(number, stage, mine)}
    mine = np.isin(STAGES[stage], PARAMETERS)
    for name, a, b in (("angle", low / 1e5 - 4, low / 1e5 - 3), ("reynolds", low, high)):
        yield tables.parameters, {"name": name, "low": a[mine], "high": b[mine], **_of(number, stage, mine)}
    for name, given in (("mesh.size", np.full(count, 0.02)), ("modes", modes * 1.0), ("seed", seed * 1.0)):
        yield tables.settings, {"name": name, "number": given, "text": "", **_of(number, stage)}
    yield tables.settings, {"name": "kernel", "number": 0.0, "text": kernel, **_of(number, stage)}
    for tag, share in sorted(TAGS.items()):
        mine = generator.random(count) < share
        yield tables.tags, {"tag": tag, "created": 1.7e9, **_of(number, stage, mine)}
    named = number[:: max(1, 200_000 // max(count // 5, 1))][: count // 10]
    yield tables.names, {
        "name": [f"set-{i % 200}" for i in range(len(named))],
        "number": [i // 200 + 1 for i in range(len(named))], "artifact": named, "created": 1.7e9,
    }  # fmt: skip


def _of(number: np.ndarray, stage: np.ndarray, mine: Any = slice(None)) -> dict[str, Any]:
    return {"artifact": number[mine], "stage": STAGES[stage][mine]}


def _insert(connection: sa.Connection, table: sa.Table, columns: dict[str, Any]) -> None:
    length = max(len(v) for v in columns.values() if not isinstance(v, str | float))
    whole = {
        name: [value] * length if isinstance(value, str | float) else np.asarray(value)
        for name, value in columns.items()
    }
    key = [c.name for c in table.primary_key.columns]
    order = np.lexsort([np.asarray(whole[name]) for name in reversed(key)])
    names = ", ".join(f'"{name}"' for name in whole)
    ordered = {name: np.asarray(value, dtype=object)[order] for name, value in whole.items()}
    for start in range(0, length, _STEP):
        rows = list(zip(*(value[start : start + _STEP] for value in ordered.values()), strict=True))
        rows = [tuple(v.item() if isinstance(v, np.generic) else v for v in row) for row in rows]
        if connection.dialect.name == "sqlite":
            marks = ", ".join("?" * len(whole))
            connection.exec_driver_sql(f"INSERT INTO {table.name} ({names}) VALUES ({marks})", rows)
            continue
        driver = connection.connection.driver_connection
        with driver.cursor() as cursor, cursor.copy(f"COPY {table.name} ({names}) FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)


def _set_aside(connection: sa.Connection) -> list[Any]:
    """Triggers, foreign keys and secondary indices, without which a table fills many times faster."""
    indices = [index for table in tables.metadata.tables.values() for index in table.indexes]
    again: list[Any] = []
    if connection.dialect.name == "sqlite":
        driver = connection.connection.driver_connection
        driver.execute("PRAGMA foreign_keys=OFF")
        driver.execute("PRAGMA synchronous=OFF")
        query = "SELECT name, sql FROM sqlite_master WHERE type = 'trigger'"
        for name, text in driver.execute(query).fetchall():
            connection.exec_driver_sql(f"DROP TRIGGER {name}")
            again.append(text)
    else:
        connection.exec_driver_sql("SET session_replication_role = replica")
        again.append("SET session_replication_role = DEFAULT")
    for index in indices:
        index.drop(connection)
    return [*indices, *again]


def _restore(connection: sa.Connection, indices: list[Any]) -> None:
    for one in indices:
        if isinstance(one, str):
            connection.exec_driver_sql(one)
        else:
            one.create(connection)
