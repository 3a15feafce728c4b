"""Several devices: processes that share every batch give what one device gives, and end together."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from kernels.errors import InputError
from kernels.operators.training import checkpoints, processes
from stages.normalise import STAGE as NORMALISE
from stages.normalise import NormaliseConfig
from stages.split import STAGE as SPLIT
from stages.split import SplitConfig
from stages.train_operator import STAGE, TrainOperatorConfig
from tests.stages.operator_sets import mesh_set

SMALL = {"model": "fno", "settings": {"modes": 3, "width": 8}, "batch": 4, "threads": 1, "accelerator": "cpu"}
FNO = {"modes": 4, "width": 4, "layers": 1}


def config(**given) -> TrainOperatorConfig:
    return TrainOperatorConfig(**{**SMALL, "epochs": 2, "precision": "64-true", **given})


def inputs(toys):
    data = toys.problem(dtype="float64")
    return {"data": data, "split": toys.split(data), "scales": toys.scales(data)}


def alike(one, other, tolerance: float = 1e-9) -> None:
    for name in ("weights", "train_loss", "validation_error"):
        np.testing.assert_allclose(other[name].values, one[name].values, rtol=tolerance, atol=tolerance)
    assert one["tensor_name"].values.tolist() == other["tensor_name"].values.tolist()


def test_two_devices_train_as_one_in_a_thread_and_report(toys, capfd):
    given = inputs(toys)
    change = {"symmetries": ("flip_x",), "resolutions": (1, 2), "keep": "best", "loss": "l2_h1"}
    wanted = STAGE(config(**change), **given)
    said, found = [], []
    environment, threads = dict(os.environ), torch.get_num_threads()

    def run() -> None:
        stage = STAGE.reporting_to(lambda *a: said.append(a))
        found.append(stage(config(devices=2, **change), **given))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    alike(wanted, found[0])  # batches of 3 and of 4 samples, which do not divide alike
    assert [one[:2] for one in said] == [(i, 10) for i in range(1, 11)]
    assert "loss" in said[-1][2]
    assert (dict(os.environ), torch.get_num_threads()) == (environment, threads)
    assert multiprocessing.active_children() == []
    assert capfd.readouterr() == ("", "")


def test_complex_weights_are_trained_as_on_one_device():
    import operator_toys

    given = inputs(operator_toys)
    one, two = (STAGE(config(settings=FNO, devices=n, epochs=1), **given) for n in (1, 2))
    assert "complex128" in two["tensor_dtype"].values
    alike(one, two)


def test_meshes_are_trained_on_as_on_one_device():
    data = mesh_set(10)
    split = SPLIT(SplitConfig(validation=3, calibration=1, test=1), data=data)
    scales = NORMALISE(NormaliseConfig(), data=data, split=split)
    given = {"data": data, "split": split, "scales": scales}
    settings = {"width": 4, "rounds": 1, "levels": 1}
    one, two = (
        STAGE(config(model="spon", settings=settings, batch=5, loss="h1", devices=n), **given) for n in (1, 2)
    )
    alike(one, two)


def test_an_early_stop_comes_when_it_comes_on_one_device(toys):
    given = inputs(toys)
    change = {"epochs": 12, "schedule": "constant", "patience": 1, "learning_rate": 0.5, "clip": None}
    one, two = (STAGE(config(devices=n, **change), **given) for n in (1, 2))
    assert one.sizes["epoch"] == two.sizes["epoch"] < 12
    assert two.attrs["stopped"] == "early"
    alike(one, two, 1e-6)


def test_a_loss_that_is_not_finite_ends_all_and_names_the_whole_batch(toys):
    given = inputs(toys)
    given["data"] = given["data"].copy(deep=True)
    given["data"]["a"][3] *= 1e300  # one sample of one process
    one, two = (STAGE(config(on_nan="keep", devices=n), **given) for n in (1, 2))
    assert two.attrs["stopped"] == one.attrs["stopped"]
    assert "loss is not finite in epoch 1, batch" in two.attrs["stopped"]
    assert "case_3" in two.attrs["stopped"]
    np.testing.assert_allclose(two["weights"].values, one["weights"].values, rtol=1e-9, atol=1e-9)


SCRIPT = Path(__file__).with_name("devices_process.py")


def started(folder: Path, **where: str) -> subprocess.Popen:
    root = Path(__file__).resolve().parents[3]
    environment = {**os.environ, "PYTHONPATH": str(root), **where}
    command = [sys.executable, str(SCRIPT), str(folder)]
    way = {"start_new_session": True, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, env=environment, **way)


def wait_for_none(group: int) -> None:
    """Wait until no process of a session is there; the test's time limit is the failure."""
    while True:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)


@pytest.mark.timeout(600)
def test_a_killed_run_leaves_no_process_and_ends_with_the_same_bits(toys, tmp_path):
    import devices_process

    given = inputs(toys)
    wanted = STAGE(devices_process.CONFIG, **given)
    with started(tmp_path, DIE_WHO="all", DIE_AT="7") as run:
        assert run.wait() == -signal.SIGKILL
    wait_for_none(run.pid)
    at = checkpoints.load(tmp_path)["state"]
    assert (at["epoch"], at["step"]) >= (1, 1)
    found = STAGE.resuming_in(tmp_path)(devices_process.CONFIG, **given)
    assert np.array_equal(found["weights"], wanted["weights"])
    assert np.array_equal(found["train_loss"], wanted["train_loss"])


def test_a_process_that_dies_ends_the_training_with_a_message(toys, tmp_path):
    with started(tmp_path, DIE_WHO="1", DIE_AT="3") as run:
        _, said = run.communicate()
    assert run.returncode == 1
    assert "InputError: process 2 of the 3 that train together was ended from outside (SIGKILL)" in said
    wait_for_none(run.pid)
    assert [file.name for file in tmp_path.iterdir()] == [checkpoints.NAME]


def test_a_script_without_a_guard_is_told_to_have_one(tmp_path):
    ended = [SimpleNamespace(exitcode=-signal.SIGTERM), SimpleNamespace(exitcode=1)]
    said = str(processes._error(ended, tmp_path))
    assert "process 2 of the 2 that train together ended with exit status 1 before" in said
    assert "__main__" in said


def test_what_a_process_refuses_is_said_as_it_says_it(toys):
    given = inputs(toys)
    given["data"] = given["data"].copy(deep=True)
    given["data"]["u"][2, 0, 0] = np.nan
    with pytest.raises(InputError, match=r"^'u' of sample case_2 has values that are not finite: repair"):
        STAGE(config(devices=2), **given)


def test_an_interrupt_ends_all_and_their_checkpoint_serves_that_number_of_devices_alone(toys, tmp_path):
    given, change = inputs(toys), {"epochs": 100, "checkpoint_seconds": 0.0}

    def stop(done, total, text=""):
        if done == 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        STAGE.resuming_in(tmp_path).reporting_to(stop)(config(devices=2, **change), **given)
    assert multiprocessing.active_children() == []
    assert checkpoints.load(tmp_path)["state"]["epoch"] >= 1
    said = []
    STAGE.resuming_in(tmp_path).reporting_to(lambda *a: said.append(a[0]))(config(**change), **given)
    assert said[0] == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"devices": 4}, r"devices is 4, and 18 .* in batches of at most 4 leave one of 3: lower .* to 3 or"),
        ({"devices": 3, "accelerator": "gpu"}, r"devices is 3, and torch .* sees 2 GPUs on .*: lower"),
        ({"devices": 3, "accelerator": "auto"}, r"devices is 3, and torch .* sees 2 GPUs on this machine"),
    ],
)
def test_too_many_devices_are_refused_before_work_starts(toys, monkeypatch, change, message):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    given = inputs(toys)
    given["data"] = given["data"].copy(deep=True)
    given["data"]["u"][2, 0, 0] = np.nan  # what reading would refuse
    with pytest.raises(InputError, match=message):
        STAGE(config(**change), **given)


def test_a_fitted_family_ignores_devices(toys):
    given = inputs(toys)
    one, many = (STAGE(TrainOperatorConfig(model="mean", devices=n), **given) for n in (1, 64))
    assert np.array_equal(one["weights"], many["weights"])
