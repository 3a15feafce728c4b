"""Verification: whatever changes on the disk is named, and `open` never gives a wrong number."""

import os
import time
from datetime import UTC, datetime

import numpy as np
import pytest
import sqlalchemy as sa
import xarray as xr

from catalogs import arrays, environment, reading
from catalogs.catalog import Catalog, Record
from catalogs.database import writing
from catalogs.keys import artifact_key
from catalogs.tables import payloads
from catalogs.verify import verify
from kernels.errors import InputError


@pytest.fixture
def catalog(tmp_path, monkeypatch):
    """Chunks of 80 bytes in pieces of 16, all lazy, none in the database."""
    monkeypatch.setattr("catalogs.catalog.SMALL_BYTES", -1)
    monkeypatch.setattr(arrays, "CHUNK_BYTES", 80)
    monkeypatch.setattr(arrays, "PIECE_BYTES", 16)
    monkeypatch.setattr(reading, "EAGER_BYTES", 32)
    made = Catalog(tmp_path / "project")
    yield made
    made.close()


def numbers(seed=0, samples=25):
    values = np.random.default_rng(seed).random((samples, 1))
    return xr.Dataset(
        {
            "u": (("sample", "x"), values, {"units": "m"}),
            "name": ("sample", np.array([f"é{i}" for i in range(samples)], dtype=object)),
            "flag": ((), np.int8(3)),
        },
        attrs={"limit": 0.25},
    )


def put(catalog, dataset=None, stage="make", **config):
    key = artifact_key(stage, 1, config, {})
    record = Record(stage, 1, config, {}, datetime.now(UTC), 0.1)
    catalog.publish(key, numbers() if dataset is None else dataset, record)
    return key


def part(catalog, seed=0):
    key = artifact_key("part", 1, {"seed": seed}, {})
    catalog.publish_part(key, numbers(seed, 3), "make", "f" * 32, environment.process_name(), 0.1)
    return key


def test_all_is_well(catalog):
    put(catalog)
    part(catalog)
    seen = []
    assert verify(catalog, deep=True, progress=lambda done, total: seen.append((done, total))).empty
    assert seen == [(i, len(seen)) for i in range(1, len(seen) + 1)]


def test_every_changed_file_is_named_and_open_gives_no_wrong_number(catalog):
    key = put(catalog)
    folder = catalog.path(key)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    assert len(files) == 4 + 3 + 13 + 1
    for file in files:
        content = file.read_bytes()
        name = file.relative_to(catalog.data.folder).as_posix()
        middle = len(content) // 2
        flipped = content[:middle] + bytes([content[middle] ^ 16]) + content[middle + 1 :]
        for damaged in (flipped, content[:-1], b"", None):
            file.unlink() if damaged is None else file.write_bytes(damaged)
            table = verify(catalog)
            assert list(table["file"].unique()) == [name], (name, damaged)
            assert set(table["key"]) == {key}
            if "/c" in name:
                assert (table["variable"] == file.relative_to(folder).parts[0]).all()
                assert (table["chunk"] != "").all()
            try:
                given = catalog.open(key).load()
            except InputError:
                given = numbers()
            xr.testing.assert_identical(given, numbers())
            file.write_bytes(content)
    assert verify(catalog).empty


def test_a_damaged_piece_of_a_shard_is_named_alone(catalog):
    key = put(catalog)
    file = catalog.path(key) / "u" / "c" / "1" / "0"
    content = bytearray(file.read_bytes())
    content[1] ^= 1
    file.write_bytes(content)
    table = verify(catalog, [key[:8]])
    assert list(zip(table["kind"], table["variable"], table["chunk"], strict=True)) == [
        ("artifact", "u", "5/0")
    ]
    other = catalog.open(key)["u"].isel(sample=slice(12, 25))
    np.testing.assert_array_equal(other, numbers()["u"][12:])


def test_exchanged_chunks_are_found_by_the_digests(catalog):
    key = put(catalog)
    one, two = (catalog.path(key) / "u" / "c" / index / "0" for index in "01")
    first = one.read_bytes()
    one.write_bytes(two.read_bytes())
    two.write_bytes(first)
    assert verify(catalog).empty
    table = verify(catalog, deep=True)
    assert list(table["reason"]) == [
        f"other values than published in sample {', '.join(map(str, range(20)))}"
    ]


def test_parts_payloads_orphans_and_rows_without_data(catalog, monkeypatch):
    good, bad, gone = (part(catalog, seed) for seed in range(3))
    path = catalog.part_path(bad)
    content = bytearray(path.read_bytes())
    content[content.index(b"u.npy") + 160] ^= 1
    path.write_bytes(content)
    catalog.part_path(gone).unlink()
    stray = catalog.part_path("e" * 32)
    stray.write_bytes(b"x")
    os.utime(stray, (time.time() - 10**5,) * 2)
    monkeypatch.setattr("catalogs.catalog.SMALL_BYTES", 10**5)
    small = put(catalog, n=1)
    with writing(catalog.engine) as connection:
        data = bytearray(connection.execute(sa.select(payloads.c.data)).scalar_one())
        data[data.index(b"u.npy") + 160] ^= 1
        connection.execute(sa.update(payloads).values(data=bytes(data)))
    table = verify(catalog)
    assert good not in set(table["key"])
    found = {(row.kind, row.key, row.variable) for row in table.itertuples()}
    assert found == {
        ("part", bad, "u"), ("row without data", gone, ""), ("orphan part", "", ""), ("artifact", small, "u"),
    }  # fmt: skip
    with pytest.raises(InputError, match=f"artifact {small[:12]} .* variable 'u' cannot be trusted"):
        catalog.open(small)


def test_a_payload_with_any_flipped_byte_gives_no_wrong_number(catalog, monkeypatch):
    monkeypatch.setattr("catalogs.catalog.SMALL_BYTES", 10**5)
    key = put(catalog, numbers(samples=2))
    with catalog.engine.connect() as connection:
        content = connection.execute(sa.select(payloads.c.data)).scalar_one()
    for position in range(0, len(content), 3):
        damaged = bytearray(content)
        damaged[position] ^= 1 << position % 8
        with writing(catalog.engine) as connection:
            connection.execute(sa.update(payloads).values(data=bytes(damaged)))
        try:
            given = catalog.open(key)
        except InputError:
            given = numbers(samples=2)
        xr.testing.assert_identical(given, numbers(samples=2))


@pytest.mark.parametrize(
    ("old", "new"), [(b"0.25", b"0.35"), (b'"units": "m"', b'"units": "g"'), (b"25", b"24")]
)
def test_changed_metadata_that_still_read_are_refused(catalog, old, new):
    key = put(catalog)
    file = catalog.path(key) / "zarr.json"
    content = file.read_bytes()
    assert old in content
    file.write_bytes(content.replace(old, new))
    with pytest.raises(InputError, match=rf"artifact {key[:12]} .*zarr.json has another digest"):
        catalog.open(key)
    assert [name.rpartition("/")[2] for name in verify(catalog)["file"]] == ["zarr.json"]
