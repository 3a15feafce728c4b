"""Compaction: fewer groups, the same numbers, for readers too; killed at any step nothing is half-visible."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import OperationalError

from catalogs import arrays, claims, reading
from catalogs import compact as compaction
from catalogs.catalog import Catalog
from catalogs.collect import gc
from catalogs.compact import compact, compact_all
from catalogs.contents import content_of
from catalogs.recover import recover
from catalogs.tables import segments
from catalogs.verify import verify
from kernels.errors import InputError
from tests.catalogs.growing_sets import groups, put, ragged, same


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Chunks of 400 bytes, the long arrays lazy, none in the database, everything worth sharing."""
    monkeypatch.setattr("catalogs.catalog.SMALL_BYTES", -1)
    monkeypatch.setattr("catalogs.growing.WORTH_BYTES", 0)
    monkeypatch.setattr(arrays, "CHUNK_BYTES", 400)
    monkeypatch.setattr(reading, "EAGER_BYTES", 100)


def grown(catalog, nights=3):
    """Versions of a set: 9 samples, then 3 more each night."""
    keys = [put(catalog, range(9))]
    for night in range(nights):
        start = 9 + 3 * night
        keys.append(catalog.extend(keys[-1], ragged(range(start, start + 3))))
    return keys


def values(catalog, keys):
    for number, key in enumerate(keys):
        assert same(catalog, key, range(9 + 3 * number))
        assert catalog.content(key) == content_of(ragged(range(9 + 3 * number)))


def whole(catalog, keys):
    values(catalog, keys)
    assert verify(catalog).empty


def later(monkeypatch):
    """More than an hour passes, and this process is dead."""
    monkeypatch.setattr("catalogs.collect.SILENT_SECONDS", -1)
    monkeypatch.setattr("catalogs.liveness.SILENT_SECONDS", -1)
    monkeypatch.setattr("catalogs.environment.is_alive", lambda _process: False)


def test_all_versions_move_to_one_group(tmp_path, database_url, monkeypatch):
    catalog = Catalog(tmp_path / "project", database_url)
    keys = grown(catalog)
    other = catalog.extend(keys[1], ragged([50]))
    reader = catalog.open(keys[3])
    assert list(compact(catalog, keys[3], dry_run=True)["segments"]) == [4]
    assert len(groups(catalog)) == 5
    assert list(compact(catalog, keys[3])["key"]) == [keys[3]]
    assert compact(catalog, keys[3]).empty
    assert len(groups(catalog)) == 6
    whole(catalog, keys)
    assert same(catalog, other, [*range(12), 50])
    assert [len(catalog.place(key).pieces) for key in (*keys, other)] == [1, 1, 1, 0, 2]
    assert gc(catalog).empty
    assert reader.load().equals(ragged(range(18)))
    reader = catalog.open(keys[3])
    later(monkeypatch)
    assert set(gc(catalog)["kind"]) == {"segment"}
    assert len(groups(catalog)) == 2
    assert reader.load().equals(ragged(range(18)))
    whole(catalog, keys)
    assert same(catalog, other, [*range(12), 50])
    longer = catalog.extend(keys[3], ragged([70]))
    assert compact_all(catalog).empty
    assert list(compact_all(catalog, many=1)["key"]) == [longer, other]
    whole(catalog, keys)
    gc(catalog)
    for key in (keys[3], keys[0], keys[1]):
        catalog.remove(key)
    assert same(catalog, longer, [*range(18), 70])
    assert same(catalog, other, [*range(12), 50])
    assert gc(catalog).empty
    assert verify(catalog, deep=True).empty
    catalog.close()


def test_a_reader_whose_segments_are_gone_is_told_so(tmp_path, monkeypatch):
    catalog = Catalog(tmp_path / "project")
    keys = grown(catalog)
    reader = catalog.open(keys[3])
    compact(catalog, keys[3])
    later(monkeypatch)
    gc(catalog)
    with pytest.raises(InputError, match=r"segment .* are gone .*: if it was compacted .*, open it again"):
        reader.load()
    catalog.close()


def test_two_at_once(tmp_path, database_url, monkeypatch):
    catalog = Catalog(tmp_path / "project", database_url)
    keys = grown(catalog)
    others = [Catalog(tmp_path / "project", database_url) for _ in range(3)]
    barrier = threading.Barrier(3)

    def act(job):
        other, key = job
        barrier.wait(60)
        return len(compact(other, key))

    with ThreadPoolExecutor(3) as pool:
        done = list(pool.map(act, zip(others, (keys[3], keys[3], keys[2]), strict=True)))
    assert sum(done[:2]) <= 2
    whole(catalog, keys)
    later(monkeypatch)
    gc(catalog)
    whole(catalog, keys)
    assert len(groups(catalog)) <= 2
    for other in (*others, catalog):
        other.close()


class Killed(BaseException):
    """Stands for SIGKILL: nothing that follows runs, and a transaction is rolled back."""


@pytest.mark.parametrize("step", ["write", "place", "rows", "records", "some records", "commit", "after"])
def test_killed_at_any_step_the_set_is_as_before_or_compacted(tmp_path, monkeypatch, step):
    catalog = Catalog(tmp_path / "project")
    keys = grown(catalog)
    calls = {"n": 0}

    def at(real, number=1):
        def stop(*given, **named):
            calls["n"] += 1
            if calls["n"] == number:
                raise Killed
            return real(*given, **named)

        return stop

    with monkeypatch.context() as patch:
        # what a killed process does not do any more
        patch.setattr(type(catalog.data), "discard", lambda *_: None)
        patch.setattr("catalogs.compact._is_named", lambda *_: True)
        if step == "write":
            patch.setattr("catalogs.compact.seal", at(None))
        elif step == "place":
            patch.setattr("catalogs.compact._move_rows", at(None))
        elif step == "rows":
            patch.setattr("catalogs.compact._move_records", at(None))
        elif step in ("records", "some records"):
            patch.setattr(claims.Records, "move", at(claims.Records.move, 1 if step == "records" else 3))
        elif step == "commit":
            sa.event.listen(catalog.engine, "commit", lambda _connection: armed and at(None)())
        else:
            rewrite = compaction._rewrite
            patch.setattr("catalogs.compact._rewrite", lambda *given: rewrite(*given) and at(None)())
        armed = False
        real = claims.Records.move

        def last(self, key, *given):
            nonlocal armed
            real(self, key, *given)
            armed = key == keys[2]

        if step == "commit":
            patch.setattr(claims.Records, "move", last)
        with pytest.raises(Killed):
            compact(catalog, keys[3])
    catalog.close()
    later(monkeypatch)
    again = Catalog(tmp_path / "project")
    values(again, keys)
    assert (again.place(keys[3]).pieces == ()) == (step == "after")
    gc(again)
    compact(again, keys[3])
    gc(again)
    whole(again, keys)
    assert len(groups(again)) == 1
    for file in again.project.glob("catalog.db*"):
        file.unlink()
    lost = Catalog(tmp_path / "project")
    assert set(recover(lost)["result"]) == {"recovered"}
    values(lost, keys)
    lost.close()
    again.close()


def test_a_failure_leaves_all_as_it_was(tmp_path, monkeypatch):
    catalog = Catalog(tmp_path / "project")
    keys = grown(catalog)
    before, records = groups(catalog), [catalog.records.read(key) for key in keys]
    real = claims.Records.move

    def failing(self, key, *given):
        real(self, key, *given)
        if key == keys[1] and len(groups(catalog)) > len(before):
            monkeypatch.setattr(claims.Records, "move", real)
            raise OperationalError("COMMIT", None, Exception("connection lost"))

    monkeypatch.setattr(claims.Records, "move", failing)
    with pytest.raises(InputError, match="does not answer while compacting"):
        compact(catalog, keys[3])
    assert groups(catalog) == before
    assert [catalog.records.read(key) for key in keys] == records
    whole(catalog, keys)
    with catalog.engine.connect() as connection:
        assert (
            connection.execute(sa.select(segments.c.freed).where(segments.c.freed.is_not(None))).all() == []
        )
    catalog.close()


def test_damaged_segments_are_not_rewritten(tmp_path):
    catalog = Catalog(tmp_path / "project")
    keys = grown(catalog)
    chunk = next((catalog.data.folder / catalog.place(keys[3]).pieces[1].location / "load" / "c").iterdir())
    other = catalog.data.folder / catalog.place(keys[3]).pieces[2].location / "load" / "c" / chunk.name
    content = chunk.read_bytes()
    chunk.write_bytes(other.read_bytes())
    with pytest.raises(InputError, match="has other values in its segments than were published: nothing is"):
        compact(catalog, keys[3])
    chunk.write_bytes(content[:-1])
    with pytest.raises(InputError, match=r"segment .* is damaged: chunk 0 of variable 'load'"):
        compact(catalog, keys[3])
    chunk.write_bytes(content)
    whole(catalog, keys)
    assert gc(catalog).empty
    catalog.close()
