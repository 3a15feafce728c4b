import numpy as np
import pytest

from kernels.errors import InputError
from stages.evaluate import STAGE, EvaluateConfig, table
from stages.ragged import take


def evaluate(case, **config):
    return STAGE(
        EvaluateConfig(**config),
        meshes=case.meshes,
        morphed=case.morphed,
        model=case.model,
        predictions=case.predictions,
    )


@pytest.fixture(scope="module")
def case(build_case):
    return build_case()


@pytest.fixture(scope="module")
def metrics(case):
    return evaluate(case)


def score(metrics, quantity, row, metric="rrmse"):
    return float(metrics["score"].sel(quantity=quantity, row=row, metric=metric))


def test_floors_of_fields_in_the_span_are_exact(metrics):
    for quantity in ("u", "p"):
        assert score(metrics, quantity, "POD floor") < 1e-13
        assert score(metrics, quantity, "round trip") < 1e-13
        assert score(metrics, quantity, "POD floor", "q2") == pytest.approx(1.0, abs=1e-13)


def test_linear_baseline_decodes_exactly_what_is_linear(metrics):
    assert score(metrics, "u", "linear") < 1e-12
    assert score(metrics, "peak", "linear") < 1e-13


def test_training_mean_and_model_agree_with_brute_force(case, metrics):
    bounds = np.concatenate([[0], np.cumsum(case.meshes["node_count"].values)])
    start = np.concatenate([[0], np.cumsum(case.predictions["node_count"].values)])
    names = list(case.predictions["sample_name"].values)
    model, mean = [], []
    for i in np.flatnonzero(case.meshes["split"].values == 1):
        own = slice(bounds[i], bounds[i + 1])
        truth, mapped = case.meshes["u"].values[own], case.morphed["mapped_x"].values[own]
        at = names.index(case.meshes["sample_name"].values[i])
        guess = case.predictions["u_mean"].values[start[at] : start[at + 1]]
        train = case.meshes["split"].values == 0
        load, bend = case.meshes["load"].values[train].mean(), case.meshes["bend"].values[train].mean()
        level = load * (1.0 + mapped[:, 0]) + bend * mapped[:, 1]
        model.append(((truth - guess) ** 2).mean() / np.abs(truth).max() ** 2)
        mean.append(((truth - level) ** 2).mean() / np.abs(truth).max() ** 2)
    assert score(metrics, "u", "gp") == pytest.approx(np.sqrt(np.mean(model)), rel=1e-10)
    assert score(metrics, "u", "training mean") == pytest.approx(np.sqrt(np.mean(mean)), rel=1e-10)
    np.testing.assert_allclose(
        metrics["sample_error"].sel(quantity="u", row="gp"), np.sqrt(model), rtol=1e-10
    )


def test_coverage_and_crps_of_honest_noise(metrics):
    np.testing.assert_allclose(metrics["coverage"].sel(quantity="u"), metrics["level"], atol=0.06)
    assert score(metrics, "u", "gp", "crps") == pytest.approx(0.01 / np.sqrt(np.pi), rel=0.1)


def test_zeros_are_counted_apart_and_do_not_hide_the_others(build_case):
    """p is exactly zero in the last part: wide bars there change that class and the plain share alone."""
    case = build_case()
    names = list(case.predictions["sample_name"].values)
    start = np.concatenate([[0], np.cumsum(case.predictions["node_count"].values)])
    at = names.index("part_023")
    zeros = slice(start[at], start[at + 1])
    case.predictions["p_std"].values[zeros] *= 100.0
    case.predictions["p_std"].values[: start[at]] *= 0.5
    case.predictions["p_std"].values[start[at + 1] :] *= 0.5
    out = evaluate(case).sel(quantity="p", level=0.95)
    count, wide = int(case.predictions.sizes["node"]), int(start[at + 1] - start[at])
    np.testing.assert_array_equal(out["values"], [count - wide, wide])
    own = out["coverage_of_class"].values
    assert own[1] == 1.0
    assert own[0] == pytest.approx(0.67, abs=0.08)  # erf(0.5 * 1.96 / sqrt 2)
    assert float(out["coverage"]) == pytest.approx((own[0] * (count - wide) + wide) / count, rel=1e-12)
    np.testing.assert_allclose(out["spread"], [5e3, 1e6], rtol=1e-12)
    line = table(evaluate(case)).set_index(["quantity", "row"]).loc[("p", "gp")]
    assert line["nonzero_95"] == own[0]
    assert line["nonzero"] == (count - wide) / count


def test_a_quantity_without_zeros_has_one_class(metrics):
    u = metrics.sel(quantity="u")
    np.testing.assert_array_equal(u["coverage_of_class"][0], u["coverage"])
    assert np.isnan(u["coverage_of_class"][1]).all()
    assert int(u["values"][1]) == 0
    assert metrics["values"].sel(quantity="moment").values.tolist() == [8, 0]  # of both signs


def test_vanishing_and_crossing_quantities_are_refused_with_reasons(metrics):
    assert int(metrics["excluded"].sel(quantity="p")) == 1
    assert "1 of 8 samples left out" in str(metrics["excluded_reason"].sel(quantity="p").values)
    assert np.isnan(metrics["sample_error"].sel(quantity="p", row="gp").values[-1])
    assert score(metrics, "p", "gp") < 0.02
    assert np.isnan(score(metrics, "moment", "gp"))
    assert 0.0 < score(metrics, "moment", "gp", "nrmse") < 0.05
    assert "crosses zero" in str(metrics["excluded_reason"].sel(quantity="moment").values)
    assert str(metrics["excluded_reason"].sel(quantity="u").values) == ""


def test_table_has_every_row_that_exists(metrics):
    lines = table(metrics)
    assert len(lines) == 2 * 5 + 2 * 3
    first = lines.iloc[0]
    assert (first["quantity"], first["row"], first["units"]) == ("u", "gp", "m")
    assert 0.85 < first["coverage_95"] <= 1.0
    assert lines["coverage_95"].isna().sum() == 12


def test_samples_without_a_prediction_are_named(build_case, case):
    fewer = build_case()
    fewer.predictions = take(fewer.predictions, [0, 1, 2])
    out = evaluate(fewer)
    assert out.sizes["sample"] == 3
    assert "part_016" in out.attrs["not_evaluated"]


def test_samples_without_a_morph_are_named(build_case):
    fewer = build_case()
    fewer.morphed = take(fewer.morphed, list(range(20)))
    out = evaluate(fewer)
    assert out.sizes["sample"] == 4
    assert out.attrs["not_evaluated"] == "part_020; part_021; part_022; part_023"


def test_scalar_scores_by_brute_force(case, metrics):
    test = case.meshes["split"].values == 1
    truth, train = case.meshes["peak"].values[test], case.meshes["peak"].values[~test]
    guess = case.predictions["peak_mean"].values[::-1]  # the predictions are in reverse order
    np.testing.assert_allclose(
        metrics["sample_rmse"].sel(quantity="peak", row="gp"), np.abs(truth - guess), rtol=1e-9
    )
    level = np.sqrt(((truth - train.mean()) ** 2).mean()) / np.ptp(truth)
    assert score(metrics, "peak", "training mean", "nrmse") == pytest.approx(level, rel=1e-10)
    assert float(metrics["largest"].sel(quantity="peak")) == np.abs(truth).max()


def test_chunked_inputs_give_the_same(build_case, case, metrics):
    lazy = build_case()
    lazy.meshes, lazy.morphed = lazy.meshes.chunk(), lazy.morphed.chunk(sample=5)
    np.testing.assert_array_equal(evaluate(lazy)["score"], metrics["score"])


def test_bad_input_is_refused(build_case, case):
    bad = build_case()
    bad.meshes = bad.meshes.drop_vars("split")
    with pytest.raises(InputError, match="the meshes have no split"):
        evaluate(bad)
    bad = build_case()
    bad.predictions = bad.predictions.drop_vars("u_std")
    with pytest.raises(InputError, match=r"lack \['u_std'\]"):
        evaluate(bad)
    bad = build_case()
    bad.predictions["sample_name"] = bad.predictions["sample_name"] + "x"
    with pytest.raises(InputError, match="none of the 8 test samples"):
        evaluate(bad)
