"""Questions to the catalog: list, show, lineage up and down, and keys from their first characters."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from catalogs.database import artifacts, edges
from catalogs.database import parts as parts_table
from kernels.errors import InputError

SHORT = 12
"""Characters of a key that people see."""

_LINEAGE = ["direction", "depth", "name", "stage", "key", "created", "seconds"]


class Queries:
    """The reading half of the catalog; results are pandas tables."""

    engine: Engine
    project: Path

    def list(self, stage: str | None = None) -> pd.DataFrame:
        """One row an artifact, oldest first: key, stage, version, created, seconds, bytes, samples, metrics.

        Raises InputError where the stage has no artifact in a catalog that has others.
        """
        columns = artifacts.c
        query = sa.select(
            columns.key, columns.stage, columns.stage_version, columns.created, columns.seconds,
            columns.bytes, columns.schema, columns.metrics,
        ).order_by(columns.created)  # fmt: skip
        with self.engine.connect() as connection:
            rows = [dict(row) for row in connection.execute(query).mappings()]
        known = sorted({row["stage"] for row in rows})
        if stage is not None and rows and stage not in known:
            raise InputError(
                f"the catalog has no artifact of stage {stage!r}; it has some of: {', '.join(known)}"
            )
        table = pd.DataFrame(rows, columns=[column.name for column in query.selected_columns])
        table["samples"] = [schema.get("dims", {}).get("sample", 0) for schema in table.pop("schema")]
        if stage is not None:
            table = table[table["stage"] == stage].reset_index(drop=True)
        return table[["key", "stage", "stage_version", "created", "seconds", "bytes", "samples", "metrics"]]

    def show(self, key: str) -> dict[str, Any]:
        """Everything recorded about one artifact, given the first characters of its key.

        Raises InputError where the key is unknown or ambiguous.
        """
        full = self.resolve(key)
        with self.engine.connect() as connection:
            row = connection.execute(sa.select(artifacts).where(artifacts.c.key == full)).mappings().one()
            inputs = connection.execute(sa.select(edges.c.name, edges.c.input_key).where(edges.c.key == full))
            return {**row, "inputs": {row.name: row.input_key for row in inputs}}

    def lineage(self, key: str) -> pd.DataFrame:
        """What made the artifact (`input`, depth > 0), itself, and what was made from it (`used by`).

        Raises InputError where the key is unknown or ambiguous.
        """
        full = self.resolve(key)
        rows = [
            (direction, depth, name, k)
            for direction in ("input", "used by")
            for depth, name, k in _walk(self.engine, full, direction)
        ]
        rows.append(("self", 0, "", full))
        with self.engine.connect() as connection:
            columns = artifacts.c
            query = sa.select(columns.key, columns.stage, columns.created, columns.seconds)
            facts = {
                row.key: row
                for row in connection.execute(query.where(columns.key.in_([row[3] for row in rows])))
            }
        table = []
        for direction, depth, name, k in rows:
            fact = facts.get(k)
            stage, created, seconds = (
                (fact.stage, fact.created, fact.seconds) if fact else ("(gone)", "", float("nan"))
            )
            table.append((direction, depth, name, stage, k, created, seconds))
        frame = pd.DataFrame(table, columns=_LINEAGE)
        order = {"input": 0, "self": 1, "used by": 2}
        place = [
            (order[d], -depth if d == "input" else depth)
            for d, depth in zip(frame["direction"], frame["depth"], strict=True)
        ]
        return frame.iloc[sorted(range(len(frame)), key=lambda i: (place[i], i))].reset_index(drop=True)

    def resolve(self, prefix: str) -> str:
        """The full key that starts with the given characters.

        Raises InputError, with suggestions, where no key or more than one does.
        """
        columns = artifacts.c
        query = sa.select(columns.key, columns.stage).where(columns.key.startswith(prefix, autoescape=True))
        with self.engine.connect() as connection:
            rows = connection.execute(query.order_by(columns.created.desc()).limit(6)).all()
            if len(rows) == 1 and prefix:
                return rows[0].key
            if not rows:
                recent = sa.select(columns.key, columns.stage).order_by(columns.created.desc()).limit(5)
                rows = connection.execute(recent).all()
                start = f"no artifact in {self.project} has a key that starts with {prefix!r}"
                hint = "the latest are" if rows else "the catalog is empty: run a pipeline first"
            else:
                start, hint = f"the key {prefix!r} is not unique", "give more characters of one of"
        names = ", ".join(f"{row.key[:SHORT]} ({row.stage})" for row in rows)
        raise InputError(f"{start}; {hint}{': ' + names if names else ''}")

    def part_sizes(self, keys: Sequence[str]) -> dict[str, dict[str, int]]:
        """Length of every dim of the given parts.

        Raises InputError where one of them is not in the catalog.
        """
        sizes: dict[str, dict[str, int]] = {}
        columns = parts_table.c
        with self.engine.connect() as connection:
            for start in range(0, len(keys), 500):
                some = keys[start : start + 500]
                rows = connection.execute(sa.select(columns.key, columns.sizes).where(columns.key.in_(some)))
                sizes |= {row.key: row.sizes for row in rows}
        missing = [key for key in keys if key not in sizes]
        if missing:
            raise InputError(f"{len(missing)} finished parts are gone, the first is {missing[0]}: run again")
        return sizes

    def _stage_of(self, key: str) -> str:
        with self.engine.connect() as connection:
            return str(
                connection.execute(sa.select(artifacts.c.stage).where(artifacts.c.key == key)).scalar_one()
            )


def _walk(engine: Engine, key: str, direction: str) -> list[tuple[int, str, str]]:
    start, end = (
        (edges.c.key, edges.c.input_key) if direction == "input" else (edges.c.input_key, edges.c.key)
    )
    found: dict[str, tuple[int, str]] = {}
    front, depth = [key], 0
    with engine.connect() as connection:
        while front:
            depth += 1
            rows = connection.execute(sa.select(end, edges.c.name).where(start.in_(front))).all()
            front = []
            for other, name in rows:
                if other not in found:
                    found[other] = (depth, name)
                    front.append(other)
    return [(level, name, other) for other, (level, name) in found.items()]
