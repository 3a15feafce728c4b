"""Which artifacts fit, in which order: the scan that yields least drives, the other comparisons are probes.

Without that choice SQLite builds a temporary table of every comparison and PostgreSQL guesses from statistics
that mix all names: at 10^6 artifacts half a second where a few milliseconds suffice.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.sql.elements import ColumnElement

from catalogs import tables
from catalogs.filters import clause, is_indexed, scan
from catalogs.where import Compare, Condition, HasTag, Within
from kernels.errors import InputError

FEW = 5_000
"""Rows that a scan may yield to be read whole."""

MANY = 100_000
"""Rows up to which scans are told apart before a count starts from one."""

_NEAR = "SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off; SET LOCAL enable_seqscan = off"


@dataclass(frozen=True)
class Order:
    """`created`, another fact or `metrics.x`, `config.x`, `parameters.x`; what lacks it comes last."""

    name: str = "created"
    descending: bool = True


@dataclass(frozen=True)
class Selection:
    """The artifacts that fit every condition."""

    conditions: tuple[Condition, ...]
    order: Order

    def whole(self, connection: Connection) -> list[int] | None:
        """Numbers of all that fit, in order; None where every scan yields more than FEW rows."""
        sizes = self._sizes(connection, FEW)
        if not sizes or sizes[0][0] > FEW:
            return None
        driver = self.conditions[sizes[0][1]]
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql(_NEAR)
        artifact, fits = self._from(driver, sizes)
        found = connection.execute(sa.select(artifact).where(*fits)).scalars()
        return self._sorted(connection, list(dict.fromkeys(int(number) for number in found)))

    def page(self, connection: Connection, limit: int | None, offset: int = 0) -> list[int]:
        """Numbers in order, along the index of the order."""
        if "." in self.order.name:
            return self._by_value(connection, limit, offset)
        home = tables.artifacts
        query = sa.select(home.c.id).where(*[clause(c, home.c.id, home) for c in self.conditions])
        query = query.order_by(*self._facts()).limit(limit).offset(offset)
        return [int(number) for number in connection.execute(query).scalars()]

    def count(self, connection: Connection) -> int:
        """How many artifacts fit, where they are not read whole."""
        if self.is_tallied:
            return self._tallied(connection)
        sizes = self._sizes(connection, MANY)
        if sizes and (connection.dialect.name == "sqlite" or len(self.conditions) == 1):
            driver = self.conditions[sizes[0][1]]
            artifact, fits = self._from(driver, sizes)
            alone = isinstance(driver, HasTag | Within) or getattr(driver, "name", "") == "stage"
            counted = sa.func.count() if alone else sa.func.count(sa.distinct(artifact))
            query = sa.select(counted).select_from(artifact.table).where(*fits)
        else:
            home = tables.artifacts
            query = sa.select(sa.func.count()).select_from(home)
            query = query.where(*[clause(c, home.c.id, home) for c in self.conditions])
        return int(connection.execute(query).scalar_one())

    @property
    def is_tallied(self) -> bool:
        """Whether the counters know how many fit."""
        return not self.conditions or self.stage is not None

    @property
    def stage(self) -> str | None:
        """The stage, where that is the only condition."""
        only = self.conditions[0] if len(self.conditions) == 1 else None
        if isinstance(only, Compare) and only.name == "stage" and only.operator == "==":
            return str(only.value)
        return None

    def _tallied(self, connection: Connection) -> int:
        total = 0
        for table in (tables.tallies, tables.tally_changes):
            mine = [table.c.kind == "stage"]
            if self.stage is not None:
                mine.append(table.c.stage == self.stage)
            total += int(connection.execute(sa.select(sa.func.sum(table.c.count)).where(*mine)).scalar() or 0)
        return total

    def _sizes(self, connection: Connection, most: int) -> list[tuple[int, int]]:
        """(rows that its scan yields, at most `most` + 1, place) of every condition with an index, the fewest
        first.
        """
        able = [i for i, condition in enumerate(self.conditions) if is_indexed(condition)]
        if not able:
            return []
        counts = connection.execute(sa.select(*[_count(self.conditions[i], most) for i in able])).one()
        return sorted(zip(map(int, counts), able, strict=True))

    def _from(
        self, driver: Condition, sizes: list[tuple[int, int]]
    ) -> tuple[sa.Column[Any], list[ColumnElement[bool]]]:
        """Column of the scan with the artifacts, and the conditions on its rows, the rarest first."""
        start = scan(driver)  # type: ignore[arg-type]
        rank = {place: count for count, place in sizes}
        rest = [(rank.get(i, MANY), i) for i, c in enumerate(self.conditions) if c is not driver]
        return start.artifact, [
            start.where, *[clause(self.conditions[i], start.artifact) for _, i in sorted(rest)]
        ]  # fmt: skip

    def _sorted(self, connection: Connection, numbers: list[int]) -> list[int]:
        if not numbers:
            return []
        if "." in self.order.name:
            value, mine = _value_of(self.order)
            query = sa.select(mine.c.artifact, _end(value, self.order)).where(
                among(mine.c.artifact, numbers, connection), mine.c.name == self.order.name.partition(".")[2]
            )
            values = dict(connection.execute(query.group_by(mine.c.artifact)).tuples().all())
            sign = -1 if self.order.descending else 1
            return sorted(numbers, key=lambda n: (n not in values, sign * values.get(n, 0.0), sign * n))
        here = tables.artifacts.c
        query = sa.select(here.id).where(among(here.id, numbers, connection)).order_by(*self._facts())
        return [int(number) for number in connection.execute(query).scalars()]

    def _facts(self) -> list[ColumnElement[Any]]:
        here = tables.artifacts.c
        way = sa.desc if self.order.descending else sa.asc
        return [way(here[self.order.name]), way(here.id)]

    def _by_value(self, connection: Connection, limit: int | None, offset: int) -> list[int]:
        """First what has the value, along its index, then the rest."""
        value, mine = _value_of(self.order)
        name = self.order.name.partition(".")[2]
        fits = [clause(c, mine.c.artifact) for c in self.conditions]
        way = sa.desc if self.order.descending else sa.asc
        query = sa.select(mine.c.artifact).where(mine.c.name == name, *fits)
        query = query.order_by(way(value), way(mine.c.artifact))
        having = query.limit(limit).offset(offset)
        found = [int(number) for number in connection.execute(having).scalars()]
        if limit is not None and len(found) == limit:
            return found
        counted = sa.select(sa.func.count()).select_from(query.order_by(None).subquery())
        past = 0 if found or not offset else int(connection.execute(counted).scalar_one())
        home = tables.artifacts
        has = sa.exists(sa.select(sa.literal(1)).where(mine.c.artifact == home.c.id, mine.c.name == name))
        rest = sa.select(home.c.id).where(
            *[clause(c, home.c.id, home) for c in self.conditions], sa.not_(has)
        )
        rest = rest.order_by(sa.desc(home.c.id) if self.order.descending else sa.asc(home.c.id))
        rest = rest.offset(max(0, offset - past) if not found else 0)
        rest = rest.limit(None if limit is None else limit - len(found))
        return found + [int(number) for number in connection.execute(rest).scalars()]


def among(column: ColumnElement[Any], numbers: Sequence[int], connection: Connection) -> ColumnElement[bool]:
    """SQL that is true where the column is one of the numbers, all in one parameter."""
    if connection.dialect.name == "postgresql":
        return column == sa.any_(sa.literal(list(numbers), sa.ARRAY(sa.BigInteger)))
    listed = sa.func.json_each(json.dumps(list(numbers))).table_valued("value")
    return column.in_(sa.select(listed.c.value))


def _count(condition: Condition, most: int) -> ColumnElement[int]:
    here = scan(condition)  # type: ignore[arg-type]
    some = sa.select(sa.literal(1).label("one")).where(here.where).limit(most + 1).subquery()
    return sa.select(sa.func.count()).select_from(some).scalar_subquery()


def _value_of(order: Order) -> tuple[ColumnElement[Any], sa.FromClause]:
    space = order.name.partition(".")[0]
    table, column = {
        "metrics": (tables.metrics, "value"), "config": (tables.settings, "number"),
        "parameters": (tables.parameters, "low"),
    }[space]  # fmt: skip
    mine = table.alias()
    return mine.c[column], mine


def _end(value: ColumnElement[Any], order: Order) -> ColumnElement[Any]:
    return sa.func.max(value) if order.descending else sa.func.min(value)


def parse_order(text: str, columns: Sequence[str]) -> Order:
    """`-created`, `metrics.rmse`, ... as an order.

    Raises InputError for anything else.
    """
    descending, name = text.startswith("-"), text.removeprefix("-")
    space, _, rest = name.partition(".")
    if name in columns or (space in ("metrics", "config", "parameters") and rest):
        return Order(name, descending)
    raise InputError(
        f"order {text!r} is not known; expected one of {', '.join(columns)}, metrics.NAME, config.NAME or "
        "parameters.NAME, with a '-' in front for the largest first"
    )
