"""Commands of the catalog: search, facets, open, tag, lineage; formats and messages."""

import json

import pytest
import pyvista as pv
import xarray as xr

from catalogs.catalog import Catalog
from pipelines.command_line import main
from tests.catalogs.test_search import meshes, put


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("commands") / "p"
    catalog = Catalog(folder)
    put(catalog, "a", meshes(2), stage="morph")
    sampled = xr.Dataset({"reynolds": ("sample", [2e4, 5e4], {"role": "parameter"})})
    put(catalog, "b", sampled, config={"modes": 12, "kernel": "rbf"}, rmse=0.01)
    put(catalog, "c", sampled * 10, config={"modes": 8, "kernel": "rbf"}, rmse=0.02)
    catalog.close()
    return str(folder)


def run(capsys, project, *arguments):
    code = main(["catalog", *arguments, "--project", project])
    return code, capsys.readouterr()


def keys(capsys, project, *arguments):
    code, shown = run(capsys, project, "search", *arguments, "--format", "json")
    assert code == 0, shown.err
    return [row["key"][0] for row in json.loads(shown.out)]


def test_search(project, capsys):
    assert keys(capsys, project) == ["c", "b", "a"]
    assert keys(capsys, project, "--stage", "evaluate", "--order", "metrics.rmse") == ["b", "c"]
    assert keys(capsys, project, "--stage", "evaluate", "--stage", "morph", "--limit", "2") == ["c", "b"]
    assert keys(capsys, project, "--parameter", "reynolds=1e4:1e5", "--where", "config.modes >= 12") == ["b"]
    assert keys(capsys, project, "--parameter", "reynolds=1e5:") == ["c"]
    columns = ["--columns", "metrics.rmse", "--columns", "config.kernel", "--order", "created"]
    _, shown = run(capsys, project, "search", *columns, "--format", "csv")
    rows = shown.out.splitlines()
    assert rows[0].endswith("samples,tags,metrics.rmse,config.kernel")
    assert rows[2].endswith(",0.01,rbf")
    _, shown = run(capsys, project, "search", "--limit", "1")
    assert "3 artifacts, the first 1" in shown.out
    assert "cccccccccccc" in shown.out
    assert "bbbb" not in shown.out


def test_tag_changes_and_shows(project, capsys):
    code, shown = run(
        capsys, project, "tag", "bbb", "+x", "+y", "--note", "good", "--name", "best", "--format", "json"
    )
    assert code == 0, shown.err
    assert json.loads(shown.out)["tags"] == ["x", "y"]
    assert json.loads(shown.out)["names"] == ["best@1"]
    assert run(capsys, project, "tag", "best", "-y")[0] == 0
    assert keys(capsys, project, "--tag", "x") == ["b"]
    assert keys(capsys, project, "--tag", "y") == []
    assert keys(capsys, project, "--name", "best") == ["b"]
    assert run(capsys, project, "tag", "ccc", "--move", "x")[0] == 0
    assert keys(capsys, project, "--tag", "x") == ["c"]
    assert run(capsys, project, "tag", "ccc", "-x")[0] == 0


def test_facets(project, capsys):
    _, shown = run(capsys, project, "facets", "--stage", "evaluate", "--format", "json")
    rows = {(row["kind"], row["name"], row["text"]): row for row in json.loads(shown.out)}
    assert rows["text", "kernel", "rbf"]["count"] == 2
    assert rows["parameter", "reynolds", ""]["high"] == 5e5
    assert ("stage", "morph", "") not in rows


def test_open_shows_or_writes(project, capsys, tmp_path):
    _, shown = run(capsys, project, "open", "aaa", "--format", "json")
    rows = {row["variable"]: row for row in json.loads(shown.out)}
    assert (rows["heat"]["dims"], rows["heat"]["units"]) == ("node*=6", "K")
    file = tmp_path / "one.vtu"
    assert run(capsys, project, "open", "aaa", "--sample", "1", "--output", str(file))[0] == 0
    assert pv.read(file)["heat"].tolist() == [3, 4, 5]
    store = tmp_path / "b.zarr"
    assert run(capsys, project, "open", "bbb", "--output", str(store))[0] == 0
    with xr.open_zarr(store, consolidated=False) as written:
        assert written["reynolds"].values.tolist() == [2e4, 5e4]
    file = tmp_path / "a.nc"
    assert run(capsys, project, "open", "aaa", "--output", str(file))[0] == 0
    with xr.open_dataset(file) as written:
        assert written["heat"].values.tolist() == [0, 1, 2, 3, 4, 5]
        assert written["heat"].attrs == {"role": "field", "units": "K"}
        assert written["sample_name"].values.tolist() == ["s0", "s1"]


def test_lineage_as_a_diagram(project, capsys):
    _, shown = run(capsys, project, "lineage", "aaa", "--mermaid", "--up", "1")
    assert shown.out.splitlines()[:2] == ["flowchart LR", '  aaaaaaaaaaaa["morph<br/>aaaaaaaaaaaa"]']


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["search", "--where", "metrics.rmse <"], "where: 'the end' where a name or a value is expected"),
        (["search", "--where", "config.mode > 3"], "knows no config.mode; the nearest are: config.modes"),
        (["search", "--parameter", "reynolds"], "expected NAME=LOW:HIGH or NAME=VALUE"),
        (["search", "--columns", "rmse"], "column 'rmse' is not known"),
        (["tag", "aaa", "x"], "'x' is no change of a tag; expected"),
        (["tag", "aaa", "+a b"], "the tag 'a b' cannot be used"),
        (["open", "aaa", "--output", "{tmp}/a.vtu"], "got a dataset of 2 samples, expected one"),
        (["open", "aaa", "--output", "{tmp}/a.txt"], "expected a name that ends with .vtu, .nc or .zarr"),
        (["open", "aaa", "--output", "{tmp}"], "is there already: remove it first"),
        (["open", "aaa", "--sample", "2"], "artifact aaa has 2 samples, from 0"),
    ],
)
def test_failures_are_one_message(project, tmp_path, capsys, arguments, message):
    code, shown = run(capsys, project, *[argument.format(tmp=tmp_path) for argument in arguments])
    assert (code, message in shown.err) == (1, True), shown.err + shown.out
    assert "Traceback" not in shown.err
