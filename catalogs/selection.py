"""Which artifacts fit, in which order: the scan that yields least drives, the other comparisons are probes.

Without that choice SQLite builds a temporary table of every comparison and PostgreSQL guesses from statistics
that mix all names: at 10^6 artifacts half a second where a few milliseconds suffice.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.sql.elements import ColumnElement

from catalogs import tables
from catalogs.filters import Scan, clause, is_indexed, is_of_stage, of_stage, scan, values_of
from catalogs.where import Compare, Condition, HasTag, OneOf, Within
from kernels.errors import InputError

FEW = 5_000
"""Rows of a scan that are counted; of more it is estimated how many there are."""

MANY = 100_000
"""Rows that a scan may yield to be read whole."""

_SAMPLE = 200
"""Artifacts picked to estimate how many fit."""

_HASHED = 40
"""On PostgreSQL a row that is probed costs as much as so many that are read in the order of an index."""


@dataclass(frozen=True)
class Order:
    """`created`, another fact or `metrics.x`, `config.x`, `parameters.x`; what lacks it comes last."""

    name: str = "created"
    descending: bool = True


_ONCE = ("key", "stage", "created")
"""Facts of which every artifact has one."""

# how PostgreSQL is to go: by probes of an index, along the index of the order, by hash
_OFF = ("hashjoin", "mergejoin", "seqscan")
_PROBING = {**{f"enable_{way}": "off" for way in _OFF}, "jit": "off"}
_ALONG = {
    **_PROBING,
    "enable_bitmapscan": "off",
    "enable_sort": "off",
    "max_parallel_workers_per_gather": "0",
}
_HASHING = {"work_mem": "'256MB'", "jit": "off", "enable_seqscan": "off"}


@dataclass(frozen=True)
class Selection:
    """The artifacts that fit every condition."""

    conditions: tuple[Condition, ...]
    order: Order

    def whole(self, connection: Connection, plan: "Plan | None") -> list[int] | None:
        """Numbers of all that fit, in order; None where every scan yields more than FEW rows."""
        if plan is None or plan.rows > FEW:
            return None
        return self._sorted(connection, self._found(connection, plan), None)

    def first(
        self, connection: Connection, plan: "Plan | None", wanted: int, count: int | None
    ) -> list[int] | None:
        """The first `wanted` in order, read from the rarest scan; None where it is better to go through all
        artifacts until they are found. `count`: how many fit, where that is known.
        """
        if plan is None or plan.rows > _worth(connection, wanted, count):
            return None
        return self._sorted(connection, self._found(connection, plan), wanted)

    def _found(self, connection: Connection, plan: "Plan") -> list[int]:
        found = connection.execute(self._driven(connection, plan)).scalars()
        return list(dict.fromkeys(int(number) for number in found))

    def page(self, connection: Connection, limit: int | None, offset: int = 0) -> list[int]:
        """Numbers in order, along the index of the order."""
        if "." in self.order.name:
            return self._by_value(connection, limit, offset)
        if connection.dialect.name == "postgresql":
            _set(connection, _ALONG)
        home = tables.artifacts
        query = sa.select(home.c.id).where(*[clause(c, home.c.id, home) for c in self.conditions])
        query = query.order_by(*self._facts()).limit(limit).offset(offset)
        return [int(number) for number in connection.execute(query).scalars()]

    def count(self, connection: Connection, plan: "Plan | None") -> int:
        """How many artifacts fit, where they are not read whole."""
        if self.is_tallied:
            return self._tallied(connection)
        if plan is not None:
            query = self._driven(connection, plan)
            driver = self.conditions[plan.driver]
            once = isinstance(driver, HasTag | Within) or getattr(driver, "name", "") in _ONCE
            found = query.subquery() if once else query.distinct().subquery()
            return int(connection.execute(sa.select(sa.func.count()).select_from(found)).scalar_one())
        home = tables.artifacts
        every = sa.select(sa.func.count()).select_from(home)
        every = every.where(*[clause(c, home.c.id, home) for c in self.conditions])
        return int(connection.execute(every).scalar_one())

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

    # --- from the rarest

    def plan(self, connection: Connection) -> "Plan | None":
        """From which condition to start; None where none has an index."""
        able = [i for i, condition in enumerate(self.conditions) if is_indexed(condition)]
        if not able:
            return None
        stages = self._stages(connection)
        counted = [_count(scan(self.conditions[i]), stages) for i in able]  # type: ignore[arg-type]
        rows = dict(zip(able, map(int, connection.execute(sa.select(*counted)).one()), strict=True))
        if min(rows.values()) > FEW:
            rows |= self._estimated(connection, [i for i in able if rows[i] > FEW])
        driver = min(able, key=lambda i: (rows[i], i))
        return Plan(driver, rows[driver], rows, stages)

    def _stages(self, connection: Connection) -> tuple[Condition, ...]:
        """The conditions on the stage, else one that names all stages there are: every index has the stage
        before the value.
        """
        given = tuple(condition for condition in self.conditions if is_of_stage(condition))
        return given or (OneOf("stage", tuple(all_stages(connection))),)

    def _estimated(self, connection: Connection, places: Sequence[int]) -> dict[int, int]:
        """Rows of the scans of conditions, from a few artifacts picked by chance, always the same."""
        last = _last(connection)
        numbers = np.unique(np.random.default_rng(0).integers(1, last + 1, _SAMPLE))
        home = tables.artifacts
        mine = [clause(condition, home.c.id, home) for condition in self.conditions if is_of_stage(condition)]
        fits = [sa.and_(*mine, clause(self.conditions[i], home.c.id, home)) for i in places]
        sums = [sa.func.sum(sa.case((one, 1), else_=0)) for one in fits]
        picked = among(home.c.id, [int(number) for number in numbers], connection)
        found = connection.execute(sa.select(*sums).where(picked)).one()
        shares = [int(hits or 0) / len(numbers) for hits in found]
        return {i: max(FEW + 1, int(share * last)) for i, share in zip(places, shares, strict=True)}

    def _driven(self, connection: Connection, plan: "Plan") -> sa.Select[tuple[int]]:
        """Artifacts of the rarest scan that fit the other conditions, the rarest of them first."""
        start = scan(self.conditions[plan.driver])  # type: ignore[arg-type]
        left = [i for i in range(len(self.conditions)) if i != plan.driver]
        fits = [start.where]
        if start.stage is not None:
            fits += [of_stage(stage, start.stage) for stage in plan.stages]
            left = [i for i in left if not is_of_stage(self.conditions[i])]
        left.sort(key=lambda i: (plan.sizes.get(i, MANY), i))
        if connection.dialect.name == "postgresql":
            return self._hashed(connection, plan, start.artifact, fits, left)
        probes = [clause(self.conditions[i], start.artifact) for i in left]
        return sa.select(start.artifact).where(*fits, *probes)

    def _hashed(
        self, connection: Connection, plan: "Plan", artifact: Any, fits: list[ColumnElement[bool]],
        left: list[int],
    ) -> sa.Select[tuple[int]]:  # fmt: skip
        """On PostgreSQL what is not much larger is read too and compared by hash, and the rest is probed; the
        planner, which would go by statistics that mix all names, is left no choice.
        """
        if plan.rows <= FEW:
            _set(connection, _PROBING)
            return sa.select(artifact).where(*fits, *[clause(self.conditions[i], artifact) for i in left])
        _set(connection, _HASHING)
        probed = []
        for i in left:
            if plan.sizes.get(i, math.inf) > _HASHED * plan.rows:
                probed.append(i)
                continue
            other = scan(self.conditions[i])  # type: ignore[arg-type]
            within = [] if other.stage is None else [of_stage(stage, other.stage) for stage in plan.stages]
            fits.append(artifact.in_(sa.select(other.artifact).where(other.where, *within).offset(0)))
        some = sa.select(artifact.label("artifact")).where(*fits).cte("some").prefix_with("MATERIALIZED")
        return sa.select(some.c.artifact).where(
            *[clause(self.conditions[i], some.c.artifact) for i in probed]
        )

    # --- in order

    def _sorted(self, connection: Connection, numbers: list[int], limit: int | None) -> list[int]:
        if not numbers:
            return []
        if "." in self.order.name:
            value, mine = _value_of(self.order)
            query = sa.select(mine.c.artifact, _end(value, self.order)).where(
                among(mine.c.artifact, numbers, connection), mine.c.name == self.order.name.partition(".")[2]
            )
            values = dict(connection.execute(query.group_by(mine.c.artifact)).tuples().all())
            sign = -1 if self.order.descending else 1
            return sorted(numbers, key=lambda n: (n not in values, sign * values.get(n, 0.0), sign * n))[
                :limit
            ]
        if connection.dialect.name == "postgresql" and len(numbers) > FEW:
            _set(connection, _ALONG)  # the index of the order holds the numbers; the rows are far apart
        here = tables.artifacts.c
        query = sa.select(here.id).where(among(here.id, numbers, connection)).order_by(*self._facts())
        query = query.limit(limit)
        return [int(number) for number in connection.execute(query).scalars()]

    def _facts(self) -> list[ColumnElement[Any]]:
        here = tables.artifacts.c
        way = sa.desc if self.order.descending else sa.asc
        return [way(here[self.order.name]), way(here.id)]

    def _by_value(self, connection: Connection, limit: int | None, offset: int) -> list[int]:
        """First what has the value, along its index, then the rest."""
        name = self.order.name.partition(".")[2]
        found = self._having(connection, name, limit, offset)
        if limit is not None and len(found) == limit:
            return found
        _, mine = _value_of(self.order)
        home = tables.artifacts
        fits = [clause(c, home.c.id, home) for c in self.conditions]
        has = sa.exists(sa.select(sa.literal(1)).where(mine.c.artifact == home.c.id, mine.c.name == name))
        counted = sa.select(sa.func.count()).select_from(home).where(*fits, has)
        past = 0 if found or not offset else int(connection.execute(counted).scalar_one())
        rest = sa.select(home.c.id).where(*fits, sa.not_(has))
        rest = rest.order_by(sa.desc(home.c.id) if self.order.descending else sa.asc(home.c.id))
        rest = rest.offset(max(0, offset - past) if not found else 0)
        rest = rest.limit(None if limit is None else limit - len(found))
        return found + [int(number) for number in connection.execute(rest).scalars()]

    def _having(self, connection: Connection, name: str, limit: int | None, offset: int) -> list[int]:
        """Those with the value in its order: the first of every stage, of which the first of all."""
        way = sa.desc if self.order.descending else sa.asc
        firsts = []
        for stage in self._named_stages(connection):
            value, mine = _value_of(self.order)
            left = [c for c in self.conditions if not is_of_stage(c)]
            fits = [clause(condition, mine.c.artifact) for condition in left]
            query = sa.select(mine.c.artifact, value.label("value"))
            query = query.where(mine.c.name == name, mine.c.stage == stage, *fits)
            if limit is not None:
                query = query.order_by(way(value), way(mine.c.artifact)).limit(limit + offset)
            firsts.append(sa.select(query.subquery()))
        if not firsts:
            return []
        every = sa.union_all(*firsts).subquery()
        query = sa.select(every.c.artifact).order_by(way(every.c.value), way(every.c.artifact))
        return [int(number) for number in connection.execute(query.limit(limit).offset(offset)).scalars()]

    def _named_stages(self, connection: Connection) -> list[str]:
        names = set(all_stages(connection))
        for condition in self.conditions:
            if is_of_stage(condition):
                names &= set(values_of(condition))
        return sorted(names)


@dataclass(frozen=True)
class Plan:
    """The condition to start from, the rows that it yields, those of every condition with an index, and the
    conditions on the stage.
    """

    driver: int
    rows: int
    sizes: dict[int, int]
    stages: tuple[Condition, ...]


def all_stages(connection: Connection) -> list[str]:
    """Stages of which the catalog has or had artifacts."""
    found: set[str] = set()
    for table in (tables.tallies, tables.tally_changes):
        query = sa.select(table.c.stage).where(table.c.kind == "stage").distinct()
        found |= set(connection.execute(query).scalars())
    return sorted(found)


def _set(connection: Connection, ways: Mapping[str, str]) -> None:
    """Settings of PostgreSQL's planner until the transaction ends."""
    connection.exec_driver_sql("; ".join(f"SET LOCAL {name} = {value}" for name, value in ways.items()))


def _last(connection: Connection) -> int:
    return int(connection.execute(sa.select(sa.func.max(tables.artifacts.c.id))).scalar() or 1)


def among(column: ColumnElement[Any], numbers: Sequence[int], connection: Connection) -> ColumnElement[bool]:
    """SQL that is true where the column is one of the numbers, all in one parameter."""
    if connection.dialect.name == "postgresql":
        return column == sa.any_(sa.literal(list(numbers), sa.ARRAY(sa.BigInteger)))
    return column.in_(listed(numbers, connection))


def by_probes(connection: Connection) -> None:
    """Let PostgreSQL look every number up in an index, until the transaction ends."""
    if connection.dialect.name == "postgresql":
        _set(connection, {**_PROBING, "max_parallel_workers_per_gather": "0"})


def within(
    column: sa.Column[int], rows: sa.Select[tuple[int]], connection: Connection
) -> ColumnElement[bool]:
    """SQL that is true where the column is one of the rows; as an array PostgreSQL goes once through an index
    for all of them.
    """
    if connection.dialect.name == "postgresql":
        return column == sa.any_(sa.func.array(rows.scalar_subquery()))
    return column.in_(rows)


def listed(numbers: Sequence[int], connection: Connection) -> sa.Select[tuple[int]]:
    """The numbers as rows with the column `value`, all in one parameter."""
    if connection.dialect.name == "postgresql":
        array = sa.literal(list(numbers), sa.ARRAY(sa.BigInteger))
        return sa.select(sa.func.unnest(array).label("value"))
    return sa.select(sa.func.json_each(json.dumps(list(numbers))).table_valued("value").c.value)


def _worth(connection: Connection, wanted: int, count: int | None) -> int:
    """Rows n that a scan may yield to be read whole where `wanted` results are to be found.

    Of N artifacts `count` fit, at most n: going through all of them looks at wanted * N / count of them, the
    scan at n.
    """
    every = wanted * _last(connection)
    return min(max(FEW, math.isqrt(every) if count is None else every // max(count, 1)), MANY)


def _count(here: Scan, stages: Sequence[Condition]) -> ColumnElement[int]:
    within = [] if here.stage is None else [of_stage(stage, here.stage) for stage in stages]
    some = sa.select(sa.literal(1).label("one")).where(here.where, *within).limit(FEW + 1).subquery()
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
