"""Tags, names with versions, notes: what they say, what they refuse, and that moving is atomic."""

import itertools
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
import xarray as xr

from catalogs.catalog import Catalog, Record
from kernels.errors import InputError


@pytest.fixture
def catalog(tmp_path, database_url):
    made = Catalog(tmp_path / "project", database_url)
    for letter in "abc":
        record = Record("make", 1, {}, {}, datetime.now(UTC), 0.1)
        made.publish(letter * 32, xr.Dataset({"u": ((), 1.0)}), record)
    yield made
    made.close()


def test_tags_come_and_go(catalog):
    catalog.tag("a", "train", "paper-2")
    catalog.tag("a", "train")
    catalog.tag("b", "train")
    assert catalog.show("a")["tags"] == ["paper-2", "train"]
    assert catalog.tagged("train") == "b" * 32
    catalog.untag("a", "train")
    assert catalog.show("a")["tags"] == ["paper-2"]
    assert catalog.tagged("none") is None
    with pytest.raises(InputError, match=r"artifact a{12} has no tag \['train'\]; it has \['paper-2'\]"):
        catalog.untag("a", "paper-2", "train")
    assert catalog.show("a")["tags"] == ["paper-2"]


def test_a_moved_tag_has_one_bearer_at_every_moment(catalog):
    assert catalog.move_tag("in-use", "a") is None
    seen, stop = set(), threading.Event()

    def watch():
        while not stop.is_set():
            seen.add(catalog.tagged("in-use"))

    watcher = threading.Thread(target=watch)
    watcher.start()
    for _ in range(10):
        assert catalog.move_tag("in-use", "b") == "a" * 32
        assert catalog.move_tag("in-use", "a") == "b" * 32
    stop.set()
    watcher.join()
    assert seen <= {"a" * 32, "b" * 32}
    assert catalog.show("b")["tags"] == []


def test_versions_of_a_name(catalog):
    assert [catalog.name(key, "bars") for key in ("a", "b", "b", "a")] == [1, 2, 2, 3]
    assert [catalog.resolve(x) for x in ("bars", "bars@latest", "bars@2")] == ["a" * 32, "a" * 32, "b" * 32]
    assert catalog.show("a")["names"] == ["bars@1", "bars@3"]
    with pytest.raises(InputError, match=r"'bars' has no version '7'; it has 3, 2, 1 and 'latest'"):
        catalog.resolve("bars@7")
    with pytest.raises(InputError, match="the name 'bad' could be the start of a key"):
        catalog.name("a", "bad")
    catalog.remove("b")
    assert catalog.name("c", "bars") == 4


def test_notes(catalog):
    catalog.note("a", "é: the one of the paper")
    assert catalog.show("a")["note"] == "é: the one of the paper"
    for text in ("x" * 10_001, "a\0b", "\udc80"):
        with pytest.raises(InputError, match="expected at most 10000, none of them NUL or half of a"):
            catalog.note("a", text)


@pytest.mark.parametrize("mark", ["", "a b", "../x", "é", "1st", "x" * 101, "a\n", "'; DROP TABLE tags; --"])
def test_marks_that_are_refused(catalog, mark):
    for act in (catalog.tag, catalog.name):
        with pytest.raises(InputError, match=r"cannot be used; expected a letter, then at most 99 letters"):
            act("a", mark)
    with pytest.raises(InputError, match="cannot be used"):
        catalog.move_tag(mark, "a")
    with pytest.raises(InputError, match=r"the tag .* cannot be used"):
        catalog.tagged(mark)


def side_by_side(act, jobs):
    """Run the jobs in four threads that begin each round together."""
    barrier = threading.Barrier(4)

    def work(mine):
        done = []
        for job in mine:
            barrier.wait(60)
            done.append(act(job))
        return done

    with ThreadPoolExecutor(4) as pool:
        return [one for some in pool.map(work, [jobs[n::4] for n in range(4)]) for one in some]


def test_names_given_at_once_are_versions_without_gap_or_loss(catalog):
    given = side_by_side(lambda key: catalog.name(key, "bars"), ["a", "b", "c", "a"] * 8)
    known = [catalog.resolve(f"bars@{n}") for n in range(1, max(given) + 1)]
    assert all(one != other for one, other in itertools.pairwise(known))
    with pytest.raises(InputError, match=f"'bars' has no version '{len(known) + 1}'"):
        catalog.resolve(f"bars@{len(known) + 1}")
    versions = [name for key in "abc" for name in catalog.show(key)["names"]]
    assert sorted(versions) == sorted(f"bars@{n}" for n in range(1, len(known) + 1))


def test_a_tag_put_at_once_is_there_once(catalog):
    side_by_side(lambda tag: catalog.tag("a", tag), [f"t{n // 4}" for n in range(32)])
    assert catalog.show("a")["tags"] == [f"t{n}" for n in range(8)]


def test_a_tag_moved_at_once_has_one_bearer(catalog):
    for _ in range(6):
        side_by_side(lambda key: catalog.move_tag("in-use", key), ["a", "b", "c", "a"])
        assert sum("in-use" in catalog.show(key)["tags"] for key in "abc") == 1
