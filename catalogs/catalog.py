"""The catalog of one project: publish, open and find immutable artifacts by their keys."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Literal

import sqlalchemy as sa
import xarray as xr

from catalogs import arrays, part_files, reading
from catalogs.claims import News, Records
from catalogs.contents import (
    Content,
    content_of,
    delete_contents,
    insert_content,
    joined,
    stored_contents,
)
from catalogs.database import engine_for, writing
from catalogs.extending import extend
from catalogs.failures import storage_errors
from catalogs.growing import Also, Incoming, publish_samples
from catalogs.joined import open_place
from catalogs.part_shelf import PartShelf, StoredParts
from catalogs.rows import Record, Writer, describe
from catalogs.sealing import address, divided, seal
from catalogs.segments import (
    IN_PIECES,
    Fresh,
    Place,
    leave_unused,
    lock,
    missing,
    origin_of,
    part_from,
    pieces_of,
    set_pieces,
)
from catalogs.sources import Blocks, Chain
from catalogs.stores import Draft, FolderStore, open_store
from catalogs.tables import artifacts, edges, payloads, runs
from catalogs.upgrade import upgrade
from kernels.errors import InputError

SMALL_BYTES = 64 * 2**10
"""Datasets up to this size are kept in the database: no file, no folder, one transaction."""


class Catalog(PartShelf):
    """Artifacts of a project: data in a store, one row each in the database; what has no row does not exist.

    `store` is the URL of an object store, by default the data lie in `store/` of the project folder. Raises
    InputError where the folder, the database or the store cannot be used, or the project does not exist and
    `create` is false.
    """

    def __init__(
        self, project: Path, database: str | None = None, create: bool = True, store: str | None = None
    ) -> None:
        self.project = Path(project)
        if not create and not (self.project / "catalog.db").is_file() and database is None:
            raise InputError(
                f"there is no catalog in {self.project}: run `pushforward run surrogate --project "
                f"{self.project}` first, "
                "or name another folder with --project"
            )
        with storage_errors("opening the catalog", self.project):
            if self.project.exists() and not self.project.is_dir():
                raise InputError(f"the project {self.project} is a file: name a folder with --project")
            self.project.mkdir(parents=True, exist_ok=True)
            self.data = open_store(store, self.project)
            self.engine = engine_for(database, self.project)
            with self.data.alone():
                upgrade(self.engine)
        self.writer = Writer(self.engine)
        self.records = Records(self.data, self.identity)

    def close(self) -> None:
        """Give back the database connections."""
        self.engine.dispose()

    def path(self, key: str) -> Path:
        """Folder of an artifact's data.

        Raises InputError where they are not in a folder of their own: in an object store, in the database.
        """
        full = self.resolve(key)
        location, _ = divided(self._location(full) or "")
        if not isinstance(self.data, FolderStore) or location in ("", IN_PIECES):
            raise InputError(
                f"the data of artifact {full[:12]} have no folder of their own: read them with `open`"
            )
        return self.data.path(location)

    @property
    def private(self) -> Path:
        """Folder where data are written before they are published; object stores have none."""
        return self.data.private if isinstance(self.data, FolderStore) else self.project / "none"

    def beat(self) -> None:
        """Tell all who share the catalog that this process lives; see `catalogs.liveness`."""
        number = self.writer.run()
        with writing(self.engine) as connection:
            connection.execute(sa.update(runs).where(runs.c.id == number).values(seen=time.time()))

    @contextmanager
    def errors(self, doing: str) -> Iterator[None]:
        """Turn what disks, databases and stores say into InputError; the rest passes."""
        with storage_errors(doing, self.project), self.data.errors(doing):
            yield

    # --- artifacts

    def publish(self, key: str, dataset: xr.Dataset, record: Record) -> None:
        """Write a dataset and make it visible as the artifact `key`; nothing happens where the key is there
        already.

        Raises InputError where the disk is full or read-only; the catalog is then as it was.
        """
        with self.errors(f"writing the result of stage {record.stage!r}"):
            if not dataset.chunks and dataset.nbytes <= SMALL_BYTES:
                self._publish_small(key, dataset, record)
                return
            if self.exists(key):
                return
            with self.data.draft(key) as draft:
                plans = arrays.write_dataset(self.data.zarr(draft.prefix, read_only=False), dataset)
                digest, size = seal(self.data, draft.prefix, plans)
                written = dataset
                if dataset.chunks:  # what is lazy is read back rather than computed again
                    written = reading.open_dataset(self.data, draft.prefix, "the result", digest)
                news = News(record, describe(dataset), content_of(written), size)
                self.publish_place(key, draft, Place(address(draft.location, digest)), news)

    def publish_parts(self, key: str, part_keys: Sequence[str], record: Record) -> None:
        """Join finished parts, in that order, into the artifact `key`, in bounded memory; samples that are
        stored already, in another artifact, are referred to.

        Raises InputError where parts disagree or are damaged, or the disk is full or read-only.
        """
        pieces = StoredParts(self, part_keys)
        with self.errors(f"writing the result of stage {record.stage!r}"):
            if not self.exists(key):
                publish_samples(self, key, record, pieces.incoming())

    def publish_joined(
        self, key: str, datasets: Sequence[xr.Dataset], contents: Sequence[Content], record: Record,
        origin: Sequence[str],
    ) -> None:  # fmt: skip
        """Join datasets along `sample` into the artifact `key`; samples that are stored already are referred
        to, and the datasets that hold them may be lazy. contents: digests of each; origin: what each sample
        came from, which `origin` gives back.

        Raises InputError where the datasets disagree, or the disk is full or read-only.
        """
        with self.errors(f"writing the result of stage {record.stage!r}"):
            if not self.exists(key):
                parts = Chain([Blocks(dataset) for dataset in datasets])
                publish_samples(self, key, record, Incoming(joined(contents), parts, parts.counts, origin))

    def origin(self, key: str) -> list[str | None]:
        """What each sample of an artifact came from: the key of a part or a file, None where it is not known.

        Raises InputError where the key is unknown.
        """
        full = self.resolve(key)
        with self.engine.connect() as connection:
            return origin_of(connection, full, _stored(connection, full)[1])

    def extend(
        self, base: str, dataset: xr.Dataset, record: Record | None = None,
        duplicates: Literal["refuse", "skip"] = "refuse",
    ) -> str:  # fmt: skip
        """Publish the samples of `base` and then those of a dataset as a new artifact, of which only the new
        samples are written; its key.

        base: a key, its first characters, or a name, of which the artifact then becomes the next version,
        whoever else extends it meanwhile. record: by default the stage of `base` with the digest of the
        content as its config, so that the same samples have the same key in however many steps they came.
        duplicates: samples that are there already, by content, are refused or skipped; where nothing is left
        the key of `base` is given back. Raises InputError where the dataset does not fit, or the disk is
        full.
        """
        with self.errors(f"extending {base!r}"):
            return extend(self, base, dataset, record, duplicates)

    def _publish_small(self, key: str, dataset: xr.Dataset, record: Record) -> None:
        stream = BytesIO()
        part_files.write_part(stream, dataset)
        content, about = content_of(dataset), describe(dataset)
        numbers = self.writer.numbers(about)
        news = News(record, about, content, stream.getbuffer().nbytes)
        with writing(self.engine) as connection:
            number = self.insert(connection, key, news, "", numbers)
            if number is None:
                return
            connection.execute(sa.insert(payloads), {"artifact": number, "data": stream.getvalue()})
            insert_content(connection, key, content)

    def publish_place(
        self, key: str, draft: Draft, mine: Place, news: News, also: Also | None = None
    ) -> None:
        """Make data visible that were written to a draft, or lie in segments, or both.

        Raises SegmentGone where a segment was removed meanwhile.
        """
        numbers = self.writer.numbers(news.about)
        written = draft.location if draft.location in mine.locations else None
        with self.data.alone():
            if self.exists(key):
                return
            if written is not None:
                self.data.place(draft)
            place = self.records.claim(key, mine, news, written)
            if place != mine:
                news = self.adopted(place, news)
            draft.kept = place == mine
            try:
                with writing(self.engine) as connection:
                    number = self.insert(connection, key, news, place.address, numbers)
                    if number is not None:
                        self.insert_data(connection, key, number, place, news)
                        if also is not None:
                            also(connection, number)
            except sa.exc.IntegrityError:
                if not self.exists(key):
                    raise
            except BaseException:
                if (
                    place == mine and not self.data.remote
                ):  # elsewhere another catalog may have taken them over
                    self.records.leave([key], [] if written is None else [written])
                    draft.kept = False
                raise

    def insert_data(self, connection: sa.Connection, key: str, number: int, place: Place, news: News) -> None:
        """Insert where the data of an artifact lie, and their digests."""
        if place.pieces:
            set_pieces(connection, number, place.pieces, news.fresh)
            insert_content(connection, key, Content(news.content.shared, ()))
        else:
            insert_content(connection, key, news.content, news.origin)

    def insert(
        self, connection: sa.Connection, key: str, news: News, location: str, numbers: tuple[int, int]
    ) -> int | None:
        """Number of the new row, or of a record that has data now; None where the artifact is there."""
        record = news.record
        number = self.writer.insert(connection, key, record, news.about, news.size, location, numbers)
        if number is not None:
            return number
        without_data = (artifacts.c.key == key) & artifacts.c.location.is_(None)
        changed = {
            "location": location, "bytes": news.size, "sizes": news.about.sizes, "created": time.time(),
            "started": record.started.timestamp(), "seconds": record.seconds, "run": numbers[0],
            "schema": numbers[1],
        }  # fmt: skip
        completed = sa.update(artifacts).where(without_data).values(changed).returning(artifacts.c.id)
        number = connection.execute(completed).scalar()
        return None if number is None else int(number)

    def adopted(self, place: Place, news: News) -> News:
        """What another catalog published in this store under the key, with the record of this one."""
        what = f"result of stage {news.record.stage!r}"
        found = open_place(self.data, place, what)
        sizes = {
            one: sum(entry.size for entry in self.data.entries(divided(one)[0])) for one in place.addresses
        }
        fresh = {}
        if place.pieces:
            with self.engine.connect() as connection:
                unknown = missing(connection, place.addresses)
            fresh = {
                one: Fresh(content_of(open_place(self.data, Place(one), what)), sizes[one]) for one in unknown
            }
        return News(news.record, describe(found), content_of(found), sum(sizes.values()), fresh=fresh)

    def exists(self, key: str) -> bool:
        """Whether the artifact is published, with data."""
        with self.engine.connect() as connection:
            return _is_there(connection, key)

    def open(self, key: str) -> xr.Dataset:
        """The artifact's dataset: large arrays lazy, as dask arrays of the stored chunks.

        Raises InputError where the artifact is unknown, or its data are missing or damaged.
        """
        full = self.resolve(key)
        with self.engine.connect() as connection:
            row, place, data = _stored(connection, full)
        what = f"artifact {full[:12]} (stage {row.stage!r})"
        if place is None:
            raise InputError(
                f"{what} is a record without data, kept for the lineage of what was imported: import it "
                "with its data, or run its pipeline"
            )
        if place.address == "":
            return part_files.read_part(BytesIO(data or b""), what)
        with self.errors(f"reading {what}"):
            return open_place(self.data, place, what)

    def place(self, key: str) -> Place | None:
        """Where the data of an artifact lie, given its full key; None for a record without data."""
        with self.engine.connect() as connection:
            return _stored(connection, key)[1]

    def _location(self, key: str) -> str | None:
        with self.engine.connect() as connection:
            query = sa.select(artifacts.c.location).where(artifacts.c.key == key)
            found = connection.execute(query).scalar()
        return None if found is None else str(found)

    def content(self, key: str) -> Content:
        """Digests of the artifact's samples, as they were stored when it was published; computed where a
        catalog of an earlier version has none.

        Raises InputError as `open` does.
        """
        full = self.resolve(key)
        with self.engine.connect() as connection:
            stored = stored_contents(connection, [full])
        return stored[full] if full in stored else content_of(self.open(full))

    def remove(self, key: str) -> list[str]:
        """Take an artifact and everything made from it out of the catalog; returns the removed keys.

        Raises InputError where the key is unknown.
        """
        table = self.lineage(key)
        doomed = list(dict.fromkeys(table.loc[table["direction"] != "input", "key"]))
        with self.errors("removing artifacts"), self.data.alone():
            self.identity()  # written by a transaction of its own
            with writing(self.engine) as connection:
                lock(connection)
                groups = _groups(connection, doomed)
                mine = artifacts.c.key.in_(doomed)
                numbers = sa.select(artifacts.c.id).where(mine)
                connection.execute(sa.delete(edges).where(edges.c.artifact.in_(numbers)))
                connection.execute(sa.delete(artifacts).where(mine))
                unused = leave_unused(connection, groups, freed=False)
                part_from(connection, doomed)  # segments that others have keep their digests
                delete_contents(connection, doomed)
                # the records first: data that nothing names any more are garbage, which gc knows
                free = self.records.leave(doomed, [divided(one)[0] for one in unused])
            self.data.delete(free)
        return doomed


def _groups(connection: sa.Connection, keys: Sequence[str]) -> list[str]:
    """Addresses of all groups in which artifacts have data."""
    found: list[str] = []
    for key in keys:
        _, place, _ = _stored(connection, key)
        if place is not None and place.address:
            found += place.addresses
    return list(dict.fromkeys(found))


def _stored(connection: sa.Connection, key: str) -> tuple[sa.Row, Place | None, bytes | None]:
    """Row of an artifact (number, stage), where its data lie, and those that lie in the database."""
    columns = artifacts.c
    query = sa.select(columns.id, columns.stage, columns.location).where(columns.key == key)
    for _ in range(10):
        row = connection.execute(query).one()
        if row.location is None:
            return row, None, None
        if row.location == "":
            mine = payloads.c.artifact == row.id
            data = connection.execute(sa.select(payloads.c.data).where(mine)).scalar()
            return row, Place(""), data
        if row.location != IN_PIECES:
            return row, Place(row.location), None
        pieces = pieces_of(connection, row.id)
        if pieces:
            return row, Place(IN_PIECES, pieces), None
    raise InputError(f"artifact {key[:12]} is being compacted again and again: try again")


def _is_there(connection: sa.Connection, key: str) -> bool:
    mine = (artifacts.c.key == key) & artifacts.c.location.is_not(None)
    return connection.execute(sa.select(artifacts.c.id).where(mine)).first() is not None
