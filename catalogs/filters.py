"""Filters as SQL: every comparison is an index scan that yields artifacts, or a probe for one artifact; all
values are bound parameters.
"""

import datetime
from dataclasses import dataclass
from typing import Any as Anything

import sqlalchemy as sa
from sqlalchemy.sql.elements import ColumnElement

from catalogs import tables
from catalogs.where import (
    All,
    Any,
    Compare,
    Condition,
    HasName,
    HasTag,
    Leaf,
    Not,
    OneOf,
    Scalar,
    Within,
)
from kernels.errors import InputError

_TEXTS = ("key", "stage", "host", "user", "code", "note")
_RUNS = ("host", "user", "code")
_INDEXED = ("key", "stage", "created")


@dataclass(frozen=True)
class Scan:
    """Rows of a table that fit a comparison; `artifact` is the column with the artifact's number, `stage` the
    one with its stage where the table has it.
    """

    artifact: Anything
    where: ColumnElement[bool]
    stage: Anything = None


def clause(
    condition: Condition, artifact: ColumnElement[Anything], home: sa.FromClause | None = None
) -> ColumnElement[bool]:
    """SQL that is true where the artifact with the given number fits; `home`: the table of artifacts where
    the query reads it anyway.
    """
    return _clause(condition, artifact, home, True)


def _clause(
    condition: Condition, artifact: ColumnElement[Anything], home: sa.FromClause | None, wanted: bool
) -> ColumnElement[bool]:
    # `not` is carried inward: nested deep it overflows the stack of SQLite's parser
    if isinstance(condition, Not):
        return _clause(condition.part, artifact, home, not wanted)
    if isinstance(condition, All | Any):
        parts = [_clause(part, artifact, home, wanted) for part in condition.parts]
        return sa.and_(*parts) if isinstance(condition, All) == wanted else sa.or_(*parts)
    if home is not None and _is_of_artifact(condition):
        found = scan(condition, home).where
    else:
        here = scan(condition)
        found = sa.exists(sa.select(sa.literal(1)).where(here.artifact == artifact, here.where))
    return found if wanted else sa.not_(found)


def scan(condition: Leaf, home: sa.FromClause | None = None) -> Scan:
    """The scan of one comparison.

    Raises InputError where a text is compared with a number, or by size.
    """
    if isinstance(condition, HasTag):
        tags = tables.tags.alias()
        return Scan(tags.c.artifact, tags.c.tag == condition.tag, tags.c.stage)
    if isinstance(condition, HasName):
        names = tables.names.alias()
        return Scan(names.c.artifact, names.c.name == condition.name)
    if isinstance(condition, Within):
        mine = tables.parameters.alias()
        low, high = mine.c.low, mine.c.high
        inside = sa.and_(low >= condition.low, low <= condition.high, high <= condition.high)
        return Scan(mine.c.artifact, sa.and_(mine.c.name == condition.name, inside), mine.c.stage)
    space, _, name = condition.name.partition(".")
    if not name:
        return _of_artifact(condition, tables.artifacts.alias() if home is None else home)
    table = {"metrics": tables.metrics, "config": tables.settings, "parameters": tables.parameters}[space]
    here = table.alias()
    value = {"metrics": _metric, "config": _setting, "parameters": _parameter}[space](here, condition)
    return Scan(here.c.artifact, sa.and_(here.c.name == name, value), here.c.stage)


def is_of_stage(condition: Condition) -> bool:
    """Whether the condition is on the stage alone, by equality."""
    if isinstance(condition, OneOf):
        return condition.name == "stage"
    return isinstance(condition, Compare) and condition.name == "stage" and condition.operator == "=="


def values_of(condition: Condition) -> tuple[str, ...]:
    """The stages that a condition on the stage names."""
    assert isinstance(condition, Compare | OneOf)
    return tuple(map(str, _pairs(condition)[1]))


def of_stage(condition: Condition, stage: ColumnElement[str]) -> ColumnElement[bool]:
    """SQL of a condition on the stage, of a column that holds it."""
    names = values_of(condition)
    return stage == names[0] if len(names) == 1 else stage.in_(names)


def is_indexed(condition: Condition) -> bool:
    """Whether an index yields what fits, so that a search may start there."""
    if isinstance(condition, Compare | OneOf) and "." not in condition.name:
        return condition.name in _INDEXED and not (
            isinstance(condition, Compare) and condition.operator == "!="
        )
    return not isinstance(condition, Not | All | Any)


def _is_of_artifact(condition: Leaf) -> bool:
    return isinstance(condition, Compare | OneOf) and "." not in condition.name


def _pairs(condition: Compare | OneOf) -> tuple[str, list[Scalar]]:
    if isinstance(condition, OneOf):
        return "==", list(condition.values)
    return condition.operator, [condition.value]


def _sized(column: ColumnElement[Anything], operator: str, value: Anything) -> ColumnElement[bool]:
    return {
        "==": column == value, "!=": column != value, "<": column < value, "<=": column <= value,
        ">": column > value, ">=": column >= value,
    }[operator]  # fmt: skip


def _numbers(condition: Compare | OneOf, what: str) -> list[float]:
    values = [value for value in _pairs(condition)[1] if not isinstance(value, str)]
    texts = [value for value in _pairs(condition)[1] if isinstance(value, str)]
    if texts:
        raise InputError(f"{condition.name} is compared with the text {texts[0]!r}; {what} are numbers")
    return values


def _metric(here: sa.FromClause, condition: Compare | OneOf) -> ColumnElement[bool]:
    operator, values = _pairs(condition)[0], _numbers(condition, "metrics")
    return sa.or_(*[_sized(here.c.value, operator, value) for value in values])


def _parameter(here: sa.FromClause, condition: Compare | OneOf) -> ColumnElement[bool]:
    """Every value of the artifact compares so; its values are known by the smallest and the largest."""
    operator, values = _pairs(condition)[0], _numbers(condition, "parameters")
    low, high = here.c.low, here.c.high
    if operator in ("<", "<="):
        return _sized(high, operator, values[0])
    if operator in (">", ">="):
        return _sized(low, operator, values[0])
    if operator == "!=":
        return sa.or_(low > values[0], high < values[0])
    return sa.or_(*[sa.and_(low == value, high == value) for value in values])


def _setting(here: sa.FromClause, condition: Compare | OneOf) -> ColumnElement[bool]:
    operator, values = _pairs(condition)
    found = []
    for value in values:
        if isinstance(value, str):
            _refuse_size(condition, operator, value)
            # an empty text is not kept: '' marks a number
            same = sa.and_(here.c.number == 0.0, here.c.text == value, here.c.text != "")
            found.append(same if operator == "==" else sa.not_(same))
        elif operator == "!=":
            found.append(sa.or_(here.c.number != value, here.c.text != ""))
        else:
            found.append(sa.and_(_sized(here.c.number, operator, value), here.c.text == ""))
    return sa.or_(*found)


def _refuse_size(condition: Compare | OneOf, operator: str, value: str) -> None:
    if operator not in ("==", "!="):
        raise InputError(
            f"{condition.name} {operator} {value!r} compares texts by size; expected == or != or a number"
        )


def _of_artifact(condition: Compare | OneOf, here: sa.FromClause) -> Scan:
    operator, values = _pairs(condition)
    if condition.name == "created":
        values = [_seconds(value) for value in values]
    column: ColumnElement[Anything] = (
        tables.runs.alias().c[condition.name] if condition.name in _RUNS else here.c[condition.name]
    )
    if condition.name in _TEXTS:
        for value in values:
            if not isinstance(value, str):
                raise InputError(
                    f"{condition.name} is compared with {value:g}; it is a text: put it in quotes"
                )
            _refuse_size(condition, operator, value)
    elif condition.name != "created":
        _numbers(condition, f"values of {condition.name}")
    if condition.name in ("version", "bytes"):
        column = sa.cast(column, sa.Float)  # a whole-numbered column would round the other side
    found: ColumnElement[bool] = (
        column.in_(values) if isinstance(condition, OneOf) else _sized(column, operator, values[0])
    )
    if condition.name in _RUNS:
        owner: Anything = column.table
        found = sa.exists(sa.select(sa.literal(1)).where(owner.c.id == here.c.run, found))
    return Scan(here.c.id, found)


def _seconds(value: Scalar) -> float:
    if not isinstance(value, str):
        return value
    try:
        moment = datetime.datetime.fromisoformat(value)
        return (moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)).timestamp()
    except (ValueError, OverflowError) as error:
        raise InputError(
            f"created is compared with {value!r}; expected a date such as '2026-01-31' or "
            "'2026-01-31T12:00', in UTC"
        ) from error
