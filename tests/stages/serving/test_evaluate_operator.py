"""Scores of operators: by hand, over seeds, chosen by validation, and refused where they would mislead."""

import numpy as np
import pytest
import xarray as xr

from kernels.errors import InputError
from pipelines.scalars import scalars
from stages.evaluate_operator import STAGE, EvaluateOperatorConfig, summary, table
from stages.predict_operator import STAGE as PREDICT
from stages.predict_operator import PredictOperatorConfig
from stages.variables import TEST
from tests.stages.operator_sets import mesh_set

CONFIG = EvaluateOperatorConfig()


def predictions(data: xr.Dataset, split: xr.Dataset, gain: float, validation: float, **attrs) -> xr.Dataset:
    """The truth times `gain`, of the test part, in the reverse order."""
    rows = np.flatnonzero(split["split"].values == TEST)[::-1]
    count = rows.size
    found = data[["sample_name"]].isel(sample=rows)
    found["u_mean"] = (data["u"] * gain).isel(sample=rows)
    found["u_mean"].attrs = dict(data["u"].attrs)
    found["inference_seconds"] = ("sample", np.arange(1.0, count + 1.0), {"units": "s"})
    found["interpolated"] = ("sample", np.zeros(count, np.int8), {"units": "1"})
    attrs = {"family": "fno", "members": 1, "parameter_count": 10, "epoch_seconds": 2.0, **attrs}
    return found.assign_attrs(validation_error=validation, **attrs)


@pytest.fixture
def case(toys):
    data = toys.grid_set()
    split = toys.split_of(data)
    return data, split


def test_what_a_model_cannot_serve_is_not_scored_and_said(case):
    data, split = case
    given = {
        "predictions.net.0": predictions(data, split, 1.1, 0.30),
        "predictions.bound.0": predictions(data, split, np.nan, 0.1),
    }
    reasons = np.array(["", "other cells", *[""] * (given["predictions.net.0"].sizes["sample"] - 2)], object)
    given["predictions.bound.0"]["unserved"] = ("sample", reasons, {"units": "1"})
    found = STAGE(CONFIG, data=data, split=split, **given)
    assert found["candidate"].values.tolist() == ["net"]
    assert found.attrs["chosen"] == "net"
    assert found.attrs["unserved"] == {"bound": "1 of 5 samples, other cells"}
    with pytest.raises(InputError, match=r"no model can serve the test samples \(bound: 1 of 5 samples"):
        STAGE(CONFIG, data=data, split=split, **{"predictions.bound.0": given["predictions.bound.0"]})


def test_means_over_samples_then_seeds_and_the_choice_by_validation(case):
    data, split = case
    given = {
        "predictions.a.b.0": predictions(data, split, 1.1, 0.30),
        "predictions.a.b.1": predictions(data, split, 1.3, 0.20),
        "predictions.plain.0": predictions(data, split, 1.01, 0.26),  # best on test, not on validation
    }
    found = STAGE(CONFIG, data=data, split=split, **given)
    assert found["candidate"].values.tolist() == ["a.b", "plain"]
    l2 = found["score"].sel(quantity="u", metric="relative_l2").values
    np.testing.assert_allclose(l2, [0.2, 0.01], rtol=1e-9)
    spread = found["seed_deviation"].sel(quantity="u", metric="relative_l2").values
    np.testing.assert_allclose(spread, [0.2 / np.sqrt(2.0), np.nan], rtol=1e-9)
    assert found.attrs["chosen"] == "a.b"
    np.testing.assert_allclose(found["validation"], [0.25, 0.26])
    np.testing.assert_allclose(
        found["sample_score"].sel(run="a.b.1", quantity="u", metric="max_error"), 0.3, rtol=1e-9
    )
    assert found["undefined"].sel(quantity="u", metric="boundary_error") == "a periodic grid has no boundary"
    assert found["sample_time"].values.tolist() == [3.0, 3.0]
    lines = table(found)
    assert lines["chosen"].tolist() == [1, 0]
    short = summary(found)
    assert short["candidate"].tolist() == ["a.b *", "plain"]
    assert short["L2 %"].tolist() == ["20 +- 14", "1"]
    assert short["s/epoch"].tolist() == ["2", "2"]
    assert short["in 90 % interval"].tolist() == ["-", "-"]
    metrics = scalars(found)
    assert metrics["relative_l2.plain.u"] == pytest.approx(0.01)
    assert metrics["relative_l2_sd.a.b.u"] == pytest.approx(0.2 / np.sqrt(2.0))


def test_samples_are_matched_by_name_and_lazy_inputs_give_the_same(toys, case):
    data, split = case
    model = toys.model_of(data, members=2, floor=True)
    inputs = {
        "data": data, "split": split,
        "predictions.net.ensemble": PREDICT(PredictOperatorConfig(), data=data, model=model, split=split),
        "predictions.off.0": predictions(data, split, 1.5, 0.1),
    }  # fmt: skip
    before = {name: value.copy(deep=True) for name, value in inputs.items()}
    whole = STAGE(CONFIG, **inputs)
    for name, value in inputs.items():
        xr.testing.assert_identical(value, before[name])
    mixed = inputs["predictions.net.ensemble"].isel(sample=[3, 1, 4, 0, 2])
    xr.testing.assert_identical(STAGE(CONFIG, **{**inputs, "predictions.net.ensemble": mixed}), whole)
    xr.testing.assert_identical(STAGE(CONFIG, **{k: v.chunk() for k, v in inputs.items()}).compute(), whole)
    assert whole["way"].values.tolist() == ["ensemble", "prediction"]
    rows = np.flatnonzero(split["split"].values == TEST)
    truth, net = data["u"].values[rows], inputs["predictions.net.ensemble"]
    wanted = np.linalg.norm((net["u_mean"].values - truth).reshape(5, -1), axis=1)
    np.testing.assert_allclose(
        whole["sample_score"].sel(run="net.ensemble", quantity="u", metric="relative_l2"),
        wanted / np.linalg.norm(truth.reshape(5, -1), axis=1), rtol=1e-10,
    )  # fmt: skip
    inside = np.abs(net["u_mean"] - truth) <= 1.8 * net["u_std"]
    np.testing.assert_allclose(
        whole["coverage"].sel(quantity="u", candidate="net ensemble", level=0.9), inside.mean()
    )
    np.testing.assert_allclose(
        whole["interval_width"].sel(quantity="u", candidate="net ensemble", level=0.5),
        1.4 * net["u_std"].mean(), rtol=1e-12,
    )  # fmt: skip
    assert np.isnan(whole["coverage"].sel(candidate="off")).all()
    both = whole["simultaneous_coverage"].sel(quantity="u", candidate="net ensemble").values
    wanted = (np.abs(net["u_mean"] - truth) <= 40.0 * net["u_std"]).all(("x", "y")).mean()
    np.testing.assert_allclose(both, [wanted, np.nan])
    wide = whole["simultaneous_width"].sel(quantity="u", candidate="net ensemble", level=0.5)
    np.testing.assert_allclose(wide, 80.0 * net["u_std"].mean(), rtol=1e-12)


def test_a_new_resolution_has_a_row_of_the_interpolated_prediction(toys):
    coarse, fine = toys.grid_set(points=8), toys.grid_set(points=16)
    split, model = toys.split_of(fine), toys.model_of(coarse)
    given = PREDICT(PredictOperatorConfig(), data=fine, model=model, split=split)
    found = STAGE(CONFIG, data=fine, split=split, **{"predictions.net.0": given, "predictions.net.1": given})
    assert found["candidate"].values.tolist() == ["net", "net interpolated"]
    assert found.attrs["new_grid"] == 1
    assert found.attrs["points"] == "16 x 16"
    l2 = found["score"].sel(metric="relative_l2", quantity="u").values
    assert l2[0] != l2[1]
    assert np.isnan(found["sample_time"].values[1])
    assert found["seeds"].values.tolist() == [2, 2]


def test_on_meshes_spectral_scores_are_undefined_with_the_reason(toys):
    data = mesh_set(6)
    split = toys.split_of(data)
    given = PREDICT(PredictOperatorConfig(), data=data, model=toys.model_of(data), split=split)
    found = STAGE(CONFIG, data=data, split=split, **{"predictions.net.0": given})
    one = found.sel(quantity="u", candidate="net")
    assert np.isnan(one["score"].sel(metric="spectral_low"))
    assert str(one["undefined"].sel(metric="spectral_low").values) == "a mesh has no wavenumbers"
    assert np.isfinite(one["score"].sel(metric=["relative_l2", "relative_h1", "boundary_error"])).all()


def _one_less(given: xr.Dataset) -> xr.Dataset:
    return given.isel(sample=slice(1, None))


def _nan(given: xr.Dataset) -> xr.Dataset:
    return given.assign(u_mean=given["u_mean"].where(given["sample_name"] != "case_5"))


def _shifted(given: xr.Dataset) -> xr.Dataset:
    return given.assign_coords(x=given["x"] + 0.01)


def _coarser(given: xr.Dataset) -> xr.Dataset:
    return given.isel(x=slice(None, None, 2))


@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        (_one_less, r"'predictions.net.0' lacks 1 of 5 test samples, such as \['case_9'\]"),
        (_nan, r"'predictions.net.0': the prediction \(mean\) of sample 'case_5' is not finite"),
        (
            _shifted,
            r"'predictions.net.0' has 8 points along 'x', the data set 8, or they are at other places",
        ),
        (_coarser, r"'predictions.net.0' has 4 points along 'x', the data set 8"),
    ],
)
def test_predictions_that_cannot_be_compared_are_refused(case, spoil, text):
    data, split = case
    with pytest.raises(InputError, match=text):
        STAGE(
            CONFIG, data=data, split=split,
            **{"predictions.net.0": spoil(predictions(data, split, 1.1, 0.1))},
        )  # fmt: skip


def test_labels_and_test_samples_are_asked_for(case):
    data, split = case
    given = predictions(data, split, 1.1, 0.1)
    with pytest.raises(InputError, match=r"'predictions.net' is not named predictions.<candidate>.<seed>"):
        STAGE(CONFIG, data=data, split=split, **{"predictions.net": given})
    with pytest.raises(InputError, match="the split has 0 test samples"):
        STAGE(CONFIG, data=data, split=split.assign(split=split["split"] * 0), **{"predictions.net.0": given})
    with pytest.raises(InputError, match=r"the data set lacks \['case_9'\]"):
        STAGE(CONFIG, data=data.isel(sample=slice(9)), split=split, **{"predictions.net.0": given})


def test_without_validation_errors_nothing_is_chosen(case):
    data, split = case
    given = predictions(data, split, 1.1, 0.1)
    del given.attrs["validation_error"]
    assert STAGE(CONFIG, data=data, split=split, **{"predictions.net.0": given}).attrs["chosen"] == ""
