"""Growing sets: what is new is written, what is old is shared, and nobody sees a difference."""

import itertools
import json
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import sqlalchemy as sa
import xarray as xr

from catalogs import arrays, environment, extending, reading
from catalogs.archive import export_artifact, import_archive
from catalogs.catalog import Catalog
from catalogs.collect import gc
from catalogs.contents import content_of
from catalogs.keys import artifact_key
from catalogs.recover import recover
from catalogs.segments import Piece, in_pieces, mapped
from catalogs.tables import segments
from catalogs.verify import verify
from kernels.errors import InputError
from tests.catalogs.growing_sets import groups, put, ragged, record, same


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Chunks of 160 bytes in pieces of 32, the most lazy, none in the database, everything worth sharing."""
    monkeypatch.setattr("catalogs.catalog.SMALL_BYTES", -1)
    monkeypatch.setattr("catalogs.growing.WORTH_BYTES", 0)
    monkeypatch.setattr(arrays, "CHUNK_BYTES", 160)
    monkeypatch.setattr(arrays, "PIECE_BYTES", 32)
    monkeypatch.setattr(reading, "EAGER_BYTES", 40)


@pytest.fixture
def catalog(tmp_path):
    made = Catalog(tmp_path / "project")
    yield made
    made.close()


def part(catalog, samples, name=""):
    key = artifact_key("part", 1, {"samples": list(samples), "of": name}, {})
    catalog.publish_part(key, ragged(samples), "make", "f" * 32, environment.process_name(), 0.1)
    return key


def join(catalog, *cuts, **config):
    key = artifact_key("make", 1, config, {})
    catalog.publish_parts(key, [part(catalog, cut, config) for cut in cuts], record(**config))
    return key


def pieces(catalog, key):
    return [(piece.start, piece.stop) for piece in catalog.place(key).pieces]


def test_a_grown_set_is_that_which_was_written_at_once(tmp_path, database_url):
    catalog = Catalog(tmp_path / "project", database_url)
    first = put(catalog, range(20))
    second = catalog.extend(first, ragged(range(20, 27)))
    third = catalog.extend(second, ragged([40, 30]))
    assert len(groups(catalog)) == 3
    for key, samples in ((first, range(20)), (second, range(27)), (third, [*range(27), 40, 30])):
        assert same(catalog, key, samples)
        assert catalog.content(key) == content_of(ragged(samples))
        shown = catalog.show(key)
        assert shown["sizes"] == dict(ragged(samples).sizes)
    assert list(catalog.search(parameters={"load": (0, 26)}).to_pandas()["key"]) == [second, first]
    whole = put(catalog, range(27), n=2)
    assert catalog.show(whole)["schema"] == catalog.show(second)["schema"]
    assert catalog.remove(first) == [first]
    assert same(catalog, third, [*range(27), 40, 30])
    assert catalog.content(second) == content_of(ragged(range(27)))
    assert gc(catalog).empty
    assert verify(catalog, deep=True).empty
    catalog.remove(third)
    catalog.remove(second)
    catalog.remove(whole)
    assert groups(catalog) == []
    with catalog.engine.connect() as connection:
        for table in ("segments", "pieces", "samples", "contents"):
            assert connection.execute(sa.text(f"SELECT count(*) FROM {table}")).scalar() == 0
    assert list(catalog.data.folder.glob("*.json")) == []
    catalog.close()


def test_any_selection_is_that_of_the_whole(catalog):
    key = put(catalog, range(9))
    for start, stop in ((9, 12), (12, 13), (13, 20)):
        key = catalog.extend(key, ragged(range(start, stop)))
    lazy, whole = catalog.open(key), ragged(range(20))
    assert all(lazy[name].chunks is not None for name in ("u", "w", "load", "sample_name"))
    chance = np.random.default_rng(0)
    for _ in range(10):
        a, b = sorted(chance.integers(-2, 22, 2))
        step = int(chance.choice([-3, -1, 1, 2]))
        cut = slice(int(b), int(a), step) if step < 0 else slice(int(a), int(b), step)
        picks = chance.integers(0, 20, 4)
        for index in (cut, int(chance.integers(-20, 20)), picks, np.sort(picks), chance.random(20) < 0.5):
            for name in ("w", "load", "sample_name", "time"):
                found = lazy[name].isel(sample=index)
                np.testing.assert_array_equal(found.values, whole[name].isel(sample=index).values)
    np.testing.assert_array_equal(lazy["u"].isel(axis=1, node=slice(3, 50, 7)), whole["u"][3:50:7, 1])
    np.testing.assert_array_equal(lazy["w"].isel(axis=[1, 0]), whole["w"][::-1])


def test_one_sample_is_read_from_its_segment_only_and_damage_names_both(catalog):
    first = put(catalog, range(9))
    second = catalog.extend(first, ragged(range(9, 18)))
    old, new = (piece.location for piece in catalog.place(second).pieces)
    for chunk in sorted((catalog.data.folder / new / "u" / "c").rglob("0")):
        if chunk.is_file():
            chunk.write_bytes(chunk.read_bytes()[:-1])
    lazy = catalog.open(second)
    edge = int(ragged(range(9)).sizes["node"])
    np.testing.assert_array_equal(lazy["u"][:edge], ragged(range(9))["u"])
    with pytest.raises(InputError, match=rf"artifact {second[:12]} .*segment {new} is damaged: chunk 0/0 of"):
        lazy["u"][edge].load()
    table = verify(catalog)
    assert set(table["file"].str.partition("/")[0]) == {new}
    assert set(table["key"]) == {second}
    assert verify(catalog, [first]).empty
    (catalog.data.folder / old / "zarr.json").unlink()
    with pytest.raises(InputError, match=rf"segment {old} are gone from"):
        catalog.open(second)


def test_only_the_pieces_of_a_shard_that_hold_the_sample_are_read(catalog):
    second = catalog.extend(put(catalog, range(9)), ragged(range(9, 12)))
    shard = catalog.data.folder / catalog.place(second).pieces[0].location / "u" / "c" / "0" / "0"
    content = bytearray(shard.read_bytes())
    content[1] ^= 1
    shard.write_bytes(content)
    lazy = catalog.open(second)
    with pytest.raises(InputError, match="chunk 0/0 of variable 'u'"):
        lazy["u"][:2].load()
    np.testing.assert_array_equal(lazy["u"][2:], ragged(range(12))["u"][2:])


def test_duplicates_are_refused_or_skipped(catalog):
    first = put(catalog, range(5))
    with pytest.raises(InputError, match=r"2 of 4 samples are there already, .* \(é4, é9\)"):
        catalog.extend(first, ragged([4, 9, 9, 10]))
    second = catalog.extend(first, ragged([4, 9, 9, 10]), duplicates="skip")
    assert same(catalog, second, [0, 1, 2, 3, 4, 9, 10])
    assert catalog.extend(second, ragged([9, 0]), duplicates="skip") == second
    with pytest.raises(InputError, match="'both' is not known; expected 'refuse' or 'skip'"):
        catalog.extend(first, ragged([4]), duplicates="both")


def test_what_does_not_fit_is_refused_and_changes_nothing(catalog):
    first = put(catalog, range(5))
    before = groups(catalog)
    units = ragged([9])
    units["u"].attrs["units"] = "mm"
    shapes = ragged([9]).isel(axis=[0])
    values = ragged([9]).assign(mesh=("axis", [2.0, 3.0]))
    wide = [xr.Dataset({"v": (("sample", "k"), np.arange(2.0 * k).reshape(2, k))}) for k in (3, 4)]
    for dataset, message in (
        (units, "'u' has dims .* units 'mm' in part 1, .* units 'm' in part 0"),
        (ragged([9], more=1), "attributes, of the set or of a variable, or values of variables"),
        (shapes, "attributes, of the set or of a variable, or values"),
        (values, "attributes, of the set or of a variable, or values"),
        (ragged([9]).drop_vars("w"), "part 1 has no variable 'w'"),
        (ragged([9]).assign(new=("sample", [1.0])), "part 1 has no variable 'new'"),
        (xr.Dataset({"flag": 3}), r"has the dims \[\]; expected 'sample' too"),
    ):
        with pytest.raises(InputError, match=message):
            catalog.extend(first, dataset)
    catalog.publish("b" * 32, wide[0], record(n=2))
    with pytest.raises(InputError, match=r"does not fit segment b{32}.*: attributes, variables, dims"):
        catalog.extend("b" * 32, wide[1])
    assert len(groups(catalog)) == len(before) + 1
    assert len(catalog.list()) == 2
    assert list(catalog.private.iterdir()) == []


def test_in_however_many_steps_the_key_is_the_same(catalog):
    first = put(catalog, range(5))
    once = catalog.extend(first, ragged(range(5, 9)))
    step = catalog.extend(first, ragged(range(5, 7)))
    assert catalog.extend(step, ragged(range(7, 9))) == once
    assert pieces(catalog, once) == [(0, 5), (0, 4)]


def test_a_name_that_several_extend_loses_no_sample(tmp_path, database_url):
    catalog = Catalog(tmp_path / "project", database_url)
    catalog.name(put(catalog, range(3)), "bars")
    barrier = threading.Barrier(3)

    def grow(number):
        other = Catalog(tmp_path / "project", database_url)
        barrier.wait(60)
        try:
            return other.extend("bars", ragged([10 + number]))
        finally:
            other.close()

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(grow, range(3)))
    assert set(catalog.open("bars@latest")["sample_name"].values) == {f"é{i}" for i in (0, 1, 2, 10, 11, 12)}
    assert catalog.open("bars@4").sizes["sample"] == 6
    assert catalog.open("bars@2").sizes["sample"] == 4
    assert gc(catalog).empty
    assert verify(catalog, deep=True).empty
    catalog.close()


def test_joined_parts_write_what_is_new_only(catalog):
    first = join(catalog, range(10), range(10, 14), n=1)
    # train samples grow before the test samples, so the last part is cut elsewhere and has both
    second = join(catalog, range(10), [20, 21, 10], [11, 12, 13], n=2)
    assert same(catalog, second, [*range(10), 20, 21, *range(10, 14)])
    assert pieces(catalog, second) == [(0, 10), (0, 2), (10, 14)]
    third = join(catalog, [13, 2], n=3)
    assert same(catalog, third, [13, 2])
    assert len(groups(catalog)) == 2
    scratch = Catalog(catalog.project.parent / "scratch")
    alone = join(scratch, range(10), [20, 21, 10], [11, 12, 13], n=2)
    assert (alone, scratch.content(alone)) == (second, catalog.content(second))
    assert scratch.place(alone).pieces == ()
    scratch.close()
    assert catalog.remove(first) == [first]
    assert same(catalog, second, [*range(10), 20, 21, *range(10, 14)])
    assert join(catalog, range(14), n=1) == first
    assert same(catalog, first, range(14))
    assert verify(catalog, deep=True).empty


@pytest.mark.parametrize(
    ("limit", "value"), [("MOST_SEGMENTS", 2), ("MOST_PIECES", 2), ("WORTH_BYTES", 10**9)]
)
def test_beyond_the_limits_a_set_is_written_as_one(catalog, monkeypatch, limit, value):
    first = put(catalog, range(4))
    second = catalog.extend(first, ragged([4]))
    monkeypatch.setattr(f"catalogs.growing.{limit}", value)
    third = catalog.extend(second, ragged([5]))
    assert catalog.place(third).pieces == ()
    assert same(catalog, third, range(6))


def test_a_segment_that_goes_while_a_set_is_written(catalog, monkeypatch):
    first = join(catalog, range(9), n=1)
    real = arrays.write_parts

    def removing(*given):
        Catalog(catalog.project).remove(first)
        monkeypatch.setattr(arrays, "write_parts", real)
        return real(*given)

    monkeypatch.setattr(arrays, "write_parts", removing)
    second = join(catalog, range(9), [30], n=2)
    assert same(catalog, second, [*range(9), 30])
    assert gc(catalog).empty


def test_archives_and_recovery(catalog, tmp_path):
    first = put(catalog, range(9))
    second = catalog.extend(first, ragged(range(9, 12)))
    third = catalog.extend(second, ragged(range(12, 14)))
    export_artifact(catalog, [second, third], tmp_path / "a.zip")
    target = Catalog(tmp_path / "target")
    import_archive(target, tmp_path / "a.zip")
    assert same(target, second, range(12))
    assert same(target, third, range(14))
    assert target.content(third) == catalog.content(third)
    target.close()
    catalog.remove(first)
    for file in catalog.project.glob("catalog.db*"):
        file.unlink()
    again = Catalog(catalog.project)
    assert set(recover(again)["result"]) == {"recovered"}
    assert sorted(again.list()["key"]) == sorted([second, third])
    assert same(again, third, range(14))
    assert again.content(third) == content_of(ragged(range(14)))
    assert verify(again, deep=True).empty
    with again.engine.connect() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(segments)).scalar() == 3
    for key in (second, third):
        again.remove(key)
    assert groups(again) == []
    again.close()


def test_samples_of_another_form_are_not_shared(catalog):
    """The same values in other units, or beside other values of what belongs to no sample."""
    first = put(catalog, range(5))
    for number, change in enumerate(("units", "mesh")):
        other = ragged(range(6))
        if change == "units":
            other["u"].attrs["units"] = "mm"
        else:
            other["mesh"].values[0] = 2.0
        key, mine = artifact_key("part", 1, {"n": number}, {}), artifact_key("make", 1, {"n": number}, {})
        catalog.publish_part(key, other, "make", mine, environment.process_name(), 0.1)
        catalog.publish_parts(mine, [key], record(n=number))
        assert catalog.place(mine).pieces == ()
        xr.testing.assert_identical(catalog.open(mine).load(), other)
    assert same(catalog, first, range(5))


def test_records_of_an_earlier_version_are_understood(catalog):
    first = put(catalog, range(4))
    name = f"{first}.json"
    about = json.loads(catalog.data.get(name))
    for new in ("users", "holders", "pieces"):
        del about[new]
    catalog.data.put(name, lambda file: file.write(json.dumps(about).encode()))
    second = catalog.extend(first, ragged([4]))
    catalog.remove(first)
    assert same(catalog, second, range(5))
    catalog.remove(second)
    assert [path.name for path in catalog.data.folder.iterdir() if path.name[0] != "."] == ["parts"]


def test_samples_move_to_another_group_as_they_are():
    source = in_pieces([Piece("a", 0, 5), Piece("b", 2, 4), Piece("a", 5, 9)]).pieces
    assert mapped(source, "t", source).pieces == (Piece("t", 0, 11),)
    assert mapped([Piece("a", 3, 7)], "t", source).pieces == (Piece("t", 3, 5), Piece("t", 7, 9))
    kept = (Piece("b", 0, 4), Piece("c", 0, 2), Piece("a", 8, 10))
    assert mapped(kept, "t", source).pieces == kept
    chance = np.random.default_rng(1)
    for _ in range(50):
        cuts = [
            Piece(str(chance.choice(["a", "b"])), *sorted(map(int, chance.integers(0, 9, 2)))) for _ in "123"
        ]
        source = in_pieces(cuts).pieces
        flat = [(p.address, i) for p in source for i in range(p.start, p.stop)]
        wanted = in_pieces([Piece("a", 1, 6), Piece("b", 3, 5)]).pieces
        found = [(p.address, i) for p in mapped(wanted, "t", source).pieces for i in range(p.start, p.stop)]
        back = [flat[i] if address == "t" else (address, i) for address, i in found]
        assert back == list(itertools.chain([("a", i) for i in range(1, 6)], [("b", 3), ("b", 4)]))


def test_a_limit_that_is_no_number_is_the_same_limit(catalog):
    """NaN is not equal to itself."""
    first = artifact_key("make", 1, {}, {})
    catalog.publish(first, ragged(range(3), limit=np.nan), record())
    assert np.isnan(catalog.open(catalog.extend(first, ragged([3], limit=np.nan))).attrs["limit"])


class Killed(BaseException):
    """Stands for SIGKILL: nothing that follows runs, and a transaction is rolled back."""


@pytest.mark.parametrize("step", ["write", "place", "claim", "rows", "pieces", "name"])
def test_killed_at_any_step_the_new_version_is_not_there(catalog, monkeypatch, step):
    first = put(catalog, range(9))
    catalog.name(first, "bars")

    def die(*_given, **_named):
        raise Killed

    def dying(real):
        def act(*given, **named):
            real(*given, **named)
            raise Killed

        return act

    with monkeypatch.context() as patch:
        # what a killed process does not do any more
        patch.setattr(type(catalog.data), "discard", lambda *_: None)
        patch.setattr(type(catalog.records), "leave", lambda *_: [])
        target, real = {
            "write": ("catalogs.growing.seal", die),
            "place": ("catalogs.stores.FolderStore.place", dying(type(catalog.data).place)),
            "claim": ("catalogs.claims.Records.claim", dying(type(catalog.records).claim)),
            "rows": ("catalogs.catalog.Catalog.insert", dying(Catalog.insert)),
            "pieces": ("catalogs.catalog.Catalog.insert_data", dying(Catalog.insert_data)),
            "name": ("catalogs.extending.next_version", dying(extending.next_version)),
        }[step]
        patch.setattr(target, real)
        with pytest.raises(Killed):
            catalog.extend("bars", ragged(range(9, 12)))
    monkeypatch.setattr("catalogs.environment.is_alive", lambda _process: False)
    assert list(catalog.list()["key"]) == [first]
    assert catalog.resolve("bars") == first
    gc(catalog)
    assert same(catalog, first, range(9))
    second = catalog.extend("bars", ragged(range(9, 12)))
    assert same(catalog, second, range(12))
    assert catalog.resolve("bars@2") == second
    assert verify(catalog).empty
    assert len(groups(catalog)) == 2
    catalog.remove(first)
    catalog.remove(second)
    assert groups(catalog) == []
