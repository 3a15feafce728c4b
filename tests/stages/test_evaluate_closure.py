"""Scores of closures whose errors were planted: they must be found as planted, and nothing where none is."""

import numpy as np
import pytest
import xarray as xr

from kernels.errors import InputError
from stages.closure_model import untrained
from stages.evaluate_closure import STAGE, EvaluateClosureConfig, summary, table
from tests.stages.closure_sets import closed, dies, forecast, moments

CONFIG = EvaluateClosureConfig(untrained=("quadratic", "natural"), bins=8, leads=(1.0, 4.0))


@pytest.fixture(scope="module")
def truth() -> xr.Dataset:
    return moments()


@pytest.fixture(scope="module")
def metrics(truth) -> xr.Dataset:
    return STAGE(
        CONFIG,
        truth=truth,
        **{
            "long.bingham": closed(truth, 1.1, 1.2),
            "long.learned": closed(truth, 1.02, 0.9),
            "long.same": closed(truth),
            "long.dying": dies(closed(truth, 0.8), 1, 17.0),
            "short.bingham": forecast(truth, (10.0, 15.0), 8.0, 0.1),
            "short.same": forecast(truth, (10.0, 15.0), 8.0),
        },
    )


def score(metrics: xr.Dataset, closure: str, name: str, condition: int = 0) -> float:
    return float(metrics["score"].isel(condition=condition).sel(closure=closure, metric=name))


def test_a_model_that_is_the_truth_has_no_error_and_full_similarity(metrics):
    for name in ("order_bias", "u_rms_bias", "defects_bias", "order_z", "u_rms_z", "w1_order", "w1_speed",
                 "spectrum_rmse", "spectrum_log_error"):  # fmt: skip
        assert score(metrics, "same", name) == 0.0, name
    for name in ("similarity", "similarity_order", "similarity_speed", "similarity_spectrum", "survival",
                 "decorrelation_kept"):  # fmt: skip
        assert score(metrics, "same", name) == 1.0, name
    assert score(metrics, "same", "decorrelation_time") == 8.0
    assert (metrics["vrmse"].sel(closure="same").isel(condition=0) == 0.0).all()


@pytest.mark.parametrize(("closure", "order", "speed"), [("bingham", 0.1, 0.2), ("learned", 0.02, -0.1)])
def test_planted_biases_are_found_as_planted(metrics, closure, order, speed):
    mean, rms = score(metrics, "kinetic", "order"), score(metrics, "kinetic", "u_rms")
    assert score(metrics, closure, "order_bias") == pytest.approx(order, rel=1e-9)
    assert score(metrics, closure, "u_rms_bias") == pytest.approx(speed, rel=1e-9)
    assert score(metrics, closure, "order") == pytest.approx((1.0 + order) * mean, rel=1e-12)
    # all values are scaled alike, so the distance of the distributions is that of their means
    assert score(metrics, closure, "w1_order") == pytest.approx(abs(order) * mean, rel=1e-9)
    assert score(metrics, closure, "spectrum_log_error") == pytest.approx(
        2.0 * abs(np.log10(1.0 + speed)), rel=1e-9
    )
    errors = metrics["score_error"].isel(condition=0)
    combined = np.hypot(*(errors.sel(closure=c, metric="u_rms").item() for c in ("kinetic", closure)))
    assert score(metrics, closure, "u_rms_z") == pytest.approx(speed * rms / combined, rel=1e-9)


def test_similarity_is_relative_to_the_baseline(metrics):
    assert score(metrics, "bingham", "similarity") == 0.0
    assert score(metrics, "learned", "similarity_order") == pytest.approx(1.0 - 0.02 / 0.1, rel=1e-9)
    assert score(metrics, "learned", "similarity_speed") == pytest.approx(1.0 - 0.1 / 0.2, rel=1e-9)
    ratio = (0.9**2 - 1.0) / (1.2**2 - 1.0)
    assert score(metrics, "learned", "similarity_spectrum") == pytest.approx(1.0 - abs(ratio), rel=1e-9)


def test_the_truth_has_its_statistics_and_the_distances_that_chance_makes(metrics, truth):
    late = truth.isel(sample=slice(1, None)).sel(time=slice(10.0, None))
    z2 = 2.0 * late["D_xx"] - late["concentration"] + 2j * late["D_xy"]
    order = np.abs(z2) / late["concentration"]
    assert score(metrics, "kinetic", "order") == pytest.approx(float(order.mean()), rel=1e-12)
    u_rms = float(np.sqrt((late["u_x"] ** 2 + late["u_y"] ** 2).mean()))
    assert score(metrics, "kinetic", "u_rms") == pytest.approx(u_rms, rel=1e-12)
    seeds = order.mean(("time", "x", "y"))
    assert (
        metrics["score_error"].sel(closure="kinetic", metric="order")[0] >= 0.99 * seeds.std(ddof=1) / 3**0.5
    )
    assert score(metrics, "kinetic", "w1_order") > 0.0
    spectrum = metrics["spectrum"].isel(condition=0).sel(closure="kinetic")
    assert 0.0 < float(spectrum.sum()) <= 0.5 * u_rms**2  # the waves that the grid resolves
    for name in ("order", "speed"):
        width = np.diff(metrics[f"{name}_edge"].values[0])
        assert (metrics[f"density_{name}"][0, 0].values * width).sum() == pytest.approx(1.0)


def test_a_run_that_died_counts_in_survival_and_not_in_the_statistics(metrics, truth):
    assert score(metrics, "dying", "survival") == pytest.approx(2.0 / 3.0)
    assert score(metrics, "dying", "survived_until") == 17.0
    assert score(metrics, "dying", "runs_counted") == 2.0
    late = closed(truth, 0.8).sel(time=slice(10.0, None))
    order = np.hypot(2.0 * late["D_xx"] - late["concentration"], 2.0 * late["D_xy"]) / late["concentration"]
    kept, dead = order.isel(sample=[0, 2]), order.isel(sample=1).sel(time=slice(None, 17.0))
    assert score(metrics, "dying", "order") == pytest.approx(float(kept.mean()), rel=1e-12)
    assert score(metrics, "dying", "order_dead") == pytest.approx(float(dead.mean()), rel=1e-12)
    series = metrics["series_order"].sel(closure="dying").isel(sample=1)
    assert np.isfinite(series.sel(time=slice(None, 17.0))).all()
    assert np.isnan(series.sel(time=slice(17.1, None))).all()


def test_what_a_run_says_of_its_death_counts_though_its_fields_are_finite(truth):
    run = closed(truth, 1.1)
    run["survived_until"].values[1] = 17.0
    short = forecast(truth, (10.0,), 6.0).assign(survived_until=("sample", [6.0, 2.0, 6.0]))
    found = STAGE(EvaluateClosureConfig(bins=4), truth=truth, **{"long.bingham": run, "short.bingham": short})
    assert score(found, "bingham", "runs_counted") == 2.0
    assert np.isfinite(found["series_order"].sel(closure="bingham")[1]).sum() == 35  # frames up to 17
    assert score(found, "bingham", "forecast_survival") == pytest.approx(2.0 / 3.0)
    assert score(found, "bingham", "decorrelation_time") == pytest.approx((6.0 + 2.0 + 6.0) / 3.0)


def test_a_closure_of_which_every_run_died_has_no_late_statistics(truth):
    gone = closed(truth)
    for row in range(3):
        gone = dies(gone, row, 4.0)
    found = STAGE(
        EvaluateClosureConfig(bins=4), truth=truth, **{"long.bingham": closed(truth, 1.1), "long.gone": gone}
    )
    assert score(found, "gone", "survival") == 0.0
    assert score(found, "gone", "runs_counted") == 0.0
    for name in ("order", "order_bias", "similarity", "order_dead"):
        assert np.isnan(score(found, "gone", name)), name


def test_a_forecast_that_turns_away_decorrelates_when_its_angle_says(metrics, truth):
    # correlation of the flow with itself turned by an angle into another one of equal size:
    # cos(angle) + sin(angle) k over the root of 1 + 2 sin cos k, k their correlation; here from the fields
    runs = forecast(truth, (10.0, 15.0), 8.0, 0.1)
    k = 2.0 * np.pi / 10.0 * np.fft.fftfreq(12, 1.0 / 12)
    k[6] = 0.0
    spectrum = lambda one: 1j * k[:, None] * np.fft.fft2(one["u_y"]) - 1j * k * np.fft.fft2(one["u_x"])  # noqa: E731
    values = []
    for i in range(6):
        begin = round(float(runs["start"][i]) * 2)
        row = truth["sample_name"].values.tolist().index(str(runs["source"].values[i]))
        own = spectrum(truth.isel(sample=row, time=slice(begin, begin + 17)))
        other = spectrum(runs.isel(sample=i))
        inner = lambda a, b: (a * b.conj()).real.sum(axis=(1, 2))  # noqa: E731
        values.append(inner(own, other) / np.sqrt(inner(own, own) * inner(other, other)))
    mean = np.mean(values, axis=0)
    found = metrics["correlation"].isel(condition=0).sel(closure="bingham")
    np.testing.assert_allclose(found, mean, rtol=1e-9)
    crossing = [np.interp(-0.95, -v[:12], np.arange(12) * 0.5) for v in values]
    assert score(metrics, "bingham", "decorrelation_time") == pytest.approx(np.mean(crossing), rel=1e-9)
    assert score(metrics, "bingham", "decorrelation_kept") == 0.0
    known = metrics["vrmse"].isel(condition=0).sel(closure="bingham")
    assert (known.sel(field="u_x", lead=4.0) > known.sel(field="u_x", lead=1.0)).all()
    assert (known.sel(field="D_xx") == 0.0).all()


def test_a_priori_errors_are_those_of_the_formula(metrics, truth):
    # the truth was made with z_4 = z_2^2 / c; Doi's rule puts |z_2|^2 / c in the place of c beside it
    assert score(metrics, "natural", "apriori_nmse") < 1e-28
    late = truth.isel(sample=slice(1, None)).sel(time=slice(10.0, None)).isel(time=slice(None))
    c = late["concentration"]
    z2 = 2.0 * late["D_xx"] - c + 2j * late["D_xy"]
    t = late["E_xx"] + 1j * late["E_xy"] + z2
    error = t * (np.abs(z2) ** 2 / c - c) / 4.0
    at = np.unique(np.round(np.linspace(0, 40, 40)).astype(int))
    size = lambda one: float((one.isel(time=at) ** 2).mean())  # noqa: E731
    expected = {
        "apriori_nmse_xx": size(error.real) / size(late["ST_xx"]),
        "apriori_nmse_xy": size(error.imag) / size(late["ST_xy"]),
        "apriori_nmse_yy": size(error.real) / size(c * c + (t.conj() * z2).real - late["ST_xx"]),  # zeta = 1
    }
    for name, value in expected.items():
        assert score(metrics, "quadratic", name) == pytest.approx(value, rel=1e-9)
    assert score(metrics, "quadratic", "apriori_nmse") == pytest.approx(np.mean(list(expected.values())))
    # Doi's S:T lies along the director: all that is across is missed
    assert score(metrics, "quadratic", "apriori_across") == pytest.approx(1.0)
    assert score(metrics, "quadratic", "apriori_violations") == 0.0
    error_map = metrics["error_map"].isel(condition=0).sel(closure="quadratic").values
    assert np.isnan(error_map[-1]).all()  # no point is as aligned as that
    assert np.nanmean(error_map[:3]) > 1.5 * np.nanmean(error_map[4:])  # aligned particles are its best case


def test_costs_are_per_unit_of_time(metrics, truth):
    assert score(metrics, "kinetic", "unit_cost") == pytest.approx(60.0 / 30.0)
    assert score(metrics, "learned", "unit_cost") == pytest.approx(0.002 / 0.01)
    assert score(metrics, "learned", "speed_up") == pytest.approx(10.0)
    late = truth.sel(time=slice(6.0, None))  # moments of a run whose beginning was left out
    found = STAGE(EvaluateClosureConfig(bins=4), truth=late, **{"long.bingham": closed(late)})
    assert score(found, "kinetic", "unit_cost") == pytest.approx(60.0 / 30.0)


def test_conditions_stand_beside_each_other_and_signs_do_not_cancel():
    truth = moments(((-3.0, 1.0), (-1.0, 2.0)), (5, 6), frames=31, n=8)
    run = closed(truth, 1.1)
    at = run["zeta"].values == 2.0
    other = closed(truth, 0.9)
    for name in ("D_xx", "D_xy"):
        run[name].values[at] = other[name].values[at]
    found = STAGE(EvaluateClosureConfig(bins=4), truth=truth, **{"long.bingham": run})
    assert found["condition"].values.tolist() == ["alpha=-3, zeta=1", "alpha=-1, zeta=2", "all"]
    assert [score(found, "bingham", "order_bias", c) for c in range(3)] == pytest.approx([0.1, -0.1, 0.1])
    assert score(found, "bingham", "runs_counted", 2) == 4.0
    assert found["sample_condition"].values.tolist() == ["alpha=-3, zeta=1"] * 2 + ["alpha=-1, zeta=2"] * 2


def test_a_condition_whose_kinetic_runs_failed_has_a_reason_and_no_scores():
    truth = moments(((-3.0, 1.0), (-1.0, 2.0)), (5,), frames=31, n=8)
    run = closed(truth, 1.1)
    row = truth["sample_name"].values.tolist().index("a-3_z1_s5")
    for name in ("D_xx", "u_x"):
        truth[name].values[row, 15:] = np.nan
    found = STAGE(EvaluateClosureConfig(bins=4), truth=truth, **{"long.bingham": run})
    assert found["undefined"].values.tolist() == ["no kinetic run reaches t = 30, they end at 14", "", ""]
    assert np.isnan(found["score"][0]).all()
    assert score(found, "bingham", "order_bias", 2) == pytest.approx(0.1)


def test_nearly_constant_fields_are_marked(truth):
    flat = truth.copy(deep=True)
    flat["concentration"].values[:] = 1.0
    found = STAGE(EvaluateClosureConfig(bins=4), truth=flat, **{"short.same": forecast(flat, (10.0,), 2.0)})
    marked = found["nearly_constant"].isel(condition=0)
    assert marked["field"].values[marked.values == 1].tolist() == ["concentration"]


def test_tables_have_a_line_a_condition_and_closure(metrics):
    lines = table(metrics)
    assert len(lines) == 2 * 7
    one = lines[(lines.closure == "learned") & (lines.condition == "all")].iloc[0]
    assert one["order_bias"] == pytest.approx(0.02)
    assert one["vrmse_u_x_4"] != one["vrmse_u_x_4"]
    shown = summary(metrics)
    assert shown["u_rms"][shown.closure == "learned"].item().endswith("(-10.0 %, z -1.6)")
    assert shown["survival %"][shown.closure == "dying"].item() == "67"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: {"long.learned": closed(t)}, r"similarity is relative to 'bingham'.*\['learned'\]"),
        (lambda t: {"long.kinetic": closed(t)}, "'long.kinetic': this is the name of the truth"),
        (lambda t: {"long.bingham": closed(t).isel(sample=[0, 1])}, r"lacks 1 of 3 test samples.*s7"),
        (
            lambda t: {"long.bingham": closed(t).isel(time=slice(0, 20))},
            "frames from t = 0 to 9.5, fewer than two of them between late = 10",
        ),
        (
            lambda t: {"short.a": forecast(t, (10.0,), 2.0).assign(start=("sample", [10.2] * 3))},
            r"'a-3_z1_s5@10': starts at t = 10.2, which is not a frame",
        ),
        (
            lambda t: {"short.a": forecast(moments(n=8), (10.0,), 2.0)},
            "has 8 points along 'x', the truth 12.*at the grid of the coarse model",
        ),
    ],
)
def test_what_cannot_be_compared_is_refused(truth, change, message):
    with pytest.raises(InputError, match=message):
        STAGE(EvaluateClosureConfig(), truth=truth, **change(truth))


def test_a_truth_without_test_samples_or_late_frames_is_refused(truth):
    with pytest.raises(InputError, match="none of the 1 kinetic runs belongs to the test part"):
        STAGE(EvaluateClosureConfig(), truth=truth.isel(sample=[0]))
    with pytest.raises(InputError, match="end at t = 30 and late times run from 40 to 30"):
        STAGE(EvaluateClosureConfig(late=40.0), truth=truth)
    ruined = dies(truth.assign(survived_until=truth["alpha"] * 0.0 + 30.0), 2, 20.0)
    for row in (1, 3):
        ruined = dies(ruined, row, 20.0)
    with pytest.raises(
        InputError, match="alpha=-3, zeta=1: no kinetic run reaches t = 30, they end at 20, 20, 20"
    ):
        STAGE(EvaluateClosureConfig(), truth=ruined)


def test_a_model_as_a_dataset_is_asked_as_the_closure_that_it_holds(truth):
    model = untrained("quadratic")
    found = STAGE(
        EvaluateClosureConfig(bins=4, untrained=("quadratic",)), truth=truth, **{"models.own": model}
    )
    for name in ("apriori_nmse", "apriori_along", "apriori_violations"):
        assert score(found, "own", name) == score(found, "quadratic", name)
    assert score(found, "kinetic", "apriori_violations") == 0.0
