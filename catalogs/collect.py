"""Garbage collection: removes what killed runs left, beside runs that go on."""

import shutil
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from catalogs.catalog import Catalog
from catalogs.contents import delete_contents
from catalogs.database import writing
from catalogs.liveness import SILENT_SECONDS, living
from catalogs.object_stores import owner_of
from catalogs.scratch import stale
from catalogs.sealing import divided
from catalogs.segments import leave_unused, lock
from catalogs.stores import Entry, FolderStore
from catalogs.tables import artifacts, segments
from catalogs.tables import parts as parts_table

_COLUMNS = ["kind", "name", "bytes"]


@dataclass(frozen=True)
class _Found:
    """Something that goes: its kind, its name in the store, its bytes, the key of a part."""

    kind: str
    name: str
    size: int
    key: str = ""


def gc(catalog: Catalog, dry_run: bool = False, all_parts: bool = False) -> pd.DataFrame:
    """Remove private leftovers, data without an entry, and parts of runs that ended without a result; one row
    each, with its bytes.

    What belongs to a process that lives stays: one of this machine, or one on another machine whose heartbeat
    is younger than SILENT_SECONDS. So do data that a record beside them claims, which another catalog may
    use, segments that a compaction freed less than SILENT_SECONDS ago, which somebody may be reading, what a
    killed computation goes on from, for a week, and parts of published artifacts, since a larger study reuses
    them; `all_parts` removes those.
    Raises InputError where the store cannot be written.
    """
    with catalog.errors("collecting garbage"), catalog.data.alone():
        with catalog.engine.connect() as connection:
            found = [
                *_leftovers(catalog, connection),
                *_orphans(catalog, connection),
                *_freed(connection),
                *_orphan_parts(catalog, connection),
                *_vanished_parts(catalog, connection, all_parts),
            ]
        found += [
            _Found("scratch", str(place), size) for place, size in stale(catalog.project, _done(catalog))
        ]
        if not dry_run:
            _remove(catalog, found)
    rows = [(one.kind, one.name.rpartition("/")[2], one.size) for one in found]
    return pd.DataFrame(rows, columns=_COLUMNS)


def _done(catalog: Catalog) -> Callable[[str], bool]:
    """Whether the result or the part of a key is there."""
    with catalog.engine.connect() as connection:
        finished = set(connection.execute(sa.select(parts_table.c.key)).scalars())
    return lambda key: key in finished or catalog.exists(key)


def _remove(catalog: Catalog, found: list[_Found]) -> None:
    gone = [one.key for one in found if one.kind == "part"]
    freed = [one.key for one in found if one.kind == "segment"]
    catalog.identity()  # written by a transaction of its own
    with writing(catalog.engine) as connection:
        delete_contents(connection, gone)
        for start in range(0, len(gone), 500):
            connection.execute(sa.delete(parts_table).where(parts_table.c.key.in_(gone[start : start + 500])))
        lock(connection)
        unused = leave_unused(connection, freed, freed=False)
        free = catalog.records.leave([], [divided(one)[0] for one in unused])
    for one in found:
        if one.kind == "scratch":
            shutil.rmtree(one.name, ignore_errors=True)
    named = (one.name for one in found if one.kind not in ("segment", "scratch"))
    catalog.data.delete([*named, *free])


def _freed(connection: Connection) -> list[_Found]:
    before = segments.c.freed < time.time() - SILENT_SECONDS
    rows = connection.execute(sa.select(segments).where(before).order_by(segments.c.id))
    return [_Found("segment", divided(row.location)[0], row.bytes, row.location) for row in rows]


def _leftovers(catalog: Catalog, connection: Connection) -> list[_Found]:
    if not isinstance(catalog.data, FolderStore):
        return []
    found = []
    for place in sorted(catalog.data.private.iterdir()):
        written = place.stat().st_mtime
        if not living(connection, place.name.rsplit(".", 1)[0], written):
            name = place.relative_to(catalog.data.folder).as_posix()
            found.append(_Found("private", name, _size(catalog, name)))
    return found


def _orphans(catalog: Catalog, connection: Connection) -> list[_Found]:
    """Data that neither a row nor a record names, of processes that are dead."""
    found = []
    for name in without_entry(catalog, connection):
        if is_claimed(catalog, name):
            continue
        if catalog.data.remote and may_be_written(catalog, connection, name):
            continue
        found.append(_Found("orphan", name, _size(catalog, name)))
    return found


def without_entry(catalog: Catalog, connection: Connection) -> list[str]:
    """Locations of data that no row names."""
    known: set[str] = set()
    for column in (artifacts.c.location, segments.c.location):
        located = connection.execute(sa.select(column).where(column != "")).scalars()
        known |= {divided(location)[0] for location in located}
    return [name for name in catalog.data.tops() if name.endswith(".zarr") and name not in known]


def is_claimed(catalog: Catalog, name: str) -> bool:
    """Whether the record of its key names somebody who uses it."""
    return bool(catalog.records.users(name))


def may_be_written(catalog: Catalog, connection: Connection, name: str) -> bool:
    """Whether the process that wrote a group in an object store may live."""
    owner = owner_of(name)
    latest = max((entry.modified for entry in catalog.data.entries(name)), default=0.0)
    return owner is None or living(connection, owner, latest)


def _orphan_parts(catalog: Catalog, connection: Connection) -> list[_Found]:
    known = {catalog.part_name(key) for key in connection.execute(sa.select(parts_table.c.key)).scalars()}
    # a part is written before its row
    return [
        _Found("orphan part", entry.name, entry.size)
        for entry in sorted(catalog.data.entries(catalog.shelf))
        if entry.name.endswith(".zip") and entry.name not in known and _is_old(entry)
    ]


def _is_old(entry: Entry) -> bool:
    return time.time() - entry.modified > SILENT_SECONDS


def _vanished_parts(catalog: Catalog, connection: Connection, all_parts: bool) -> list[_Found]:
    known = set(
        connection.execute(sa.select(artifacts.c.key).where(artifacts.c.location.is_not(None))).scalars()
    )
    columns = parts_table.c
    rows = connection.execute(
        sa.select(columns.key, columns.artifact, columns.owner, columns.created, columns.bytes)
    ).all()
    newest: dict[str, float] = defaultdict(float)
    for row in rows:
        newest[row.owner] = max(newest[row.owner], row.created)
    alive = {owner: living(connection, owner, written) for owner, written in newest.items()}
    return [
        _Found("part", catalog.part_name(row.key), row.bytes, row.key)
        for row in rows
        if not alive[row.owner] and (all_parts or row.artifact not in known)
    ]


def _size(catalog: Catalog, name: str) -> int:
    return sum(entry.size for entry in catalog.data.entries(name))
