"""Writers side by side and shard bounds: right values or a refusal, never a loss."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import numpy as np
import pytest
import sqlalchemy as sa
import xarray as xr
import zarr

from catalogs import arrays, environment, reading
from catalogs.catalog import Catalog, Record
from catalogs.collect import gc
from catalogs.database import writing
from catalogs.keys import artifact_key
from catalogs.sealing import seal
from catalogs.tables import parts, runs
from kernels.errors import InputError


@pytest.fixture
def small_shards(monkeypatch):
    """Shards of 10 numbers in pieces of 2, none in the database."""
    monkeypatch.setattr("catalogs.catalog.SMALL_BYTES", -1)
    monkeypatch.setattr(arrays, "CHUNK_BYTES", 80)
    monkeypatch.setattr(arrays, "PIECE_BYTES", 16)
    monkeypatch.setattr(reading, "EAGER_BYTES", 32)


@pytest.fixture
def catalog(tmp_path, database_url):
    made = Catalog(tmp_path / "project", database_url)
    yield made
    made.close()


def numbers(samples=95, seed=0):
    return xr.Dataset({"u": ("sample", np.random.default_rng(seed).random(samples))})


def record(**config):
    return Record("make", 1, config, {}, datetime.now(UTC), 0.1)


@pytest.mark.parametrize("chunk", [1, 3, 7, 10, 13, 95])
def test_dask_chunks_that_do_not_fit_shards_lose_nothing(tmp_path, small_shards, chunk):
    catalog = Catalog(tmp_path / "project")
    catalog.publish("a" * 32, numbers().chunk({"sample": chunk}), record())
    np.testing.assert_array_equal(catalog.open("a" * 32)["u"], numbers()["u"])
    catalog.close()


def test_two_writers_of_regions_share_no_shard(tmp_path):
    whole = zarr.create_array(
        tmp_path / "u", shape=(95,), chunks=(2,), shards=(10,), dtype="float64", fill_value=0
    )
    values = numbers()["u"].values

    def write(start, stop):
        arrays.write_region(whole, (slice(start, stop),), values[start:stop])

    for start, stop in ((0, 5), (5, 10), (15, 20), (90, 94), (10, 25)):
        with pytest.raises(InputError, match=f"cannot write {start}:{stop} along axis 0 .* multiples of 10"):
            write(start, stop)
    with pytest.raises(InputError, match=r"values of shape \(3,\) for \(10,\)"):
        arrays.write_region(whole, (slice(0, 10),), values[:3])
    assert not np.any(whole[:])
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda start: write(start, min(start + 10, 95)), range(0, 95, 10)))
    np.testing.assert_array_equal(whole[:], values)


def test_what_was_written_is_checked_before_it_is_published(tmp_path, small_shards, monkeypatch):
    catalog = Catalog(tmp_path / "project")

    def lossy(damage):
        def sealed(store, prefix, plans):
            damage(store, prefix)
            return seal(store, prefix, plans)

        return sealed

    def empty(store, prefix):
        store.put(f"{prefix}/u/c/4", lambda file: None)

    def other(store, prefix):
        name = f"{prefix}/u/zarr.json"
        text = store.get(name).replace(b"95", b"96")
        store.put(name, lambda file: file.write(text))

    losses = {
        "'u' was written with 9 chunks, expected 10": lambda store, prefix: store.delete([f"{prefix}/u/c/3"]),
        "'u' was written with 9 chunks, expected 10: ": empty,
        r"'u' was written as \(\[96\], .* expected shape \(95,\)": other,
    }
    for message, damage in losses.items():
        with monkeypatch.context() as patch:
            patch.setattr("catalogs.catalog.seal", lossy(damage))
            with pytest.raises(InputError, match=message):
                catalog.publish("a" * 32, numbers(), record())
        assert not catalog.exists("a" * 32)
    assert gc(catalog).empty
    assert [entry.name for entry in catalog.data.entries()] == []
    catalog.close()


def test_publications_side_by_side_lose_none(catalog, small_shards):
    others = [Catalog(catalog.project, str(catalog.engine.url.render_as_string(False))) for _ in range(4)]
    keys = [artifact_key("make", 1, {"n": n}, {}) for n in range(12)]

    def publish(job):
        other, n = job
        other.publish(keys[n], numbers(15, n), record(n=n))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(publish, [(others[(n + k) % 4], n) for n in range(12) for k in range(2)]))
    assert sorted(catalog.list()["key"]) == sorted(keys)
    for n, key in enumerate(keys):
        np.testing.assert_array_equal(catalog.open(key)["u"], numbers(15, n)["u"])
    assert gc(catalog).empty
    assert len(list(catalog.data.folder.glob("*.zarr"))) == 12
    for other in others:
        other.close()


def test_a_growing_set_keeps_its_parts_and_gc_leaves_them(catalog):
    owner = environment.process_name()

    def grow(name, seeds):
        keys = [artifact_key("part", 1, {"seed": seed}, {}) for seed in seeds]
        finished = catalog.claim_parts(keys, name, owner)
        for key, seed in zip(keys, seeds, strict=True):
            if key not in finished:
                catalog.publish_part(key, numbers(3, seed), "make", name, owner, 0.1)
        catalog.publish_parts(name, keys, record(seeds=list(seeds)))
        return len(keys) - len(finished)

    assert grow("a" * 32, range(4)) == 4
    assert gc(catalog).empty
    assert grow("b" * 32, range(7)) == 3
    whole = np.concatenate([numbers(3, seed)["u"] for seed in range(7)])
    np.testing.assert_array_equal(catalog.open("b" * 32)["u"], whole)
    np.testing.assert_array_equal(catalog.open("a" * 32)["u"], whole[:12])


def test_a_heartbeat_keeps_what_another_machine_needs(catalog, monkeypatch):
    key = artifact_key("part", 1, {}, {})
    catalog.publish_part(key, numbers(3), "make", "a" * 32, "elsewhere:1:2", 0.1)
    catalog.beat()
    with writing(catalog.engine) as connection:
        connection.execute(sa.update(runs).values(process="elsewhere:1:2"))
        connection.execute(sa.update(parts).values(created=0.0))
    assert gc(catalog).empty
    with writing(catalog.engine) as connection:
        connection.execute(sa.update(runs).values(seen=runs.c.seen - 3601))
    assert list(gc(catalog)["kind"]) == ["part"]
