"""Questions to the catalog: list, show, lineage up and down, and keys from their first characters."""

import datetime
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.sql.elements import ColumnElement

from catalogs.keys import KEY_LENGTH
from catalogs.lineage import Lineage, walk
from catalogs.search import Search
from catalogs.tables import artifacts, edges, runs, schemas, tags
from catalogs.tables import names as names_table
from catalogs.tables import parts as parts_table
from catalogs.where import storable_text
from kernels.errors import InputError

SHORT = 12
"""Characters of a key that people see."""


class Queries(Search):
    """The reading half of the catalog; results are pandas tables."""

    engine: Engine
    project: Path

    def list(self, stage: str | None = None) -> pd.DataFrame:
        """One row an artifact, oldest first: key, stage, version, created, seconds, bytes, samples, metrics.

        Raises InputError where the stage has no artifact in a catalog that has others.
        """
        columns = artifacts.c
        query = sa.select(
            columns.key, columns.stage, columns.version, columns.created, columns.seconds,
            columns.bytes, columns.sizes, columns.metrics,
        ).order_by(columns.created, columns.id)  # fmt: skip
        if stage is not None:
            query = query.where(columns.stage == stage)
        with self.engine.connect() as connection:
            able = stage is None or storable_text(stage)
            rows = [dict(row) for row in connection.execute(query).mappings()] if able else []
            if stage is not None and not rows:
                self._refuse_stage(connection, stage)
        table = pd.DataFrame(rows, columns=[column.name for column in query.selected_columns])
        table["samples"] = [sizes.get("sample", 0) for sizes in table.pop("sizes")]
        table["created"] = [when(created) for created in table["created"]]
        return table[["key", "stage", "version", "created", "seconds", "bytes", "samples", "metrics"]]

    def show(self, key: str) -> dict[str, Any]:
        """Everything recorded about one artifact, given the first characters of its key.

        Raises InputError where the key is unknown or ambiguous.
        """
        full = self.resolve(key)
        used = artifacts.alias()
        with self.engine.connect() as connection:
            query = (
                sa.select(
                    artifacts, schemas.c.content, runs.c.host, runs.c.user, runs.c.code, runs.c.packages
                )
                .join(schemas, schemas.c.id == artifacts.c.schema)
                .join(runs, runs.c.id == artifacts.c.run)
                .where(artifacts.c.key == full)
            )
            row = dict(connection.execute(query).mappings().one())
            number = row.pop("id")
            sources = (
                sa.select(edges.c.name, used.c.key)
                .join(used, used.c.id == edges.c.input)
                .where(edges.c.artifact == number)
                .order_by(edges.c.name)
            )
            inputs = {source.name: source.key for source in connection.execute(sources)}
            marks = sa.select(tags.c.tag).where(tags.c.artifact == number).order_by(tags.c.tag)
            versions = sa.select(names_table.c.name, names_table.c.number).where(
                names_table.c.artifact == number
            )
            row["tags"] = list(connection.execute(marks).scalars())
            row["names"] = [f"{name}@{version}" for name, version in connection.execute(versions)]
        row["schema"] = row.pop("content")
        row["created"], row["started"] = when(row["created"]), when(row["started"])
        del row["run"]
        return {**row, "inputs": inputs}

    def lineage(self, key: str, up: int | None = None, down: int | None = None) -> Lineage:
        """What made the artifact (`input`, depth > 0), itself, and what was made from it (`used by`), at most
        `up` and `down` steps away.

        Raises InputError where the key is unknown or ambiguous.
        """
        return walk(self.engine, self.resolve(key), up, down)

    def resolve(self, address: str) -> str:
        """The full key of an address: first characters of a key, `name` or `name@latest` (the latest version
        of a name), `name@3`.

        Raises InputError, with suggestions, where nothing or more than one artifact has it.
        """
        with self.engine.connect() as connection:
            named = _named(connection, address)
            return named or self._from_prefix(connection, address)

    def _from_prefix(self, connection: Connection, prefix: str) -> str:
        columns = artifacts.c
        query = sa.select(columns.key, columns.stage).where(_starts_with(columns.key, prefix))
        rows = connection.execute(query.order_by(columns.created.desc()).limit(6)).all()
        if len(rows) == 1 and prefix:
            return str(rows[0].key)
        if not rows:
            recent = sa.select(columns.key, columns.stage).order_by(columns.created.desc()).limit(5)
            rows = connection.execute(recent).all()
            start = f"no artifact in {self.project} has a name or a key that starts with {prefix!r}"
            hint = "the latest are" if rows else "the catalog is empty: run a pipeline first"
        else:
            start, hint = f"the key {prefix!r} is not unique", "give more characters of one of"
        shown = ", ".join(f"{row.key[:SHORT]} ({row.stage})" for row in rows)
        raise InputError(f"{start}; {hint}{': ' + shown if shown else ''}")

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

    def _refuse_stage(self, connection: Connection, stage: str) -> None:
        known = list(connection.execute(sa.select(artifacts.c.stage).distinct()).scalars())
        if known:
            raise InputError(
                f"the catalog has no artifact of stage {stage!r}; it has some of: {', '.join(sorted(known))}"
            )


def when(seconds: float) -> str:
    """A time as ISO 8601 text in UTC."""
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat(timespec="milliseconds")


def _starts_with(column: ColumnElement[str], prefix: str) -> ColumnElement[bool]:
    """Whether keys start so, by a range that the index knows; LIKE reads every key of the catalog."""
    if not storable_text(prefix):
        return sa.false()
    if len(prefix) == KEY_LENGTH:
        return column == prefix
    alike = column.startswith(prefix, autoescape=True)
    if not re.fullmatch("[0-9a-f]+", prefix):
        return sa.false()
    return sa.and_(column >= prefix, column <= prefix.ljust(KEY_LENGTH, "f"), alike)


def _named(connection: Connection, address: str) -> str | None:
    """Key of the version that the address names, None where no such name is known.

    Raises InputError where the name is known and the version is not.
    """
    name, _, number = address.partition("@")
    if not name or not storable_text(address):
        return None
    columns = names_table.c
    query = sa.select(columns.number, artifacts.c.key).join(artifacts, artifacts.c.id == columns.artifact)
    query = query.where(columns.name == name).order_by(columns.number.desc())
    if number in ("", "latest"):
        row = connection.execute(query.limit(1)).first()
        return None if row is None else str(row.key)
    if re.fullmatch("[1-9][0-9]{0,8}", number):
        row = connection.execute(query.where(columns.number == int(number))).first()
        if row is not None:
            return str(row.key)
    rows = connection.execute(query.limit(20)).all()
    if not rows:
        return None
    known = ", ".join(str(row.number) for row in rows)
    raise InputError(f"{name!r} has no version {number!r}; it has {known} and 'latest'")
