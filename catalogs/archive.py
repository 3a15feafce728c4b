"""Archives: artifacts with their data, their whole lineage as records, and their marks, in one file.

A zip whose members are stored as they are, with a manifest of everything and a sha256 of each. An import
checks every checksum, computes nothing anew, and is visible as a whole or not at all.
"""

import hashlib
import json
import uuid
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import pandas as pd
import sqlalchemy as sa

from catalogs import part_files, reading
from catalogs.archive_checks import (
    LARGEST_CHUNK,
    MANIFEST,
    Data,
    Item,
    Member,
    check_frames,
    inspect,
    read_member,
)
from catalogs.archive_rows import exported, insert, known, topological
from catalogs.catalog import Catalog
from catalogs.claims import News
from catalogs.compact import written_whole
from catalogs.contents import Content, content_of
from catalogs.database import writing
from catalogs.rows import Description, Record, describe
from catalogs.sealing import META, address, digest_of, divided
from catalogs.segments import IN_PIECES, Fresh, Place
from catalogs.stores import Draft
from catalogs.tables import artifacts, payloads
from catalogs.verify import verify
from kernels.errors import InputError

LARGEST_ARCHIVE = 2**42
"""Bytes of data that an import takes, unless told otherwise."""


def export_artifact(
    catalog: Catalog, keys: Sequence[str], file: Path, with_inputs: bool = False
) -> pd.DataFrame:
    """Write artifacts to a new file, with data, and everything they were made from as records; one row each:
    key, stage, bytes of data, data.

    `with_inputs`: the data of all that they were made from too. Raises InputError where a key is unknown, has
    no data or damaged ones, or the file is there or cannot be written.
    """
    if file.exists():
        raise InputError(f"{file} is there already: name another file, or remove it first")
    chosen = [catalog.resolve(key) for key in keys]
    items = {key: exported(catalog, key) for key in topological(catalog, chosen)}
    heavy = [key for key in items if with_inputs or key in chosen]
    with catalog.engine.connect() as connection:
        rows = {row.key: row for row in connection.execute(sa.select(artifacts)) if row.key in set(heavy)}
    records = [key for key in heavy if rows[key].location is None]
    if records:
        raise InputError(
            f"artifact {records[0][:12]} is a record without data: import its data, or run its pipeline, "
            "or export without it"
        )
    faults = verify(catalog, heavy) if heavy else pd.DataFrame()
    if len(faults):
        first = faults.iloc[0]
        raise InputError(
            f"nothing is exported, artifact {first['key'][:12]} is damaged: {first['file']} "
            f"{first['reason']}; `pushforward catalog verify` lists everything"
        )
    part = file.with_name(f"{file.name}.{uuid.uuid4().hex[:8]}.partial")
    try:
        with catalog.errors(f"writing {file}"), zipfile.ZipFile(part, "x", allowZip64=True) as archive:
            for key in heavy:
                items[key]["data"] = _write_data(catalog, archive, rows[key])
            text = json.dumps({"format": 1, "items": list(items.values())}, allow_nan=False)
            archive.writestr(MANIFEST, text)
        part.rename(file)
    except FileNotFoundError as error:
        raise InputError(
            f"{file} cannot be written ({error}): name a file in a folder that exists"
        ) from error
    finally:
        part.unlink(missing_ok=True)
    table = [
        (
            key,
            item["stage"],
            sum(m["size"] for m in (item["data"] or {"members": []})["members"]),
            key in heavy,
        )
        for key, item in items.items()
    ]
    return pd.DataFrame(table, columns=["key", "stage", "bytes", "data"])


def _write_data(catalog: Catalog, archive: zipfile.ZipFile, row: sa.Row) -> dict[str, Any]:
    def add(name: str, data: bytes) -> dict[str, Any]:
        archive.writestr(zipfile.ZipInfo(name), data)
        return {"name": name, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}

    if row.location == "":
        with catalog.engine.connect() as connection:
            mine = payloads.c.artifact == row.id
            data = connection.execute(sa.select(payloads.c.data).where(mine)).scalar_one()
        return {"members": [add(f"{row.key}/payload", data)]}
    if row.location == IN_PIECES:  # goes out as one group
        with catalog.data.draft(row.key) as draft:
            digest, _ = written_whole(catalog, row.key, draft)
            return _write_group(catalog, row.key, draft.prefix, digest, add)
    return _write_group(catalog, row.key, *divided(row.location), add)


def _write_group(
    catalog: Catalog, key: str, prefix: str, digest: str | None, add: Callable[[str, bytes], dict[str, Any]]
) -> dict[str, Any]:
    attrs, arrays = reading.stored_metadata(catalog.data, prefix, f"artifact {key[:12]}", digest)
    root = (catalog.data.get(f"{prefix}/{META}") or b"") if digest else _sealed(attrs, arrays)
    members = [add(f"{key}/{META}", root)]
    for entry in sorted(catalog.data.entries(prefix)):
        inner = entry.name[len(prefix) + 1 :]
        if inner != META:
            members.append(add(f"{key}/{inner}", catalog.data.get(entry.name) or b""))
    return {"digest": digest_of(root), "members": members}


def _sealed(attrs: dict[str, Any], arrays: dict[str, dict]) -> bytes:
    inline = {"kind": "inline", "must_understand": False, "metadata": arrays}
    group = {"zarr_format": 3, "node_type": "group", "attributes": attrs, "consolidated_metadata": inline}
    return json.dumps(group).encode()


@dataclass
class _Staged:
    """One artifact on its way in: what it is, and where its data are."""

    item: Item
    about: Description
    content: Content | None
    size: int = 0
    draft: Draft | None = None
    place: Place | None = None
    fresh: Mapping[str, Fresh] = field(default_factory=dict)
    payload: bytes | None = field(default=None, repr=False)


def import_archive(catalog: Catalog, file: Path, largest: int = LARGEST_ARCHIVE) -> pd.DataFrame:
    """Take the artifacts of an archive into the catalog, all or none; one row each: key, stage, result.

    result: `imported` (with data), `record` (without), `completed` (data for a record that was there) or
    `there` (unchanged). Importing again changes nothing. Raises InputError where the file is no archive, is
    damaged or could do harm, or the disk is full; the catalog is then as it was.
    """
    try:
        stream = file.open("rb")
    except OSError as error:
        raise InputError(f"{file} cannot be read ({error.strerror}): name an archive") from error
    with stream, catalog.errors(f"importing {file}"):
        archive, manifest = inspect(stream, str(file))
        size = sum(m.size for item in manifest.items if item.data for m in item.data.members)
        if size > largest:
            raise InputError(f"{file} holds {size} bytes of data, more than the {largest} that are allowed")
        there = known(catalog, [item.key for item in manifest.items])
        results = {item.key: _result(item, there) for item in manifest.items}
        new = [item for item in manifest.items if results[item.key] != "there"]
        with ExitStack() as drafts:
            try:
                staged = [_staged(catalog, archive, item, drafts) for item in new]
                _publish(catalog, staged, results)
            except InputError as error:
                raise InputError(f"{file} is not imported: {error}") from error
            except (MemoryError, ValueError, TypeError, KeyError, IndexError, OverflowError) as error:
                raise InputError(
                    f"{file} is not imported: its data cannot be understood ({type(error).__name__}: "
                    f"{str(error)[:200]}); export it again"
                ) from error
            except sa.exc.DBAPIError as error:
                raise InputError(f"{file} is not imported: the database refuses it ({error.orig})") from error
    rows = [(item.key, item.stage, results[item.key]) for item in manifest.items]
    return pd.DataFrame(rows, columns=["key", "stage", "result"])


def _result(item: Item, there: dict[str, str | None]) -> str:
    if item.key not in there:
        return "imported" if item.data is not None else "record"
    return "completed" if there[item.key] is None and item.data is not None else "there"


def _staged(catalog: Catalog, archive: zipfile.ZipFile, item: Item, drafts: ExitStack) -> _Staged:
    ranges = {name: (low, high) for name, (low, high) in item.ranges.items()}
    about = Description(dict(item.sizes), dict(item.described), ranges)
    given = None if item.content is None else Content(item.content.shared, tuple(item.content.samples))
    if item.data is None:
        return _Staged(item, about, None)
    if item.data.digest is None:
        data = _checked(archive, item.data.members[0])
        with zipfile.ZipFile(BytesIO(data)) as inner:
            if any(i.compress_type != zipfile.ZIP_STORED for i in inner.infolist()):
                raise InputError(f"the payload of artifact {item.key[:12]} is compressed, expected it stored")
        dataset = part_files.read_part(BytesIO(data), f"artifact {item.key[:12]}")
        one = _Staged(item, describe(dataset), content_of(dataset), len(data), payload=data, place=Place(""))
    else:
        draft = drafts.enter_context(catalog.data.draft(item.key))
        size = _copy(catalog, archive, item, item.data, draft)
        what = f"artifact {item.key[:12]}"
        dataset = reading.open_dataset(catalog.data, draft.prefix, what, item.data.digest)
        one = _Staged(item, describe(dataset), content_of(dataset), size, draft)
    if given is not None and one.content != given:
        raise InputError(f"artifact {item.key[:12]} has other values than its digests say: export it again")
    return one


def _checked(archive: zipfile.ZipFile, member: Member) -> bytes:
    data = read_member(archive, member.name)
    if hashlib.sha256(data).hexdigest() != member.sha256:
        raise InputError(f"member {member.name!r} has another checksum than its manifest says")
    return data


def _copy(catalog: Catalog, archive: zipfile.ZipFile, item: Item, data: Data, draft: Draft) -> int:
    root = json.loads(read_member(archive, f"{item.key}/{META}"))
    arrays = root["consolidated_metadata"]["metadata"]
    size = 0
    for member in data.members:
        inner = member.name[33:]
        if member.size > LARGEST_CHUNK:
            raise InputError(f"member {member.name!r} is larger than a chunk can be")
        content = _checked(archive, member)
        if not inner.endswith(META):
            check_frames(content, arrays[inner.split("/", 1)[0]])
        catalog.data.put(f"{draft.prefix}/{inner}", partial(_write, content))
        size += len(content)
    return size


def _write(content: bytes, stream: BinaryIO) -> None:
    stream.write(content)


def _publish(catalog: Catalog, staged: Sequence[_Staged], results: dict[str, str]) -> None:
    schemas = {one.item.key: catalog.writer.schema(one.about.schema) for one in staged}
    claims: list[tuple[str, str]] = []
    with catalog.data.alone():
        try:
            for one in staged:
                if one.draft is not None:
                    claims += _placed(catalog, one)
            with writing(catalog.engine) as connection:
                for one in staged:
                    insert(
                        connection, one.item, one.about, one.content, one.size, one.place, one.payload,
                        schemas[one.item.key], one.fresh, completing=results[one.item.key] == "completed",
                    )  # fmt: skip
        except BaseException:
            if not catalog.data.remote:
                for key, mine in claims:
                    catalog.records.leave([key], [mine])
                for one in staged:
                    if one.draft is not None:
                        one.draft.kept = False
            raise


def _placed(catalog: Catalog, one: _Staged) -> Iterator[tuple[str, str]]:
    item, draft = one.item, one.draft
    assert draft is not None
    assert item.data is not None
    assert item.data.digest is not None
    started = datetime.fromtimestamp(item.started, UTC)
    record = Record(
        item.stage, item.version, item.config, item.inputs, started, item.seconds, item.metrics,
        item.literature,
    )  # fmt: skip
    assert one.content is not None
    catalog.data.place(draft)
    mine = Place(address(draft.location, item.data.digest))
    news = News(record, one.about, one.content, one.size)
    one.place = catalog.records.claim(item.key, mine, news, draft.location)
    draft.kept = one.place == mine
    if draft.kept:
        yield item.key, draft.location
        return
    news = catalog.adopted(one.place, news)
    one.about, one.content, one.size, one.fresh = news.about, news.content, news.size, news.fresh
