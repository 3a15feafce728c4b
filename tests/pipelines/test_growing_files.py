"""Nights over a folder that grows: only new files are read, and the set is that of a first night."""

import numpy as np
import pytest
import xarray as xr

from catalogs.catalog import Catalog
from catalogs.collect import gc
from catalogs.formats import reader
from catalogs.verify import verify
from pipelines.config import SurrogateConfig
from pipelines.files import add_files
from pipelines.runner import Runner
from pipelines.settings import settings
from stages.registry import STAGES
from tests.catalogs.formats_files import two_triangles_and_a_quad


@pytest.fixture
def night(tmp_path, monkeypatch):
    """Run a night in a project: files read, key of the files, key of what `ingest` made of them."""
    monkeypatch.setattr("catalogs.growing.WORTH_BYTES", 0)
    read = []

    def counting(path, name, options, real=reader.FORMATS[".vtu"]):
        read.append(name)
        return real(path, name, options)

    monkeypatch.setitem(reader.FORMATS, ".vtu", counting)

    def run(project="p"):
        read.clear()
        options = {"table": str(tmp_path / "table.csv")} if (tmp_path / "table.csv").exists() else {}
        given = {"source": "files", "files": [str(tmp_path / "runs")], "read": options}
        config = SurrogateConfig.model_validate({**given, "ingest": {"cell_to_node": True}})
        with Runner(settings(project=tmp_path / project, workers=0, quiet=True)) as runner:
            key = add_files(config, runner)
            made = runner.step(STAGES["ingest"], config.section("ingest"), {"raw": key})
        return sorted(read), key, made

    return run


def write(folder, name, shift=0.0, lift=0.0):
    folder.mkdir(exist_ok=True)
    mesh = two_triangles_and_a_quad()
    mesh.point_data["T"] = np.arange(6.0) + shift
    mesh.point_data["U"] = np.stack([np.arange(6.0), -np.arange(6.0), np.full(6, lift)], axis=1)
    mesh.save(folder / f"{name}.vtu")


def table(folder, **loads):
    rows = "".join(f"{name},{load}\n" for name, load in loads.items())
    (folder / "table.csv").write_text(f"name,load [Pa]\n{rows}")


def like_a_first_night(tmp_path, night, *keys):
    scratch = night("scratch")
    assert scratch[1:] == keys
    one, other = Catalog(tmp_path / "p"), Catalog(tmp_path / "scratch")
    for key in keys:
        xr.testing.assert_identical(one.open(key).load(), other.open(key).load())
        assert one.content(key) == other.content(key)
        assert one.show(key)["schema"] == other.show(key)["schema"]
    assert verify(one, deep=True).empty
    assert gc(one).empty
    other.close()
    one.close()
    assert scratch[0] == sorted(path.stem for path in (tmp_path / "runs").iterdir())


def test_a_second_night_reads_the_new_files_only(tmp_path, night):
    for number, name in enumerate(("a", "c", "e")):
        write(tmp_path / "runs", name, number)
    first = night()
    assert first[0] == ["a", "c", "e"]
    assert night() == ([], *first[1:])
    write(tmp_path / "runs", "b", 10.0)
    write(tmp_path / "runs", "f", 20.0)
    read, *keys = night()
    assert read == ["b", "f"]
    catalog = Catalog(tmp_path / "p")
    for key in keys:
        assert list(catalog.open(key)["sample_name"].values) == ["a", "b", "c", "e", "f"]
        assert [p.stop - p.start for p in catalog.place(key).pieces] == [1, 1, 2, 1]
    catalog.close()
    like_a_first_night(tmp_path, night, *keys)


def test_changed_files_and_rows_are_read_again(tmp_path, night):
    for number, name in enumerate("abc"):
        write(tmp_path / "runs", name, number)
    table(tmp_path, a=1, b=2, c=3)
    night()
    write(tmp_path / "runs", "b", 7.0)
    write(tmp_path / "runs", "d", 8.0)
    table(tmp_path, a=1, b=2, c=4, d=5)
    (tmp_path / "runs" / "a.vtu").rename(tmp_path / "runs" / "z.vtu")
    table(tmp_path, z=1, b=2, c=4, d=5)
    write(tmp_path / "runs", "e", 9.0)
    table(tmp_path, z=1, b=2, c=3, d=5, e=6)
    read, *keys = night()
    assert read == ["b", "d", "e", "z"]
    like_a_first_night(tmp_path, night, *keys)


def test_what_changes_the_whole_set_reads_all_files(tmp_path, night):
    for number, name in enumerate("abc"):
        write(tmp_path / "runs", name, number)
    night()
    write(tmp_path / "runs", "d", 5.0, lift=1.0)  # the third component is zero in all others
    read, *keys = night()
    assert set(read) == set("abcd")
    like_a_first_night(tmp_path, night, *keys)
    (tmp_path / "runs" / "d.vtu").unlink()
    (tmp_path / "runs" / "c.vtu").unlink()
    read, *keys = night()
    assert set(read) == set("ab")
