"""The catalog of one project: publish, open and find immutable artifacts by their keys."""

import fcntl
import os
import shutil
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import sqlalchemy as sa
import xarray as xr
import zarr.storage

from catalogs import arrays, environment, part_files, reading
from catalogs.contents import (
    Content,
    content_of,
    delete_contents,
    insert_content,
    joined,
    stored_contents,
)
from catalogs.database import engine_for, writing
from catalogs.failures import storage_errors
from catalogs.marks import Marks
from catalogs.rows import Description, Record, Writer, describe
from catalogs.tables import artifacts, edges, payloads
from catalogs.tables import parts as parts_table
from catalogs.upgrade import upgrade
from kernels.errors import InputError

SMALL_BYTES = 64 * 2**10
"""Datasets up to this size are kept in the database: no file, no folder, one transaction."""


class Catalog(Marks):
    """Artifacts of a project folder: data in `store/`, one row each in the database; what has no row does not
    exist.

    Raises InputError where the folder cannot be used, or does not exist and `create` is false.
    """

    def __init__(self, project: Path, database: str | None = None, create: bool = True) -> None:
        self.project = Path(project)
        self.store = self.project / "store"
        if not create and not (self.project / "catalog.db").is_file() and database is None:
            raise InputError(
                f"there is no catalog in {self.project}: run `pushforward run surrogate --project "
                f"{self.project}` first, "
                "or name another folder with --project"
            )
        with storage_errors("opening the catalog", self.project):
            if self.project.exists() and not self.project.is_dir():
                raise InputError(f"the project {self.project} is a file: name a folder with --project")
            for folder in (self.private, self.part_folder):
                folder.mkdir(parents=True, exist_ok=True)
            self.engine = engine_for(database, self.project)
            with self.lock():
                upgrade(self.engine)
        self._writer = Writer(self.engine)

    def close(self) -> None:
        """Give back the database connections."""
        self.engine.dispose()

    @property
    def private(self) -> Path:
        """Where data are written before they are published."""
        return self.store / ".private"

    @property
    def part_folder(self) -> Path:
        """Where finished parts of split stages lie."""
        return self.store / "parts"

    def path(self, key: str) -> Path:
        """Folder of an artifact's data."""
        return self.store / f"{key}.zarr"

    def part_path(self, key: str) -> Path:
        """File of a part."""
        return self.part_folder / f"{key}.zip"

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the store alone, between processes; given back by the system when a process is killed."""
        with (self.store / ".lock").open("a") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield

    @contextmanager
    def _private_place(self) -> Iterator[Path]:
        place = self.private / f"{environment.process_name()}.{uuid.uuid4().hex}"
        place.mkdir()
        try:
            yield place
        finally:
            shutil.rmtree(place, ignore_errors=True)

    # --- artifacts

    def publish(self, key: str, dataset: xr.Dataset, record: Record) -> None:
        """Write a dataset and make it visible as the artifact `key`; nothing happens where the key is there
        already.

        Raises InputError where the disk is full or read-only; the catalog is then as it was.
        """
        with storage_errors(f"writing the result of stage {record.stage!r}", self.project):
            if not dataset.chunks and dataset.nbytes <= SMALL_BYTES:
                self._publish_small(key, dataset, record)
                return
            with self._private_place() as place:
                arrays.write_dataset(zarr.storage.LocalStore(place / "data"), dataset)
                content = _written(place / "data", dataset)
                self._publish(key, place / "data", describe(dataset), record, content)

    def publish_parts(self, key: str, part_keys: Sequence[str], record: Record) -> None:
        """Join finished parts, in that order, into the artifact `key`, in bounded memory.

        Raises InputError where parts disagree or are damaged, or the disk is full or read-only.
        """
        pieces = _StoredParts(self, part_keys)
        with (
            storage_errors(f"writing the result of stage {record.stage!r}", self.project),
            self._private_place() as place,
        ):
            arrays.write_parts(zarr.storage.LocalStore(place / "data"), pieces)
            content, origin = pieces.content()
            about = describe(reading.open_dataset(place / "data", f"result of stage {record.stage!r}"))
            self._publish(key, place / "data", about, record, content, origin)

    def _publish_small(self, key: str, dataset: xr.Dataset, record: Record) -> None:
        stream = BytesIO()
        part_files.write_part(stream, dataset)
        content, about = content_of(dataset), describe(dataset)
        numbers = self._writer.numbers(about)
        with writing(self.engine) as connection:
            if _is_there(connection, key):
                return
            number = self._writer.insert(
                connection, key, record, about, stream.getbuffer().nbytes, "", numbers
            )
            connection.execute(sa.insert(payloads), {"artifact": number, "data": stream.getvalue()})
            insert_content(connection, key, content)

    def _publish(
        self, key: str, data: Path, about: Description, record: Record, content: Content,
        origin: Sequence[str] | None = None,
    ) -> None:  # fmt: skip
        size = _sync_tree(data)
        place = self.path(key)
        numbers = self._writer.numbers(about)
        with self.lock():
            if self.exists(key):
                return
            if place.exists():
                place.rename(data.parent / "orphan")
            data.rename(place)
            try:
                with writing(self.engine) as connection:
                    self._writer.insert(connection, key, record, about, size, place.name, numbers)
                    insert_content(connection, key, content, origin)
            except BaseException:
                place.rename(data)
                raise

    def exists(self, key: str) -> bool:
        """Whether the artifact is published."""
        with self.engine.connect() as connection:
            return _is_there(connection, key)

    def open(self, key: str) -> xr.Dataset:
        """The artifact's dataset: large arrays lazy, as dask arrays of the stored chunks.

        Raises InputError where the artifact is unknown, or its data are missing or damaged.
        """
        full = self.resolve(key)
        columns = artifacts.c
        query = sa.select(columns.id, columns.stage, columns.location).where(columns.key == full)
        with self.engine.connect() as connection:
            row = connection.execute(query).one()
            if row.location == "":
                mine = payloads.c.artifact == row.id
                data = connection.execute(sa.select(payloads.c.data).where(mine)).scalar_one()
        what = f"artifact {full[:12]} (stage {row.stage!r})"
        if row.location == "":
            return part_files.read_part(BytesIO(data), what)
        if row.location is None:
            raise InputError(
                f"{what} is a record without data, kept for the lineage of what was imported: import it "
                "with its data, or run its pipeline"
            )
        if not self.path(full).is_dir():
            raise InputError(
                f"the data of {what} are gone from {self.store}: put the folder back, or remove its entry "
                f"with `pushforward catalog gc --remove {full[:12]}` and run again"
            )
        return reading.open_dataset(self.path(full), what)

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
        with storage_errors("removing artifacts", self.project), self.lock(), self._private_place() as place:
            with writing(self.engine) as connection:
                mine = artifacts.c.key.in_(doomed)
                numbers = sa.select(artifacts.c.id).where(mine)
                connection.execute(sa.delete(edges).where(edges.c.artifact.in_(numbers)))
                connection.execute(sa.delete(artifacts).where(mine))
                delete_contents(connection, doomed)
            for one in doomed:
                if self.path(one).exists():
                    self.path(one).rename(place / one)
        return doomed

    # --- parts of split stages

    def publish_part(
        self, key: str, dataset: xr.Dataset, stage: str, artifact: str, owner: str, seconds: float
    ) -> None:
        """Write one finished part of the artifact that will be `artifact`, as one file, and record it.

        Raises InputError where the disk is full or read-only.
        """
        doing = f"writing a part of stage {stage!r}"
        with storage_errors(doing, self.project), self._private_place() as place:
            file = place / "part.zip"
            part_files.write_part(file, dataset)
            _sync(file)
            content = content_of(dataset)
            row = {
                "key": key,
                "stage": stage,
                "artifact": artifact,
                "owner": owner,
                "created": time.time(),
                "seconds": seconds,
                "sizes": {str(dim): int(size) for dim, size in dataset.sizes.items()},
                "bytes": file.stat().st_size,
            }
            with self.lock():
                file.rename(self.part_path(key))
                with writing(self.engine) as connection:
                    connection.execute(sa.delete(parts_table).where(parts_table.c.key == key))
                    connection.execute(sa.insert(parts_table), row)
                    insert_content(connection, key, content)

    def claim_parts(self, keys: Sequence[str], artifact: str, owner: str) -> set[str]:
        """Those of the parts that are finished; they belong to `owner` from now on, and are not collected
        while that lives.
        """
        there = [key for key in keys if self.part_path(key).is_file()]
        claimed: set[str] = set()
        column = parts_table.c.key
        with storage_errors("claiming finished parts", self.project), writing(self.engine) as connection:
            for start in range(0, len(there), 500):
                mine = column.in_(there[start : start + 500])
                connection.execute(sa.update(parts_table).where(mine).values(owner=owner, artifact=artifact))
                claimed |= set(connection.execute(sa.select(column).where(mine)).scalars())
        return claimed

    def load_part(self, key: str, names: Sequence[str] | None = None) -> xr.Dataset:
        """A finished part, in memory, optionally of some variables only.

        Raises InputError where it is missing or damaged.
        """
        return part_files.read_part(self.part_path(key), f"part {key[:12]}", names)


class _StoredParts:
    """Finished parts in order, as the streamed writer reads them."""

    def __init__(self, catalog: Catalog, keys: Sequence[str]) -> None:
        if not keys:
            raise InputError("nothing to join: expected at least one sample, got none")
        self._catalog, self._keys = catalog, list(keys)
        self._sizes = catalog.part_sizes(self._keys)

    def __len__(self) -> int:
        return len(self._keys)

    def sizes(self, number: int) -> Mapping[str, int]:
        return self._sizes[self._keys[number]]

    def content(self) -> tuple[Content, list[str]]:
        """Content of the joined parts, and the part of every sample.

        Raises InputError where the parts disagree on what belongs to no sample.
        """
        with self._catalog.engine.connect() as connection:
            stored = stored_contents(connection, self._keys)
        contents = [stored.get(key) or content_of(self.load(i)) for i, key in enumerate(self._keys)]
        other = next((i for i, one in enumerate(contents) if one.shared != contents[0].shared), None)
        if other is not None:
            raise InputError(
                f"part {other} and part 0 disagree on the attributes, or on variables that belong to no "
                "sample: a stage that is cut must give the same ones for every part"
            )
        origin = [key for key, one in zip(self._keys, contents, strict=True) for _ in one.samples]
        return joined(contents), origin

    def load(self, number: int, names: Sequence[str] | None = None) -> xr.Dataset:
        return self._catalog.load_part(self._keys[number], names)


def _written(data: Path, dataset: xr.Dataset) -> Content:
    """Content of a dataset just written; what is lazy is read back rather than computed again."""
    return content_of(reading.open_dataset(data, "the result") if dataset.chunks else dataset)


def _is_there(connection: sa.Connection, key: str) -> bool:
    return connection.execute(sa.select(artifacts.c.id).where(artifacts.c.key == key)).first() is not None


def _sync_tree(folder: Path) -> int:
    size = 0
    for file in folder.rglob("*"):
        if file.is_file():
            _sync(file)
            size += file.stat().st_size
    return size


def _sync(file: Path) -> None:
    handle = os.open(file, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
