import json

import numpy as np
import pytest
import xarray as xr
from pydantic import ValidationError

from kernels.errors import InputError
from kernels.metrics.conformal import pointwise_factor, simultaneous_factor
from kernels.operators.families import build
from kernels.operators.settings import DeepOnetSettings, MeanSettings
from stages.base import validate, variable
from stages.ensemble import STAGE, EnsembleConfig
from stages.normalise import STAGE as NORMALISE
from stages.normalise import NormaliseConfig
from stages.operator_data import Samples, signature
from stages.operator_model import Predictor, model_dataset
from stages.parts import rows_of
from stages.predict_operator import STAGE as PREDICT
from stages.variables import CALIBRATION, TEST, TRAIN

CONFIG = EnsembleConfig()


def noisy(samples: int = 60, points: int = 6, seed: int = 0) -> xr.Dataset:
    """u = 10 + noise of a size that differs from sample to sample, v of another unit, whatever a is."""
    random = np.random.default_rng(seed)
    shape = (samples, points)
    size = random.uniform(0.5, 2.0, (samples, 1))
    u = 10.0 + size * random.normal(size=shape)
    return xr.Dataset(
        {
            "sample_name": variable("sample_name", np.array([f"case_{i:04d}" for i in range(samples)])),
            "a": (("sample", "x"), random.normal(size=shape), {"role": "input", "units": "1"}),
            "u": (("sample", "x"), u, {"role": "field", "units": "K"}),
            "v": (("sample", "x"), 100.0 * u**2, {"role": "field", "units": "Pa"}),
        },
        coords={"x": np.linspace(0.0, 1.0, points)},
    )


def parts(data: xr.Dataset, train: int, calibration: int) -> xr.Dataset:
    values = np.full(data.sizes["sample"], TEST, dtype=np.int8)
    values[:train], values[train : train + calibration] = TRAIN, CALIBRATION
    return xr.Dataset({"sample_name": data["sample_name"].variable, "split": variable("split", values)})


def member(data, split, seed=0, epochs=3, width=4, scales=None):
    settings = DeepOnetSettings(width=width, depth=1, products=3, features=1)
    operator = build("deeponet", signature(data), settings, seed)
    scales = NORMALISE(NormaliseConfig(), data=data, split=split) if scales is None else scales
    names = ("train_loss", "validation_error", "epoch_seconds")
    history = {name: np.full((1, epochs), float(seed)) for name in names}
    return model_dataset([operator], settings, scales, data, [seed], history)


@pytest.fixture(scope="module")
def made():
    data = noisy()
    split = parts(data, 20, 30)
    return data, split, [member(data, split, seed, 3 + seed) for seed in range(3)]


def test_members_are_joined_in_the_order_of_their_seeds(made):
    data, split, (one, two, three) = made
    model = STAGE(CONFIG, data=data, split=split, **{"members.b": three, "members.a": one, "members.c": two})
    assert model["seed"].values.tolist() == [0, 1, 2]
    np.testing.assert_array_equal(model["weights"].values[1], two["weights"].values[0])
    assert model["train_loss"].shape == (3, 5)
    assert np.isnan(model["train_loss"].values[0, 3:]).all()
    rows = rows_of(data, split, TEST)
    batch = Samples(data, rows, model).read(range(4))
    joint = Predictor(model).predict(batch)
    for i, single in enumerate((one, two, three)):
        np.testing.assert_array_equal(joint[i], Predictor(single).predict(batch)[0])
    # histories that end at different epochs are no reason to refuse the model
    validate(PREDICT.inputs["model"], model, "the model")
    again = STAGE(CONFIG, data=data, split=split, **{"members.x": model})
    xr.testing.assert_identical(again, model)


def test_factors_are_those_of_the_calibration_part(made):
    data, split, models = made
    model = STAGE(CONFIG, data=data, split=split, **{f"members.{i}": m for i, m in enumerate(models)})
    rows = rows_of(data, split, CALIBRATION)
    values = Predictor(model).predict(Samples(data, rows, model).read(range(len(rows))))
    for channel, name in enumerate(("u", "v")):
        error = data[name].values[rows] - values.mean(axis=0)[:, channel]
        variance = values.var(axis=0)[:, channel]
        floor = model["spread_floor"].values[channel]
        assert np.mean(variance) + floor**2 == pytest.approx(np.mean(error**2))
        ratio = np.abs(error) / np.sqrt(variance + floor**2)
        for i, level in enumerate((0.5, 0.8, 0.9, 0.95)):
            found = (model[f"{k}_factor"].values[i, channel] for k in ("interval", "simultaneous"))
            expected = (
                pointwise_factor(list(ratio), level, "seen"),
                simultaneous_factor(ratio.max(axis=1), level),
            )
            assert tuple(found) == pytest.approx(expected)


def test_nine_of_ten_points_of_new_samples_are_inside():
    data = noisy(1500, seed=5)
    split = parts(data, 50, 450)
    scales = NORMALISE(NormaliseConfig(), data=data, split=split)
    operator = build("mean", signature(data), MeanSettings())
    operator.fit(Samples(data, rows_of(data, split, TRAIN), scales).read(range(50)), None)
    single = model_dataset([operator], MeanSettings(), scales, data)
    model = STAGE(CONFIG, data=data, split=split, **{"members.0": single})
    rows = rows_of(data, split, TEST)
    mean = Predictor(model).predict(Samples(data, rows, model).read(range(len(rows))))[0]
    for channel, name in enumerate(("u", "v")):
        error = np.abs(data[name].values[rows] - mean[:, channel]) / model["spread_floor"].values[channel]
        inside = [(error <= model["interval_factor"].values[i, channel]).mean() for i in range(4)]
        whole = [
            (error.max(axis=1) <= model["simultaneous_factor"].values[i, channel]).mean() for i in range(4)
        ]
        np.testing.assert_allclose(inside, [0.5, 0.8, 0.9, 0.95], atol=0.03)
        np.testing.assert_allclose(whole, [0.5, 0.8, 0.9, 0.95], atol=0.05)


def test_the_test_part_is_not_looked_at(made):
    data, split, models = made
    changed = data.copy(deep=True)
    changed["u"][rows_of(data, split, TEST, TRAIN)] = np.nan
    kept = {"members.0": models[0]}
    one, two = (STAGE(CONFIG, data=each, split=split, **kept) for each in (data, changed))
    xr.testing.assert_identical(one, two)


def test_a_level_without_enough_samples_is_left_out_and_named(made):
    data, _, models = made
    few, one = parts(data, 20, 10), {"members.0": models[0]}
    model = STAGE(EnsembleConfig(bound="possible"), data=data, split=few, **one)
    assert model["interval_level"].values.tolist() == [0.5, 0.8, 0.9]
    assert model.attrs["levels_left_out"] == "0.95 needs 19 samples"
    assert model.attrs["calibration_samples"] == 10
    with pytest.raises(InputError, match="10 calibration samples, expected at least 19 for a level"):
        STAGE(EnsembleConfig(bound="possible", levels=(0.95,)), data=data, split=few, **one)
    with pytest.raises(InputError, match="4 calibration samples, expected at least 5 for a level"):
        STAGE(CONFIG, data=data, split=parts(data, 20, 4), **one)
    with pytest.raises(InputError, match="no sample belongs to the calibration part"):
        STAGE(CONFIG, data=data, split=parts(data, 20, 0), **one)
    seen = STAGE(CONFIG, data=data, split=few, **one)
    assert np.isfinite(seen["interval_factor"].values).all()
    assert np.isinf(seen["simultaneous_factor"].values).all(axis=1).tolist() == [False, False, False, True]
    assert seen.attrs["levels_not_simultaneous"] == "0.95 needs 19 samples"


def test_members_that_do_not_belong_together_are_refused(made):
    data, split, (one, two, _) = made

    def refuse(other, match):
        with pytest.raises(InputError, match=match):
            STAGE(CONFIG, data=data, split=split, **{"members.a": one, "members.b": other})

    refuse(one, r"share the seeds \[0\]")
    refuse(member(data, split, 1, width=5), "its settings has width = 5, not 4; its tensor_shape differs")
    refuse(two.assign_attrs(family="fno"), "its family is fno, not deeponet")
    refuse(
        two.assign(output_mean=two["output_mean"] + 1.0), "'members.b' cannot join .* its output_mean diff"
    )
    refuse(two.assign(grid_x=two["grid_x"] + 1.0), "its grid_x differs")
    moved = json.dumps({**json.loads(two.attrs["signature"]), "boundary": "periodic"})
    refuse(two.assign_attrs(signature=moved), "its signature has boundary = periodic, not dirichlet")


def test_members_whose_predictions_are_not_finite_are_named_with_the_samples(made):
    data, split, (one, two, three) = made
    broken = one.copy(deep=True)
    broken["weights"] *= 1e30
    with pytest.raises(
        InputError,
        match=r"not finite for the calibration part: 'members.c' \(seed 0\) for 30 of 30 samples, such as "
        "case_0020; expected numbers: their training went wrong, train them with a smaller",
    ):
        STAGE(CONFIG, data=data, split=split, **{"members.a": three, "members.b": two, "members.c": broken})


def test_levels_rise():
    with pytest.raises(ValidationError, match="expected rising ones"):
        EnsembleConfig(levels=(0.9, 0.5))
