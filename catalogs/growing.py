"""Publishing sets of which some samples are stored already: those are referred to, the others are written."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from sqlalchemy.engine import Connection

from catalogs import arrays
from catalogs.claims import News
from catalogs.contents import Content
from catalogs.joined import open_place
from catalogs.rows import Record, describe
from catalogs.sealing import address, seal
from catalogs.segments import Fresh, Piece, Place, SegmentGone, holding, in_pieces, missing, sizes_of
from catalogs.sources import Chosen
from catalogs.stores import Draft
from kernels.errors import InputError

if TYPE_CHECKING:
    from catalogs.catalog import Catalog

WORTH_BYTES = 4 * 2**20
"""Stored samples below this size together are written again rather than referred to."""

MOST_SEGMENTS = 64
"""A set that would have more segments is written as one."""

MOST_PIECES = 1000
"""So is one whose samples lie in more stretches of them."""

_NEW = ""
_TRIES = 3

Also = Callable[[Connection, int], None]
"""Called with the connection and the number of the new artifact, in the transaction that publishes it."""


@dataclass(frozen=True)
class Incoming:
    """Samples to be published: their digests, the parts they come in, samples of each part, and the part of
    each sample where that is to be recorded.
    """

    content: Content
    parts: arrays.Parts
    counts: Sequence[int]
    origin: Sequence[str | None] | None = None


@dataclass(frozen=True)
class _Plan:
    """Pieces in order, those at address _NEW of the group that is to be written; which samples that has."""

    pieces: tuple[Piece, ...]
    new: np.ndarray

    @property
    def whole(self) -> bool:
        return bool(self.new.all())


def publish_samples(
    catalog: "Catalog", key: str, record: Record, given: Incoming, also: Also | None = None
) -> None:
    """Make samples visible as the artifact `key`, those written that are not stored yet.

    What is stored is known by its digest, whoever published it, so the artifact is the same as if it had been
    written as one. Raises InputError where parts disagree or are damaged, or the disk is full or read-only.
    """
    everything = np.ones(len(given.content.samples), dtype=bool)
    for last in (False,) * (_TRIES - 1) + (True,):
        plan = _Plan((), everything) if last else _plan(catalog, given.content)
        try:
            with catalog.data.draft(key) as draft:
                _written(catalog, key, record, given, plan, draft, also)
                return
        except SegmentGone:
            continue  # somebody removed it meanwhile: look again, in the end write all


def _written(
    catalog: "Catalog", key: str, record: Record, given: Incoming, plan: _Plan, draft: Draft,
    also: Also | None,
) -> None:  # fmt: skip
    what = f"result of stage {record.stage!r}"
    digest, size, origin = "", 0, given.origin
    content = given.content
    if plan.new.any() or plan.whole:
        parts = given.parts if plan.whole else Chosen(given.parts, given.counts, plan.new)
        plans = arrays.write_parts(catalog.data.zarr(draft.prefix, read_only=False), parts)
        digest, size = seal(catalog.data, draft.prefix, plans)
    if plan.whole:
        about = describe(open_place(catalog.data, Place(address(draft.prefix, digest)), what))
        news = News(record, about, content, size, origin)
        catalog.publish_place(key, draft, Place(address(draft.location, digest)), news, also)
        return
    mine = address(draft.location, digest)
    place = _at(plan, mine)
    try:
        about = describe(open_place(catalog.data, _at(plan, address(draft.prefix, digest)), what))
    except InputError:
        _check_there(catalog, place, mine)
        raise
    numbers = np.flatnonzero(plan.new)
    some = Content(content.shared, tuple(content.samples[i] for i in numbers))
    theirs = None if origin is None else [origin[int(i)] for i in numbers]
    fresh = {mine: Fresh(some, size, theirs)} if size else {}
    _check_there(catalog, place, mine)
    with catalog.engine.connect() as connection:
        kept = _share(connection, place, mine)
    news = News(record, about, content, size + kept, origin, fresh)
    catalog.publish_place(key, draft, place, news, also)


def _check_there(catalog: "Catalog", place: Place, mine: str) -> None:
    """Raise SegmentGone where somebody removed a segment meanwhile."""
    with catalog.engine.connect() as connection:
        lost = missing(connection, [one for one in place.addresses if one != mine])
    if lost:
        raise SegmentGone(lost[0])


def _at(plan: _Plan, new: str) -> Place:
    return in_pieces(Piece(p.address or new, p.start, p.stop) for p in plan.pieces)


def _share(connection: Connection, place: Place, new: str) -> int:
    """Bytes of the samples that are stored already, about."""
    known = sizes_of(connection, [one for one in place.addresses if one != new])
    return sum(
        known[p.address][0] * (p.stop - p.start) // max(1, known[p.address][1])
        for p in place.pieces
        if p.address in known
    )


def _plan(catalog: "Catalog", content: Content) -> _Plan:
    """Where each sample is stored, or that it is to be written."""
    everything = np.ones(len(content.samples), dtype=bool)
    with catalog.engine.connect() as connection:
        found = holding(connection, content.shared, content.samples)
        used: dict[str, int] = {}
        for digest in content.samples:
            for one, _ in found.get(digest, ()):
                used[one] = used.get(one, 0) + 1
        pieces: list[Piece] = []
        new = np.zeros(len(content.samples), dtype=bool)
        last, count = (_NEW, 0), 0
        for number, digest in enumerate(content.samples):
            places = found.get(digest, [])
            following = (last[0], last[1] + 1)
            if not places:
                new[number] = True
                last, count = (_NEW, count), count + 1
            else:
                last = following if following in places else max(places, key=lambda p: (used[p[0]], p))
            pieces.append(Piece(last[0], last[1], last[1] + 1))
        place = in_pieces(pieces)
        segments = {piece.address for piece in place.pieces}
        too_many = len(segments) > MOST_SEGMENTS or len(place.pieces) > MOST_PIECES
        if too_many or _share(connection, place, _NEW) < WORTH_BYTES or new.all():
            return _Plan((), everything)
    return _Plan(place.pieces, new)
