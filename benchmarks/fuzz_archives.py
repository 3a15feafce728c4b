"""Hostile archives: mutated bytes, manifests and metadata, at least 10^5 cases; what passes the checks is
imported into a catalog of its own and compared.

python benchmarks/fuzz_archives.py [cases]
"""

import hashlib
import io
import json
import sys
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from catalogs import arrays
from catalogs.archive import export_artifact, import_archive
from catalogs.archive_checks import MANIFEST, check_frames, inspect, read_member
from catalogs.catalog import Catalog, Record
from catalogs.keys import artifact_key
from kernels.errors import InputError

VALUES: list[Any] = [
    None, True, -1, 0, 1, 2**31, 2**63, 10**400, -0.5, 1e308, float("nan"), "", "a", "../../etc/x", "/abs",
    "a\0b", "\ud800", "\\", "x" * 5000, [], [1], {}, {"a": 1}, "__import__('os').system('true')",
    "numcodecs.pickle", "0" * 32, "0" * 64, "object", [10**15], [0], [[[]]],
]  # fmt: skip


def numbers() -> xr.Dataset:
    values = np.random.default_rng(0).random((25, 1))
    return xr.Dataset(
        {
            "u": (("sample", "x"), values),
            "name": ("sample", np.array([f"é{i}" for i in range(25)], dtype=object)),
        }
    )


def built(folder: Path) -> bytes:
    catalog = Catalog(folder / "source")
    mesh = artifact_key("mesh", 1, {}, {})
    catalog.publish(mesh, numbers(), Record("mesh", 1, {}, {}, datetime.now(UTC), 0.1))
    import catalogs.catalog

    catalogs.catalog.SMALL_BYTES = -1
    arrays.CHUNK_BYTES, arrays.PIECE_BYTES = 80, 16
    key = artifact_key("train", 1, {"modes": 8}, {"mesh": mesh})
    record = Record("train", 1, {"modes": 8}, {"mesh": mesh}, datetime.now(UTC), 0.1, {"rmse": 0.5})
    catalog.publish(key, numbers(), record)
    catalog.name(key, "wing")
    export_artifact(catalog, [key], folder / "a.zip", with_inputs=True)
    catalog.close()
    return (folder / "a.zip").read_bytes()


def rebuilt(members: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data)
    return out.getvalue()


def mutate(value: Any, random: np.random.Generator) -> Any:
    """The value with one place changed."""
    if random.random() < 0.15 or not isinstance(value, dict | list) or not value:
        return VALUES[random.integers(len(VALUES))]
    if isinstance(value, list):
        place, copy = int(random.integers(len(value))), list(value)
        if random.random() < 0.1:
            return copy + copy[place : place + 1]
        copy[place] = mutate(copy[place], random)
        return copy
    name, mapping = list(value)[random.integers(len(value))], dict(value)
    choice = random.random()
    if choice < 0.05:
        del mapping[name]
    elif choice < 0.1:
        mapping[str(VALUES[random.integers(len(VALUES))])] = mapping.pop(name)
    else:
        mapping[name] = mutate(mapping[name], random)
    return mapping


def of_bytes(content: bytes, members: dict[str, bytes], random: np.random.Generator) -> bytes:
    del members
    broken = bytearray(content)
    choice = random.random()
    if choice < 0.15:
        return bytes(broken[: random.integers(len(broken))])
    for _ in range(int(random.integers(1, 4))):
        broken[random.integers(len(broken))] ^= int(random.integers(1, 256))
    if choice < 0.25:
        start, length = random.integers(len(broken)), random.integers(1, 200)
        broken[start : start + length] = broken[random.integers(len(broken)) :][:length]
    return bytes(broken)


def of_manifest(content: bytes, members: dict[str, bytes], random: np.random.Generator) -> bytes:
    del content
    value = mutate(json.loads(members[MANIFEST]), random)
    return rebuilt({**members, MANIFEST: json.dumps(value).encode()})


def of_metadata(content: bytes, members: dict[str, bytes], random: np.random.Generator) -> bytes:
    """Changed array metadata, with every digest right again."""
    del content
    name = next(name for name in members if name.count("/") == 1 and name.endswith("zarr.json"))
    data = json.dumps(mutate(json.loads(members[name]), random)).encode()
    return _resealed(members, name, data, hashlib.sha256(data).hexdigest()[:32])


def of_chunks(content: bytes, members: dict[str, bytes], random: np.random.Generator) -> bytes:
    """Changed chunks and payloads, with every digest right again."""
    del content
    names = [name for name in members if "/c/" in name or name.endswith("payload")]
    name = names[random.integers(len(names))]
    broken = bytearray(members[name])
    for _ in range(int(random.integers(1, 4))):
        broken[random.integers(len(broken))] ^= int(random.integers(1, 256))
    return _resealed(members, name, bytes(broken), None)


def _resealed(members: dict[str, bytes], name: str, data: bytes, digest: str | None) -> bytes:
    manifest = json.loads(members[MANIFEST])
    for item in manifest["items"]:
        for member in item["data"]["members"]:
            if member["name"] == name:
                member.update(size=len(data), sha256=hashlib.sha256(data).hexdigest())
                if digest is not None:
                    item["data"]["digest"] = digest
    return rebuilt({**members, name: data, MANIFEST: json.dumps(manifest).encode()})


def judge(content: bytes, folder: Path, number: int, full: bool) -> str:
    """What came of an archive; raises whatever is no InputError."""
    try:
        archive, manifest = inspect(io.BytesIO(content), "it")
        for item in manifest.items:
            for member in item.data.members if item.data else []:
                data = read_member(archive, member.name)
                if hashlib.sha256(data).hexdigest() != member.sha256:
                    return "refused: checksum"
                if "/c/" in member.name and item.data and item.data.digest:
                    root = json.loads(archive.read(f"{item.key}/zarr.json"))
                    check_frames(data, root["consolidated_metadata"]["metadata"][member.name.split("/")[1]])
    except InputError:
        return "refused: checks"
    if not full:
        return "passed the checks"
    place = folder / f"{number}"
    place.mkdir()
    before = sorted(folder.iterdir())
    (place / "a.zip").write_bytes(content)
    catalog = Catalog(place / "target")
    try:
        import_archive(catalog, place / "a.zip")
        assert len(catalog.list()) > 0
        for key in catalog.list()["key"]:
            catalog.open(key).load()
        return "imported"
    except InputError:
        assert len(catalog.list()) == 0 or not list((place / "target" / "store").glob("*.zarr"))
        return "refused: values"
    finally:
        catalog.close()
        assert sorted(folder.iterdir()) == before
        assert {path.name for path in place.iterdir()} == {"a.zip", "target"}


def main(cases: int) -> None:
    random = np.random.default_rng(7)
    kinds: list[Callable[..., bytes]] = [of_bytes, of_manifest, of_metadata, of_chunks]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        content = built(folder)
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        results: Counter[tuple[str, str]] = Counter()
        imported: Counter[str] = Counter()
        start = time.perf_counter()
        inner = folder / "imports"
        inner.mkdir()
        for number in range(cases):
            kind = kinds[number % len(kinds)]
            broken = kind(content, members, random)
            result = judge(broken, inner, number, imported[kind.__name__] < 25)
            imported[kind.__name__] += result in ("imported", "refused: values")
            results[kind.__name__, result] += 1
        print(
            f"{cases} archives of {len(content)} bytes in {time.perf_counter() - start:.0f} s; no other error"
        )
        print("| changed | outcome | cases |\n|---|---|---|")
        for (kind, result), count in sorted(results.items()):
            print(f"| {kind.removeprefix('of_')} | {result} | {count} |")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
