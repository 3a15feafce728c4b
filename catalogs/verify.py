"""Reads everything again: every checksum of artifacts and parts, and what is there without the other half."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import astuple, dataclass
from io import BytesIO

import pandas as pd
import sqlalchemy as sa
from sqlalchemy.engine import Row

from catalogs import part_files
from catalogs.catalog import Catalog
from catalogs.collect import gc, is_claimed, without_entry
from catalogs.contents import content_of, stored_contents
from catalogs.reading import CheckedArray, checked_arrays, stored_metadata
from catalogs.sealing import META, divided
from catalogs.segments import IN_PIECES, pieces_of
from catalogs.tables import artifacts, payloads
from catalogs.tables import parts as parts_table
from kernels.errors import InputError

THREADS = 4
"""Chunks that are read at once: the memory is so many chunks."""

_COLUMNS = ["key", "kind", "file", "variable", "chunk", "reason"]

Progress = Callable[[int, int], None]
"""Called with (done, total) reads."""


@dataclass(frozen=True)
class Fault:
    """One thing that is not as it was published; `chunk` counts the pieces that carry a checksum."""

    key: str
    kind: str
    file: str
    variable: str
    chunk: str
    reason: str


_Check = Callable[[], list[Fault]]


def verify(
    catalog: Catalog, keys: Sequence[str] | None = None, deep: bool = False, progress: Progress | None = None
) -> pd.DataFrame:
    """One row for every damaged or missing chunk, file or part, for data without an entry and entries without
    data; empty where all is well. Columns: key, kind, file, variable, chunk, reason.

    `keys` (or their first characters, or names): only these artifacts, without parts. `deep` also computes
    the digests of all samples again, which finds chunks that were exchanged. Raises InputError where a key is
    unknown or the store does not answer.
    """
    chosen = None if keys is None else {catalog.resolve(key) for key in keys}
    with catalog.errors("verifying"):
        found, checks = _planned(catalog, chosen, deep)
        for number, faults in enumerate(_run(checks), 1):
            found += faults
            if progress is not None:
                progress(number, len(checks))
        if chosen is None:
            found += _strays(catalog)
    rows = sorted({astuple(fault) for fault in found}, key=lambda row: (row[1], row[0], row[2], row[4]))
    return pd.DataFrame(rows, columns=_COLUMNS)


def _run(checks: Iterable[_Check]) -> Iterator[list[Fault]]:
    with ThreadPoolExecutor(THREADS) as pool:
        running: set[Future[list[Fault]]] = set()
        try:
            for check in checks:
                running.add(pool.submit(check))
                if len(running) >= 2 * THREADS:
                    done, running = wait(running, return_when=FIRST_COMPLETED)
                    yield from (future.result() for future in done)
            yield from (future.result() for future in running)
        finally:
            for future in running:
                future.cancel()


def _planned(catalog: Catalog, chosen: set[str] | None, deep: bool) -> tuple[list[Fault], list[_Check]]:
    found: list[Fault] = []
    checks: list[_Check] = []
    columns = artifacts.c
    query = sa.select(columns.id, columns.key, columns.stage, columns.location).order_by(columns.id)
    with catalog.engine.connect() as connection:
        rows = connection.execute(query.where(columns.location.is_not(None))).all()
        parts = connection.execute(sa.select(parts_table.c.key)).scalars().all() if chosen is None else []
        rows = [row for row in rows if chosen is None or row.key in chosen]
        groups = {row.key: _addresses(connection, row) for row in rows if row.location != ""}
    seen: dict[str, bool] = {}
    for row in rows:
        if row.location == "":
            checks.append(lambda row=row: _payload(catalog, row))  # type: ignore[misc]
            continue
        for address in groups[row.key]:
            if address not in seen:  # what several artifacts share is read once
                faults, more = _stored(catalog, row.key, address)
                seen[address] = not faults
                found += faults
                checks += more
        if deep and all(seen[address] for address in groups[row.key]):
            checks.append(lambda key=row.key: _digests(catalog, key))  # type: ignore[misc]
    checks += [lambda key=key: _part(catalog, key) for key in parts]  # type: ignore[misc]
    return found, checks


def _addresses(connection: sa.Connection, row: Row) -> list[str]:
    if row.location != IN_PIECES:
        return [row.location]
    return list(dict.fromkeys(piece.address for piece in pieces_of(connection, row.id)))


def _stored(catalog: Catalog, key: str, address: str) -> tuple[list[Fault], list[_Check]]:
    prefix, digest = divided(address)
    what = f"artifact {key[:12]}"
    try:
        _, members = stored_metadata(catalog.data, prefix, what, digest)
        arrays = checked_arrays(catalog.data, prefix, what, members)
    except InputError as error:
        text = str(error)
        reason = "gone" if " are gone " in text else text
        kind = "row without data" if reason == "gone" else "artifact"
        return [Fault(key, kind, f"{prefix}/{META}", "", "", reason)], []
    checks: list[_Check] = []
    for name, array in arrays.items():
        checks.append(lambda n=name: _metadata(catalog, key, prefix, n, members[n]))  # type: ignore[misc]
        for index, region in array.regions():
            checks.append(
                lambda n=name, a=array, i=index, r=region: _chunk(key, prefix, n, a, i, r)  # type: ignore[misc]
            )
    return [], checks


def _metadata(catalog: Catalog, key: str, prefix: str, name: str, wanted: dict) -> list[Fault]:
    file = f"{prefix}/{name}/{META}"
    text = catalog.data.get(file)
    try:
        reason = "missing" if text is None else "differs from when it was published"
        if text is not None and json.loads(text) == wanted:
            return []
    except ValueError as error:
        reason = str(error)
    return [Fault(key, "artifact", file, name, "", reason)]


def _chunk(
    key: str, prefix: str, name: str, array: CheckedArray, index: str, region: tuple[slice, ...]
) -> list[Fault]:
    file = "/".join(part for part in (prefix, name, "c", index) if part)
    return [Fault(key, "artifact", file, name, chunk, reason) for chunk, reason in array.trouble(region)]


def _payload(catalog: Catalog, row: Row) -> list[Fault]:
    with catalog.engine.connect() as connection:
        mine = payloads.c.artifact == row.id
        data = connection.execute(sa.select(payloads.c.data).where(mine)).scalar()
    if data is None:
        return [Fault(row.key, "row without data", "database", "", "", "gone")]
    return _small(catalog, row.key, "artifact", "database", BytesIO(data))


def _part(catalog: Catalog, key: str) -> list[Fault]:
    source = catalog.data.source(catalog.part_name(key))
    if source is None:
        return [Fault(key, "row without data", catalog.part_name(key), "", "", "gone")]
    return _small(catalog, key, "part", catalog.part_name(key), source)


def _small(catalog: Catalog, key: str, kind: str, file: str, source: object) -> list[Fault]:
    try:
        dataset = part_files.read_part(source, f"{kind} {key[:12]}")  # type: ignore[arg-type]
    except InputError as error:
        text = str(error)
        variable = text.partition("variable '")[2].partition("'")[0]
        return [Fault(key, kind, file, variable, "0" if variable else "", text)]
    with catalog.engine.connect() as connection:
        stored = stored_contents(connection, [key]).get(key)
    if stored is not None and content_of(dataset) != stored:
        return [Fault(key, kind, file, "", "", "the values are not those that were published")]
    return []


def _digests(catalog: Catalog, key: str) -> list[Fault]:
    with catalog.engine.connect() as connection:
        stored = stored_contents(connection, [key]).get(key)
    try:
        found = content_of(catalog.open(key))
    except InputError:
        return []  # the chunk is named by the check that reads it
    if stored is None or found == stored:
        return []
    pairs = zip(found.samples, stored.samples, strict=False)
    samples = [str(number) for number, (a, b) in enumerate(pairs) if a != b]
    reason = f"other values than published in sample {', '.join(samples[:20])}" if samples else "other values"
    return [Fault(key, "artifact", "", "", "", reason)]


def _strays(catalog: Catalog) -> list[Fault]:
    rubbish = gc(catalog, dry_run=True)
    found = [
        Fault(
            "",
            str(row.kind),
            str(row.name),
            "",
            "",
            "left by a run that ended; `pushforward catalog gc` removes it",
        )
        for row in rubbish.itertuples()
        if row.kind not in ("part", "segment")
    ]
    with catalog.engine.connect() as connection:
        lonely = [name for name in without_entry(catalog, connection) if is_claimed(catalog, name)]
    reason = "data with a record and no entry here: of another catalog, or of a run that was killed"
    return found + [Fault(name.split(".", 1)[0], "claimed", name, "", "", reason) for name in lonely]
