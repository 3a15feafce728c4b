"""Segments: groups of arrays that several artifacts share, so that a growing set writes what is new only.

An artifact whose location is IN_PIECES is an ordered list of pieces, each some consecutive samples of a
segment. A segment is written once, as any group, and never changed; its digests lie in `contents` and
`samples` under a key of its own, or under that of the artifact that was published as this one group.
"""

import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from catalogs.contents import Content, delete_contents, insert_content
from catalogs.locks import hold
from catalogs.sealing import divided
from catalogs.tables import artifacts, contents, pieces, samples, segments

IN_PIECES = "+"
"""Location of an artifact that consists of pieces."""

_ROWS = 500


class SegmentGone(Exception):
    """A segment was removed between the time a plan was made and the time it was to be published."""


@dataclass(frozen=True)
class Piece:
    """Consecutive samples, from `start` to before `stop`, of the group at `address` (see `sealing`)."""

    address: str
    start: int
    stop: int

    @property
    def location(self) -> str:
        """Where the group lies."""
        return divided(self.address)[0]


@dataclass(frozen=True)
class Place:
    """Where the data of an artifact lie: one group by its address, or pieces of several."""

    address: str
    pieces: tuple[Piece, ...] = ()

    @property
    def addresses(self) -> list[str]:
        """All groups, each once."""
        return list(dict.fromkeys(piece.address for piece in self.pieces)) or [self.address]

    @property
    def locations(self) -> list[str]:
        """Where the groups lie, each once."""
        return [divided(address)[0] for address in self.addresses]


def in_pieces(parts: Iterable[Piece]) -> Place:
    """The place of pieces in order; those that go on in the same segment become one."""
    joined: list[Piece] = []
    for piece in parts:
        last = joined[-1] if joined else None
        if last is not None and (last.address, last.stop) == (piece.address, piece.start):
            joined[-1] = Piece(last.address, last.start, piece.stop)
        elif piece.stop > piece.start:
            joined.append(piece)
    return Place(IN_PIECES, tuple(joined))


@dataclass(frozen=True)
class Fresh:
    """What is known of a group that is not in the catalog yet: digests, bytes, the part of each sample."""

    content: Content
    size: int
    origin: Sequence[str | None] | None = None


def lock(connection: Connection) -> None:
    """Let no other transaction change which segments are used until this one ends."""
    hold(connection, "segments")


def pieces_of(connection: Connection, number: int) -> tuple[Piece, ...]:
    """The pieces of an artifact by its number."""
    query = sa.select(segments.c.location, pieces.c.start, pieces.c.stop).join(
        segments, segments.c.id == pieces.c.segment
    )
    rows = connection.execute(query.where(pieces.c.artifact == number).order_by(pieces.c.position))
    return tuple(Piece(*row) for row in rows)


def set_pieces(
    connection: Connection, number: int, wanted: Sequence[Piece], fresh: Mapping[str, Fresh]
) -> None:
    """Let an artifact consist of these pieces; `fresh`: segments that the catalog does not know, by address.

    Raises SegmentGone where a segment is neither known nor fresh.
    """
    lock(connection)
    addresses = dict.fromkeys(piece.address for piece in wanted)
    numbers = {address: _segment(connection, address, fresh.get(address)) for address in addresses}
    connection.execute(sa.delete(pieces).where(pieces.c.artifact == number))
    rows = [
        {
            "artifact": number, "position": i, "segment": numbers[piece.address],
            "start": piece.start, "stop": piece.stop,
        }
        for i, piece in enumerate(wanted)
    ]  # fmt: skip
    if rows:
        connection.execute(sa.insert(pieces), rows)
    for some in _blocks(list(numbers.values())):
        mine = segments.c.id.in_(some) & segments.c.freed.is_not(None)
        connection.execute(sa.update(segments).where(mine).values(freed=None))


def _segment(connection: Connection, address: str, fresh: Fresh | None) -> int:
    known = connection.execute(sa.select(segments.c.id).where(segments.c.location == address)).scalar()
    if known is not None:
        return int(known)
    columns = artifacts.c
    whole = sa.select(columns.key, columns.bytes, columns.sizes).where(columns.location == address)
    row = connection.execute(whole).first()
    if row is not None:
        about = {"content": row.key, "samples": int(row.sizes["sample"]), "bytes": row.bytes}
    elif fresh is not None:
        about = {"content": uuid.uuid4().hex, "samples": len(fresh.content.samples), "bytes": fresh.size}
        insert_content(connection, about["content"], fresh.content, fresh.origin)
    else:
        raise SegmentGone(address)
    made = connection.execute(
        sa.insert(segments).returning(segments.c.id), {**about, "location": address, "freed": None}
    )
    return int(made.scalar_one())


def missing(connection: Connection, addresses: Sequence[str]) -> list[str]:
    """Those of the groups that no row names."""
    named: set[str] = set()
    for some in _blocks(addresses):
        for column in (segments.c.location, artifacts.c.location):
            named |= set(connection.execute(sa.select(column).where(column.in_(some))).scalars())
    return [address for address in addresses if address not in named]


def leave_unused(connection: Connection, addresses: Iterable[str], freed: bool) -> list[str]:
    """Of these groups, those that no artifact names; `freed`: they stay for a while, for who reads them now,
    else the catalog forgets them here.
    """
    unused = []
    for address in dict.fromkeys(addresses):
        whole = sa.select(artifacts.c.id).where(artifacts.c.location == address)
        in_one = connection.execute(whole.limit(1)).first() is not None
        row = connection.execute(sa.select(segments).where(segments.c.location == address)).first()
        if row is not None:
            used = sa.select(pieces.c.artifact).where(pieces.c.segment == row.id).limit(1)
            if connection.execute(used).first() is not None:
                continue
            mine = segments.c.id == row.id
            if in_one:
                connection.execute(sa.delete(segments).where(mine))
            elif freed:
                connection.execute(sa.update(segments).where(mine).values(freed=time.time()))
            else:
                connection.execute(sa.delete(segments).where(mine))
                delete_contents(connection, [row.content])
        if not in_one:
            unused.append(address)
    return unused


def part_from(connection: Connection, keys: Sequence[str]) -> None:
    """Give segments that have their digests under the key of one of these artifacts a key of their own, since
    those of the artifact change or go.
    """
    for some in _blocks(keys):
        found = connection.execute(sa.select(segments.c.content).where(segments.c.content.in_(some)))
        for old in set(found.scalars()):
            new = uuid.uuid4().hex
            connection.execute(sa.update(segments).where(segments.c.content == old).values(content=new))
            for table in (contents, samples):
                connection.execute(sa.update(table).where(table.c.key == old).values(key=new))


def holding(connection: Connection, shared: str, digests: Sequence[str]) -> dict[str, list[tuple[str, int]]]:
    """For each sample digest, where stored groups hold that sample: (address, position); only groups that
    agree in all that belongs to no sample.
    """
    found: dict[str, set[tuple[str, int]]] = {}
    alike = contents.c.shared == shared
    for source, key, location in (
        (segments, segments.c.content, segments.c.location),
        (artifacts, artifacts.c.key, artifacts.c.location),
    ):
        query = (
            sa.select(samples.c.digest, location, samples.c.position)
            .join(source, key == samples.c.key)
            .join(contents, contents.c.key == samples.c.key)
            .where(alike, location.is_not(None), location.not_in(["", IN_PIECES]))
        )
        if source is segments:  # those that are about to go stay so
            query = query.where(segments.c.freed.is_(None))
        for some in _blocks(list(dict.fromkeys(digests))):
            for digest, address, position in connection.execute(query.where(samples.c.digest.in_(some))):
                if divided(address)[1] is not None:
                    found.setdefault(digest, set()).add((address, int(position)))
    return {digest: sorted(places) for digest, places in found.items()}


def sizes_of(connection: Connection, addresses: Sequence[str]) -> dict[str, tuple[int, int]]:
    """(bytes, samples) of groups by address."""
    found: dict[str, tuple[int, int]] = {}
    for some in _blocks(addresses):
        mine = sa.select(artifacts.c.location, artifacts.c.bytes, artifacts.c.sizes)
        for row in connection.execute(mine.where(artifacts.c.location.in_(some))):
            found[row.location] = (int(row.bytes), int(row.sizes.get("sample", 0)))
        shared = sa.select(segments).where(segments.c.location.in_(some))
        for row in connection.execute(shared):
            found[row.location] = (int(row.bytes), int(row.samples))
    return found


def origin_of(connection: Connection, key: str, place: Place | None) -> list[str | None]:
    """The part, or file, that each sample of an artifact came from."""
    order = samples.c.position
    if place is None or not place.pieces:
        mine = sa.select(samples.c.part).where(samples.c.key == key).order_by(order)
        return list(connection.execute(mine).scalars())
    found: list[str | None] = []
    query = sa.select(samples.c.part).join(segments, segments.c.content == samples.c.key).order_by(order)
    for piece in place.pieces:
        stretch = (segments.c.location == piece.address) & order.between(piece.start, piece.stop - 1)
        found += connection.execute(query.where(stretch)).scalars()
    return found


def mapped(wanted: Sequence[Piece], target: str, source: Sequence[Piece]) -> Place:
    """The same samples, with those that `source` (pieces in order) has taken from the group `target`, which
    holds the samples of `source` in order.
    """
    places: dict[str, np.ndarray] = {}
    offset = 0
    for piece in source:
        table = places.setdefault(piece.address, np.full(0, -1))
        if len(table) < piece.stop:
            table = np.concatenate([table, np.full(piece.stop - len(table), -1)])
        table[piece.start : piece.stop] = offset + np.arange(piece.stop - piece.start)
        places[piece.address] = table
        offset += piece.stop - piece.start
    moved: list[Piece] = []
    for piece in wanted:
        table = places.get(piece.address, np.full(0, -1))
        numbers = table[piece.start : piece.stop]
        if len(numbers) < piece.stop - piece.start or np.any(numbers < 0):
            moved.append(piece)
        else:
            moved += [Piece(target, start, stop) for start, stop in runs(numbers)]
    return in_pieces(moved)


def runs(numbers: np.ndarray) -> Iterator[tuple[int, int]]:
    """(first, past the last) of stretches that count upwards by one."""
    breaks = np.flatnonzero(np.diff(numbers) != 1) + 1
    for stretch in np.split(numbers, breaks):
        if len(stretch):
            yield int(stretch[0]), int(stretch[-1]) + 1


def _blocks(values: Sequence) -> Iterator[Sequence]:
    for start in range(0, len(values), _ROWS):
        yield values[start : start + _ROWS]
