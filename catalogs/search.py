"""Search of the catalog: words and a filter expression become one selection, which is evaluated when it is
looked at.
"""

import difflib
import math
import operator
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from catalogs import tables
from catalogs.filters import scan
from catalogs.selection import Order, Selection, parse_order
from catalogs.where import (
    All,
    Compare,
    Condition,
    HasName,
    HasTag,
    Leaf,
    OneOf,
    Within,
    leaves,
    parse,
    storable_text,
)
from kernels.errors import InputError

if TYPE_CHECKING:
    from catalogs.results import Results

ORDERS = ("created", "stage", "version", "seconds", "bytes", "key")
"""Facts by which results may be ordered."""

_SPACES = {"metrics": tables.metrics, "config": tables.settings, "parameters": tables.parameters}
_KINDS = {"metrics": ("metric",), "config": ("number", "text"), "parameters": ("parameter",)}


class Search:
    """The searching part of the catalog."""

    engine: Engine

    def resolve(self, address: str) -> str:
        """The full key of an address; see `Queries.resolve`."""
        raise NotImplementedError

    def search(
        self,
        *,
        stage: str | Iterable[str] | None = None,
        tags: str | Iterable[str] = (),
        where: str = "",
        name: str | None = None,
        limit: int | None = None,
        order: str = "-created",
        parameters: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> "Results":
        """The artifacts that fit all that is given; nothing is read before the results are looked at.

        `stage`: one or several; `tags`: all of them; `name`: all versions of a name, or `name@3`; `where`: an
        expression such as `metrics.rmse < 0.02 and config.modes >= 12`; `order`: `created`, `metrics.x`, ...,
        with `-` the largest first. Any other word is a parameter: a number that all its values equal, or
        (low, high) within which all of them lie, None for an open end; `parameters` takes those that cannot
        be words.

        Raises InputError for a stage, parameter, metric or setting that the catalog does not know.
        """
        from catalogs.results import Results

        if limit is not None:
            limit = _whole(limit)
        conditions: list[Condition] = []
        if stage is not None:
            wanted = [_text(one, "stage") for one in _several(stage)]
            conditions.append(
                Compare("stage", "==", wanted[0]) if len(wanted) == 1 else OneOf("stage", tuple(wanted))
            )
        conditions += [HasTag(_text(tag, "tag")) for tag in sorted(set(_several(tags)))]
        conditions += [_parameter(key, value) for key, value in {**(parameters or {}), **more}.items()]
        if name is not None:
            named = _text(name, "name")
            exact = "@" in named
            conditions.append(Compare("key", "==", self.resolve(named)) if exact else HasName(named))
        if _text(where, "where").strip():
            tree = parse(where)
            conditions += tree.parts if isinstance(tree, All) else (tree,)
        chosen = parse_order(_text(order, "order"), ORDERS)
        for condition in conditions:
            for leaf in leaves(condition):
                scan(leaf)  # refuses what cannot be compared, now and not when the results are looked at
        with self.engine.connect() as connection:
            _check_names(connection, conditions, chosen)
        return Results(self, Selection(tuple(conditions), chosen), limit)


def _several(given: str | Iterable[str]) -> Sequence[str]:
    if isinstance(given, str):
        return [given]
    try:
        return list(given)
    except TypeError as error:
        raise InputError(f"{given!r} given; expected a text or several of them") from error


def _text(given: Any, what: str) -> str:
    if not isinstance(given, str) or not storable_text(given):
        raise InputError(f"{what} {given!r} cannot be searched for; expected a text without NUL characters")
    return given


def _whole(limit: Any) -> int:
    try:
        number = operator.index(limit)
    except TypeError as error:
        raise InputError(f"limit {limit!r}; expected a whole number") from error
    if not 0 < number < 2**31:
        raise InputError(f"limit {number}; expected at least 1")
    return number


def _parameter(name: str, given: Any) -> Condition:
    if not storable_text(name):
        raise InputError(f"the parameter {name!r} cannot be searched for: it holds a NUL character")
    ends = list(given) if isinstance(given, tuple | list) else [given, given]
    wrong = InputError(
        f"{name} = {given!r} given; expected a number, or (low, high) with None for an open end"
    )
    if len(ends) != 2 or (not isinstance(given, tuple | list) and given is None):
        raise wrong
    try:
        low, high = (
            end if one is None else float(one) for one, end in zip(ends, (-1.7e308, 1.7e308), strict=True)
        )
    except (TypeError, ValueError, OverflowError) as error:
        raise wrong from error
    if isinstance(given, str) or math.isnan(low) or math.isnan(high):
        raise wrong
    if low > high:
        raise InputError(f"{name} = {given!r} holds nothing: expected (low, high) with low <= high")
    return Within(name, max(low, -1.7e308), min(high, 1.7e308))


def _check_names(connection: Connection, conditions: Sequence[Condition], order: Order) -> None:
    """Raise InputError for a stage, metric, setting or parameter that no artifact has."""
    found = [leaf for condition in conditions for leaf in leaves(condition)]
    names = [n for n in dict.fromkeys([*map(_dotted, found), order.name]) if "." in n]
    probes = []
    for name in names:
        space, _, rest = name.partition(".")
        column = _SPACES[space].c.name
        probes.append(sa.exists(sa.select(sa.literal(1)).where(column == rest)))
    there = connection.execute(sa.select(*probes)).one() if probes else ()
    for name, known in zip(names, there, strict=True):
        if not known:
            space = name.partition(".")[0]
            raise InputError(_unknown(name, [f"{space}.{one}" for one in _known(connection, _KINDS[space])]))
    stages: list[str] = []
    for condition in conditions:
        if not isinstance(condition, Compare | OneOf) or condition.name != "stage":
            continue
        stages = stages or _known(connection, ("stage",))
        wanted = condition.values if isinstance(condition, OneOf) else (condition.value,)
        for one in wanted:
            if stages and one not in stages:
                raise InputError(_unknown(f"stage {one}", [f"stage {stage}" for stage in stages]))


def _dotted(leaf: Leaf) -> str:
    if isinstance(leaf, Within):
        return f"parameters.{leaf.name}"
    return leaf.name if isinstance(leaf, Compare | OneOf) else ""


def _known(connection: Connection, kinds: tuple[str, ...]) -> list[str]:
    known: set[str] = set()
    for table in (tables.tallies, tables.tally_changes):
        column = table.c.stage if kinds == ("stage",) else table.c.name
        query = sa.select(column).where(table.c.kind.in_(kinds)).distinct().limit(5000)
        known |= set(connection.execute(query).scalars())
    return sorted(known)


def _unknown(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, 5, 0.5) or known[:10]
    hint = f"the nearest are: {', '.join(near)}" if near else "it knows none: run a pipeline first"
    return f"the catalog knows no {name}; {hint}"
