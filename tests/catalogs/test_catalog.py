"""Catalog: keys, atomic publishing, checksums, full and read-only disks, queries and collection."""

import errno
import os
import subprocess
import sys
import zipfile
from datetime import UTC, datetime

import numpy as np
import pytest
import xarray as xr

from catalogs import arrays, environment, reading
from catalogs.catalog import Catalog, Record
from catalogs.collect import gc
from catalogs.database import engine_for, filesystem_type
from catalogs.keys import artifact_key, dataset_digest
from kernels.errors import InputError


@pytest.fixture
def as_files(monkeypatch):
    """Small datasets become files too."""
    monkeypatch.setattr("catalogs.catalog.SMALL_BYTES", -1)


@pytest.fixture
def catalog(tmp_path, database_url):
    made = Catalog(tmp_path / "project", database_url)
    yield made
    made.close()


def ragged(seed=0, samples=5):
    counts = 2 + np.arange(samples) % 3
    generator = np.random.default_rng(seed)
    return xr.Dataset(
        {
            "sample_name": ("sample", np.array([f"é{i}" for i in range(samples)], dtype=object)),
            "node_count": ("sample", counts, {"sample_dimension": "node"}),
            "u": (("node", "axis"), generator.random((counts.sum(), 2)), {"units": "m", "role": "field"}),
            "empty": (("none",), np.zeros(0)),
            "flag": ((), np.int8(3)),
        },
        coords={"axis": ["x", "y"], "time": ("sample", np.arange(samples) * 0.5)},
        attrs={"note": "n", "limit": 0.25},
    )


def record(stage="make", inputs=None, **config):
    return Record(
        stage, 1, config, inputs or {}, datetime.now(UTC), 0.1, metrics={"q": 1.5}, literature=("B 1999",)
    )


def put(catalog, dataset=None, inputs=None, stage="make", **config):
    key = artifact_key(stage, 1, config, inputs or {})
    catalog.publish(key, ragged() if dataset is None else dataset, record(stage, inputs, **config))
    return key


def part(catalog, name, dataset, owner=None, artifact="a" * 32):
    key = artifact_key("part", 1, {"name": name}, {})
    catalog.publish_part(key, dataset, "make", artifact, owner or environment.process_name(), 0.1)
    return key


def dead_process():
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    name = environment.process_name(child.pid)
    assert environment.is_alive(name)
    child.communicate(b"\n")
    assert not environment.is_alive(name)
    return name


def test_key_depends_on_every_ingredient():
    base = ("s", 1, {"a": 1, "b": {"c": [1.0]}}, {"x": "k"})
    others = [
        ("t", *base[1:]),
        ("s", 2, *base[2:]),
        ("s", 1, {"a": 2, "b": {"c": [1.0]}}, {"x": "k"}),
        ("s", 1, {"a": 1, "b": {"c": [1.5]}}, {"x": "k"}),
        ("s", 1, base[2], {"y": "k"}),
        ("s", 1, base[2], {"x": "j"}),
    ]
    keys = {artifact_key(*one) for one in [base, *others]}
    assert len(keys) == 7
    assert all(len(key) == 32 and int(key, 16) >= 0 for key in keys)
    assert artifact_key("s", 1, {"b": {"c": [1.0]}, "a": 1}, {"x": "k"}) == artifact_key(*base)


def test_dataset_digest_sees_values_attributes_and_no_chunks():
    one = ragged()
    assert dataset_digest(one) == dataset_digest(one.chunk({"node": 2}))
    changed = ragged()
    changed["u"][3, 1] += 1e-15
    named = ragged()
    named["sample_name"][0] = "e0"
    units = ragged()
    units["u"].attrs["units"] = "mm"
    assert len({dataset_digest(d) for d in (one, changed, named, units)}) == 4


def test_round_trip_is_identical_and_plain_xarray_opens_it(catalog, as_files):
    key = put(catalog)
    back = catalog.open(key[:8])
    xr.testing.assert_identical(back.load(), ragged())
    with xr.open_zarr(catalog.path(key), consolidated=False, chunks=None) as plain:
        np.testing.assert_array_equal(plain["u"], ragged()["u"])


def test_every_chunk_has_a_checksum_and_a_flipped_bit_is_named(catalog, as_files, monkeypatch):
    monkeypatch.setattr(arrays, "CHUNK_BYTES", 64)
    monkeypatch.setattr(reading, "EAGER_BYTES", 8)
    key = put(catalog)
    opened = catalog.open(key)
    assert opened["u"].chunks is not None
    chunk = catalog.path(key) / "u" / "c" / "1" / "0"
    content = chunk.read_bytes()
    for position in range(len(content)):
        broken = bytearray(content)
        broken[position] ^= 1
        chunk.write_bytes(broken)
        with pytest.raises(InputError, match=rf"artifact {key[:12]} .*chunk 1/0 of variable 'u'"):
            opened["u"].load()
    for length in (0, 1, len(content) // 2, len(content) - 1):
        chunk.write_bytes(content[:length])
        with pytest.raises(InputError, match=rf"artifact {key[:12]} .*chunk 1/0 of variable 'u'"):
            opened["u"].load()
    chunk.unlink()
    with pytest.raises(InputError, match=r"chunk 1/0 of variable 'u' .*missing"):
        catalog.open(key)["u"].load()


def test_damaged_part_is_named(catalog):
    key = part(catalog, "p", ragged())
    with zipfile.ZipFile(catalog.part_path(key)) as archive:
        entry = archive.getinfo("u.npy")
    content = catalog.part_path(key).read_bytes()
    start = entry.header_offset + 30 + len("u.npy")
    for position in range(start + 20, start + entry.file_size, 7):
        broken = bytearray(content)
        broken[position] ^= 4
        catalog.part_path(key).write_bytes(broken)
        with pytest.raises(InputError, match=f"part {key[:12]} is damaged: variable 'u' cannot be trusted"):
            catalog.load_part(key)
    catalog.part_path(key).write_bytes(content[:-30])
    with pytest.raises(InputError, match=f"part {key[:12]} is damaged: its head cannot be trusted"):
        catalog.load_part(key)


@pytest.mark.parametrize("chunk_bytes", [16, 100, 10**7])
@pytest.mark.parametrize("buffer_bytes", [1, 10**7])
def test_streamed_parts_equal_the_whole(catalog, monkeypatch, chunk_bytes, buffer_bytes):
    monkeypatch.setattr(arrays, "CHUNK_BYTES", chunk_bytes)
    monkeypatch.setattr(arrays, "BUFFER_BYTES", buffer_bytes)
    pieces = [ragged(seed, samples) for seed, samples in enumerate([1, 4, 2, 7])]
    keys = [part(catalog, str(i), piece) for i, piece in enumerate(pieces)]
    catalog.publish_parts("f" * 32, keys, record())
    whole = catalog.open("f" * 32)
    for name in ("u", "sample_name", "node_count", "time"):
        np.testing.assert_array_equal(whole[name], np.concatenate([piece[name].values for piece in pieces]))
    assert whole["flag"] == 3
    assert whole.attrs == pieces[0].attrs


def test_parts_that_disagree_are_refused(catalog):
    other = ragged(1)
    other["u"].attrs["units"] = "mm"
    keys = [part(catalog, "a", ragged()), part(catalog, "b", other)]
    with pytest.raises(InputError, match=r"'u' has dims .* units 'mm' in part 1"):
        catalog.publish_parts("f" * 32, keys, record())
    assert not catalog.exists("f" * 32)
    assert list(catalog.private.iterdir()) == []


@pytest.mark.parametrize("where", ["write", "sync", "row"])
@pytest.mark.parametrize(("code", "message"), [(errno.ENOSPC, "is full"), (errno.EROFS, "cannot be written")])
def test_disk_failures_leave_the_catalog_as_it_was(catalog, as_files, monkeypatch, where, code, message):
    kept = put(catalog, n=1)

    def fail(*_args, **_kwargs):
        raise OSError(code, os.strerror(code))

    target = {
        "write": "catalogs.arrays.write_dataset",
        "sync": "catalogs.stores._sync",
        "row": "catalogs.rows.insert_new",
    }
    with monkeypatch.context() as patch:
        patch.setattr(target[where], fail)
        with pytest.raises(InputError, match=message):
            put(catalog, n=2)
    assert list(catalog.list()["key"]) == [kept]
    assert list(catalog.private.iterdir()) == []
    assert list(catalog.data.folder.glob("*.zarr")) == [catalog.path(kept)]
    assert [path.stem for path in catalog.data.folder.glob("*.json")] == [kept]


def test_really_full_disk(tmp_path):
    folder = tmp_path / "small"
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if done.returncode != 0:
        pytest.skip("mounting a small file system needs root")
    try:
        catalog = Catalog(folder / "project")
        kept = put(catalog)
        big = xr.Dataset({"u": ("node", np.random.default_rng(0).random(10**6))})
        with pytest.raises(InputError, match="is full: writing the result of stage 'make' was stopped"):
            put(catalog, big, n=2)
        assert list(catalog.list()["key"]) == [kept]
        assert list(catalog.private.iterdir()) == []
        catalog.close()
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_unpublished_data_do_not_exist_and_are_replaced(catalog, as_files):
    key = artifact_key("make", 1, {}, {})
    (catalog.data.folder / f"{key}.zarr").mkdir()
    assert not catalog.exists(key)
    with pytest.raises(InputError, match=r"no artifact .* the catalog is empty"):
        catalog.open(key)
    assert put(catalog) == key
    xr.testing.assert_identical(catalog.open(key).load(), ragged())


def test_prefixes(catalog):
    keys = [put(catalog, n=n) for n in range(20)]
    shared = next(key[0] for key in keys if sum(other[0] == key[0] for other in keys) > 1)
    with pytest.raises(
        InputError, match=rf"'{shared}' is not unique; give more characters of one of: .*\(make\)"
    ):
        catalog.resolve(shared)
    with pytest.raises(InputError, match="starts with ''; the latest are"):
        catalog.resolve("")
    with pytest.raises(InputError, match=r"starts with 'xyz'; the latest are: .*\(make\)"):
        catalog.resolve("xyz")
    with pytest.raises(InputError, match="starts with '%'"):
        catalog.resolve("%")
    assert catalog.resolve(keys[3]) == keys[3]


def test_lineage_goes_both_ways_and_show_tells_all(catalog):
    a = put(catalog)
    b = put(catalog, inputs={"mesh": a}, stage="second")
    c = put(catalog, inputs={"left": b, "right": a}, stage="third")
    table = catalog.lineage(b)
    assert list(zip(table["direction"], table["stage"], table["depth"], strict=True)) == [
        ("input", "make", 1),
        ("self", "second", 0),
        ("used by", "third", 1),
    ]
    shown = catalog.show(c)
    assert shown["inputs"] == {"left": b, "right": a}
    assert shown["metrics"] == {"q": 1.5}
    assert shown["literature"] == ["B 1999"]
    assert (shown["location"], shown["version"], shown["tags"], shown["names"]) == ("", 1, [], [])
    assert shown["schema"]["variables"]["u"] == {
        "dims": ["node", "axis"], "dtype": "float64", "units": "m", "role": "field",
    }  # fmt: skip
    assert {"python", "numpy", "zarr"} <= set(shown["packages"])
    assert catalog.remove(b) == [b, c]
    assert list(catalog.list()["key"]) == [a]


def test_gc_takes_what_is_dead_and_leaves_what_lives(catalog):
    dead, alive = dead_process(), environment.process_name()
    published = put(catalog)
    for owner in (dead, alive):
        (catalog.private / f"{owner}.{'0' * 32}").mkdir()
    (catalog.data.folder / f"{'e' * 32}.zarr").mkdir()
    lost = part(catalog, "lost", ragged(), dead)
    running = part(catalog, "running", ragged(), alive)
    reusable = part(catalog, "reusable", ragged(), dead, published)
    expected = {f"{dead}.{'0' * 32}", f"{'e' * 32}.zarr", f"{lost}.zip"}
    assert set(gc(catalog, dry_run=True)["name"]) == expected
    assert catalog.part_path(lost).exists()
    assert set(gc(catalog)["name"]) == expected
    assert catalog.claim_parts([lost, running], "a" * 32, alive) == {running}
    assert catalog.part_path(reusable).exists()
    assert gc(catalog).empty
    assert set(gc(catalog, all_parts=True)["name"]) == {f"{reusable}.zip"}
    xr.testing.assert_identical(catalog.open(published).load(), ragged())


def test_sqlite_is_refused_on_a_network_file_system(tmp_path, monkeypatch):
    mounts = f"/dev/sda / ext4 rw 0 0\nserver:/x {tmp_path.resolve()} nfs4 rw 0 0\n"
    assert filesystem_type(tmp_path / "deep", mounts) == "nfs4"
    assert filesystem_type(tmp_path.parent, mounts) == "ext4"
    monkeypatch.setattr("catalogs.database.filesystem_type", lambda folder: "nfs4")
    with pytest.raises(InputError, match=r"network file system 'nfs4'.*PUSHFORWARD_DATABASE_URL"):
        engine_for(None, tmp_path)


def test_missing_project_and_dates_are_refused(tmp_path, catalog):
    with pytest.raises(InputError, match=r"there is no catalog in .*run `pushforward run surrogate"):
        Catalog(tmp_path / "nothing", create=False)
    assert not (tmp_path / "nothing").exists()
    with pytest.raises(InputError, match="'t' has dtype datetime64"):
        put(catalog, xr.Dataset({"t": ("x", np.array(["2020-01-01"], dtype="datetime64[ns]"))}))
