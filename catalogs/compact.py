"""Compaction: the segments of a set rewritten as one group, to which all artifacts that share them move."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from catalogs import arrays
from catalogs.catalog import Catalog
from catalogs.collect import may_be_written
from catalogs.contents import Content, content_of, insert_content, stored_contents
from catalogs.database import writing
from catalogs.joined import open_place
from catalogs.sealing import address, seal
from catalogs.segments import (
    IN_PIECES,
    Piece,
    Place,
    leave_unused,
    lock,
    mapped,
    missing,
    origin_of,
    part_from,
    pieces_of,
    set_pieces,
)
from catalogs.sources import Blocks
from catalogs.stores import Draft
from catalogs.tables import artifacts, pieces, segments
from kernels.errors import InputError

MANY_SEGMENTS = 8
"""`compact_all` rewrites sets of more segments than this."""

_COLUMNS = ["key", "stage", "segments", "pieces", "bytes"]


def written_whole(catalog: Catalog, key: str, draft: Draft) -> tuple[str, int]:
    """Write an artifact that lies in pieces as one group to a draft, in bounded memory: digest and bytes.

    Raises InputError where a chunk cannot be read, or what was written has other digests than the samples.
    """
    what = f"artifact {key[:12]}"
    source = Blocks(catalog.open(key))
    plans = arrays.write_parts(catalog.data.zarr(draft.prefix, read_only=False), source)
    digest, size = seal(catalog.data, draft.prefix, plans)
    found = content_of(open_place(catalog.data, Place(address(draft.prefix, digest)), what))
    if found != catalog.content(key):
        raise InputError(
            f"{what} has other values in its segments than were published: nothing is changed; "
            "`pushforward catalog verify --deep` says which samples"
        )
    return digest, size


def compact(catalog: Catalog, key: str, dry_run: bool = False) -> pd.DataFrame:
    """Rewrite the segments of an artifact as one group, and let every artifact that shares them refer to it,
    in one transaction; one row, or none where there is nothing to do.

    Who has the set open reads on: `gc` removes what was left an hour later. Killed at any point, the
    artifacts are as before or compacted. Raises InputError where the key is unknown, or data are damaged.
    """
    with catalog.errors("compacting"):
        return pd.DataFrame(_compacted(catalog, catalog.resolve(key), dry_run), columns=_COLUMNS)


def compact_all(catalog: Catalog, dry_run: bool = False, many: int = MANY_SEGMENTS) -> pd.DataFrame:
    """Compact every artifact of more than `many` segments, the latest first; a row for each that was.

    Earlier versions move with the latest, so a growing set is rewritten once; `dry_run` shows them too.
    Raises InputError as `compact` does.
    """
    count = sa.func.count(sa.distinct(pieces.c.segment))
    query = sa.select(artifacts.c.key).join(pieces, pieces.c.artifact == artifacts.c.id)
    query = query.group_by(artifacts.c.id, artifacts.c.key).having(count > many)
    with catalog.errors("compacting"):
        with catalog.engine.connect() as connection:
            keys = connection.execute(query.order_by(artifacts.c.id.desc())).scalars().all()
        rows = [row for key in keys for row in _compacted(catalog, key, dry_run, many)]
    return pd.DataFrame(rows, columns=_COLUMNS)


def _compacted(catalog: Catalog, key: str, dry_run: bool, many: int = 0) -> list[tuple]:
    """The row of an artifact, empty where it has not more than so many segments or is one group."""
    with catalog.engine.connect() as connection:
        chosen = sa.select(artifacts.c.id, artifacts.c.stage, artifacts.c.bytes)
        row = connection.execute(chosen.where(artifacts.c.key == key)).first()
        parts = () if row is None else pieces_of(connection, row.id)
    place = Place(IN_PIECES, parts)
    if row is None or len(parts) < 2 or len(place.addresses) <= many:
        return []
    if not dry_run and not _rewrite(catalog, key, row.id, place):
        return []
    return [(key, row.stage, len(place.addresses), len(parts), row.bytes)]


def _rewrite(catalog: Catalog, key: str, number: int, place: Place) -> bool:
    catalog.identity()  # written by a transaction of its own
    _forget_remains(catalog, key)
    with catalog.data.draft(key) as draft:
        digest, size = written_whole(catalog, key, draft)
        mine = address(draft.location, digest)
        moved: list[_Moved] = []
        try:
            with catalog.data.alone(), writing(catalog.engine) as connection:
                lock(connection)
                if pieces_of(connection, number) != place.pieces:
                    return False  # another was faster
                catalog.data.place(draft)
                moved = _move_rows(connection, key, number, place, mine, size)
                draft.kept = True
                _move_records(catalog, moved, draft.location)
        except BaseException:
            with catalog.data.alone():
                draft.kept = _is_named(catalog, mine)
                if not draft.kept:
                    _take_back(catalog, moved, draft.location)
            raise
    return True


@dataclass(frozen=True)
class _Moved:
    """An artifact whose data lie elsewhere now."""

    key: str
    before: Place
    after: Place


def _move_rows(
    connection: Connection, key: str, number: int, place: Place, mine: str, size: int
) -> list[_Moved]:
    """Let the artifact be one group, and others refer to it for all samples that it has."""
    content = stored_contents(connection, [key])[key]
    origin = origin_of(connection, key, place)
    others = _sharing(connection, number, place)
    changed = sa.update(artifacts).where(artifacts.c.id == number).values(location=mine, bytes=size)
    connection.execute(changed)
    connection.execute(sa.delete(pieces).where(pieces.c.artifact == number))
    insert_content(connection, key, content, origin)
    moved = [_Moved(key, place, Place(mine))]
    for other, name, before in others:
        held = before.pieces or (Piece(before.address, 0, _count(connection, before.address)),)
        after = mapped(held, mine, place.pieces)
        if after.pieces == held:
            continue
        if not before.pieces:
            shared = stored_contents(connection, [name])[name].shared
            part_from(connection, [name])
            insert_content(connection, name, Content(shared, ()))
            elsewhere = sa.update(artifacts).where(artifacts.c.id == other).values(location=IN_PIECES)
            connection.execute(elsewhere)
        set_pieces(connection, other, after.pieces, {})
        moved.append(_Moved(name, before, after))
    leave_unused(connection, place.addresses, freed=True)
    return moved


def _sharing(connection: Connection, number: int, place: Place) -> list[tuple[int, str, Place]]:
    """Number, key and place of all other artifacts that have data in one of the segments."""
    columns = artifacts.c
    mine = sa.select(segments.c.id).where(segments.c.location.in_(place.addresses))
    some = sa.select(pieces.c.artifact).where(pieces.c.segment.in_(mine))
    query = sa.select(columns.id, columns.key, columns.location).where(
        columns.id.in_(some) | columns.location.in_(place.addresses), columns.id != number
    )
    found = []
    for row in connection.execute(query.order_by(columns.id)).all():
        held = pieces_of(connection, row.id) if row.location == IN_PIECES else ()
        found.append((int(row.id), str(row.key), Place(row.location, held)))
    return found


def _count(connection: Connection, where: str) -> int:
    found = sa.select(segments.c.samples).where(segments.c.location == where)
    return int(connection.execute(found).scalar_one())


def _move_records(catalog: Catalog, moved: Sequence[_Moved], location: str) -> None:
    for number, one in enumerate(moved):
        catalog.records.move(one.key, one.after, location if number == 0 else None)


def _take_back(catalog: Catalog, moved: Sequence[_Moved], location: str) -> None:
    for one in moved:
        catalog.records.move(one.key, one.before)
    catalog.records.leave([], [location])


def _is_named(catalog: Catalog, where: str) -> bool:
    """Whether a row names a group; also where the database does not say, as after a lost connection."""
    try:
        with catalog.engine.connect() as connection:
            return not missing(connection, [where])
    except sa.exc.SQLAlchemyError:
        return True


def _forget_remains(catalog: Catalog, key: str) -> None:
    """Remove groups that compactions of this artifact wrote and were killed before they were used."""
    with catalog.data.alone(), writing(catalog.engine) as connection:
        lock(connection)
        users = catalog.records.read(key).get("users", {})
        remains = [
            location
            for location, names in users.items()
            if catalog.records.me in names
            and not _has_row(connection, location)
            and not (catalog.data.remote and may_be_written(catalog, connection, location))
        ]
        if remains:
            place = catalog.place(key)
            if place is not None:
                catalog.records.move(key, place)
            catalog.data.delete(catalog.records.leave([], remains))


def _has_row(connection: Connection, location: str) -> bool:
    for column in (artifacts.c.location, segments.c.location):
        found = sa.select(column).where(column.startswith(f"{location}#", autoescape=True)).limit(1)
        if connection.execute(found).first() is not None:
            return True
    return False
