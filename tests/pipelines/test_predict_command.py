"""`pushforward predict`: means and deviations on the part's own nodes; one message for what does not fit."""

import numpy as np
import pytest
import pyvista as pv
from bars import SIMULATED, pipeline

from catalogs.catalog import Catalog
from pipelines.command_line import main
from stages.base import by_role
from stages.ragged import take
from stages.variables import PARAMETER


class Trained:
    """A project with a model, and the test sample that the model is asked for."""

    def __init__(self, project):
        self.project = project
        self.keys = pipeline(SIMULATED, project)
        catalog = Catalog(project)
        meshes = catalog.open(self.keys["simulate"]).load()
        self.place = list(meshes["split"].values).index(1) + 1
        self.mesh = take(meshes, [self.place])
        self.wanted = take(catalog.open(self.keys["predict"]).load(), [1])
        self.given = {n: float(self.mesh[n].values[0]) for n in by_role(meshes, PARAMETER)}
        catalog.close()

    def grid(self, points=None):
        x = self.mesh["x"].values if points is None else points
        cells = np.insert(self.mesh["connectivity"].values.astype(np.int64), 0, 3, axis=1)
        return pv.UnstructuredGrid(
            cells.ravel(), np.full(len(cells), 5, np.uint8), np.pad(x, ((0, 0), (0, 1)))
        )

    def run(self, file, *more, parameters=None):
        given = self.given if parameters is None else parameters
        listed = [word for name, value in given.items() for word in ("--parameter", f"{name}={value!r}")]
        return main(
            ["predict", self.keys["train_gp"][:12], str(file), "--project", str(self.project), *listed, *more]
        )


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return Trained(tmp_path_factory.mktemp("trained") / "p")


def test_the_file_has_the_parts_own_nodes_in_their_order(trained, tmp_path, capsys):
    shuffle = np.random.default_rng(0).permutation(len(trained.mesh["x"]))
    place = np.argsort(shuffle)
    grid = trained.grid()
    mixed = pv.UnstructuredGrid(
        np.insert(place[trained.mesh["connectivity"].values], 0, 3, axis=1).ravel(),
        grid.celltypes,
        grid.points[shuffle],
    )
    mixed.point_data["displacement_1"] = np.full(len(shuffle), np.nan)
    mixed.save(tmp_path / "part.vtu")
    assert trained.run(tmp_path / "part.vtu") == 0
    written = pv.read(tmp_path / "part_prediction.vtu")
    np.testing.assert_array_equal(written.points, mixed.points)
    assert written.n_cells == mixed.n_cells
    for name in ("mean", "std"):
        wanted = trained.wanted[f"stress_11_{name}"].values[shuffle]
        scale = np.abs(wanted).max()
        np.testing.assert_allclose(written.point_data[f"stress_11_{name}"], wanted, atol=1e-6 * scale)
        assert np.ptp(wanted) > 0.0
    assert "max_von_mises: " in capsys.readouterr().out


def test_a_mesh_far_from_the_training_shapes_is_flagged_and_a_near_one_is_not(trained, tmp_path, capsys):
    x = trained.mesh["x"].values
    trained.grid().save(tmp_path / "near.vtu")
    trained.grid(x * np.array([1.0, 2.5])).save(tmp_path / "far.vtu")
    assert trained.run(tmp_path / "near.vtu") == 0
    assert "warning" not in capsys.readouterr().err
    assert trained.run(tmp_path / "far.vtu") == 0
    said = capsys.readouterr().err
    assert "far.vtu is far from the training shapes" in said
    assert "its error bars cannot be trusted" in said


def holed(trained):
    """The part without the cells at its most inner node: a second boundary loop."""
    grid = trained.grid()
    cells = trained.mesh["connectivity"].values
    centre = np.argmin(np.linalg.norm(trained.mesh["x"].values - [0.05, 0.02], axis=1))
    kept = np.flatnonzero(~np.any(cells == centre, axis=1))
    return grid.extract_cells(kept)


def test_what_cannot_be_predicted_is_one_message_and_leaves_no_file(trained, tmp_path, capsys):
    part, solid = tmp_path / "part.vtu", pv.Box().triangulate().delaunay_3d()
    trained.grid().save(part)
    pv.UnstructuredGrid(solid).save(tmp_path / "solid.vtu")
    hole = holed(trained)
    hole.clear_data()
    hole.save(tmp_path / "hole.vtu")
    (tmp_path / "cut.vtu").write_bytes(part.read_bytes()[:900])
    lost = tmp_path / "no" / "o.vtu"
    fewer = {name: value for name, value in trained.given.items() if name != "load"}
    cases = [
        (tmp_path / "solid.vtu", trained.given, [], "solid"),
        (tmp_path / "hole.vtu", trained.given, [], "loop"),
        (tmp_path / "cut.vtu", trained.given, [], "cut.vtu cannot be read as VTK"),
        (tmp_path / "none.vtu", trained.given, [], "none.vtu is not a file"),
        (part, fewer, [], "the model also needs the parameters load: add --parameter load=VALUE"),
        (part, {**trained.given, "lod": 1.0}, [], r"unknown parameters ['lod']; the model takes: "),
        (part, trained.given, ["--output", str(part)], "is the part's own file: name another"),
        (part, trained.given, ["--output", str(lost)], "expected a .vtu file in a folder"),
        (part, trained.given, ["--output", str(tmp_path / "o.txt")], "expected a .vtu file in a folder"),
    ]
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    for file, parameters, more, message in cases:
        assert trained.run(file, *more, parameters=parameters) == 1, file
        said = capsys.readouterr().err
        assert message in said
        assert said.count("\n") == 1
        assert "Traceback" not in said
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before
