"""Own arrays through the operator pipeline: grids and moving meshes reach the report, bad input does not."""

import numpy as np
import pytest
from operator_arrays import GRID, MESH, ON_GRIDS, ON_MESHES, fields, wings, write_grids

from kernels.errors import InputError
from pipelines.catalog_access import open_catalog
from pipelines.config import load_config
from pipelines.diagram import planned_keys
from pipelines.operator_config import OperatorConfig
from pipelines.pipeline import run_pipeline
from pipelines.settings import settings


def load(folder, text):
    (folder / "own.toml").write_text(text)
    return load_config(folder / "own.toml", OperatorConfig)


def done(folder, text):
    where = settings(project=folder / "project", workers=0, quiet=True)
    outcome = run_pipeline(load(folder, text), where, prefect=False)
    return outcome, open_catalog(where)


def test_arrays_on_grids_of_two_resolutions_reach_the_report(tmp_path):
    write_grids(tmp_path)
    outcome, catalog = done(tmp_path, GRID + ON_GRIDS)
    try:
        split = catalog.open(outcome.keys["split"])
        wanted = {"train": 24, "test": 6, "validation": 4, "calibration": 6, "left_out": 0}
        assert split.attrs["samples"] == wanted
        data = catalog.open(outcome.keys["ingest_arrays"])
        assert data["load"].dims == data["lift"].dims == ("sample", "s", "r")
        with np.load(tmp_path / "train.npz") as held:
            np.testing.assert_array_equal(data["lift"].values[:34], np.moveaxis(held["y"], 2, 1))
        assert (data["lift"].attrs["units"], data["r"].attrs["units"]) == ("m", "m")
        for name in ("evaluate_operator", "evaluate_operator.fine"):
            scores = catalog.open(outcome.keys[name])
            assert {"net", "linear", "kernel_ridge"} <= set(scores["candidate"].values)
            chosen = scores["score"].sel(candidate="linear", metric="relative_l2", quantity="lift")
            assert float(chosen) < (1e-6 if name == "evaluate_operator" else 0.3)
        assert catalog.open(outcome.keys["evaluate_operator"]).attrs["chosen"] == "linear"
    finally:
        catalog.close()
    assert "11 × 9" in outcome.report.read_text()


def test_meshes_that_move_reach_the_report(tmp_path):
    np.savez(tmp_path / "wings.npz", **wings())
    outcome, catalog = done(tmp_path, MESH + ON_MESHES)
    try:
        predicted = catalog.open(outcome.keys["predict_operator.net.0"])
        clamped = np.tile(wings()["clamped"], predicted.sizes["sample"])
        assert np.abs(predicted["lift_mean"].values[clamped]).max() <= 1e-12
        assert np.abs(predicted["lift_mean"].values[~clamped]).min() > 0.0
        scores = catalog.open(outcome.keys["evaluate_operator"])["score"].sel(metric="relative_l2")
        assert float(scores.sel(candidate="kernel_ridge", quantity="lift")) < 0.2
    finally:
        catalog.close()
    assert outcome.report.read_text().startswith("<!DOCTYPE html>")


class Pickled:
    """Anything that numpy can only store as an object."""


def _rewritten(folder, name: str, **changes) -> None:
    with np.load(folder / name) as held:
        kept = {key: held[key] for key in held.files}
    np.savez(folder / name, **(kept | changes))


def _overlap(folder) -> None:
    held = fields(34, 5, 5)
    _rewritten(folder, "test.npz", x=held["x"][10:16].astype(np.float32))


def _damaged(folder) -> None:
    data = (folder / "train.npz").read_bytes()
    (folder / "train.npz").write_bytes(data[: len(data) // 2])


def _gap(folder) -> None:
    held = fields(6, 5, 4)["y"]
    held[3, 0, 0] = np.nan
    _rewritten(folder, "test.npz", y=held)


@pytest.mark.parametrize(
    ("change", "old", "new", "message", "finished"),
    [
        (None, 'path = "test.npz"', 'path = "tset.npz"', r"tset\.npz is not a file", set()),
        (None, 'path = "test.npz"', 'path = "own.toml"', r"own\.toml has the extension '\.toml'", set()),
        (_damaged, "", "", r"train\.npz: it cannot be read .* the file is damaged", set()),
        (
            None, 'array = "y"', 'array = "v"',
            r"train\.npz has no array 'v' for variable 'lift'; it holds x, y: correct `array`", set(),
        ),
        (
            None, '["sample", "r", "s"]', '["sample", "s", "r"]',
            r"train\.npz: axis 's' has 7 points in 'load' and 5 in 'lift'", set(),
        ),
        (None, '["sample", "r", "s"]', '["sample", "r"]', r"'y' has shape \(34, 5, 7\), the axes of", set()),
        (None, '["sample", "r", "s"]', '["t", "r", "s"]', 'one of them "sample": correct', set()),
        (None, "s = { start = 0.0", "z = { start = 0.0", "axis 's' has no positions and the file no", set()),
        (
            lambda folder: _rewritten(folder, "train.npz", y=np.array([Pickled()], dtype=object)), "", "",
            r"train\.npz: array 'y' holds Python objects, which are never loaded", set(),
        ),
        (
            lambda folder: _rewritten(folder, "test.npz", **fields(6, 6, 4)), "", "",
            r"data set differ: axis 's' has 7 points in .*train\.npz and is with 8 points", set(),
        ),
        (
            _gap, "", "", "1 of 40 samples have values that are not finite: 'lift' of sample test_00003",
            {"arrays"},
        ),
        (
            _overlap, "", "",
            r"the parts overlap, 6 pairs .*: (train_00010 \(.*\) = test_00000 \(test\)|test_00000)",
            {"arrays", "ingest_arrays"},
        ),
        (
            None, "batch = 8", "batch = 30", "24 .*30",
            {"arrays", "ingest_arrays", "split", "normalise"},
        ),
    ],
)  # fmt: skip
def test_bad_input_is_refused_and_nothing_is_half_published(tmp_path, change, old, new, message, finished):
    write_grids(tmp_path)
    if change is not None:
        change(tmp_path)
    text = GRID + ON_GRIDS
    assert old in text
    where = settings(project=tmp_path / "project", workers=0, quiet=True)
    with pytest.raises(InputError, match=message) as refused:
        run_pipeline(load(tmp_path, text.replace(old, new, 1)), where, prefect=False)
    assert len(str(refused.value).splitlines()) == 1
    catalog = open_catalog(where)
    try:
        assert {one.stage for one in catalog.search()} == finished
    finally:
        catalog.close()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('role = "field"', 'role = "output"', r"arrays.variables.lift.role.*'output'.*'field'"),
        ('array = "y"', 'aray = "y"', r"unknown field 'arrays\.variables\.lift\.aray'; did you mean 'array'"),
        (
            'path = "test.npz", split',
            'path = "test.npz", spilt',
            r"unknown field 'arrays.files.1.spilt'; did you mean 'split'",
        ),
        ("[arrays.axes]", "[arrays.axis]", r"unknown field 'arrays\.axis'; did you mean 'axes'"),
    ],
)
def test_what_the_section_arrays_may_not_say(tmp_path, old, new, message):
    write_grids(tmp_path)
    with pytest.raises(InputError, match=message):
        planned_keys(load(tmp_path, (GRID + ON_GRIDS).replace(old, new, 1)))


def test_a_candidate_whose_training_is_refused_is_named(tmp_path):
    write_grids(tmp_path)
    text = (GRID + ON_GRIDS).replace("levels = 2 }", "levels = 9 }")
    where = settings(project=tmp_path / "project", workers=0, quiet=True)
    with pytest.raises(InputError, match=r"^step 'train_operator\.net\.0': .*levels"):
        run_pipeline(load(tmp_path, text), where, prefect=False)
