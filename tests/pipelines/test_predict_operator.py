"""`pushforward predict` with operators: new cases in arrays and mesh files, with and without their truth."""

import numpy as np
import pytest
import pyvista as pv
import xarray as xr
from operator_arrays import GRID, MESH, ON_GRIDS, ON_MESHES, fields, wings, write_grids

from catalogs.catalog import Catalog
from pipelines.command_line import main
from stages.registry import STAGES

FILES = """
source = "files"
files = ["runs"]

[ingest]
inputs = ["pressure", "held"]
dirichlet = "clamped"
prescribes = { held = "lift" }
units = { pressure = "Pa", lift = "m", held = "m" }
outputs = []
"""
RUN = ["--workers", "0", "--no-prefect", "--quiet"]


class Trained:
    """A folder with a config, its data and a project with trained candidates."""

    def __init__(self, folder, text):
        self.folder, self.config = folder, folder / "own.toml"
        self.config.write_text(text)
        self.project = ["--project", str(folder / "project")]
        assert main(["run", "operator", "--config", str(self.config), *self.project, *RUN]) == 0
        catalog = self.catalog()
        report = catalog.show(catalog.list("report_operator")["key"].iloc[0])
        self.models = {n.removeprefix("models."): k for n, k in report["inputs"].items() if "models." in n}
        catalog.close()

    def catalog(self):
        return Catalog(self.folder / "project")

    def keys(self):
        catalog = self.catalog()
        found = set(catalog.list()["key"])
        catalog.close()
        return found

    def predict(self, *arguments, model="chosen", config=None):
        given = self.config if config is None else config
        described = ["--config", str(given)] if given else []
        return main(["predict", model, *map(str, arguments), *described, *self.project])


@pytest.fixture(scope="module")
def grids(tmp_path_factory):
    folder = tmp_path_factory.mktemp("grids")
    write_grids(folder)
    return Trained(folder, GRID + ON_GRIDS.replace('model = "mgno"', 'model = "mgno"\nseeds = [0, 1]'))


@pytest.fixture(scope="module")
def meshes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("meshes")
    np.savez(folder / "wings.npz", **wings())
    return Trained(folder, MESH + ON_MESHES)


@pytest.fixture(scope="module")
def from_files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    (folder / "runs").mkdir()
    for i in range(30):
        write_wing(folder / "runs" / f"wing_{i:02d}.vtu", i)
    return Trained(folder, FILES + ON_MESHES)


def write_wing(file, number, without=(), **changes):
    """A wing whose lift is held at what `held` says where it is clamped."""
    held = wings(40)
    x, cells = held["points"][number], held["triangles"]
    grid = pv.UnstructuredGrid(
        np.insert(cells, 0, 3, axis=1).ravel(), np.full(len(cells), 5, np.uint8), np.pad(x, ((0, 0), (0, 1)))
    )
    up = held["span"][number] + x[:, 1]
    points = {"pressure": held["pressure"][number], "clamped": held["clamped"].astype(float), "held": up}
    points["lift"] = held["lift"][number] + up
    for name, values in {**points, **changes}.items():
        if name not in without:
            grid.point_data[name] = values
    if "span" not in without:
        grid.field_data["span"] = held["span"][number : number + 1]
    grid.save(file)
    return points


def opened(file):
    with xr.open_dataset(file, engine="scipy") as found:
        return found.load()


def test_arrays_without_their_truth_are_predicted_and_written(grids, tmp_path, capsys):
    new = fields(3, 5, 77)
    np.savez(tmp_path / "new.npz", x=new["x"])
    assert grids.predict(tmp_path / "new.npz") == 0
    said = capsys.readouterr().out
    assert "3: new_00000, new_00001, new_00002" in said
    assert "7 x 5 points along s, r" in said
    assert f"linear   ({grids.models['linear.0'][:12]})" in said
    assert "lift_mean +- factor * lift_std in m; factors 50 %: " in said
    assert f"written: {tmp_path / 'new_prediction.nc'}" in said
    found = opened(tmp_path / "new_prediction.nc")
    np.testing.assert_allclose(found["lift_mean"], np.moveaxis(new["y"], 1, 2), atol=1e-6)
    assert (found["lift_mean"].attrs["units"], found["r"].attrs["units"]) == ("m", "m")
    assert found["interval_factor"].shape == (4, 1)
    key = said.partition("pushforward catalog open ")[2][:12]
    catalog = grids.catalog()
    np.testing.assert_array_equal(catalog.open(key)["lift_mean"], found["lift_mean"])
    assert catalog.show(key)["inputs"]["model"] == grids.models["linear.0"]
    catalog.close()


def test_a_second_call_computes_nothing_and_truths_change_nothing(grids, tmp_path, monkeypatch, capsys):
    new = fields(3, 5, 78)
    np.savez(tmp_path / "new.npz", x=new["x"])
    assert grids.predict(tmp_path / "new.npz") == 0
    bare, before = (tmp_path / "new_prediction.nc").read_bytes(), grids.keys()
    stage = STAGES["predict_operator"]
    monkeypatch.setattr(type(stage), "__call__", lambda *a, **k: pytest.fail("computed again"))
    assert grids.predict(tmp_path / "new.npz") == 0
    assert grids.keys() == before
    monkeypatch.undo()
    (tmp_path / "new_prediction.nc").unlink()
    np.savez(tmp_path / "new.npz", x=new["x"], y=np.full_like(new["y"], np.nan))
    assert grids.predict(tmp_path / "new.npz") == 0
    assert (tmp_path / "new_prediction.nc").read_bytes() == bare
    assert "already there" in capsys.readouterr().err
    catalog = grids.catalog()
    assert "lift" not in catalog.open(catalog.list("new_arrays")["key"].iloc[-1])
    catalog.close()


def test_a_model_by_name_on_a_grid_that_it_has_not_seen(grids, tmp_path, capsys):
    catalog = grids.catalog()
    catalog.name(grids.models["net.ensemble"], "best")
    catalog.close()
    np.savez(tmp_path / "fine.npz", x=fields(2, 9, 4)["x"])
    assert grids.predict(tmp_path / "fine.npz", "--output", tmp_path / "o.nc", model="best@1") == 0
    said = capsys.readouterr().out
    assert "11 x 9 points along s, r; the model was trained on 7 x 5" in said
    assert "mgno, 2 members" in said
    assert opened(tmp_path / "o.nc")["lift_std"].shape == (2, 11, 9)
    assert np.isfinite(opened(tmp_path / "o.nc")["lift_interpolated"]).all()


def test_meshes_that_a_model_cannot_serve_are_refused_or_left_out(meshes, tmp_path, capsys):
    new = wings(2)
    cells = new["triangles"][(new["triangles"] < 17).all(axis=1)]
    less = {name: new[name][:, :17] for name in ("points", "pressure")}
    np.savez(tmp_path / "new.npz", **less, triangles=cells, clamped=new["clamped"][:17], span=new["span"])
    model = meshes.models["linear.0"][:12]
    assert meshes.predict(tmp_path / "new.npz", model=model) == 1
    assert "sample 'new_00000': " in capsys.readouterr().err
    left = tmp_path / "left.toml"
    left.write_text(MESH.replace("wings.npz", "new.npz") + '[predict_operator]\nunserved = "leave_out"\n')
    assert meshes.predict(model=model, config=left) == 0
    assert "warning: 2 samples have no prediction, such as new_00000: " in capsys.readouterr().err


@pytest.mark.parametrize("truth", [True, False])
def test_arrays_on_meshes_that_move(meshes, tmp_path, truth, capsys):
    new = wings(44)
    kept = {n: v[41:] if v.ndim != 2 or len(v) == 44 else v for n, v in new.items() if n != "clamped"}
    kept |= {"clamped": new["clamped"], "triangles": new["triangles"]}
    wanted = kept["lift"] if truth else kept.pop("lift")
    np.savez(tmp_path / "new.npz", **kept)
    model = meshes.models["linear.0"][:12]
    assert meshes.predict(tmp_path / "new.npz", model=model) == 0
    assert "meshes of 18 nodes in 2 dimensions" in capsys.readouterr().out
    found = opened(tmp_path / "new_prediction.nc")
    np.testing.assert_allclose(found["lift_mean"].values.reshape(3, 18), wanted, atol=1e-3)
    np.testing.assert_array_equal(found["x"].values.reshape(3, 18, 2), kept["points"])
    assert meshes.predict(tmp_path / "new.npz", "--output", tmp_path / "parts", model=model) == 0
    part = pv.read(tmp_path / "parts" / "new_00002_prediction.vtu")
    np.testing.assert_array_equal(part.points[:, :2], kept["points"][2])
    np.testing.assert_array_equal(part.point_data["lift_mean"], found["lift_mean"].values[36:])
    assert len(list((tmp_path / "parts").iterdir())) == 3


def test_mesh_files_are_read_as_those_of_the_training(from_files, tmp_path, capsys):
    truth = write_wing(tmp_path / "part.vtu", 33, without=("lift", "span"))
    span = f"span={float(wings(40)['span'][33])!r}"
    net = from_files.models["net.0"][:12]
    assert from_files.predict(tmp_path / "part.vtu", config=False, model=net) == 1
    assert "the model also needs the parameters span: add --parameter span=VALUE" in capsys.readouterr().err
    assert from_files.predict(tmp_path / "part.vtu", "--parameter", span, config=False, model=net) == 0
    found = pv.read(tmp_path / "part_prediction.vtu").point_data
    marked = truth["clamped"] != 0
    np.testing.assert_allclose(found["lift_mean"][marked], truth["held"][marked], rtol=1e-15)
    assert np.abs(found["lift_mean"][~marked] - truth["held"][~marked]).min() > 0.0
    write_wing(tmp_path / "part.vtu", 33, lift=np.full(18, np.nan))
    before = np.array(found["lift_mean"])
    assert from_files.predict(tmp_path / "part.vtu", config=False, model=net) == 0
    np.testing.assert_array_equal(pv.read(tmp_path / "part_prediction.vtu").point_data["lift_mean"], before)
    capsys.readouterr()
    write_wing(tmp_path / "other.vtu", 34)
    both = (tmp_path / "part.vtu", tmp_path / "other.vtu")
    assert from_files.predict(*both, "--output", tmp_path / "o.vtu", config=False, model=net) == 1
    assert "there are 2 meshes and one file" in capsys.readouterr().err
    assert from_files.predict(*both, config=from_files.config, model=net) == 0
    assert {f.name for f in (tmp_path / "part_predictions").iterdir()} == {
        "part_prediction.vtu",
        "other_prediction.vtu",
    }


def gap(new):
    new["x"][1, 0, 0] = np.nan
    return new


@pytest.mark.parametrize(
    ("change", "old", "new", "message"),
    [
        (None, 'array = "x"', 'array = "v"', "new.npz has no array 'v' for variable 'load'; it holds x"),
        (None, "load = {", "weight = {", "lacks the inputs ['load'] of the model, which takes ['load']; it "
         "has ['sample_name', 'weight']"),
        (None, 'units = "N"', 'units = "kN"', "'load' has the units 'kN', the model was trained with 'N'"),
        (None, 'role = "input"', 'role = "field"', "'load' has the role 'field', the model was trained with"),
        (None, 'array = "x", role = "input"', 'array = "v", role = "field"', "describes the outputs ['load', "
         "'lift'] alone, expected what they are predicted from"),
        (None, "stop = 2.0", "stop = 3.0", "axis 's' runs from 0 to 3, the model was trained from 0 to 2"),
        (None, 'stop = 2.0, units = "m"', 'stop = 2.0, units = "cm"', "axis 's' is in 'cm', the model was"),
        (None, '["sample", "s", "r"]', '["sample", "r", "s"]', "'load' has the axes ('r', 's'), the model "
         "was trained on ('s', 'r'): transpose it"),
        (lambda new: {"x": new["x"][:, :, 0]}, '["sample", "s", "r"]', '["sample", "s"]',
         "'load' has the axes ('s',), the model was trained on ('s', 'r'): a model of dimension 2"),
        (lambda new: {"x": new["x"][:, :1]}, "", "", "axis 's' runs from 0 to 0, the model was trained from"),
        (gap, "", "", "1 of 2 samples have values that are not finite: 'load' of sample new_00001"),
        (None, 'main = "coarse"', 'mian = "coarse"', "unknown field 'mian'; did you mean 'main'?"),
        (None, "[arrays.variables]", "[arrays.varables]", "unknown field 'arrays.varables'"),
    ],
)  # fmt: skip
def test_cases_that_are_not_for_the_model_are_one_message(grids, tmp_path, change, old, new, message, capsys):
    given = {"x": fields(2, 5, 5)["x"]}
    np.savez(tmp_path / "new.npz", **(change(given) if change else given))
    assert old in GRID
    config, before = tmp_path / "new.toml", grids.keys()
    config.write_text(GRID.replace(old, new, 1))
    assert grids.predict(tmp_path / "new.npz", config=config) == 1
    said = capsys.readouterr().err
    assert message in said
    assert "Traceback" not in said
    assert [line for line in said.splitlines() if line.startswith("error: ")] == said.splitlines()[-1:]
    stages = {grids_stage(grids, key) for key in grids.keys() - before}
    assert stages == ({"new_arrays"} if change is gap else set())
    assert not (tmp_path / "new_prediction.nc").exists()


def grids_stage(trained, key):
    catalog = trained.catalog()
    stage = catalog.show(key)["stage"]
    catalog.close()
    return stage


def test_what_else_a_call_may_not_say(grids, meshes, from_files, tmp_path, capsys):
    file, lost = tmp_path / "new.npz", tmp_path / "no" / "o.nc"
    np.savez(file, x=fields(2, 5, 5)["x"])
    write_wing(tmp_path / "part.vtu", 33)
    unmarked = {name: values for name, values in wings(2).items() if name != "clamped"}
    np.savez(tmp_path / "unmarked.npz", **unmarked)
    (tmp_path / "bare.toml").write_text((MESH).replace(', dirichlet = "clamped"', ""))
    solid = pv.UnstructuredGrid(pv.Box().triangulate().delaunay_3d())
    for name in ("pressure", "held", "clamped"):
        solid.point_data[name] = np.zeros(solid.n_points)
    solid.save(tmp_path / "solid.vtu")
    span = ("--parameter", "span=1.5")
    cases = [
        (grids, (file,), {"config": False}, "holds arrays, and nothing says which of them is what"),
        (grids, (tmp_path / "part.vtu",), {"config": False}, "is read as a mesh, the model was trained on"),
        (grids, (), {"config": False}, "there are no new cases: no config is given; give mesh files, or"),
        (grids, (), {"config": "operator_small"}, "there are no new cases: operator_small names none"),
        (grids, (tmp_path / "none.npz",), {}, "none.npz is not a file"),
        (grids, (file, "--output", lost), {}, "cannot be written to"),
        (grids, (file, "--output", file.with_suffix(".csv")), {}, "cannot be written to"),
        (grids, (file, "--output", tmp_path / "folder"), {}, "on a grid are written as NetCDF"),
        (grids, (file, "--parameter", "lod=1"), {}, "unknown parameters ['lod']; the model takes: none"),
        (grids, (file,), {"model": "zzz"}, "starts with 'zzz'"),
        (meshes, (tmp_path / "unmarked.npz",), {"config": tmp_path / "bare.toml"}, "cases mark no nodes"),
        (from_files, (tmp_path / "solid.vtu", *span), {"config": False}, "are in 3 dimensions, the model was "
         "trained in 2"),
    ]  # fmt: skip
    for trained, arguments, more, message in cases:
        before = trained.keys()
        assert trained.predict(*arguments, **more) == 1, message
        assert trained.keys() == before or trained is from_files
        said = capsys.readouterr().err
        assert message in said
        assert "Traceback" not in said
    catalog = grids.catalog()
    split = catalog.list("split")["key"].iloc[0]
    catalog.close()
    assert grids.predict(file, model=split[:12]) == 1
    assert (
        f"not a model; models of this catalog are: {grids.models['net.0'][:6]}"[:45]
        in capsys.readouterr().err
    )
    assert main(["predict", "chosen", str(file), "--project", str(tmp_path / "nowhere")]) == 1
    assert "there is no catalog in" in capsys.readouterr().err
    Catalog(tmp_path / "empty").close()
    assert main(["predict", "chosen", str(file), "--project", str(tmp_path / "empty")]) == 1
    assert "there is no run in this project: run it, or give the key" in capsys.readouterr().err
