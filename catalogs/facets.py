"""Facets: how many artifacts have what, and over which range; of all and of a stage from counters, else
counted.
"""

from dataclasses import dataclass
from typing import Any

import pandas as pd
import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.sql.elements import ColumnElement

from catalogs import tables
from catalogs.selection import by_probes, listed, within

COUNTED = 10_000
"""Artifacts whose values are counted one by one, unless all are asked for."""

TEXTS = 20
"""Texts shown of a setting, the commonest first."""

_RANGES = {
    "metric": (tables.metrics, "value", "value"),
    "parameter": (tables.parameters, "low", "high"),
    "number": (tables.settings, "number", "number"),
}
_ORDER = ("stage", "tag", "name", "metric", "parameter", "number", "text")
_COLUMNS = ["kind", "name", "text", "count", "low", "high"]
_MOST_TEXTS = 2_000


@dataclass(frozen=True)
class Facets:
    """`table`: one row a stage, tag, name, metric, parameter, number or text of a setting, with its count and
    the range of its values; `counted` artifacts were counted, which are all unless `complete` is false.
    """

    table: pd.DataFrame
    counted: int
    complete: bool

    def __getitem__(self, kind: str) -> dict[str, int]:
        """Counts by name of one kind; texts as `name=text`."""
        mine = self.table[self.table["kind"] == kind]
        names = mine["name"] + ("=" + mine["text"] if kind == "text" else "")
        return dict(zip(names, mine["count"].astype(int), strict=True))

    def range(self, kind: str, name: str) -> tuple[float, float]:
        """Smallest and largest value of a metric, parameter or number."""
        mine = self.table[(self.table["kind"] == kind) & (self.table["name"] == name)]
        return float(mine["low"].iloc[0]), float(mine["high"].iloc[0])

    def __repr__(self) -> str:
        return f"{self.head()}\n{self.table.to_string(na_rep='', index=False)}"

    def _repr_html_(self) -> str:
        return f"<p>{self.head()}</p>" + self.table.to_html(escape=True, na_rep="", index=False)

    def head(self) -> str:
        """Of how many artifacts these are the facets."""
        return f"facets of {'' if self.complete else 'the first '}{plural(self.counted)}"


def plural(count: int) -> str:
    """`1 artifact`, `2 artifacts`."""
    return f"{count} artifact{'' if count == 1 else 's'}"


def tallied_facets(connection: Connection, stage: str | None) -> Facets:
    """Facets of all artifacts, or of those of a stage, from the counters."""
    rows = _tallied(connection, stage)
    return Facets(_frame(rows), sum(row[3] for row in rows if row[0] == "stage"), True)


def counted_facets(connection: Connection, numbers: list[int], complete: bool) -> Facets:
    """Facets of the artifacts with the given numbers."""
    return Facets(_frame(_counted(connection, numbers)), len(numbers), complete)


def _frame(rows: list[tuple[Any, ...]]) -> pd.DataFrame:
    rows = sorted(
        rows, key=lambda row: (_ORDER.index(row[0]), row[1] if row[0] == "text" else "", -row[3], row[1:3])
    )
    return pd.DataFrame(rows, columns=_COLUMNS).astype({"low": float, "high": float})


# --- from the counters


def _tallied(connection: Connection, stage: str | None) -> list[tuple[Any, ...]]:
    counts: dict[tuple[str, str, str], int] = {}
    for table in (tables.tallies, tables.tally_changes):
        here = table.c
        name = sa.case((here.kind == "stage", here.stage), else_=here.name).label("name")
        query = sa.select(here.kind, name, here.text, sa.func.sum(here.count))
        query = query.where(*([] if stage is None else [here.stage == stage]))
        rest = query.where(here.kind.in_([kind for kind in _ORDER if kind != "text"]))
        queries = [rest, query.where(here.kind == "text", _common_texts(table, stage))]
        for one in queries:
            for kind, label, text, count in connection.execute(one.group_by(here.kind, name, here.text)):
                counts[kind, label, text] = counts.get((kind, label, text), 0) + int(count)
    counts = {label: count for label, count in counts.items() if count > 0}
    ends = {kind: _ends(connection, kind, stage) for kind in _RANGES}
    shown: dict[str, int] = {}
    rows = []
    for (kind, label, text), count in sorted(counts.items(), key=lambda item: -item[1]):
        if kind == "text":
            shown[label] = shown.get(label, 0) + 1
            if shown[label] > TEXTS:
                continue
        rows.append((kind, label, text, count, *ends.get(kind, {}).get(label, (None, None))))
    return rows


def _common_texts(table: sa.Table, stage: str | None) -> ColumnElement[bool]:
    """The commonest texts: a setting that is a text of its own for every artifact has a million."""
    if table is tables.tally_changes:
        return sa.true()
    some = table.alias()
    query = sa.select(some.c.name, some.c.text).where(some.c.kind == "text")
    query = query.where(*([] if stage is None else [some.c.stage == stage]))
    query = query.order_by(some.c.count.desc()).limit(_MOST_TEXTS)
    return sa.tuple_(table.c.name, table.c.text).in_(sa.select(query.subquery()))


def _ends(connection: Connection, kind: str, stage: str | None) -> dict[str, tuple[float, float]]:
    """Smallest and largest value of each name, from the ends of its index for every stage."""
    table, *columns = _RANGES[kind]
    known = [
        sa.select(counts.c.name, counts.c.stage).where(
            counts.c.kind == kind, *([] if stage is None else [counts.c.stage == stage])
        )
        for counts in (tables.tallies, tables.tally_changes)
    ]
    each = sa.union(*known).subquery()
    found = []
    for column, way in zip(columns, (sa.asc, sa.desc), strict=True):
        mine = table.alias()
        query = sa.select(mine.c[column]).where(mine.c.name == each.c.name, mine.c.stage == each.c.stage)
        if kind == "number":
            query = query.where(mine.c.text == "")
        found.append(query.order_by(way(mine.c[column])).limit(1).scalar_subquery())
    ends: dict[str, tuple[float, float]] = {}
    for name, low, high in connection.execute(sa.select(each.c.name, *found)):
        if low is not None:
            other = ends.get(name, (low, high))
            ends[name] = (min(low, other[0]), max(high, other[1]))
    return ends


# --- counted


def _counted(connection: Connection, numbers: list[int]) -> list[tuple[Any, ...]]:
    """Of every kind by one statement, so that the numbers are sent once."""
    by_probes(connection)
    mine = listed(numbers, connection).cte("mine")
    home, tags, names = tables.artifacts.c, tables.tags.c, tables.names.c
    settings, metrics, parameters = tables.settings.c, tables.metrics.c, tables.parameters.c
    none = sa.null().cast(sa.Float)

    def grouped(
        kind: str, artifact: sa.Column[int], name: sa.Column[str], low: Any = none, high: Any = none,
        text: Any = None,
    ) -> sa.Select[Any]:  # fmt: skip
        by = [name] if text is None else [name, text]
        label = sa.literal("", sa.Text) if text is None else text
        query = sa.select(sa.literal(kind, sa.Text), name, label, sa.func.count(), low, high)
        return query.where(within(artifact, sa.select(mine.c.value), connection)).group_by(*by)

    least, most = sa.func.min, sa.func.max
    every = sa.union_all(
        grouped("stage", home.id, home.stage),
        grouped("tag", tags.artifact, tags.tag),
        grouped("name", names.artifact, names.name),
        grouped("metric", metrics.artifact, metrics.name, least(metrics.value), most(metrics.value)),
        grouped(
            "parameter", parameters.artifact, parameters.name, least(parameters.low), most(parameters.high)
        ),
        grouped(
            "text", settings.artifact, settings.name, least(settings.number), most(settings.number),
            settings.text,
        ),
    )  # fmt: skip
    found = sorted(connection.execute(every).tuples(), key=lambda row: (-row[3], row[2]))
    rows: list[tuple[Any, ...]] = []
    shown: dict[str, int] = {}
    for kind, name, text, count, low, high in found:
        if kind != "text":
            rows.append((kind, name, "", int(count), low, high))
        elif text == "":  # marks a number
            rows.append(("number", name, "", int(count), low, high))
        else:
            shown[name] = shown.get(name, 0) + 1
            if shown[name] <= TEXTS:
                rows.append(("text", name, text, int(count), None, None))
    return rows
