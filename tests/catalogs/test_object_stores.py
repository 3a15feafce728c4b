"""Object stores, against the HTTP server of moto: the whole life of data, requests counted, refusals."""

import itertools
import logging
import pickle
import re
import time
import urllib.request
from collections import Counter
from datetime import UTC, datetime

import numpy as np
import pytest
import xarray as xr

from catalogs import arrays, environment, reading
from catalogs.catalog import Catalog, Record
from catalogs.collect import gc
from catalogs.compact import compact
from catalogs.keys import artifact_key
from catalogs.object_stores import ObjectStore, object_store, owner_of
from catalogs.recover import recover
from catalogs.stores import FolderStore, open_store
from catalogs.verify import verify
from kernels.errors import InputError

_buckets = itertools.count()


@pytest.fixture(scope="module")
def server():
    """A server of S3 with a list of the requests that it got: (method, path)."""
    from moto.server import ThreadedMotoServer

    requests = []

    class Listener(logging.Handler):
        def emit(self, entry):
            found = re.search(r"([A-Z]+) (\S+) HTTP", entry.getMessage())
            if found:
                requests.append((found[1], found[2]))

    listener, log = Listener(logging.INFO), logging.getLogger("werkzeug")
    level = log.level
    log.setLevel(logging.INFO)
    log.addHandler(listener)
    made = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    made.start()
    made.requests = requests
    yield made
    made.stop()
    log.removeHandler(listener)
    log.setLevel(level)


@pytest.fixture
def bucket(server, monkeypatch):
    """URL of a prefix in a new bucket."""
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_ALLOW_HTTP": "true", "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "secret",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    name = f"bucket-{next(_buckets)}"
    request = urllib.request.Request(f"http://{host}:{port}/{name}", method="PUT")
    urllib.request.urlopen(request).close()
    object_store.cache_clear()
    yield f"s3://{name}/some/prefix"
    object_store.cache_clear()


@pytest.fixture
def catalog(tmp_path, bucket):
    made = Catalog(tmp_path / "project", store=bucket)
    yield made
    made.close()


@pytest.fixture
def small_chunks(monkeypatch):
    """Chunks of 80 bytes, all lazy, none in the database."""
    monkeypatch.setattr("catalogs.catalog.SMALL_BYTES", -1)
    monkeypatch.setattr(arrays, "CHUNK_BYTES", 80)
    monkeypatch.setattr(reading, "EAGER_BYTES", 40)


def numbers(seed=0, samples=30):
    values = np.random.default_rng(seed).random(samples)
    return xr.Dataset({"u": ("sample", values, {"units": "m"}), "n": ("sample", np.arange(samples))})


def record(stage="make", inputs=None, **config):
    return Record(stage, 1, config, inputs or {}, datetime.now(UTC), 0.1, metrics={"q": 1.5})


def put(catalog, dataset=None, **config):
    key = artifact_key("make", 1, config, {})
    catalog.publish(key, numbers() if dataset is None else dataset, record(**config))
    return key


def names(catalog):
    return sorted(entry.name for entry in catalog.data.entries())


def test_the_whole_life_of_an_artifact_and_its_parts(tmp_path, database_url, bucket, small_chunks):
    catalog = Catalog(tmp_path / "project", database_url, store=bucket)
    key = put(catalog, numbers().chunk({"sample": 3}))
    xr.testing.assert_identical(catalog.open(key).load(), numbers())
    owner = environment.process_name()
    parts = []
    for seed in range(3):
        parts.append(artifact_key("part", 1, {"seed": seed}, {}))
        catalog.publish_part(parts[-1], numbers(seed, 7), "join", "f" * 32, owner, 0.1)
    assert catalog.claim_parts([*parts, "0" * 32], "f" * 32, owner) == set(parts)
    catalog.publish_parts("f" * 32, parts, record("join"))
    joined = xr.concat([numbers(seed, 7) for seed in range(3)], "sample")
    xr.testing.assert_identical(catalog.open("f" * 32).load(), joined)
    assert gc(catalog).empty
    assert catalog.remove(key) == [key]
    # the record stays, as nothing says whether another catalog writes it just now; it names nothing
    assert [name for name in names(catalog) if key in name] == [f"{key}.json"]
    assert recover(catalog).empty
    xr.testing.assert_identical(catalog.open("f" * 32).load(), joined)
    catalog.close()


def test_only_the_chunks_asked_for_are_fetched(catalog, server, small_chunks):
    key = put(catalog)
    server.requests.clear()
    opened = catalog.open(key)
    assert Counter(method for method, _ in server.requests) == {"GET": 1}
    server.requests.clear()
    np.testing.assert_array_equal(opened["u"][11:14], numbers()["u"][11:14])
    assert [(method, path[-6:]) for method, path in server.requests] == [("GET", "/u/c/1")]


def test_lazy_arrays_travel_to_workers(catalog, small_chunks):
    opened = pickle.loads(pickle.dumps(catalog.open(put(catalog))))
    xr.testing.assert_identical(opened.load(), numbers())


def test_damage_is_named(catalog, small_chunks):
    key = put(catalog)
    opened = catalog.open(key)
    chunk = next(name for name in names(catalog) if name.endswith("u/c/1"))
    content = catalog.data.get(chunk)
    for damaged in (bytes([content[0] ^ 1]) + content[1:], content[:-1], b""):
        catalog.data.put(chunk, lambda file, data=damaged: file.write(data))
        with pytest.raises(InputError, match=rf"artifact {key[:12]} .*chunk 1 of variable 'u'"):
            opened["u"].load()
    catalog.data.delete([chunk])
    with pytest.raises(InputError, match=r"chunk 1 of variable 'u' .*missing"):
        opened["u"].load()
    np.testing.assert_array_equal(opened["u"][:10], numbers()["u"][:10])


def test_two_catalogs_that_share_a_store_publish_one_set_of_data_under_a_key(
    catalog, tmp_path, bucket, small_chunks
):
    other = Catalog(tmp_path / "other", store=bucket)
    key = put(catalog, numbers(1), n=1)
    assert put(other, numbers(2), n=1) == key
    for one in (catalog, other):
        xr.testing.assert_identical(one.open(key).load(), numbers(1))
        assert one.content(key) == catalog.content(key)
        assert gc(one).empty
    assert len({name.split("/")[0] for name in names(catalog) if name.startswith(key)}) == 2  # data, record
    other.close()


def test_what_one_catalog_removes_another_keeps(catalog, tmp_path, bucket, small_chunks, monkeypatch):
    monkeypatch.setattr("catalogs.growing.WORTH_BYTES", 0)
    monkeypatch.setattr("catalogs.liveness.SILENT_SECONDS", -1)
    monkeypatch.setattr("catalogs.collect.SILENT_SECONDS", -1)
    monkeypatch.setattr("catalogs.environment.is_alive", lambda _process: False)
    other = Catalog(tmp_path / "other", store=bucket)
    key = put(catalog, numbers(1), n=1)
    assert put(other, numbers(1), n=1) == key
    grown = other.extend(key, numbers(2, 5))
    wanted = xr.concat([numbers(1), numbers(2, 5)], "sample")
    alone = put(catalog, numbers(3), n=3)
    assert catalog.remove(key) == [key]
    catalog.remove(alone)
    assert gc(catalog).empty
    assert [name for name in names(catalog) if alone in name] == [f"{alone}.json"]
    xr.testing.assert_identical(other.open(key).load(), numbers(1))
    assert other.remove(key) == [key]
    assert gc(other).empty
    xr.testing.assert_identical(other.open(grown).load(), wanted)
    assert put(catalog, numbers(1), n=1) == key
    assert recover(catalog)["key"].to_list() == [grown]
    other.remove(grown)
    assert gc(other).empty
    xr.testing.assert_identical(catalog.open(grown).load(), wanted)
    assert verify(catalog).empty
    catalog.remove(grown)
    catalog.remove(key)
    assert {name.rpartition(".")[2] for name in names(catalog)} == {"json"}
    other.close()


def test_what_one_catalog_compacts_another_keeps(catalog, tmp_path, bucket, small_chunks, monkeypatch):
    monkeypatch.setattr("catalogs.growing.WORTH_BYTES", 0)
    other = Catalog(tmp_path / "other", store=bucket)
    first = put(catalog, numbers(1), n=1)
    second = catalog.extend(first, numbers(2, 5))
    wanted = xr.concat([numbers(1), numbers(2, 5)], "sample")
    assert put(other, numbers(1), n=1) == first
    assert other.extend(first, numbers(2, 5)) == second
    reader = other.open(second)
    assert list(compact(catalog, second)["segments"]) == [2]
    monkeypatch.setattr("catalogs.collect.SILENT_SECONDS", -1)
    assert set(gc(catalog)["kind"]) == {"segment"}
    for one in (other, catalog):
        xr.testing.assert_identical(one.open(second).load(), wanted)
        xr.testing.assert_identical(one.open(first).load(), numbers(1))
        assert verify(one, [first, second]).empty
    xr.testing.assert_identical(reader.load(), wanted)
    other.remove(first)
    other.remove(second)
    assert len({name.split("/")[0] for name in names(catalog) if ".zarr/" in name}) == 1
    xr.testing.assert_identical(catalog.open(first).load(), numbers(1))
    other.close()


def test_a_claim_without_data_is_taken_over(catalog, small_chunks):
    key = put(catalog)
    record_text = catalog.data.get(f"{key}.json")
    catalog.remove(key)
    catalog.data.put(f"{key}.json", lambda file: file.write(record_text))
    assert put(catalog) == key
    xr.testing.assert_identical(catalog.open(key).load(), numbers())


def test_gc_takes_data_of_the_dead_only(catalog, small_chunks, monkeypatch):
    key = put(catalog)
    here = environment.process_name()
    host, pid, ticks = here.split(":")
    locations = {
        "alive": f"{'a' * 32}.{here.replace(':', '_')}.00000000.zarr",
        "dead": f"{'b' * 32}.{host}_{pid}_{int(ticks) + 1}.00000000.zarr",
        "elsewhere": f"{'c' * 32}.other_1_2.00000000.zarr",
    }
    for location in locations.values():
        catalog.data.put(f"{location}/u/c/0", lambda file: file.write(b"x"))
    assert list(gc(catalog, dry_run=True)["name"]) == [locations["dead"]]
    assert list(gc(catalog)["name"]) == [locations["dead"]]
    monkeypatch.setattr("catalogs.liveness.SILENT_SECONDS", -1)
    assert list(gc(catalog)["name"]) == [locations["elsewhere"]]
    assert [name for name in names(catalog) if key not in name] == [f"{locations['alive']}/u/c/0"]


def test_a_failure_leaves_nothing(catalog, small_chunks, monkeypatch):
    before = names(catalog)
    with monkeypatch.context() as patch:
        patch.setattr("catalogs.catalog.seal", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            put(catalog)
    assert names(catalog) == before


def test_stores_that_cannot_be_used_are_refused_with_the_remedy(tmp_path, server, bucket, monkeypatch):
    host, port = server.get_host_and_port()

    def refusal(url, **settings):
        object_store.cache_clear()
        with monkeypatch.context() as patch:
            for name, value in settings.items():
                patch.delenv(name) if value is None else patch.setenv(name, value)
            start = time.monotonic()
            with pytest.raises(InputError, match="store") as caught:
                Catalog(tmp_path / "p", store=url)
            assert time.monotonic() - start < 60
        return str(caught.value)

    assert "s3://absent/x does not answer as it should" in (text := refusal("s3://absent/x"))
    assert "no such bucket: create it, or correct PUSHFORWARD_STORE_URL" in text
    text = refusal(bucket, AWS_ENDPOINT_URL="http://127.0.0.1:9")
    assert f"{bucket} does not answer" in text
    assert "check that the server is up and reachable" in text
    text = refusal(
        bucket, AWS_ACCESS_KEY_ID=None, AWS_SECRET_ACCESS_KEY=None,
        AWS_CONTAINER_CREDENTIALS_FULL_URI=f"http://{host}:{port}/no/such",
    )  # fmt: skip
    assert "set AWS_ACCESS_KEY_ID" in text
    assert "s4://b/x does not answer" in (text := refusal("s4://b/x"))
    assert "expected a URL like s3://BUCKET/PREFIX" in text
    assert "is no URL" in refusal("bucket/x")
    assert "secret" not in refusal("s3://user:secret@absent/x")


def test_file_urls_and_names(tmp_path):
    store = open_store(f"file://{tmp_path}/deep/er", tmp_path)
    assert isinstance(store, ObjectStore)
    for one in (store, FolderStore(tmp_path / "folder")):
        if isinstance(one, FolderStore):
            one.make()
        assert one.put_new("a.json", b"1")
        assert not one.put_new("a.json", b"2")
        assert not one.replace("a.json", b"3", b"2")
        assert one.replace("a.json", b"3", b"1")
        one.put("parts/b.zip", lambda file: file.write(b"12"))
        assert sorted((entry.name, entry.size) for entry in one.entries()) == [
            ("a.json", 1),
            ("parts/b.zip", 2),
        ]
        assert (one.get("a.json"), one.get("none")) == (b"3", None)
        assert (one.exists("parts/b.zip"), one.exists("parts"), one.exists("none")) == (True, True, False)
        one.delete(["parts/b.zip", "none", "a.json"])
        assert list(one.entries()) == []
        for name in ("../x", "/x", "a//b", "a/../b", "a\\b", ""):
            with pytest.raises(InputError, match="leaves the store"):
                one.put(name, lambda file: file.write(b""))


def test_owner_is_in_the_location():
    assert owner_of(f"{'a' * 32}.my_ho-st.x.org_12_345.0a1b2c3d.zarr") == "my_ho-st.x.org:12:345"
    assert owner_of(f"{'a' * 32}.0a1b2c3d.zarr") is None
