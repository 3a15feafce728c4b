"""What made an artifact and what was made from it, as a table and as a Mermaid diagram."""

import datetime
from typing import Any

import pandas as pd
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from catalogs.tables import artifacts, edges

_DEEPEST = 10_000
_COLUMNS = ["direction", "depth", "name", "stage", "key", "created", "seconds"]
_ORDER = {"input": 0, "self": 1, "used by": 2}


class Lineage(pd.DataFrame):
    """One row an artifact; `mermaid()` draws it. The edges are in `attrs["edges"]`: (input, name, key)."""

    @property
    def _constructor(self) -> type[pd.DataFrame]:
        return pd.DataFrame

    def mermaid(self) -> str:
        """The lineage as Mermaid source, which GitHub, GitLab and notebooks draw."""
        lines = ["flowchart LR"]
        for direction, stage, key in zip(self["direction"], self["stage"], self["key"], strict=True):
            lines.append(f'  {key[:12]}["{_quoted(stage)}<br/>{key[:12]}"]')
            if direction == "self":
                lines.append(f"  style {key[:12]} stroke-width:4px")
        for source, name, key in self.attrs["edges"]:
            lines.append(f'  {source[:12]} -- "{_quoted(name)}" --> {key[:12]}')
        return "\n".join(lines) + "\n"


def walk(engine: Engine, key: str, up: int | None, down: int | None) -> Lineage:
    """Lineage of the artifact with the given full key; `up`, `down`: steps, None for all."""
    with engine.connect() as connection:
        start = connection.execute(sa.select(artifacts.c.id).where(artifacts.c.key == key)).scalar_one()
        found = {start: ("self", 0)}
        for direction, steps in (("input", up), ("used by", down)):
            for number, depth in _reach(connection, start, direction, steps):
                found.setdefault(number, (direction, depth))
        facts = _facts(connection, list(found))
        arrows = _arrows(connection, list(found))
    rows = []
    names = {(a, b): name for a, name, b in arrows}
    for number, (direction, depth) in found.items():
        fact = facts[number]
        rows.append((direction, depth, _name(names, number, found), *fact))
    rows.sort(key=lambda row: (_ORDER[row[0]], -row[1] if row[0] == "input" else row[1], row[5]))
    table = Lineage(rows, columns=_COLUMNS)
    table.attrs["edges"] = sorted((facts[a][1], name, facts[b][1]) for a, name, b in arrows)
    return table


def _reach(connection: Connection, start: int, direction: str, steps: int | None) -> list[tuple[int, int]]:
    """(number, least depth) of everything within so many steps, by one recursive query."""
    here, there = (
        (edges.c.artifact, edges.c.input) if direction == "input" else (edges.c.input, edges.c.artifact)
    )
    limit = _DEEPEST if steps is None else steps
    front = sa.select(sa.cast(start, sa.BigInteger).label("id"), sa.literal(0).label("depth")).cte(
        "front", recursive=True
    )
    # UNION drops rows that were found before at the same depth, so a lattice does not grow without bound
    following = sa.select(there, front.c.depth + 1).join(front, here == front.c.id)
    front = front.union(following.where(front.c.depth < limit))
    query = sa.select(front.c.id, sa.func.min(front.c.depth)).where(front.c.depth > 0).group_by(front.c.id)
    return [(int(number), int(depth)) for number, depth in connection.execute(query)]


def _facts(connection: Connection, numbers: list[int]) -> dict[int, tuple[str, str, str, float]]:
    columns = artifacts.c
    query = sa.select(columns.id, columns.stage, columns.key, columns.created, columns.seconds)
    facts = {}
    for start in range(0, len(numbers), 500):
        for row in connection.execute(query.where(columns.id.in_(numbers[start : start + 500]))):
            made = datetime.datetime.fromtimestamp(row.created, datetime.UTC).isoformat(
                timespec="milliseconds"
            )
            facts[int(row.id)] = (row.stage, row.key, made, row.seconds)
    return facts


def _arrows(connection: Connection, numbers: list[int]) -> list[tuple[int, str, int]]:
    """(input, name, artifact) of every edge between the given artifacts."""
    inside, found = set(numbers), []
    for start in range(0, len(numbers), 500):
        mine = edges.c.artifact.in_(numbers[start : start + 500])
        for row in connection.execute(sa.select(edges).where(mine)):
            if row.input in inside:
                found.append((int(row.input), str(row.name), int(row.artifact)))
    return found


def _name(names: dict[tuple[int, int], str], number: int, found: dict[int, tuple[str, int]]) -> str:
    """Name under which an artifact is used by, or uses, its neighbour one step nearer."""
    direction, depth = found[number]
    for (source, target), name in names.items():
        other = target if direction == "input" else source
        mine = source if direction == "input" else target
        if mine == number and found[other][1] == depth - 1 and found[other][0] in (direction, "self"):
            return name
    return ""


def _quoted(text: Any) -> str:
    """Text within quotes in Mermaid: what is no letter, digit or plain sign by its code."""
    return "".join(c if c.isalnum() or c in " _-.," else f"#{ord(c)};" for c in str(text))
