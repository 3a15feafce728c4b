"""Estimates from data sets of moments: runs of the coarse model itself, whose parameters are known."""

import numpy as np
import pytest
import torch
import xarray as xr
from pydantic import ValidationError

from kernels.closures.coarse import Coarse
from kernels.closures.families import build
from kernels.closures.physics import Physics
from kernels.errors import InputError
from stages.base import variable
from stages.closure_fields import Fields, variables_of
from stages.infer_parameters import STAGE, InferParametersConfig
from stages.ragged import concat, take
from stages.variables import FAILED, OK, TEST, TRAIN

N, L, STEP, EVERY, FRAMES = 12, 5.0, 0.1, 2, 9
ALPHA, ZETA = (-3.0, -1.5), (1.0, 2.0)


@pytest.fixture(scope="module")
def runs():
    """Two runs of the coarse model with the Bingham closure."""
    torch.set_num_threads(1)
    chance = torch.Generator().manual_seed(3)
    coarse = Coarse(build("bingham"), N, L, STEP, "etdrk2", 3)
    kept = coarse.grid.kept
    z2 = 0.3 * torch.randn(2, N, N, dtype=torch.complex128, generator=chance)
    real, imag = (coarse.grid.backward(coarse.grid.forward(p) * kept) for p in (z2.real, z2.imag))
    numbers = {"alpha": ALPHA, "zeta": ZETA}
    columns = {k: torch.tensor(v, dtype=torch.float64)[:, None, None] for k, v in numbers.items()}
    physics = Physics(**columns, length=L)
    with torch.no_grad():
        c = torch.ones(2, N, N, dtype=torch.float64)
        c, z2 = (f[:, -1] for f in coarse(c, torch.complex(real, imag), physics, 40, 40))
        c, z2 = coarse(c, z2, physics, FRAMES * EVERY, EVERY)
        known = [coarse.look(c[:, k], z2[:, k], physics) for k in range(FRAMES)]
    parts = [np.stack([np.asarray(f) for f in column], axis=1) for column in zip(*(
        (k.c, k.z2, k.z4, k.flow.strain, k.flow.u, k.flow.v) for k in known), strict=True)]  # fmt: skip
    given = {k: np.array(v)[:, None, None, None] for k, v in numbers.items()}
    fields = variables_of(Fields(*parts), Physics(**given, length=L))
    data = {name: variable(name, values) for name, values in fields.items()}
    data |= {"sample_name": variable("sample_name", ["one", "two"])}
    data |= {k: variable(k, v) for k, v in numbers.items()}
    constants = {"beta": 0.8, "rotary": 0.05, "translational": 0.05}
    data |= {k: variable(k, [v, v]) for k, v in constants.items()}
    axis = np.arange(N) * L / N
    coords = {"time": STEP * EVERY * np.arange(FRAMES), "x": axis, "y": axis}
    return xr.Dataset(data, coords, {"length": L})


def config(**given):
    return InferParametersConfig(**{"time_step": STEP, "window": 0.4, "windows": 3, "blocks": 3, **given})


@pytest.fixture(scope="module")
def noisy(runs):
    return STAGE(config(noise=0.05), observations=runs)


def test_estimates_and_intervals_of_noisy_runs(noisy):
    truth = np.stack([ALPHA, ZETA], axis=1)
    assert list(noisy["estimated"].values) == ["alpha", "zeta"]
    assert noisy["status"].values.tolist() == [OK, OK]
    error = np.abs(noisy["estimate"].values - truth)
    assert (error < 3.5 * noisy["deviation"].values).all()
    assert (error < 0.1 * np.abs(truth)).all()
    assert ((noisy["interval_low"] < noisy["estimate"]) & (noisy["estimate"] < noisy["interval_high"])).all()
    spread = np.sqrt(np.stack([np.diag(one) for one in noisy["covariance"].values]))
    np.testing.assert_allclose(spread, noisy["deviation"].values, rtol=1e-12)
    assert ((noisy["reduced_square"] > 0.7) & (noisy["reduced_square"] < 1.4)).all()
    assert noisy["window_count"].values.tolist() == [3, 3]
    assert noisy["outside"].values.tolist() == [0, 0]
    np.testing.assert_array_equal(noisy["alpha"].values, ALPHA)  # what studies compare with


def test_noise_belongs_to_the_name_of_a_run_so_any_cut_gives_the_same(runs, noisy):
    parts = [STAGE(config(noise=0.05), observations=take(runs, [i])) for i in (0, 1)]
    for name, values in concat(parts).variables.items():
        np.testing.assert_array_equal(values.values, noisy[name].values, err_msg=str(name))


def test_known_numbers_may_come_from_the_config(runs):
    bare = take(runs, [0]).drop_vars(["alpha", "zeta", "rotary", "concentration"])
    given = {"estimate": ("zeta",), "known": {"alpha": -3.0, "rotary": 0.05}, "windows": 2}
    found = STAGE(config(**given), observations=bare)
    np.testing.assert_allclose(found["estimate"].values, [[1.0]], rtol=1e-4)
    lost = STAGE(config(estimate=("zeta",), windows=2), observations=bare)
    assert lost["status"].values.tolist() == [FAILED]
    assert "the numbers ['alpha', 'rotary'] are neither estimated nor known" in str(lost["reason"].values[0])


def spoiled(runs, how):
    runs = take(runs, [0]).copy(deep=True)
    if how == "nan":
        runs["D_xy"][0, 2, 1, 1] = np.nan
    elif how == "short":
        runs = runs.isel(time=slice(0, 5))
    elif how == "uneven":
        runs = runs.isel(time=[0, 1, 2, 3, 5, 6])
    else:
        runs["D_xx"][:], runs["D_xy"][:] = 0.97, 0.0
    return runs


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("nan", "the observed D is not finite"),
        ("short", "has 5 frames, expected at least 6, two windows of 3 frames"),
        ("uneven", "expected rising times at equal intervals"),
        ("homogeneous", "do not tell the combination"),
    ],
)
def test_a_run_that_cannot_be_used_says_why(runs, how, message):
    found = STAGE(config(noise_level=0.05), observations=spoiled(runs, how))
    assert found["status"].values.tolist() == [FAILED]
    assert message in str(found["reason"].values[0])
    assert np.isnan(found["estimate"].values).all()


def known(estimates, truths):
    """A calibration: estimates (runs, 2) of runs of these parameters."""
    count = len(estimates)
    data = {"estimate": variable("estimate", estimates), "status": variable("status", [OK] * count)}
    data |= {name: variable(name, np.array(truths)[:, i]) for i, name in enumerate(("alpha", "zeta"))}
    return xr.Dataset(data, {"estimated": ["alpha", "zeta"]})


def test_a_calibration_divides_the_mean_error_out_and_widens_intervals(runs, noisy):
    truths = np.array([(-2.0, 1.0), (-3.0, 2.0), (-4.0, 1.0), (-1.0, 3.0), (-2.0, 2.0)])
    wrong = np.array([1.08, 1.1, 1.12, 1.09, 1.11])[:, None] * np.array([1.0, 0.8])
    found = STAGE(config(noise=0.05), observations=take(runs, [0]), calibration=known(truths * wrong, truths))
    mean, spread = np.log(wrong).mean(0), np.log(wrong).std(0, ddof=1) * np.sqrt(1.2)
    before = noisy.isel(sample=[0])
    np.testing.assert_allclose(found["estimate"].values, before["estimate"].values / np.exp(mean), rtol=1e-12)
    own = before["deviation"].values / np.exp(mean)
    expected = np.sqrt(own**2 + (spread * found["estimate"].values) ** 2)
    np.testing.assert_allclose(found["deviation"].values, expected, rtol=1e-12)
    half = found["interval_high"].values - found["estimate"].values
    assert (half >= 2.77 * expected).all()  # Student's t of four degrees of freedom
    assert found.attrs["calibrated"] == 5


def test_too_few_calibrations_change_nothing_and_say_so(runs, noisy):
    few = known(np.array([(-2.2, 1.1)] * 3), np.array([(-2.0, 1.0)] * 3))
    turned = known(np.array([(2.2, 1.1)] * 5), np.array([(-2.0, 1.0)] * 5))
    for calibration in (few, turned):
        found = STAGE(config(noise=0.05), observations=take(runs, [0]), calibration=calibration)
        np.testing.assert_array_equal(found["estimate"].values[0], noisy["estimate"].values[0])
        np.testing.assert_array_equal(found["interval_low"].values[0], noisy["interval_low"].values[0])
        assert found.attrs["calibrated"] == 0


def test_calibrations_of_other_parameters_are_refused(runs):
    five = known(np.array([(-2.0, 1.0)] * 5), np.array([(-2.0, 1.0)] * 5))
    with pytest.raises(InputError, match=r"lacks the truth of \['alpha'\]"):
        STAGE(
            config(noise_level=0.05), observations=spoiled(runs, "nan"), calibration=five.drop_vars("alpha")
        )


def test_runs_of_other_parts_are_left_out(runs, noisy):
    parts = runs.assign(split=variable("split", [TEST, TRAIN]))
    found = STAGE(config(noise=0.05, parts=("test",)), observations=parts)
    assert found["sample_name"].values.tolist() == ["one"]
    np.testing.assert_array_equal(found["estimate"].values, noisy["estimate"].values[:1])
    none = STAGE(config(noise=0.05, parts=("validation",)), observations=parts)
    assert none.sizes == {**found.sizes, "sample": 0}
    assert {n: v.dtype for n, v in none.items()} == {n: v.dtype for n, v in found.items()}


def test_missing_fields_are_refused_by_name(runs):
    with pytest.raises(InputError, match=r"the observations have no \['u_x', 'u_y'\]"):
        STAGE(config(observed=("D", "u")), observations=runs.drop_vars(["u_x", "u_y"]))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"estimate": ("alpha", "alpha")}, "expected at least one name, each once"),
        ({"observed": ("u",)}, "expected D among them"),
        ({"known": {"gamma": 1.0}}, r"known has \['gamma'\]"),
    ],
)
def test_wrong_configs_are_named(given, message):
    with pytest.raises(ValidationError, match=message):
        InferParametersConfig(**given)


def test_a_model_is_used_and_estimates_outside_its_training_are_flagged(runs):
    from stages.closure_model import model_dataset

    closure = build("local")
    with torch.no_grad():
        for one in closure.parameters():
            one.zero_()  # then it is the Bingham closure, but where this coarse grid leaves |z2| > c
    models = [
        model_dataset("local", [closure], {"alpha": (-4.0, -2.0), "zeta": z}) for z in ((0.5, 2), (2, 5))
    ]
    small = {"windows": 2, "estimate": ("zeta",)}
    found = [STAGE(config(**small), observations=take(runs, [0]), model=model) for model in models]
    np.testing.assert_allclose(found[0]["estimate"].values, [[1.0]], rtol=0.1)
    assert [int(one["outside"][0]) for one in found] == [0, 1]
