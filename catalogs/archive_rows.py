"""Artifacts as plain records and back into rows, with everything but their data."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from catalogs.archive_checks import Item
from catalogs.catalog import Catalog
from catalogs.contents import Content, insert_content, stored_contents
from catalogs.database import insert_new, insert_rows
from catalogs.locks import hold
from catalogs.rows import Description, values
from catalogs.segments import Fresh, Place, set_pieces
from catalogs.tables import artifacts, edges, names, parameters, payloads, runs, schemas, tags

_ROWS = 500


def topological(catalog: Catalog, chosen: Sequence[str]) -> list[str]:
    """The given artifacts and everything they were made from, inputs first."""
    depth: dict[str, int] = {}
    arrows: set[tuple[str, str]] = set()
    for key in chosen:
        table = catalog.lineage(key, down=0)
        depth |= dict.fromkeys(table["key"], 0)
        arrows |= {(source, target) for source, _, target in table.attrs["edges"]}
    inputs: dict[str, set[str]] = {key: set() for key in depth}
    for source, target in arrows:
        inputs[target].add(source)
    order: list[str] = []
    while inputs:
        free = sorted(key for key, needed in inputs.items() if not needed)
        order += free
        inputs = {key: needed - set(free) for key, needed in inputs.items() if needed}
    return order


def known(catalog: Catalog, keys: Sequence[str]) -> dict[str, str | None]:
    """Location of those of the keys that the catalog has."""
    found: dict[str, str | None] = {}
    columns = artifacts.c
    with catalog.engine.connect() as connection:
        for start in range(0, len(keys), _ROWS):
            some = columns.key.in_(keys[start : start + _ROWS])
            query = sa.select(columns.key, columns.location).where(some)
            found |= {row.key: row.location for row in connection.execute(query)}
    return found


def exported(catalog: Catalog, key: str) -> dict[str, Any]:
    """An artifact as `archive_checks.Item` reads it, without data."""
    with catalog.engine.connect() as connection:
        row = connection.execute(sa.select(artifacts).where(artifacts.c.key == key)).one()
        run = connection.execute(sa.select(runs).where(runs.c.id == row.run)).mappings().one()
        schema = connection.execute(
            sa.select(schemas.c.content).where(schemas.c.id == row.schema)
        ).scalar_one()
        source = artifacts.alias()
        used = sa.select(edges.c.name, source.c.key).join(source, source.c.id == edges.c.input)
        inputs = {e.name: e.key for e in connection.execute(used.where(edges.c.artifact == row.id))}
        mine = sa.select(parameters).where(parameters.c.artifact == row.id)
        ranges = {p.name: (p.low, p.high) for p in connection.execute(mine)}
        marks = connection.execute(sa.select(tags.c.tag).where(tags.c.artifact == row.id)).scalars().all()
        versions = sa.select(names.c.name, names.c.number).where(names.c.artifact == row.id)
        named = [tuple(version) for version in connection.execute(versions)]
        content = stored_contents(connection, [key]).get(key)
    return {
        "key": key, "stage": row.stage, "version": row.version, "config": row.config, "inputs": inputs,
        "metrics": row.metrics, "sizes": row.sizes, "literature": row.literature, "started": row.started,
        "created": row.created, "seconds": row.seconds, "note": row.note, "tags": sorted(marks),
        "names": sorted(named), "run": {name: run[name] for name in run if name != "id"},
        "described": schema, "ranges": ranges, "data": None,
        "content": None if content is None else {"shared": content.shared, "samples": list(content.samples)},
    }  # fmt: skip


def insert(
    connection: Connection, item: Item, about: Description, content: Content | None, size: int,
    place: Place | None, payload: bytes | None, schema: int, fresh: Mapping[str, Fresh], completing: bool,
) -> None:  # fmt: skip
    """Insert an artifact as it was elsewhere; where its record is there (`completing`), only its data."""
    location = None if place is None else place.address
    if completing:
        mine = artifacts.c.key == item.key
        changed = {"location": location, "bytes": size, "sizes": about.sizes, "schema": schema}
        connection.execute(sa.update(artifacts).where(mine).values(changed))
        number = int(connection.execute(sa.select(artifacts.c.id).where(mine)).scalar_one())
    else:
        number = _insert_row(connection, item, about, size, location, schema)
    if payload is not None:
        connection.execute(sa.insert(payloads), {"artifact": number, "data": payload})
    if place is not None and place.pieces:
        set_pieces(connection, number, place.pieces, fresh)
        content = None if content is None else Content(content.shared, ())
    if content is not None:
        insert_content(connection, item.key, content)


def _insert_row(
    connection: Connection, item: Item, about: Description, size: int, location: str | None, schema: int
) -> int:
    row = {
        "key": item.key, "stage": item.stage, "version": item.version, "config": item.config,
        "metrics": item.metrics, "sizes": about.sizes, "literature": item.literature,
        "started": item.started, "created": item.created, "seconds": item.seconds, "bytes": size,
        "location": location, "note": item.note, "run": _run(connection, item), "schema": schema,
    }  # fmt: skip
    made = connection.execute(sa.insert(artifacts).returning(artifacts.c.id), row)
    number = int(made.scalar_one())
    columns = artifacts.c
    numbers = {
        key: connection.execute(sa.select(columns.id).where(columns.key == key)).scalar_one()
        for key in set(item.inputs.values())
    }
    arrows = [{"artifact": number, "name": n, "input": numbers[key]} for n, key in item.inputs.items()]
    insert_rows(connection, edges, arrows)
    for table, rows in values(number, row, about.ranges).items():
        insert_rows(connection, table, rows)
    mine = {"artifact": number, "stage": item.stage, "created": time.time()}
    insert_rows(connection, tags, [{"tag": tag, **mine} for tag in sorted(set(item.tags))])
    for name, version in item.names:
        _insert_name(connection, name, version, number)
    return number


def _run(connection: Connection, item: Item) -> int:
    now = time.time()
    row = item.run.model_dump()
    # it never counts as living here
    row |= {"seen": min(row["seen"], now), "ended": row["ended"] if row["ended"] is not None else now}
    insert_new(connection, runs, row)
    found = connection.execute(sa.select(runs.c.id).where(runs.c.process == item.run.process))
    return int(found.scalar_one())


def _insert_name(connection: Connection, name: str, version: int, artifact: int) -> None:
    """Keep the number of a version where it is the next or the name is new here; else append it."""
    hold(connection, "name", name)
    last = connection.execute(sa.select(sa.func.max(names.c.number)).where(names.c.name == name)).scalar()
    number = version if last is None or version > last else last + 1
    row = {"name": name, "number": number, "artifact": artifact, "created": time.time()}
    connection.execute(sa.insert(names), row)
