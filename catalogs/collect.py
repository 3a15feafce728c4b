"""Garbage collection: removes what killed runs left, beside runs that go on."""

import shutil
import uuid
from pathlib import Path

import pandas as pd
import sqlalchemy as sa

from catalogs import environment
from catalogs.catalog import Catalog
from catalogs.contents import delete_contents
from catalogs.database import writing
from catalogs.failures import storage_errors
from catalogs.tables import artifacts
from catalogs.tables import parts as parts_table

_COLUMNS = ["kind", "name", "bytes"]


def gc(catalog: Catalog, dry_run: bool = False, all_parts: bool = False) -> pd.DataFrame:
    """Remove private leftovers, data without an entry, and parts of runs that ended without a result; one row
    each.

    What belongs to a process that lives, or to one on another machine, stays. Parts of published artifacts
    stay too,
    since a larger study reuses them; `all_parts` removes them.

    Raises InputError where the store cannot be written.
    """
    with storage_errors("collecting garbage", catalog.project), catalog.lock():
        found = [*_leftovers(catalog), *_orphans(catalog), *_vanished_parts(catalog, all_parts)]
        rows = [(kind, path.name, _size(path)) for kind, path in found]
        if not dry_run:
            _remove(catalog, found)
    return pd.DataFrame(rows, columns=_COLUMNS)


def _remove(catalog: Catalog, found: list[tuple[str, Path]]) -> None:
    bin_folder = catalog.private / f"{environment.process_name()}.{uuid.uuid4().hex}"
    bin_folder.mkdir()
    gone = [path.stem for kind, path in found if kind == "part"]
    with writing(catalog.engine) as connection:
        delete_contents(connection, gone)
        for start in range(0, len(gone), 500):
            connection.execute(sa.delete(parts_table).where(parts_table.c.key.in_(gone[start : start + 500])))
    for _, path in found:
        if path.exists():
            path.rename(bin_folder / path.name)
    shutil.rmtree(bin_folder)


def _leftovers(catalog: Catalog) -> list[tuple[str, Path]]:
    places = sorted(catalog.private.iterdir())
    return [("private", place) for place in places if not environment.is_alive(place.name.rsplit(".", 1)[0])]


def _orphans(catalog: Catalog) -> list[tuple[str, Path]]:
    with catalog.engine.connect() as connection:
        known = set(connection.execute(sa.select(artifacts.c.key)).scalars())
        known_parts = set(connection.execute(sa.select(parts_table.c.key)).scalars())
    data = [("orphan", path) for path in sorted(catalog.store.glob("*.zarr")) if path.stem not in known]
    files = sorted(catalog.part_folder.glob("*.zip"))
    return data + [("orphan part", path) for path in files if path.stem not in known_parts]


def _vanished_parts(catalog: Catalog, all_parts: bool) -> list[tuple[str, Path]]:
    with catalog.engine.connect() as connection:
        known = set(connection.execute(sa.select(artifacts.c.key)).scalars())
        rows = connection.execute(
            sa.select(parts_table.c.key, parts_table.c.artifact, parts_table.c.owner)
        ).all()
    alive = {owner: environment.is_alive(owner) for owner in {row.owner for row in rows}}
    return [
        ("part", catalog.part_path(row.key))
        for row in rows
        if not alive[row.owner] and (all_parts or row.artifact not in known)
    ]


def _size(path: Path) -> int:
    if path.is_file():
        return path.stat().st_size
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
