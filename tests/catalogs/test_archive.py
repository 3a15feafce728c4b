"""Archives: what goes out comes back the same elsewhere; what is changed or hostile comes in as nothing."""

import hashlib
import io
import json
import pickle
import stat
import zipfile
from datetime import UTC, datetime

import numpy as np
import pytest
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from catalogs import arrays
from catalogs.archive import export_artifact, import_archive
from catalogs.archive_checks import MANIFEST, check_frames, inspect
from catalogs.catalog import Catalog, Record
from catalogs.keys import artifact_key
from catalogs.verify import verify
from kernels.errors import InputError


def numbers(seed=0, samples=25):
    values = np.random.default_rng(seed).random((samples, 1))
    return xr.Dataset(
        {
            "u": (("sample", "x"), values, {"units": "m"}),
            "load": ("sample", values[:, 0], {"role": "parameter"}),
            "name": ("sample", np.array([f"é{i}" for i in range(samples)], dtype=object)),
        },
        attrs={"limit": 0.25},
    )


def put(catalog, dataset=None, inputs=None, stage="make", **config):
    key = artifact_key(stage, 1, config, inputs or {})
    record = Record(stage, 1, config, inputs or {}, datetime.now(UTC), 0.1, {"rmse": 0.5}, ("B 1999",))
    catalog.publish(key, numbers() if dataset is None else dataset, record)
    return key


def fill(catalog):
    """mesh -> two -> model: a payload, an input twice, a zarr group."""
    mesh = put(catalog, numbers(1, 2), stage="mesh", size=1)
    two = put(catalog, numbers(2, 2), {"mesh": mesh}, "two")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("catalogs.catalog.SMALL_BYTES", -1)
        patch.setattr(arrays, "CHUNK_BYTES", 80)
        patch.setattr(arrays, "PIECE_BYTES", 16)
        model = put(catalog, numbers(), {"mesh": mesh, "two": two}, "train", modes={"default": 8})
    catalog.tag(model, "best")
    catalog.name(model, "wing")
    catalog.note(model, "of the article")
    return mesh, two, model


@pytest.fixture
def source(tmp_path):
    made = Catalog(tmp_path / "source")
    yield made
    made.close()


@pytest.fixture
def target(tmp_path, database_url):
    made = Catalog(tmp_path / "target", database_url)
    yield made
    made.close()


@pytest.fixture(scope="module")
def bytes_of_an_archive(tmp_path_factory):
    folder = tmp_path_factory.mktemp("archive")
    catalog = Catalog(folder / "source")
    model = fill(catalog)[-1]
    export_artifact(catalog, [model], folder / "a.zip", with_inputs=True)
    catalog.close()
    return (folder / "a.zip").read_bytes()


def rebuilt(content, change=None, members=None, **infos):
    """The archive with a changed manifest and changed members, checksums of the zip right again."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name == MANIFEST and change is not None:
                manifest = json.loads(data)
                data = change(manifest) or json.dumps(manifest)
            data = (members or {}).get(name, data)
            info = zipfile.ZipInfo(infos.get("rename", {}).get(name, name))
            info.external_attr = infos.get("mode", 0) << 16
            new.writestr(info, data, infos.get("compression"))
        for name, data in infos.get("more", {}).items():
            new.writestr(name, data)
    return out.getvalue()


def everything(folder):
    return sorted(
        str(path) for path in folder.rglob("*") if "catalog.db" not in path.name and path.name != ".lock"
    )


def test_an_artifact_moves_with_its_lineage(source, target, tmp_path):
    mesh, two, model = fill(source)
    table = export_artifact(source, [model[:10]], tmp_path / "a.zip")
    assert dict(zip(table["key"], table["data"], strict=True)) == {mesh: False, two: False, model: True}
    done = import_archive(target, tmp_path / "a.zip")
    assert dict(zip(done["key"], done["result"], strict=True)) == {
        mesh: "record", two: "record", model: "imported",
    }  # fmt: skip
    xr.testing.assert_identical(target.open("wing").load(), numbers())
    before, after = source.show(model), target.show(model)
    for one in (before, after):
        del one["location"], one["bytes"]
    assert after == before
    assert target.content(model) == source.content(model)
    columns = ["direction", "depth", "name", "stage", "key", "created"]
    assert target.lineage(model)[columns].equals(source.lineage(model)[columns])
    with pytest.raises(InputError, match=f"artifact {mesh[:12]} .* is a record without data"):
        target.open(mesh)
    with pytest.raises(InputError, match=f"artifact {mesh[:12]} is a record without data"):
        export_artifact(target, [model], tmp_path / "b.zip", with_inputs=True)
    assert verify(target, deep=True).empty
    assert set(import_archive(target, tmp_path / "a.zip")["result"]) == {"there"}
    assert target.show(model)["names"] == ["wing@1"]
    export_artifact(source, [model], tmp_path / "c.zip", with_inputs=True)
    assert list(import_archive(target, tmp_path / "c.zip")["result"]) == ["completed", "completed", "there"]
    xr.testing.assert_identical(target.open(mesh), numbers(1, 2))


@pytest.mark.parametrize("small", [-1, 2**16])
def test_attributes_that_are_no_numbers_move_too(source, target, tmp_path, monkeypatch, small):
    monkeypatch.setattr("catalogs.catalog.SMALL_BYTES", small)
    given = numbers().assign_attrs(limit=float("nan"), most=float("inf"))
    given["u"].attrs["bound"] = float("-inf")
    key = put(source, given)
    export_artifact(source, [key], tmp_path / "a.zip")
    import_archive(target, tmp_path / "a.zip")
    xr.testing.assert_identical(target.open(key).load(), given)


def test_a_record_without_data_is_computed_like_any_other(source, target, tmp_path):
    mesh, _, model = fill(source)
    export_artifact(source, [model], tmp_path / "a.zip")
    import_archive(target, tmp_path / "a.zip")
    assert [target.exists(key) for key in (mesh, model)] == [False, True]
    assert put(target, numbers(1, 2), stage="mesh", size=1) == mesh
    xr.testing.assert_identical(target.open(mesh), numbers(1, 2))
    assert target.content(mesh) == source.content(mesh)
    assert verify(target, deep=True).empty


def test_names_that_are_taken_are_continued(source, target, tmp_path):
    _, _, model = fill(source)
    other = put(target, stage="other")
    target.name(other, "wing")
    export_artifact(source, [model], tmp_path / "a.zip")
    import_archive(target, tmp_path / "a.zip")
    assert (target.resolve("wing@1"), target.resolve("wing")) == (other, model)


def test_a_file_that_is_there_and_damaged_data_are_refused(source, tmp_path):
    _, _, model = fill(source)
    (tmp_path / "there.zip").write_bytes(b"x")
    with pytest.raises(InputError, match="is there already: name another file"):
        export_artifact(source, [model], tmp_path / "there.zip")
    chunk = source.path(model) / "u" / "c" / "0" / "0"
    chunk.write_bytes(chunk.read_bytes()[:-1])
    with pytest.raises(
        InputError, match=rf"nothing is exported, artifact {model[:12]} is damaged: .*u/c/0/0"
    ):
        export_artifact(source, [model], tmp_path / "a.zip")
    assert sorted(path.name for path in tmp_path.glob("*.zip*")) == ["there.zip"]


def _item(manifest, **changes):
    manifest["items"][-1].update(changes)


def _array(content, change):
    """The archive with changed metadata of `u`, every digest right again."""
    with zipfile.ZipFile(io.BytesIO(content)) as old:
        name = next(name for name in old.namelist() if name.count("/") == 1 and name.endswith("zarr.json"))
        root = json.loads(old.read(name))
    change(root["consolidated_metadata"]["metadata"])
    data = json.dumps(root).encode()

    def manifest(value):
        about = value["items"][-1]["data"]
        about["digest"] = hashlib.sha256(data).hexdigest()[:32]
        member = next(m for m in about["members"] if m["name"] == name)
        member |= {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}

    return rebuilt(content, manifest, {name: data})


def _inner(members):
    return members["name"]["codecs"][0]["configuration"]["codecs"]


HOSTILE = {
    "no zip": (lambda c: b"x" * 100, "no archive of"),
    "a pickle": (lambda c: pickle.dumps({"a": 1}), "no archive of"),
    "no manifest": (lambda c: rebuilt(c, rename={MANIFEST: "other.json"}), "no archive of"),
    "path traversal": (
        lambda c: rebuilt(c, more={"../../evil": b"x"}), "members are not those that its manifest lists"),
    "absolute name": (
        lambda c: rebuilt(c, more={"/tmp/evil": b"x"}), "members are not those that its manifest lists"),
    "a link": (lambda c: rebuilt(c, mode=stat.S_IFLNK | 0o777), "is a link or no file"),
    "compressed": (
        lambda c: rebuilt(c, compression=zipfile.ZIP_DEFLATED),
        "is compressed, expected it stored"),
    "other size": (
        lambda c: rebuilt(c, lambda m: m["items"][-1]["data"]["members"][0].update(size=7)),
        "has other sizes than declared"),
    "other checksum": (
        lambda c: rebuilt(c, lambda m: m["items"][-1]["data"]["members"][1].update(sha256="0" * 64)),
        "has another checksum than its manifest says"),
    "other config": (
        lambda c: rebuilt(c, lambda m: _item(m, config={"modes": 9})), "another key than its stage, version"),
    "other digests": (
        lambda c: rebuilt(c, lambda m: m["items"][-1]["content"].update(shared="0" * 32)),
        "has other values than its digests say"),
    "lost input": (
        lambda c: rebuilt(c, lambda m: m["items"].pop(0) and None),
        "input .* does not come before it"),
    "twice": (lambda c: rebuilt(c, lambda m: m["items"].append(m["items"][-1])), "is in it twice"),
    "not finite": (lambda c: rebuilt(c, lambda m: _item(m, seconds=float("nan"))), "holds NaN"),
    "huge number": (
        lambda c: rebuilt(c, lambda m: _item(m, metrics={"a": 10**400})),
        "an integer of 1329 bits"),
    "NUL": (lambda c: rebuilt(c, lambda m: _item(m, note="a\0b")), "holds a NUL character"),
    "half a character": (lambda c: rebuilt(c, lambda m: _item(m, note="\ud800")), "no archive of"),
    "deep": (lambda c: rebuilt(c, lambda m: '{"a":' * 5000 + "1" + "}" * 5000), "no archive of"),
    "unknown field": (lambda c: rebuilt(c, lambda m: _item(m, code="x")), r"wrong at items\.2\.code"),
    "variable that leaves": (
        lambda c: _array(c, lambda a: a.update({"../x": a.pop("u")})),
        "the name of variable '../x' is refused"),
    "codec": (
        lambda c: _array(c, lambda a: _inner(a).append({"name": "numcodecs.pickle"})),
        "has the codec 'numcodecs.pickle'"),
    "huge array": (
        lambda c: _array(c, lambda a: a["u"].update(shape=[10**15, 1])),
        "more chunks than the archive has files"),
    "huge chunk": (
        lambda c: _array(c, lambda a: a["load"].update(
            shape=[10**15], chunk_grid={"name": "regular", "configuration": {"chunk_shape": [10**15]}})),
        "has chunks of 8000000000000000 bytes"),
    "objects": (lambda c: _array(c, lambda a: a["u"].update(data_type="object")), "is of the kind"),
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_archives_change_nothing(tmp_path, bytes_of_an_archive, case):
    make, message = HOSTILE[case]
    catalog = Catalog(tmp_path / "target")
    before = everything(tmp_path)
    file = tmp_path / "bad.zip"
    file.write_bytes(make(bytes_of_an_archive))
    with pytest.raises(InputError, match=message):
        import_archive(catalog, file)
    file.unlink()
    assert everything(tmp_path) == before
    assert len(catalog.list()) == 0
    catalog.close()


def test_chunks_that_say_they_are_huge_are_not_decoded():
    about = {
        "data_type": "float64", "codecs": [{"name": "bytes"}, {"name": "zstd"}],
        "chunk_grid": {"configuration": {"chunk_shape": [10]}},
    }  # fmt: skip
    frame = b"\x28\xb5\x2f\xfd\xe0" + (10**12).to_bytes(8, "little")
    with pytest.raises(InputError, match="says that it decodes to 1000000000000 bytes, expected 80"):
        check_frames(frame, about)
    check_frames(b"\x28\xb5\x2f\xfd\x20" + bytes([80]), about)


def test_a_failure_of_the_database_leaves_nothing(source, target, tmp_path, monkeypatch):
    _, _, model = fill(source)
    export_artifact(source, [model], tmp_path / "a.zip", with_inputs=True)
    before = everything(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr("catalogs.archive_rows.insert_content", lambda *_: [][0])
        with pytest.raises(InputError, match="is not imported: its data cannot be understood"):
            import_archive(target, tmp_path / "a.zip")
    assert everything(tmp_path) == before
    assert len(target.list()) == 0


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(data=st.data())
def test_changed_bytes_are_refused_or_harmless(tmp_path_factory, bytes_of_an_archive, data):
    content = bytearray(bytes_of_an_archive)
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        inspect(io.BytesIO(bytes(content)), "it")
    except InputError:
        return
    folder = tmp_path_factory.mktemp("fuzz")
    (folder / "a.zip").write_bytes(bytes(content))
    catalog = Catalog(folder / "target")
    try:
        import_archive(catalog, folder / "a.zip")
        xr.testing.assert_identical(catalog.open("wing").load(), numbers())
    except InputError:
        assert len(catalog.list()) == 0
    catalog.close()
