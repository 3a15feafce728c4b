"""The half of the catalog that keeps finished parts of split stages until they are joined."""

import hashlib
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import sqlalchemy as sa
import xarray as xr

from catalogs import part_files
from catalogs.arrays import check_fits
from catalogs.contents import content_of, insert_content, joined, stored_contents
from catalogs.database import writing
from catalogs.growing import Incoming
from catalogs.marks import Marks
from catalogs.rows import Writer
from catalogs.stores import PARTS, FolderStore, Store
from catalogs.tables import parts as parts_table
from catalogs.tables import runs
from kernels.errors import InputError


class PartShelf(Marks):
    """Parts: one file or object each, and one row."""

    data: Store
    writer: Writer
    _shelf: str | None = None
    _name: str | None = None

    def errors(self, doing: str) -> AbstractContextManager[None]:
        """Turn what disks, databases and stores say into InputError."""
        raise NotImplementedError

    @property
    def shelf(self) -> str:
        """Where parts of this catalog lie; catalogs that share an object store keep theirs apart."""
        if self._shelf is None:
            self._shelf = PARTS if isinstance(self.data, FolderStore) else f"{PARTS}/{self.identity()}"
        return self._shelf

    def identity(self) -> str:
        """Name of this catalog among those that share a store."""
        if self._name is None:
            self._name = self._first_run()
        return self._name

    def _first_run(self) -> str:
        self.writer.run()
        first = sa.select(runs.c.process, runs.c.started).order_by(runs.c.id).limit(1)
        with self.engine.connect() as connection:
            row = connection.execute(first).one()
        return hashlib.sha256(f"{row.process} {row.started!r}".encode()).hexdigest()[:16]

    def part_name(self, key: str) -> str:
        """Name of a part in the store."""
        return f"{self.shelf}/{key}.zip"

    def part_path(self, key: str) -> Path:
        """File of a part.

        Raises InputError where the parts lie in an object store.
        """
        if not isinstance(self.data, FolderStore):
            raise InputError(f"part {key[:12]} lies in {self.data.shown}: read it with `load_part`")
        return self.data.path(self.part_name(key))

    def publish_part(
        self, key: str, dataset: xr.Dataset, stage: str, artifact: str, owner: str, seconds: float
    ) -> None:
        """Write one finished part of the artifact that will be `artifact`, as one file, and record it.

        Raises InputError where the disk is full or read-only.
        """
        with self.errors(f"writing a part of stage {stage!r}"):
            name = self.part_name(key)
            content = content_of(dataset)
            size = self.data.put(name, lambda file: part_files.write_part(file, dataset))
            row = {
                "key": key,
                "stage": stage,
                "artifact": artifact,
                "owner": owner,
                "created": time.time(),
                "seconds": seconds,
                "sizes": {str(dim): int(size) for dim, size in dataset.sizes.items()},
                "bytes": size,
            }
            with writing(self.engine) as connection:
                connection.execute(sa.delete(parts_table).where(parts_table.c.key == key))
                connection.execute(sa.insert(parts_table), row)
                insert_content(connection, key, content)

    def claim_parts(self, keys: Sequence[str], artifact: str, owner: str) -> set[str]:
        """Those of the parts that are finished; they belong to `owner` from now on, and are not collected
        while that lives.
        """
        claimed: set[str] = set()
        column = parts_table.c.key
        with self.errors("claiming finished parts"):
            there = self._there(keys)
            with writing(self.engine) as connection:
                for start in range(0, len(there), 500):
                    mine = column.in_(there[start : start + 500])
                    connection.execute(
                        sa.update(parts_table).where(mine).values(owner=owner, artifact=artifact)
                    )
                    claimed |= set(connection.execute(sa.select(column).where(mine)).scalars())
        return claimed

    def _there(self, keys: Sequence[str]) -> list[str]:
        if not self.data.remote or len(keys) < 10:
            return [key for key in keys if self.data.exists(self.part_name(key))]
        names = {entry.name for entry in self.data.entries(self.shelf)}
        return [key for key in keys if self.part_name(key) in names]

    def load_part(self, key: str, names: Sequence[str] | None = None) -> xr.Dataset:
        """A finished part, in memory, optionally of some variables only.

        Raises InputError where it is missing or damaged.
        """
        what = f"part {key[:12]}"
        with self.errors(f"reading {what}"):
            source = self.data.source(self.part_name(key))
        if source is None:
            raise InputError(f"{what} is gone from {self.data.shown}: run again, which computes it anew")
        return part_files.read_part(source, what, names)


class StoredParts:
    """Finished parts in order, as the streamed writer reads them."""

    def __init__(self, catalog: PartShelf, keys: Sequence[str]) -> None:
        if not keys:
            raise InputError("nothing to join: expected at least one sample, got none")
        self._catalog, self._keys = catalog, list(keys)
        self._sizes = catalog.part_sizes(self._keys)

    def __len__(self) -> int:
        return len(self._keys)

    def sizes(self, number: int) -> Mapping[str, int]:
        """Length of every dim of a part."""
        return self._sizes[self._keys[number]]

    def incoming(self) -> Incoming:
        """The joined samples: their digests, and the part of each.

        Raises InputError where the parts disagree on what belongs to no sample.
        """
        with self._catalog.engine.connect() as connection:
            stored = stored_contents(connection, self._keys)
        contents = [stored.get(key) or content_of(self.load(i)) for i, key in enumerate(self._keys)]
        other = next((i for i, one in enumerate(contents) if one.shared != contents[0].shared), None)
        if other is not None:
            check_fits(self.load(0), self.load(other), other)
            raise InputError(
                f"part {other} and part 0 disagree on the attributes, or on variables that belong to no "
                "sample: a stage that is cut must give the same ones for every part"
            )
        origin = [key for key, one in zip(self._keys, contents, strict=True) for _ in one.samples]
        return Incoming(joined(contents), self, [len(one.samples) for one in contents], origin)

    def load(self, number: int, names: Sequence[str] | None = None) -> xr.Dataset:
        """A part in memory, optionally of some variables only."""
        return self._catalog.load_part(self._keys[number], names)
