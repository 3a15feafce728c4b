"""Trainings killed at seeded moments, also while a checkpoint is written, and started again until they end.

python benchmarks/killed_training.py [--moments 10] [--seed 0]

Each is a real `train_operator` run of a tiny MgNO through the Runner in a project of its own. Killed twice by
SIGKILL: after a drawn part of its batches, every other time half-way through the next checkpoint. The
published weights and histories must be those of a run that nobody disturbed, to the bit, and no scratch left.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import xarray as xr

from kernels.operators.training import checkpoints
from pipelines.runner import Runner
from pipelines.settings import Settings
from stages.base import variable
from stages.train_operator import STAGE, TrainOperatorConfig

SAMPLES, POINTS, EPOCHS = 40, 16, 6
SETTINGS = {"channels": 4, "layers": 2}


def data_sets() -> dict[str, xr.Dataset]:
    """Inputs of the stage: u is a smoothed a."""
    random, axis = np.random.default_rng(0), np.arange(POINTS) / POINTS
    a = random.standard_normal((SAMPLES, POINTS, POINTS))
    u = 5.0 + a + np.roll(a, 1, 1) + np.roll(a, 1, 2)
    dims = ("sample", "y", "x")
    names = variable("sample_name", np.array([f"s{i}" for i in range(SAMPLES)]))
    data = xr.Dataset(
        {"a": (dims, a, {"role": "input", "units": "1"}), "u": (dims, u, {"role": "field", "units": "1"}),
         "sample_name": names},
        coords={"x": ("x", axis, {"units": "m"}), "y": ("y", axis, {"units": "m"})},
    )  # fmt: skip
    part = np.where(np.arange(SAMPLES) < 32, 0, 2).astype(np.int8)
    values = {"input": ([0.0], [1.0]), "output": ([5.0], [2.0]), "parameter": ([], [])}
    scales = {
        f"{kind}_{what}": variable(f"{kind}_{what}", np.array(numbers))
        for kind, pair in values.items()
        for what, numbers in zip(("mean", "scale"), pair, strict=True)
    }
    split = xr.Dataset({"split": variable("split", part), "sample_name": names})
    return {"data": data, "split": split, "scales": xr.Dataset(scales)}


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def train(project: Path, batches: int, in_save: bool) -> xr.Dataset:
    """The published model; the process is killed once it has done so many batches itself, where not 0."""
    config = TrainOperatorConfig(
        model="mgno", settings=SETTINGS, epochs=EPOCHS, batch=4, threads=1, accelerator="cpu", keep="best",
        checkpoint_seconds=0.0, symmetries=("flip_x",),
    )  # fmt: skip
    done, save = 0, torch.save

    def dying_save(state: object, stream: object) -> None:
        if in_save and done >= batches > 0:
            stream.write(b"PK half a checkpoint")  # type: ignore[attr-defined]
            stream.flush()  # type: ignore[attr-defined]
            die()
        save(state, stream)  # type: ignore[arg-type]

    def report(_now: int, _total: int, text: str = "") -> None:
        nonlocal done
        done += 1
        if not in_save and done >= batches > 0:
            die()

    checkpoints.torch.save = dying_save  # type: ignore[assignment]
    with Runner(Settings(project=project, quiet=True)) as runner:
        keys = {name: runner.add(name, dataset, {}) for name, dataset in data_sets().items()}
        key = runner.step(STAGE.reporting_to(report), config, keys)
        return runner.catalog.open(key).load()


def different(one: xr.Dataset, other: xr.Dataset) -> list[str]:
    """Variables that are not the same to the bit; times are left out."""
    names = {str(name) for name in (*one.variables, *other.variables)} - {"epoch_seconds"}
    lacking = {name for name in names if name not in one.variables or name not in other.variables}
    return sorted(lacking | {n for n in names - lacking if not one[n].variable.equals(other[n].variable)})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--moments", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        train(Path(given.child[0]), int(given.child[1]), given.child[2] == "save")
        return
    random, total = np.random.default_rng(given.seed), EPOCHS * 8
    with tempfile.TemporaryDirectory(prefix="killed_training_") as folder:
        wanted = train(Path(folder) / "undisturbed", 0, False)
        wrong = 0
        for moment in range(given.moments):
            project, start = Path(folder) / f"killed_{moment}", time.perf_counter()
            moments = sorted(random.integers(1, total - 4, 2).tolist())
            first, kind = moments[0], "save" if moment % 2 else "batch"
            # the second process goes on after the first, so its count begins anew
            second = max(1, moments[1] - first)
            killed = 0
            for count in (first, second):
                child = [sys.executable, __file__, "--child", str(project), str(count), kind]
                killed += subprocess.run(child, check=False).returncode == -signal.SIGKILL
            found = train(project, 0, False)
            bad = different(wanted, found)
            left = [entry.name for entry in (project / "scratch").glob("*")]
            wrong += bool(bad or left or killed != 2)
            print(
                f"{moment}: killed {killed} times ({kind}) after {first} and {second} batches of {total}, "
                f"{time.perf_counter() - start:.0f} s: {'not the same: ' + str(bad) if bad else 'same bits'}"
                f"{', scratch left: ' + str(left) if left else ''}"
            )  # fmt: skip
    print(f"{given.moments - wrong} of {given.moments} as they must be")
    sys.exit(int(wrong > 0))


if __name__ == "__main__":
    main()
