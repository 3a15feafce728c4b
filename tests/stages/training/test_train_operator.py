"""The stage: what it learns, what it refuses, and what it leaves in the process."""

import json
import logging
import os
import signal
from dataclasses import asdict

import numpy as np
import pytest
import torch
import xarray as xr
from pydantic import ValidationError

from kernels.errors import InputError
from kernels.operators.settings import FnoSettings
from kernels.operators.training import checkpoints
from stages.operator_data import Samples
from stages.operator_model import Predictor, load_operators, state_of
from stages.train_operator import STAGE, TrainOperatorConfig, storage_blocks

SMALL = {"model": "fno", "settings": {"modes": 3, "width": 8}, "batch": 4, "threads": 1, "accelerator": "cpu"}


def config(**given) -> TrainOperatorConfig:
    return TrainOperatorConfig(**{**SMALL, "epochs": 2, **given})


def inputs(toys, data=None, **given) -> dict[str, xr.Dataset]:
    data = toys.problem() if data is None else data
    return {"data": data, "split": toys.split(data), "scales": toys.scales(data), **given}


def test_a_short_training_learns_and_its_model_predicts_what_was_watched(toys):
    given = inputs(toys)
    said = []
    model = STAGE.reporting_to(lambda *a: said.append(a))(config(epochs=30, learning_rate=1e-2), **given)
    errors = model["validation_error"].values[0]
    assert errors[-1] < 0.1 < errors[0]
    assert said[-1][:2] == (150, 150)
    assert "loss" in said[-1][2]
    rows = np.arange(18, 24)
    predicted = Predictor(model).predict(Samples(given["data"], rows, model).read(range(6)))[0, :, 0]
    u = given["data"]["u"].values[rows].astype(np.float64)
    norms = [np.linalg.norm((v).reshape(6, -1), axis=1) for v in (predicted - u, u)]
    assert np.mean(norms[0] / norms[1]) == pytest.approx(errors[-1], rel=1e-4)
    assert json.loads(model.attrs["training"])["epochs"] == 30
    assert model["seed"].values.tolist() == [0]


def test_the_process_is_left_as_it_was(toys, tmp_path, monkeypatch, capfd, caplog):
    monkeypatch.chdir(tmp_path)

    def shown():
        handlers = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)]
        random = torch.get_rng_state().tolist(), np.random.get_state()[1].tolist()
        return handlers, random, torch.get_num_threads(), dict(os.environ), torch.is_grad_enabled()

    before = shown()
    with caplog.at_level(logging.INFO):
        STAGE(config(), **inputs(toys))
    assert shown() == before
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")


def test_ctrl_c_stays_one(toys):
    handler = signal.getsignal(signal.SIGINT)

    def interrupt(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        STAGE.reporting_to(interrupt)(config(), **inputs(toys))
    assert signal.getsignal(signal.SIGINT) == handler


def test_weights_follow_from_the_seed_and_not_from_how_the_data_lie(toys):
    given = inputs(toys)
    first, again, other = (STAGE(config(seed=s), **given) for s in (1, 1, 2))
    assert np.array_equal(first["weights"], again["weights"])
    assert not np.array_equal(first["weights"], other["weights"])
    chunked = {**given, "data": given["data"].chunk(sample=5)}
    assert np.array_equal(first["weights"], STAGE(config(seed=1), **chunked)["weights"])
    streamed = STAGE(config(seed=1, memory_mb=0.005), **chunked)
    assert not np.array_equal(first["weights"], streamed["weights"])
    assert abs(streamed["validation_error"] - first["validation_error"]).max() < 0.1


def test_blocks_are_the_files_of_the_largest_variable(toys):
    data = toys.problem().chunk(sample=5)
    rows = np.array([0, 3, 4, 5, 11, 12, 13, 14, 20])
    found = storage_blocks(Samples(data, rows), 3)
    assert [block.tolist() for block in found] == [[0, 1, 2], [3], [4, 5, 6], [7], [8]]


@pytest.mark.parametrize("change", [{"keep": "best"}, {"patience": 1, "learning_rate": 0.5, "clip": None}])
def test_best_weights_and_early_stop(toys, change):
    model = STAGE(config(epochs=12, schedule="constant", **{"learning_rate": 0.05, **change}), **inputs(toys))
    errors = model["validation_error"].values[0]
    if "patience" in change:
        assert len(errors) < 12
        assert errors[-1] >= errors[:-1].min()
        assert model.attrs["stopped"] == "early"
    else:
        data = inputs(toys)["data"]
        given = Predictor(model).predict(Samples(data, np.arange(18, 24), model).read(range(6)))[0, :, 0]
        u = data["u"].values[18:].astype(np.float64)
        error = np.sqrt(((given - u) ** 2).sum((1, 2)) / (u**2).sum((1, 2))).mean()
        assert error == pytest.approx(errors.min(), rel=1e-4)


def test_a_loss_that_is_not_finite_names_the_batch_and_keeps_the_weights(toys, tmp_path):
    given = inputs(toys)
    scales = given["scales"].copy()
    scales["input_scale"] = scales["input_scale"] * 1e-39  # inputs overflow in float32
    match = r"loss is not finite in epoch 1, batch 1 \(samples case_\d+, case_.*learning rate .*lower"
    with pytest.raises(InputError, match=match + r".*weights from before it are in .*last_good_weights.pt"):
        STAGE.resuming_in(tmp_path)(config(), **{**given, "scales": scales})
    kept = checkpoints.load(tmp_path, checkpoints.LAST_GOOD)
    assert all(torch.isfinite(values).all() for values in kept.values())
    model = STAGE(config(on_nan="keep"), **{**given, "scales": scales})
    assert "loss is not finite in epoch 1, batch 1" in model.attrs["stopped"]
    for name, values in state_of(load_operators(model)[0]).items():
        assert torch.equal(values, kept[name])


def test_a_gpu_that_is_not_there_is_said(toys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(
        InputError, match=r"accelerator is 'gpu', and torch .* sees none on this machine: set"
    ):
        STAGE(config(accelerator="gpu"), **inputs(toys))


def test_a_fitted_family_is_fitted(toys):
    given = inputs(toys)
    model = STAGE(TrainOperatorConfig(model="mean"), **given)
    (operator,) = load_operators(model)
    u = given["data"]["u"].values[:18].astype(np.float64)
    np.testing.assert_allclose(operator.field[0].numpy(), ((u - u.mean()) / u.std()).mean(0), atol=0.05)
    assert np.isfinite(model["validation_error"]).all()
    assert model.attrs["parameter_count"] == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch": 19}, r"18 training samples and batches of 19: .* lower `batch`"),
        ({"symmetries": ("flip_t",)}, r"no symmetry 'flip_t' on a grid with axes \['x', 'y'\]"),
        ({"symmetries": ("translate_x",)}, r"'translate_x' needs a periodic grid, this one is dirichlet"),
        ({"equation": {"coefficient": "b"}}, r"equation names 'b', expected one of \['a'\]"),
        ({"equation": {"coefficient": "a", "radius": 4.0}}, r"radius 4.0 .*\(8, 8\); expected at least 10"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_it_is(toys, change, message):
    with pytest.raises(InputError, match=message):
        STAGE(config(**change), **inputs(toys))


def test_parts_and_scales_of_other_data_are_refused(toys):
    data = toys.problem()
    with pytest.raises(InputError, match=r"no sample belongs to the validation part"):
        STAGE(config(), **inputs(toys, split=toys.split(data, validation=0)))
    scales = toys.scales(data).assign_coords(output_channel=["v"])
    with pytest.raises(InputError, match=r"scales are of the outputs \['v'\], the data set has \['u'\]"):
        STAGE(config(), **inputs(toys, scales=scales))


def test_settings_are_checked_with_the_config():
    with pytest.raises(ValidationError, match=r"no operator 'resnet': choose one of .*mgno"):
        TrainOperatorConfig(model="resnet")
    with pytest.raises(ValidationError, match=r"'fno' has no setting \['depth'\]: choose from .*modes"):
        TrainOperatorConfig(model="fno", settings={"depth": 3})
    with pytest.raises(ValidationError, match=r"width\s+Input should be a valid integer"):
        TrainOperatorConfig(model="fno", settings={"width": "wide"})
    assert TrainOperatorConfig(model="fno").settings == asdict(FnoSettings())
