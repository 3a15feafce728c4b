"""Complex weights, the last good weights, checkpoints of other runs, full disks, budgets of time."""

import math

import numpy as np
import pytest
import torch

from kernels.errors import InputError
from kernels.operators import families
from kernels.operators.settings import FnoSettings
from kernels.operators.training import checkpoints, loop
from stages.operator_data import Samples
from stages.operator_model import Predictor, load_operators, state_of
from stages.train_operator import STAGE, TrainOperatorConfig

SMALL = {"model": "fno", "settings": {"modes": 3, "width": 8}, "batch": 4, "threads": 1, "accelerator": "cpu"}


def config(**given) -> TrainOperatorConfig:
    return TrainOperatorConfig(**{**SMALL, "epochs": 2, **given})


def inputs(toys):
    data = toys.problem()
    return {"data": data, "split": toys.split(data), "scales": toys.scales(data)}


@pytest.mark.parametrize(("precision", "kind"), [("32-true", "complex64"), ("64-true", "complex128")])
def test_complex_weights_of_the_library_stay_complex_and_are_trained(precision, kind):
    import operator_toys

    given = inputs(operator_toys)
    first, last = (
        STAGE(config(settings={"modes": 4, "width": 4, "layers": 1}, epochs=n, precision=precision), **given)
        for n in (1, 4)
    )
    assert kind in last["tensor_dtype"].values
    one, other = (state_of(load_operators(model)[0]) for model in (first, last))
    name = next(name for name, values in one.items() if values.is_complex())
    assert float((other[name].imag - one[name].imag).abs().max()) > 1e-5
    errors = last["validation_error"].values[0]
    rows = np.arange(18, 24)
    predicted = Predictor(last).predict(Samples(given["data"], rows, last).read(range(6)))[0, :, 0]
    u = given["data"]["u"].values[rows].astype(np.float64)
    norms = [np.linalg.norm(v.reshape(6, -1), axis=1) for v in (predicted - u, u)]
    assert np.mean(norms[0] / norms[1]) == pytest.approx(errors[-1], rel=1e-4)


def poison(monkeypatch, toys, step: int, what: str) -> None:
    """From this training step on, counted over the run, weights are ruined or gradients are not finite."""
    passes, real = iter(range(10**9)), toys.TinyConv.forward

    def ruined(self, batch):
        values = real(self, batch)
        if self.training and next(passes) == step:
            if what == "weights":
                with torch.no_grad():
                    self.first.weight.fill_(math.nan)
                return real(self, batch)
            values.register_hook(lambda gradient: gradient * math.nan)
        return values

    monkeypatch.setattr(toys.TinyConv, "forward", ruined)


def test_a_gradient_that_is_not_finite_does_not_reach_the_weights(toys, monkeypatch):
    poison(monkeypatch, toys, 7, "gradient")
    with pytest.raises(InputError, match=r"the gradient is not finite in epoch 2, batch 3 \(samples case_"):
        STAGE(config(), **inputs(toys))
    poison(monkeypatch, toys, 7, "gradient")
    model = STAGE(config(on_nan="keep", clip=None), **inputs(toys))
    assert np.isfinite(model["weights"].values).all()
    assert model.sizes["epoch"] == 1
    assert "set `clip`" in model.attrs["stopped"]


def test_ruined_weights_give_way_to_those_of_the_last_good_epoch(toys, monkeypatch):
    wanted = STAGE(config(epochs=4, schedule="constant", keep="last"), **inputs(toys))
    poison(monkeypatch, toys, 7, "weights")
    found = STAGE(config(epochs=4, schedule="constant", on_nan="keep"), **inputs(toys))
    assert np.isfinite(found["weights"].values).all()
    assert found["validation_error"].values[0].tolist() == wanted["validation_error"].values[0, :1].tolist()
    predicted = Predictor(found).predict(
        Samples(inputs(toys)["data"], np.arange(18, 24), found).read(range(6))
    )
    assert np.isfinite(predicted).all()


def test_weights_that_are_ruined_in_the_first_epoch_give_way_to_those_of_the_start(toys, monkeypatch):
    signature = Samples(inputs(toys)["data"], np.arange(3)).signature
    start = state_of(families.build("fno", signature, FnoSettings(**SMALL["settings"]), 0))
    poison(monkeypatch, toys, 2, "weights")
    found = STAGE(config(on_nan="keep"), **inputs(toys))
    assert "epoch 1, batch 3" in found.attrs["stopped"]
    kept = state_of(load_operators(found)[0])
    assert kept.keys() == start.keys()
    assert all(torch.equal(kept[name], start[name]) for name in start)


def interrupted(toys, folder, **change) -> None:
    """Leave a checkpoint of the second epoch."""

    def stop(done, total, text=""):
        if done == 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        STAGE.resuming_in(folder).reporting_to(stop)(config(checkpoint_seconds=0.0, **change), **inputs(toys))


def resumed(toys, folder, monkeypatch, **change):
    seen, real = [], loop.train

    def train(*args):
        seen.append(real(*args))
        return seen[-1]

    monkeypatch.setattr(loop, "train", train)
    model = STAGE.resuming_in(folder)(config(checkpoint_seconds=0.0, **change), **inputs(toys))
    monkeypatch.setattr(loop, "train", real)
    return seen[0].resumed, model


def test_a_checkpoint_serves_its_own_key_alone(toys, tmp_path, monkeypatch):
    wanted = STAGE(config(epochs=3), **inputs(toys))
    key, other = tmp_path / "key", tmp_path / "other"
    interrupted(toys, key, epochs=3)
    other.mkdir()
    (other / checkpoints.NAME).write_bytes((key / checkpoints.NAME).read_bytes())
    assert resumed(toys, other, monkeypatch, epochs=3)[0] is None
    assert resumed(toys, key, monkeypatch, epochs=3, learning_rate=1e-2)[0] is None
    interrupted(toys, key, epochs=3)
    at, found = resumed(toys, key, monkeypatch, epochs=3)
    assert at == (1, 2)
    assert np.array_equal(found["weights"], wanted["weights"])
    assert np.array_equal(found["train_loss"], wanted["train_loss"])


def test_a_damaged_checkpoint_is_left_aside(toys, tmp_path, monkeypatch):
    interrupted(toys, tmp_path)
    file = tmp_path / checkpoints.NAME
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0xFF
    file.write_bytes(content)
    at, found = resumed(toys, tmp_path, monkeypatch)
    assert at is None
    assert np.array_equal(found["weights"], STAGE(config(), **inputs(toys))["weights"])


def test_a_full_disk_is_said_and_keeps_the_checkpoint_before(toys, tmp_path, monkeypatch):
    real, calls = torch.save, iter(range(100))

    def full(state, stream):
        if next(calls) == 2:
            raise OSError(28, "No space left on device")
        real(state, stream)

    monkeypatch.setattr(checkpoints.torch, "save", full)
    with pytest.raises(InputError, match=r"checkpoint .*checkpoint.pt cannot be written .*No space.* free"):
        STAGE.resuming_in(tmp_path)(config(checkpoint_seconds=0.0), **inputs(toys))
    assert [file.name for file in tmp_path.iterdir()] == [checkpoints.NAME]
    assert checkpoints.load(tmp_path)["state"]["step"] == 2


def test_a_budget_of_time_ends_training_with_a_history(toys):
    model = STAGE(config(epochs=10**6, max_minutes=1.5 / 60.0), **inputs(toys))
    assert model.attrs["stopped"] == "early"
    assert np.isfinite(model["train_loss"].values).all()
    assert 1 <= model.sizes["epoch"] < 10**5


def test_nothing_is_unpickled(toys, tmp_path, monkeypatch):
    interrupted(toys, tmp_path)
    real, asked = torch.load, []

    def load(*args, **options):
        asked.append(options.get("weights_only"))
        return real(*args, **options)

    monkeypatch.setattr(checkpoints.torch, "load", load)
    resumed(toys, tmp_path, monkeypatch)
    assert asked == [True]
