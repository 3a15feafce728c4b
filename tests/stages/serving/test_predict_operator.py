"""Predictions: the same bits in any cut, only the asked parts, honest words where a model cannot serve."""

import numpy as np
import pytest
import torch
import xarray as xr
from pydantic import ValidationError

from kernels.errors import InputError
from stages.operator_data import Samples
from stages.operator_model import Predictor
from stages.predict_operator import STAGE, PredictOperatorConfig, about
from stages.ragged import concat, take
from stages.variables import TEST
from tests.stages.operator_sets import mesh_set

ALL = PredictOperatorConfig(parts=("train", "validation", "calibration", "test"))
TIMED = "inference_seconds"


@pytest.fixture
def case(toys):
    data = toys.grid_set()
    return data, toys.split_of(data), toys.model_of(data, members=3, floor=True)


def same(given: xr.Dataset, wanted: xr.Dataset) -> None:
    xr.testing.assert_identical(given.drop_vars(TIMED), wanted.drop_vars(TIMED))


def test_mean_and_deviation_are_those_of_the_members(case):
    data, split, model = case
    found = STAGE(PredictOperatorConfig(), data=data, model=model, split=split)
    rows = np.flatnonzero(split["split"].values == TEST)
    assert found["sample_name"].values.tolist() == data["sample_name"].values[rows].tolist()
    members = Predictor(model).predict(Samples(data, rows, model).read(range(len(rows)), outputs=False))
    np.testing.assert_allclose(found["u_mean"], members[:, :, 0].mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(found["u_std"], np.sqrt(members[:, :, 0].var(axis=0) + 0.02**2), rtol=1e-5)
    assert found["u_mean"].attrs["units"] == "K"
    assert (found[TIMED].values > 0.0).all()
    assert found.attrs["members"] == 3
    assert found.attrs["epoch_seconds"] == 0.5
    assert found.attrs["validation_error"] == pytest.approx(model["validation_error"].values.min(1).mean())
    np.testing.assert_array_equal(found["interval_factor"], model["interval_factor"])
    assert "u_interpolated" not in found


@pytest.mark.parametrize("kind", ["grid", "zero_shot", "mesh"])
def test_any_cut_gives_the_same_bits_and_inputs_stay_as_they_were(toys, kind):
    data = mesh_set(7) if kind == "mesh" else toys.grid_set()
    model = toys.model_of(data, members=2)
    if kind == "zero_shot":
        data = toys.grid_set(points=12)
    split = toys.split_of(data)
    inputs = {"data": data, "model": model, "split": split}
    before = {name: value.copy(deep=True) for name, value in inputs.items()}
    whole = STAGE(PredictOperatorConfig(), **inputs)
    for name, value in inputs.items():
        xr.testing.assert_identical(value, before[name])
    count = data.sizes["sample"]
    for cuts in ([1, 2, 3], [count // 2]):  # the first part has no sample of the test part
        parts = np.split(np.arange(count), cuts)
        pieces = [STAGE(PredictOperatorConfig(), **{**inputs, "data": take(data, p)}) for p in parts]
        assert len(cuts) == 1 or pieces[0].sizes["sample"] == 0
        same(concat(pieces), whole)
    lazy = {name: value.chunk() for name, value in inputs.items()}
    same(STAGE(PredictOperatorConfig(), **lazy).compute(), whole)


def test_without_a_split_all_samples_are_predicted(case):
    data, split, model = case
    every = STAGE(PredictOperatorConfig(), data=data, model=model)
    same(STAGE(ALL, data=data, model=model, split=split), every)
    assert every.sizes["sample"] == 10
    test = STAGE(PredictOperatorConfig(), data=data, model=model, split=split)
    rows = np.flatnonzero(split["split"].values == TEST)
    np.testing.assert_array_equal(every["u_mean"].values[rows], test["u_mean"].values)


def test_the_validation_error_is_that_of_the_weights_that_were_kept(toys):
    model = toys.model_of(toys.grid_set(), members=2)
    model["validation_error"][:] = [[0.5, 0.1, 0.3] + [np.nan] * 5, [0.5, 0.4, 0.2, 0.7] + [np.nan] * 4]
    assert about(model)["validation_error"] == pytest.approx(0.5)
    best = model.assign_attrs(training='{"keep": "best"}')
    assert about(best)["validation_error"] == pytest.approx(0.15)
    assert about(model)["train_seconds"] == pytest.approx(4.0)


def test_a_model_is_built_once_for_all_parts_and_again_where_its_weights_differ(case, monkeypatch):
    data, _, model = case
    built = []

    def counted(given: xr.Dataset) -> Predictor:
        built.append(given)
        return Predictor(given)

    monkeypatch.setattr("stages.operator_model.Predictor", counted)
    monkeypatch.setattr("stages.predict_operator._last", [])
    found = [STAGE(PredictOperatorConfig(), data=data.isel(sample=[i]), model=model.copy()) for i in (0, 1)]
    assert len(built) == 1
    model["weights"] = model["weights"] * 1.5
    again = STAGE(PredictOperatorConfig(), data=data.isel(sample=[0]), model=model)
    assert len(built) == 2
    assert np.abs(again["u_mean"] - found[0]["u_mean"]).max() > 1e-3


def test_one_member_without_a_floor_claims_no_deviation(toys):
    data = toys.grid_set()
    assert "u_std" not in STAGE(PredictOperatorConfig(), data=data, model=toys.model_of(data))


def test_new_cases_need_no_outputs_and_channels_come_in_any_order(case):
    data, _, model = case
    wanted = STAGE(PredictOperatorConfig(), data=data, model=model)
    same(STAGE(PredictOperatorConfig(), data=data.drop_vars("u"), model=model), wanted)
    extra = data[["sample_name", "u"]].assign(z=data["a"] * 2.0, a=data["a"])
    extra["z"].attrs = {"role": "input", "units": "m"}
    same(STAGE(PredictOperatorConfig(), data=extra, model=model).drop_vars("z", errors="ignore"), wanted)


def test_at_another_grid_the_interpolated_prediction_stands_beside(toys):
    coarse, fine = toys.grid_set(points=16), toys.grid_set(points=32)
    found = STAGE(PredictOperatorConfig(), data=fine, model=toys.model_of(coarse, "fno"))
    assert found.attrs["new_grid"] == 1
    assert not found["interpolated"].values.any()
    own = STAGE(PredictOperatorConfig(), data=coarse, model=toys.model_of(coarse, "fno"))
    # the network works in single precision, and its rounding follows the layout of what it is given
    np.testing.assert_allclose(found["u_interpolated"][:, ::2, ::2], own["u_mean"], rtol=1e-6)
    assert np.abs(found["u_mean"] - found["u_interpolated"]).max() > 1e-3


def test_interpolation_crosses_the_ends_of_a_periodic_grid(toys):
    errors = []
    for points in (16, 32):
        coarse, fine = toys.grid_set(points=points, modes=1), toys.grid_set(points=2 * points, modes=1)
        model = toys.model_of(coarse, "linear")
        config = PredictOperatorConfig(unserved="interpolate")
        found = STAGE(config, data=fine, model=model)
        np.testing.assert_array_equal(found["u_mean"], found["u_interpolated"])
        assert found["interpolated"].values.all()
        ratio = float(model["output_scale"][0] / model["input_scale"][0])
        a = (fine["a"] - float(model["input_mean"][0])) * ratio + float(model["output_mean"][0])
        error = np.abs(found["u_mean"] - a).max("sample").values
        middle = slice(4, -4)
        assert error[-1, middle].max() < 2.0 * error[middle, middle].max()
        errors.append(float(error.max()))
    assert errors[1] < errors[0] / 12.0  # fourth order up to the last point


def test_a_grid_that_the_model_cannot_serve_is_refused_with_the_sample(toys):
    model = toys.model_of(toys.grid_set(), "linear")
    with pytest.raises(InputError, match=r"sample 'case_0': .*\(8, 8\), got \(12, 12\).*unserved = \"inter"):
        STAGE(PredictOperatorConfig(), data=toys.grid_set(points=12), model=model)


def test_what_a_model_cannot_serve_is_left_out_with_the_reason(toys):
    model, fine = toys.model_of(toys.grid_set(), "linear"), toys.grid_set(points=12)
    found = STAGE(PredictOperatorConfig(unserved="leave_out"), data=fine, model=model)
    assert np.isnan(found["u_mean"].values).all()
    assert np.isfinite(found["u_interpolated"].values).all()
    assert not found["interpolated"].values.any()
    assert set(found["unserved"].values) == {"the model has the grid (8, 8), got (12, 12)"}
    own = STAGE(PredictOperatorConfig(unserved="leave_out"), data=toys.grid_set(), model=model)
    assert set(own["unserved"].values) == {""}
    assert np.isfinite(own["u_mean"].values).all()


def test_a_mesh_that_a_model_cannot_serve_is_left_out(toys):
    meshes = mesh_set()
    model = toys.model_of(meshes)

    def forward(self, batch):
        raise InputError("a mesh that is not mine")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(toys.OnMesh, "forward", forward)
        found = STAGE(PredictOperatorConfig(unserved="leave_out"), data=meshes, model=model)
        with pytest.raises(InputError, match=r'a mesh that is not mine; or set unserved = "leave_out"'):
            STAGE(PredictOperatorConfig(unserved="interpolate"), data=meshes, model=model)
    outputs = [name for name in found if str(name).endswith("_mean")]
    assert outputs
    assert all(np.isnan(found[name].values).all() for name in outputs)
    assert set(found["unserved"].values) == {"a mesh that is not mine"}


def _renamed(data: xr.Dataset) -> xr.Dataset:
    return data.rename(a="b")


def _in_millimetres(data: xr.Dataset) -> xr.Dataset:
    return data.assign(a=data["a"].assign_attrs(units="mm"))


def _one_axis(data: xr.Dataset) -> xr.Dataset:
    return data.isel(y=0, drop=True)


def _not_finite(data: xr.Dataset) -> xr.Dataset:
    return data.assign(a=data["a"].where(data["sample_name"] != "case_3"))


@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        (_renamed, r"lacks the inputs \['a'\] of the model, which takes \['a'\]"),
        (_in_millimetres, r"'a' has the units 'mm', the model was trained with 'm' \(inputs\)"),
        (_one_axis, r"'a' has the axes \('x',\).*dimension 2 cannot serve dimension 1"),
        (_not_finite, r"'a' of sample case_3 has values that are not finite"),
    ],
)
def test_data_that_are_not_the_models_are_refused(case, spoil, text):
    data, _, model = case
    spoilt = spoil(data)
    for name in ("a", "b"):
        if name in spoilt and "role" not in spoilt[name].attrs:
            spoilt[name].attrs = data["a"].attrs
    with pytest.raises(InputError, match=text):
        STAGE(PredictOperatorConfig(), data=spoilt, model=model)


def test_a_mesh_for_a_model_of_grids_and_an_unknown_sample_are_refused(case):
    data, split, model = case
    with pytest.raises(InputError, match="the data set is on a mesh, the model was trained on a grid"):
        STAGE(PredictOperatorConfig(), data=mesh_set(), model=model)
    with pytest.raises(InputError, match=r"split does not know the samples \['case_9'\] \(1 of 10\)"):
        STAGE(PredictOperatorConfig(), data=data, model=model, split=split.isel(sample=slice(0, 9)))


def test_unknown_options_are_refused_and_the_threads_are_given_back(case):
    data, _, model = case
    with pytest.raises(ValidationError, match="no_such_option"):
        PredictOperatorConfig(no_such_option=1)
    before = torch.get_num_threads()
    STAGE(PredictOperatorConfig(threads=before + 1), data=data.isel(sample=[0]), model=model)
    assert torch.get_num_threads() == before
