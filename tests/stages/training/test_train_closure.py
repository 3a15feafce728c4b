"""The stage: what it learns and from which part, what it refuses, what its model carries."""

import json
from dataclasses import asdict

import numpy as np
import pytest
import torch
import xarray as xr
from pydantic import ValidationError

from kernels.closures.families import build
from kernels.closures.neural.settings import SETTINGS, StrainSettings
from kernels.closures.training.data import nmse
from kernels.errors import InputError
from stages._closure_training import runs_of
from stages.closure_model import closure_of, load_closures, model_dataset, outside, trained_range, untrained
from stages.flat_weights import state_of
from stages.train_closure import STAGE, UNTRAINED, TrainClosureConfig
from stages.variables import FAILED, TEST, TRAIN, VALIDATION
from tests.stages.closure_sets import moments

SMALL = {"settings": {"width": 6, "depth": 1}, "epochs": 6, "batch": 1024, "steps": 20, "learning_rate": 3e-2}


def config(**given) -> TrainClosureConfig:
    return TrainClosureConfig(**{**SMALL, **given})


def sets(conditions=((-3.0, 1.0),), frames=5, seeds=(0, 1, 2)) -> xr.Dataset:
    """Moments with z_4 = z_2^2 / c: seeds 0 train, 1 validate, 2 test."""
    data = moments(conditions, seeds=seeds[1:], until=2.0, frames=frames, trained=seeds[:1])
    parts = {0: TRAIN, 1: VALIDATION, 2: TEST}
    data["split"].values[:] = [parts[int(s) % 3] for s in data["run_seed"].values]
    return data


def test_it_learns_and_its_model_is_the_closure_that_was_watched():
    data, said = sets(), []
    model = STAGE.reporting_to(lambda *a: said.append(a))(config(batch=72, epochs=12), **{"runs.a": data})
    errors = model["validation_error"].values[0]
    watched = runs_of({"a": data}, VALIDATION, 0.0, 1e3, True)
    assert float(nmse(build("bingham"), watched).mean()) > 4.0 * errors.min()
    assert float(nmse(closure_of(model), watched).mean()) == pytest.approx(errors.min(), rel=1e-9)
    assert said[-1][:2] == (120, 120)
    assert "validation" in said[-1][2]
    assert json.loads(model.attrs["training"])["epochs"] == 12
    assert model.attrs["parameter_count"] == 5 * 6 + 6 + 6 * 3 + 3
    assert model["seed"].values.tolist() == [0]


def test_the_test_part_is_not_read():
    data = sets()
    spoiled = data.copy(deep=True)
    rows = np.flatnonzero(data["split"].values == TEST)
    for name in ("D_xx", "S_xxxx", "E_xy"):
        spoiled[name].values[rows] = np.nan
    first, second = (STAGE(config(epochs=2), **{"runs.a": one}) for one in (data, spoiled))
    np.testing.assert_array_equal(first["weights"].values, second["weights"].values)


def test_runs_of_several_data_sets_are_joined_and_their_range_is_kept():
    one, two = sets(), sets(((-5.0, 2.0), (-1.0, 0.5)), seeds=(3, 4, 5))
    model = STAGE(config(epochs=1), **{"runs.a": one, "runs.b": two})
    assert model.attrs["train_runs"] == 3
    assert model.attrs["validation_runs"] == 3
    assert trained_range(model) == {"alpha": (-5.0, -1.0), "zeta": (0.5, 2.0)}
    asked = outside(model, np.array([-3.0, -5.0, -5.1, -3.0]), np.array([1.0, 2.0, 1.0, 2.1]))
    assert asked.tolist() == [False, False, True, True]
    start = STAGE(config(epochs=1, learning_rate=1e-9), start=model, **{"runs.a": one})
    assert trained_range(start) == trained_range(model)
    np.testing.assert_allclose(start["weights"], model["weights"], atol=1e-6)


def test_runs_that_failed_are_left_out_and_frames_are_thinned_to_the_memory():
    data = sets(((-3.0, 1.0), (-2.0, 1.0)))
    data["D_xx"].values[0] = np.nan
    status = np.zeros(data.sizes["sample"], dtype=np.int8)
    status[0] = FAILED
    data["status"] = ("sample", status)
    kept = runs_of({"a": data}, TRAIN, 0.0, 1e3, True)
    assert kept.numbers["alpha"].tolist() == [-2.0]
    assert kept.names == (str(data["sample_name"].values[3]),)
    mib = 5 * 144 * 56 / 2**20
    assert runs_of({"a": data}, TRAIN, 0.0, 0.5 * mib, True).time.tolist() == [0.0, 1.0, 2.0]
    assert runs_of({"a": data}, TRAIN, 0.9, 1e3, True).time.tolist() == [1.0, 1.5, 2.0]
    with pytest.raises(InputError, match=r"1 runs of 5 frames take 0 MiB, memory_mb is 0.01.*: raise it"):
        runs_of({"a": data}, TRAIN, 0.0, 0.01, False)
    data["status"].values[:] = 0
    with pytest.raises(
        InputError, match=r"run 'a-3_z1_s0' has moments that are not finite and is not marked"
    ):
        runs_of({"a": data}, TRAIN, 0.0, 1e3, True)


@pytest.mark.parametrize(
    ("change", "given", "message"),
    [
        ({}, {"split": ("sample", np.full(3, TEST, np.int8))}, r"none of the runs of \['a'\] is in"),
        ({"begin": 9.0}, {}, r"no frame is at or after begin = 9, the last is at 2: lower it"),
        ({"mode": "aposteriori"}, {}, r"runs have 5 frames, the longest horizon is 16: .*lower `horizons`"),
        (
            {"mode": "aposteriori", "horizons": (1,), "time_step": 0.3}, {},
            r"frames are 0.5 apart and the time step is 0.3: expected a divisor",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_trained_is_refused(change, given, message):
    data = sets().assign(given)
    if "split" in given:
        data["split"].attrs = sets()["split"].attrs
    with pytest.raises(InputError, match=message):
        STAGE(config(**change), **{"runs.a": data})


def test_data_sets_of_other_grids_and_starts_of_other_families_are_refused():
    with pytest.raises(
        InputError, match=r"runs 'b' have 12 points, side 10 and 6 times, runs 'a' 12, 10 and 5"
    ):
        STAGE(config(), **{"runs.a": sets(), "runs.b": sets(frames=6)})
    with pytest.raises(
        InputError, match=r"start is of family 'bingham', the config says 'strain': set family"
    ):
        STAGE(config(), start=untrained("bingham"), **{"runs.a": sets()})


def test_settings_are_checked_with_the_config():
    with pytest.raises(ValidationError, match=r"no closure 'resnet': choose one of .*strain"):
        TrainClosureConfig(family="resnet")
    with pytest.raises(ValidationError, match=r"'local' has no setting \['modes'\]: choose from .*width"):
        TrainClosureConfig(family="local", settings={"modes": 3})
    with pytest.raises(ValidationError, match=r"'bingham' has no setting \['width'\]: choose from none"):
        TrainClosureConfig(family="bingham", settings={"width": 3})
    with pytest.raises(ValidationError, match=r"expected numbers of frames from 1 on that do not fall"):
        TrainClosureConfig(horizons=(4, 2))
    given = TrainClosureConfig(family="strain").settings
    assert StrainSettings(**{**given, "parameters": tuple(given["parameters"])}) == StrainSettings()
    assert given == asdict(StrainSettings())


@pytest.mark.parametrize("family", [*SETTINGS, *UNTRAINED])
def test_a_model_has_all_that_rebuilds_its_closures(family):
    settings = SETTINGS[family](**({"modes": 3} if family == "fno" else {})) if family in SETTINGS else None
    members = [build(family, settings, seed) for seed in (0, 1)]
    model = model_dataset(family, members, {"alpha": (-5.0, -1.0)}, (0, 1))
    again = load_closures(model)
    assert [type(one) for one in again] == [type(one) for one in members]
    for one, other in zip(members, again, strict=True):
        assert getattr(one, "settings", None) == getattr(other, "settings", None)
        for name, values in state_of(one).items():
            assert torch.equal(values, state_of(other)[name]), name
    assert trained_range(model) == {"alpha": (-5.0, -1.0)}


def test_closures_without_weights_are_models_too():
    model = STAGE(TrainClosureConfig(family="bingham"))
    assert model.attrs["mode"] == "none"
    assert type(closure_of(model)) is type(build("bingham"))
    assert not outside(model, -100.0, 100.0)


def test_models_that_were_put_together_by_hand_are_refused():
    model = untrained("local")
    with pytest.raises(InputError, match=r"has no \['family'\]: expected the model of a closure"):
        load_closures(model.drop_attrs().assign_attrs(settings="{}", trained="{}"))
    wrong = model.assign_attrs(settings=json.dumps({"width": 3}))
    with pytest.raises(
        InputError, match=r"weights do not fit the architecture 'local': 'network.weights.0' is"
    ):
        load_closures(wrong)
    with pytest.raises(InputError, match=r"settings of the model are not those of 'local'"):
        load_closures(model.assign_attrs(settings=json.dumps({"modes": 3})))
    with pytest.raises(InputError, match=r"tensors of the model need .* numbers, its weights have"):
        load_closures(model.isel(weight=slice(1, None)))


def test_a_loss_that_is_not_finite_is_an_error_or_keeps_the_weights(monkeypatch):
    from kernels.closures.training.apriori import Apriori

    sound = Apriori.loss
    monkeypatch.setattr(Apriori, "loss", lambda self, e, s: sound(self, e, s) * (float("nan") if e else 1.0))
    with pytest.raises(
        InputError, match=r"loss is not finite in epoch 2, batch 1 \(runs a-3_z1_s0\).*on_nan"
    ):
        STAGE(config(), **{"runs.a": sets()})
    model = STAGE(config(on_nan="keep"), **{"runs.a": sets()})
    assert "epoch 2, batch 1" in model.attrs["stopped"]
    assert model.sizes["epoch"] == 1
    assert np.isfinite(model["weights"]).all()
