"""What an archive from elsewhere may hold: everything is checked before a byte of it is stored or decoded."""

import json
import math
import re
import stat
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, BinaryIO

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from catalogs.keys import artifact_key
from catalogs.marks import LONGEST_NOTE
from catalogs.rows import leaves
from kernels.errors import InputError

MANIFEST = "manifest.json"
LARGEST_MANIFEST = 256 * 2**20
LARGEST_PAYLOAD = 16 * 2**20
LARGEST_CHUNK = 2**30
"""Bytes of one chunk, decoded."""

LARGEST_RATIO = 50_000
"""Decoded bytes for one stored byte; a chunk of zeros has about 30,000."""

_DEEPEST = 50
_LONGEST_PATH = 500
_CODECS = {"bytes", "vlen-utf8", "zstd", "crc32c", "sharding_indexed"}
_TYPES = {
    **{f"{kind}{bits}": bits // 8 for kind in ("int", "uint") for bits in (8, 16, 32, 64)},
    "bool": 1, "float16": 2, "float32": 4, "float64": 8, "complex64": 8, "complex128": 16, "string": 32,
}  # fmt: skip
_VARIABLE = re.compile(r"[^/\\\0]{1,200}")

Key = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
Name = Annotated[str, Field(min_length=1, max_length=200)]
Text = Annotated[str, Field(max_length=1000)]
Number = Annotated[float, Field(allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, lt=2**62)]
Mark = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_.-]{0,99}$")]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Member(_Model):
    """One file of the archive."""

    name: Annotated[str, Field(max_length=1000)]
    size: Count
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Data(_Model):
    """Where the data of an artifact are: one member as a payload, or a zarr group with the digest of its
    metadata.
    """

    digest: Key | None = None
    members: list[Member]


class RunFacts(_Model):
    """What an artifact was made on."""

    process: Text
    host: Text
    user: Text
    code: Text
    packages: dict[Name, Text]
    started: Number
    seen: Number
    ended: Number | None = None


class Contents(_Model):
    """Digests of the samples, see `catalogs.contents`."""

    shared: Key
    samples: list[Key]


class Item(_Model):
    """One artifact."""

    key: Key
    stage: Name
    version: Annotated[int, Field(ge=0, lt=2**31)]
    config: dict[str, Any]
    inputs: dict[Name, Key]
    metrics: dict[str, Any]
    sizes: dict[Name, Count]
    literature: list[Text]
    started: Number
    created: Number
    seconds: Number
    note: Annotated[str, Field(max_length=LONGEST_NOTE)]
    tags: list[Mark]
    names: list[tuple[Mark, Annotated[int, Field(ge=1, lt=2**31)]]]
    run: RunFacts
    described: dict[str, Any]
    ranges: dict[Name, tuple[Number, Number]]
    content: Contents | None = None
    data: Data | None = None


class Manifest(_Model):
    """All artifacts of an archive, inputs first."""

    format: Annotated[int, Field(ge=1, le=1)]
    items: list[Item]


def inspect(stream: BinaryIO, shown: str) -> tuple[zipfile.ZipFile, Manifest]:
    """The archive and what it holds; no data are read.

    Raises InputError where it is no archive, or one that could harm: names that leave it, links, compressed
    or encrypted members, sizes that are not those declared, records whose key is not that of their recipe,
    arrays that are larger than their bytes can be.
    """
    try:
        archive = zipfile.ZipFile(stream)
        manifest = _manifest(archive, stream)
        _check_items(manifest.items)
        _check_members(archive, manifest, stream)
        for item in manifest.items:
            if item.data is not None:
                _check_data(archive, item, item.data)
    except InputError as error:
        raise InputError(f"{shown} cannot be imported: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise InputError(
            f"{shown} cannot be imported: its manifest is wrong at {where}: {first['msg']}; export it again"
        ) from error
    except Exception as error:
        raise InputError(
            f"{shown} cannot be imported: it is no archive of `pushforward catalog export`, or damaged "
            f"({type(error).__name__}: {str(error)[:200]}); export it again"
        ) from error
    return archive, manifest


def read_member(archive: zipfile.ZipFile, name: str) -> bytes:
    """Bytes of a member; its CRC is compared.

    Raises InputError where it cannot be read.
    """
    try:
        return archive.read(name)
    except Exception as error:
        raise InputError(f"member {name!r} is damaged ({error}); export the archive again") from error


def _manifest(archive: zipfile.ZipFile, stream: BinaryIO) -> Manifest:
    info = archive.getinfo(MANIFEST)
    if max(info.file_size, info.compress_size) > min(LARGEST_MANIFEST, _length(stream)):
        raise InputError(f"its manifest has {info.file_size} bytes, expected at most {LARGEST_MANIFEST}")
    if info.compress_type != zipfile.ZIP_STORED:
        raise InputError("its manifest is compressed, expected it stored")
    value = json.loads(archive.read(info), parse_constant=_refused_constant)
    _check_value(value)
    # as JSON: strict models take a list for a tuple there only
    return Manifest.model_validate_json(json.dumps(value))


def _refused_constant(text: str) -> float:
    raise InputError(f"its manifest holds {text}, expected finite numbers")


def _length(stream: BinaryIO) -> int:
    place = stream.tell()
    length = stream.seek(0, 2)
    stream.seek(place)
    return length


def _check_value(value: Any, finite: bool = True) -> None:
    """Only what JSON, SQLite and PostgreSQL keep: depth, numbers of 64 bits (`finite`), text without NUL."""
    front: list[tuple[Any, int]] = [(value, 0)]
    while front:
        one, depth = front.pop()
        if depth > _DEEPEST:
            raise InputError(f"its manifest is nested deeper than {_DEEPEST}")
        if isinstance(one, dict):
            front += [(item, depth + 1) for pair in one.items() for item in pair]
        elif isinstance(one, list):
            front += [(item, depth + 1) for item in one]
        elif isinstance(one, str):
            if "\0" in one:
                raise InputError("its manifest holds a NUL character")
            one.encode()
        elif isinstance(one, int | float) and not -(2**63) <= one < 2**63 and not isinstance(one, float):
            raise InputError(f"its manifest holds an integer of {one.bit_length()} bits, expected at most 64")
        elif finite and isinstance(one, float) and not math.isfinite(one):
            raise InputError("its manifest holds a number that is not finite")


def _check_items(items: Sequence[Item]) -> None:
    seen: set[str] = set()
    for item in items:
        short = f"artifact {item.key[:12]} (stage {item.stage!r})"
        if item.key in seen:
            raise InputError(f"{short} is in it twice")
        lost = [key for key in item.inputs.values() if key not in seen]
        if lost:
            raise InputError(f"input {lost[0]} of {short} does not come before it")
        seen.add(item.key)
        if artifact_key(item.stage, item.version, item.config, item.inputs) != item.key:
            raise InputError(f"{short} has another key than its stage, version, config and inputs give")
        paths = [name for tree in (item.config, item.metrics) for name, _ in leaves(tree)]
        if any(len(path) > _LONGEST_PATH for path in paths):
            raise InputError(f"{short} has a config or metric whose name is longer than {_LONGEST_PATH}")


def _check_members(archive: zipfile.ZipFile, manifest: Manifest, stream: BinaryIO) -> None:
    listed = {m.name: m for item in manifest.items if item.data for m in item.data.members}
    infos = archive.infolist()
    count = sum(len(item.data.members) for item in manifest.items if item.data)
    if len(listed) != count or len(infos) != count + 1 or {i.filename for i in infos} != {*listed, MANIFEST}:
        raise InputError("its members are not those that its manifest lists, each once")
    for info in infos:
        if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
            raise InputError(f"member {info.filename!r} is compressed or encrypted, expected it stored")
        if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG):
            raise InputError(f"member {info.filename!r} is a link or no file")
        wanted = listed[info.filename].size if info.filename in listed else info.file_size
        if not info.file_size == info.compress_size == wanted:
            raise InputError(f"member {info.filename!r} has other sizes than declared")
    if sum(info.file_size for info in infos) > _length(stream):
        raise InputError("its members overlap: they are larger than the file")


def _check_data(archive: zipfile.ZipFile, item: Item, data: Data) -> None:
    short = f"artifact {item.key[:12]}"
    if data.digest is None:
        if [m.name for m in data.members] != [f"{item.key}/payload"]:
            raise InputError(f"the data of {short} are not one payload")
        if data.members[0].size > LARGEST_PAYLOAD:
            raise InputError(f"the payload of {short} is larger than {LARGEST_PAYLOAD} bytes")
        return
    sizes = {member.name.removeprefix(f"{item.key}/"): member.size for member in data.members}
    if sizes.get("zarr.json", LARGEST_MANIFEST) >= LARGEST_MANIFEST:
        raise InputError(f"the metadata of {short} are missing or too large")
    root = json.loads(archive.read(f"{item.key}/zarr.json"))
    _check_value(root, finite=False)  # attributes may be NaN
    if set(root) != {"zarr_format", "node_type", "attributes", "consolidated_metadata"}:
        raise InputError(f"the metadata of {short} have the names {sorted(root)}")
    members = root["consolidated_metadata"]["metadata"]
    decoded = sum(_check_array(name, about, len(sizes)) for name, about in members.items())
    if decoded > LARGEST_RATIO * (1 + sum(sizes.values())):
        raise InputError(f"the arrays of {short} are {decoded} bytes in {sum(sizes.values())} stored ones")
    wanted = {"zarr.json", *(file for name, about in members.items() for file in files_of(name, about))}
    if wanted != set(sizes) or any(m.name != f"{item.key}/{m.name[33:]}" for m in data.members):
        raise InputError(f"the files of {short} are not those of its arrays")


def files_of(name: str, about: Mapping[str, Any]) -> Iterator[str]:
    """Files of an array: its metadata and every chunk."""
    yield f"{name}/zarr.json"
    grid = _grid(about)
    for number in range(math.prod(grid)):
        index = []
        for length in reversed(grid):
            number, place = divmod(number, length)
            index.append(str(place))
        yield "/".join([name, "c", *reversed(index)])


def _grid(about: Mapping[str, Any]) -> list[int]:
    steps = about["chunk_grid"]["configuration"]["chunk_shape"]
    return [-(-length // step) for length, step in zip(about["shape"], steps, strict=True)]


def _check_array(name: str, about: Mapping[str, Any], files: int) -> int:
    """Decoded bytes of an array; raises InputError where it is not one that this product writes."""
    if not _VARIABLE.fullmatch(name) or name in (".", "..", "zarr.json"):
        raise InputError(f"the name of variable {name!r} is refused")
    shape, steps = about["shape"], about["chunk_grid"]["configuration"]["chunk_shape"]
    numbers = [*shape, *steps]
    if not all(type(n) is int and 0 <= n < 2**62 for n in numbers) or 0 in steps or len(shape) != len(steps):
        raise InputError(f"variable {name!r} has shape {shape} in chunks {steps}")
    item = _TYPES.get(about["data_type"]) if isinstance(about["data_type"], str) else None
    kinds = (about["zarr_format"], about["node_type"], about["chunk_grid"]["name"])
    if item is None or kinds != (3, "array", "regular") or about.get("storage_transformers"):
        raise InputError(f"variable {name!r} is of the kind {kinds}, {about['data_type']!r}")
    encoding = about["chunk_key_encoding"]
    if encoding["name"] != "default" or encoding.get("configuration", {}).get("separator", "/") != "/":
        raise InputError(f"variable {name!r} names its chunks by {encoding}")
    if item * math.prod(steps) > LARGEST_CHUNK:
        raise InputError(f"variable {name!r} has chunks of {item * math.prod(steps)} bytes")
    if math.prod(_grid(about)) > files:
        raise InputError(f"variable {name!r} has more chunks than the archive has files")
    _check_codecs(name, about["codecs"], steps, sharded=True)
    return int(item * math.prod(shape))


def _check_codecs(name: str, codecs: Any, steps: Sequence[int], sharded: bool) -> None:
    for codec in codecs:
        if codec["name"] not in _CODECS or (codec["name"] == "sharding_indexed" and not sharded):
            raise InputError(f"variable {name!r} has the codec {codec['name']!r}")
        if codec["name"] == "sharding_indexed":
            settings = codec["configuration"]
            pieces = settings["chunk_shape"]
            fits = [type(p) is int and p > 0 and step % p == 0 for p, step in zip(pieces, steps, strict=True)]
            if not all(fits) or settings.get("index_location", "end") != "end" or len(codecs) != 1:
                raise InputError(f"variable {name!r} has shards {steps} of pieces {pieces}")
            _check_codecs(name, settings["codecs"], pieces, sharded=False)
            _check_codecs(name, settings["index_codecs"], pieces, sharded=False)


def check_frames(data: bytes, about: Mapping[str, Any]) -> None:
    """Raise InputError where a chunk says that it decodes to more than it may: memory is taken by what it
    says, before its checksum is compared.
    """
    steps = about["chunk_grid"]["configuration"]["chunk_shape"]
    codec = about["codecs"][0]
    most = _TYPES[about["data_type"]] * math.prod(steps)
    pieces = [data]
    if codec["name"] == "sharding_indexed":
        inner = codec["configuration"]["chunk_shape"]
        count = math.prod(step // piece for step, piece in zip(steps, inner, strict=True))
        index = data[-16 * count - 4 : -4] if len(data) >= 16 * count + 4 else b""
        bounds = [int.from_bytes(index[i : i + 8], "little") for i in range(0, len(index), 8)]
        pieces = [data[start : start + 18] for start in bounds[::2] if start < len(data)]
        most //= max(1, count)
    # text has no length of its own
    most = LARGEST_CHUNK if about["data_type"] == "string" else most
    for piece in pieces:
        if piece[:4] == b"\x28\xb5\x2f\xfd" and _frame_size(piece) > most:
            raise InputError(f"a chunk says that it decodes to {_frame_size(piece)} bytes, expected {most}")


def _frame_size(frame: bytes) -> int:
    """Decoded bytes that the head of a zstd frame declares (RFC 8878, section 3.1.1.1); without, too many."""
    if len(frame) < 5:
        return 0
    head = frame[4]
    single, flag = head >> 5 & 1, head >> 6
    start = 5 + (1 - single) + (0, 1, 2, 4)[head & 3]
    length = (single, 2, 4, 8)[flag]
    if length == 0:
        return LARGEST_CHUNK + 1
    return int.from_bytes(frame[start : start + length], "little") + (256 if flag == 1 else 0)
