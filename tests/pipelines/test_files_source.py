"""`source = "files"`: simulations that come back from files give the numbers of the simulations."""

from pathlib import Path

import numpy as np
import pytest
from bars import SIMULATED, TRAINING, TRAINING_TOML, pipeline, write_files, write_su2, write_table

from catalogs.catalog import Catalog
from catalogs.formats.reader import ReadOptions, read_files
from kernels.errors import InputError
from pipelines.command_line import main
from pipelines.config import load_config
from pipelines.prediction import predict_file
from stages.base import by_role
from stages.evaluate import table
from stages.ingest import STAGE, IngestConfig
from stages.ragged import take
from stages.variables import FIELD, PARAMETER

CONFIG = f"""source = "files"
files = ["runs"]
[read]
table = "table.csv"
{TRAINING_TOML}"""


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    project = tmp_path_factory.mktemp("simulated") / "p"
    keys = pipeline(SIMULATED, project)
    catalog = Catalog(project)
    yield catalog, keys
    catalog.close()


@pytest.fixture(scope="module")
def from_files(simulated, tmp_path_factory):
    catalog, keys = simulated
    folder = tmp_path_factory.mktemp("from_files")
    meshes = catalog.open(keys["simulate"])
    write_files(folder / "runs", meshes)
    write_table(folder / "table.csv", meshes)
    (folder / "files.toml").write_text(CONFIG)
    config = load_config(folder / "files.toml")
    assert TRAINING.keys() <= set(type(config).model_fields)
    other = Catalog(folder / "p")
    yield folder, other, pipeline(config, folder / "p")
    other.close()


def same_numbers(one, other, names):
    for name in names:
        np.testing.assert_allclose(other[name].values, one[name].values, rtol=1e-8, atol=0.0, err_msg=name)


def test_scores_and_predictions_are_those_of_the_simulation(simulated, from_files):
    (catalog, keys), (_, other, other_keys) = simulated, from_files
    one, two = catalog.open(keys["predict"]), other.open(other_keys["predict"])
    numbers = [name for name in one.data_vars if one[name].dtype.kind == "f"]
    assert len(numbers) > 20
    assert set(one.data_vars) == set(two.data_vars)
    same_numbers(one, two, numbers)
    one, two = catalog.open(keys["evaluate"]), other.open(other_keys["evaluate"])
    same_numbers(one, two, [name for name in one.data_vars if one[name].dtype.kind == "f"])


def test_an_evaluation_is_found_by_its_scores(simulated):
    catalog, keys = simulated
    scores = table(catalog.open(keys["evaluate"]))
    mine = scores[(scores["quantity"] == "max_von_mises") & (scores["row"] == "gp")]
    error = float(mine["rrmse"].iloc[0])
    name = "metrics.rrmse.gp.max_von_mises"
    assert catalog.search(where=f"{name} <= {1.01 * error!r}").keys() == [keys["evaluate"]]
    assert catalog.search(where=f"{name} < {0.99 * error!r}").keys() == []
    assert catalog.search(stage="evaluate").to_pandas([name])[name].iloc[0] == pytest.approx(error)
    assert catalog.search(where="metrics.rrmse.training_mean.max_von_mises > 0").keys() == [keys["evaluate"]]


def test_a_new_file_is_predicted_as_in_the_set(simulated, from_files, tmp_path):
    (catalog, keys), (folder, other, other_keys) = simulated, from_files
    meshes = catalog.open(keys["simulate"])
    place = list(meshes["split"].values).index(1)
    given = {n: float(meshes[n].values[place]) for n in by_role(meshes, PARAMETER)}
    part = folder / "runs" / f"{meshes['sample_name'].values[place]}.vtu"
    predict_file(other, other_keys["train_gp"], part, given, tmp_path / "out.vtu")
    written = read_files(tmp_path / "out.vtu")
    wanted = take(catalog.open(keys["predict"]), [0])
    same_numbers(wanted, written, ["displacement_1_mean", "displacement_1_std", "stress_11_mean"])


def test_su2_with_solutions_gives_the_same_set(simulated, from_files, tmp_path):
    catalog, keys = simulated
    meshes = catalog.open(keys["simulate"]).load()
    fields = by_role(meshes, FIELD)
    (tmp_path / "runs").mkdir()
    for i, name in enumerate(meshes["sample_name"].values):
        write_su2(tmp_path / "runs" / f"{name}.su2", take(meshes, [i]), fields)
    raw = read_files(tmp_path / "runs", ReadOptions(table=write_table(tmp_path / "t.csv", meshes)))
    out = STAGE(IngestConfig(), raw=raw)
    for name in (*fields, *by_role(meshes, PARAMETER), "x", "connectivity", "split", "sample_name"):
        np.testing.assert_array_equal(out[name].values, meshes[name].values, err_msg=name)
        assert out[name].attrs.get("units") == meshes[name].attrs.get("units")


def test_a_damaged_file_is_one_message_and_changes_nothing(from_files, tmp_path, capsys):
    folder = from_files[0]
    (tmp_path / "runs").mkdir()
    for file in (folder / "runs").iterdir():
        (tmp_path / "runs" / file.name).write_bytes(file.read_bytes())
    (tmp_path / "table.csv").write_text((folder / "table.csv").read_text())
    (tmp_path / "files.toml").write_text(CONFIG)
    damaged = tmp_path / "runs" / "case-00003.vtu"
    damaged.write_bytes(damaged.read_bytes()[:2000])
    project = tmp_path / "p"
    command = ["run", "surrogate", "--config", str(tmp_path / "files.toml"), "--project", str(project)]
    assert main([*command, "--workers", "0", "--no-prefect", "--quiet"]) == 1
    error = capsys.readouterr().err
    assert "case-00003.vtu cannot be read as VTK" in error
    assert "Traceback" not in error
    assert len(Catalog(project).list()) == 0


def test_a_folder_that_is_gone(tmp_path: Path):
    (tmp_path / "files.toml").write_text(CONFIG.replace("runs", "nowhere"))
    with pytest.raises(InputError, match=r"nowhere is not a file: expected a mesh"):
        pipeline(load_config(tmp_path / "files.toml"), tmp_path / "p")
