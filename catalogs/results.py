"""What a search found: nothing is read before it is looked at, then numbers of artifacts and their facts in
pages.
"""

import datetime
import html
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, overload

import pandas as pd
import sqlalchemy as sa
import xarray as xr
from sqlalchemy.engine import Connection

from catalogs import tables
from catalogs.facets import COUNTED, Facets, counted_facets, plural, tallied_facets
from catalogs.lineage import Lineage
from catalogs.selection import Plan, Selection, among
from kernels.errors import InputError

PAGE = 500
"""Artifacts whose facts are read at once."""

_SHOWN = 20
_FACTS = ("key", "stage", "version", "created", "seconds", "bytes")


@dataclass(frozen=True)
class Artifact:
    """One artifact that was found, and the ways on from it."""

    catalog: Any = field(repr=False, compare=False)
    key: str
    stage: str
    version: int
    created: str
    seconds: float
    bytes: int
    samples: int
    tags: tuple[str, ...]

    @overload
    def open(self) -> xr.Dataset: ...
    @overload
    def open(self, as_: Literal["pyvista", "torch"] | None) -> Any: ...
    def open(self, as_: str | None = None) -> Any:
        """The dataset, lazy; `pyvista`: its mesh or meshes with fields; `torch`: a dict of tensors.

        Raises InputError where the data are missing or damaged, or have no such form.
        """
        from catalogs.views import view

        return view(self.catalog.open(self.key), as_, f"artifact {self.key[:12]} (stage {self.stage!r})")

    def lineage(self, up: int | None = None, down: int | None = None) -> Lineage:
        """What made it and what was made from it, at most so many steps away."""
        table: Lineage = self.catalog.lineage(self.key, up, down)
        return table

    def show(self) -> dict[str, Any]:
        """Everything recorded about it."""
        record: dict[str, Any] = self.catalog.show(self.key)
        return record


class Results(Sequence[Artifact]):
    """Artifacts in order; once looked at they stay as they were seen, search again for what came later."""

    def __init__(self, catalog: Any, selection: Selection, limit: int | None) -> None:
        self._catalog, self._selection, self._limit = catalog, selection, limit
        self._numbers: list[int] | None = None
        self._count: int | None = None
        self._plan: Plan | None = None
        self._planned = False

    def __len__(self) -> int:
        if self._count is None:
            with self._connect() as connection:
                tallied = self._numbers is None and self._selection.is_tallied
                whole = None if tallied else self._whole(connection)
                count = self._selection.count(connection, self._plan) if whole is None else len(whole)
            self._count = count if self._limit is None else min(self._limit, count)
        return self._count

    def __iter__(self) -> Iterator[Artifact]:
        numbers = self._all()
        for start in range(0, len(numbers), PAGE):
            yield from self._artifacts(numbers[start : start + PAGE])

    @overload
    def __getitem__(self, index: int) -> Artifact: ...
    @overload
    def __getitem__(self, index: slice) -> "list[Artifact]": ...
    def __getitem__(self, index: int | slice) -> "Artifact | list[Artifact]":
        if isinstance(index, slice):
            return self._artifacts(self._some(index))
        one = slice(index, index + 1 if index != -1 else None)
        found = self._artifacts(self._some(one))
        if not found:
            raise IndexError(f"result {index} of {len(self)}")
        return found[0]

    def first(self) -> Artifact | None:
        """The first, None where there is none."""
        found = self[:1]
        return found[0] if found else None

    def one(self) -> Artifact:
        """The only one.

        Raises InputError, with the candidates, where there are none or several.
        """
        found = self[:6]
        if len(found) == 1:
            return found[0]
        if not found:
            raise InputError("the search found no artifact, expected one: give fewer conditions")
        shown = ", ".join(f"{one.key[:12]} ({one.stage}, {one.created[:19]})" for one in found[:5])
        more = ", ..." if len(found) > 5 else ""
        raise InputError(
            f"the search found {len(self)} artifacts, expected one: {shown}{more}; give more conditions, or "
            "use .first()"
        )

    def keys(self) -> list[str]:
        """The full key of every artifact."""
        return [artifact.key for artifact in self]

    def facets(self, exact: bool = False) -> Facets:
        """Counts by stage, tag and name, counts and ranges of metrics, parameters and settings.

        Of many results only the first 10,000 in order are counted, unless `exact`.
        """
        with self._connect() as connection:
            if self._limit is None and self._selection.is_tallied:
                return tallied_facets(connection, self._selection.stage)
        numbers = self._all() if exact else self._some(slice(COUNTED + 1))
        with self._connect() as connection:
            return counted_facets(
                connection, numbers[: None if exact else COUNTED], exact or len(numbers) <= COUNTED
            )

    def to_pandas(self, columns: Sequence[str] = ()) -> pd.DataFrame:
        """One row an artifact: key, stage, version, created, seconds, bytes, samples, tags, and for every
        `metrics.x`, `config.x` or `parameters.x` in `columns` its value; parameters give two columns, `.low`
        and `.high`.

        Raises InputError for other columns.
        """
        return self._frame(self._all(), columns)

    def __repr__(self) -> str:
        head = plural(len(self))
        if not len(self):
            return head
        shown = self._frame(self._some(slice(_SHOWN)), ()).to_string(max_colwidth=40)
        return f"{head}\n{shown}" + ("\n..." if len(self) > _SHOWN else "")

    def _repr_html_(self) -> str:
        frame = self._frame(self._some(slice(_SHOWN)), ())
        head = "".join(f"<th>{html.escape(str(name))}</th>" for name in frame.columns)
        rows = "".join(
            "<tr>" + "".join(f"<td>{html.escape(_cell(value))}</td>" for value in row) + "</tr>"
            for row in frame.itertuples(index=False)
        )
        more = f", the first {_SHOWN}" if len(self) > _SHOWN else ""
        return f"<p>{plural(len(self))}{more}</p><table><tr>{head}</tr>{rows}</table>"

    # --- reading

    def _connect(self) -> Connection:
        connection: Connection = self._catalog.engine.connect()
        return connection

    def _whole(self, connection: Connection) -> list[int] | None:
        """All numbers in order, None where there may be very many."""
        if self._numbers is None and not self._planned:
            self._plan, self._planned = self._selection.plan(connection), True
            found = self._selection.whole(connection, self._plan)
            self._numbers = None if found is None else found[: self._limit]
        return self._numbers

    def _all(self) -> list[int]:
        with self._connect() as connection:
            if self._whole(connection) is None:
                self._numbers = self._selection.page(connection, self._limit)
        return self._numbers or []

    def _some(self, part: slice) -> list[int]:
        start, stop = part.start or 0, part.stop
        if self._numbers is not None or stop is None or start < 0 or stop < 0 or (part.step or 1) < 0:
            return self._all()[part]
        stop = stop if self._limit is None else min(stop, self._limit)
        if stop <= start:
            return []
        with self._connect() as connection:
            whole = self._whole(connection)
            if whole is None and (stop > PAGE or self._count is not None):
                whole = self._selection.first(connection, self._plan, stop, self._count)
            if whole is not None:
                return whole[part]
            return self._selection.page(connection, stop - start, start)[:: part.step]

    def _rows(self, numbers: list[int], *more: sa.Column[Any]) -> list[dict[str, Any]]:
        """Facts of artifacts in the given order; one that was removed meanwhile is left out."""
        here, tags = tables.artifacts.c, tables.tags.c
        query = sa.select(here.id, here.sizes, *[here[name] for name in _FACTS], *more)
        rows: dict[int, dict[str, Any]] = {}
        with self._connect() as connection:
            for start in range(0, len(numbers), PAGE):
                some = numbers[start : start + PAGE]
                for row in connection.execute(query.where(among(here.id, some, connection))).mappings():
                    rows[row["id"]] = {**row, "tags": []}
                marks = sa.select(tags.artifact, tags.tag).where(among(tags.artifact, some, connection))
                for artifact, tag in connection.execute(marks.order_by(tags.artifact, tags.tag)):
                    rows.get(artifact, {"tags": []})["tags"].append(tag)
        return [rows[number] for number in numbers if number in rows]

    def _artifacts(self, numbers: list[int]) -> list[Artifact]:
        return [
            Artifact(
                self._catalog, row["key"], row["stage"], row["version"], _when(row["created"]),
                row["seconds"], row["bytes"], int(row["sizes"].get("sample", 0)), tuple(row["tags"]),
            )
            for row in self._rows(numbers)
        ]  # fmt: skip

    def _frame(self, numbers: list[int], columns: Sequence[str]) -> pd.DataFrame:
        spaces = [column.partition(".")[::2] for column in columns]
        for column, (space, name) in zip(columns, spaces, strict=True):
            if space not in ("metrics", "config", "parameters") or not name:
                raise InputError(
                    f"column {column!r} is not known; expected metrics.NAME, config.NAME or parameters.NAME"
                )
        here = tables.artifacts.c
        wanted = [here[space] for space in ("metrics", "config") if space in dict(spaces)]
        rows = self._rows(numbers, *wanted)
        frame = pd.DataFrame(rows, columns=["id", *_FACTS, "sizes", "tags"])
        frame["samples"] = [sizes.get("sample", 0) for sizes in frame.pop("sizes")]
        frame["created"] = [_when(created) for created in frame["created"]]
        for column, (space, name) in zip(columns, spaces, strict=True):
            if space == "parameters":
                ends = self._ranges(numbers, name)
                frame[f"{column}.low"] = [ends.get(number, (None, None))[0] for number in frame["id"]]
                frame[f"{column}.high"] = [ends.get(number, (None, None))[1] for number in frame["id"]]
            else:
                frame[column] = [_at(row[space], name) for row in rows]
        extra = [column for column in frame.columns if column.partition(".")[1]]
        return frame[[*_FACTS, "samples", "tags", *extra]]

    def _ranges(self, numbers: list[int], name: str) -> dict[int, tuple[float, float]]:
        here = tables.parameters.c
        query = sa.select(here.artifact, here.low, here.high).where(here.name == name)
        with self._connect() as connection:
            rows = connection.execute(query.where(among(here.artifact, numbers, connection)))
            return {row.artifact: (row.low, row.high) for row in rows}


def _at(value: Any, path: str) -> Any:
    """Value under a dotted path, None where there is none; names may hold dots themselves."""
    if not isinstance(value, dict):
        return None
    if path in value:
        return value[path]
    for name, item in value.items():
        if path.startswith(f"{name}.") and (found := _at(item, path[len(name) + 1 :])) is not None:
            return found
    return None


def _when(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat(timespec="milliseconds")


def _cell(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)
