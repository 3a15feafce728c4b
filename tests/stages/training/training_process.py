"""Trains in a project, and kills itself where the environment says: `python training_process.py PROJECT`.

KILL_AT=7 kills in the 8th forward pass of training of this process, KILL_IN_SAVE=2 half-way through the third
checkpoint.
"""

import os
import signal
import sys
from pathlib import Path

import numpy as np
import operator_toys
import torch

from kernels.operators.training import checkpoints
from pipelines.runner import Runner
from pipelines.settings import Settings
from stages.train_operator import STAGE, TrainOperatorConfig

CONFIG = TrainOperatorConfig(
    model="fno", settings={"modes": 3, "width": 8, "layers": 9}, epochs=6, batch=4, learning_rate=1e-2,
    threads=1, accelerator="cpu", checkpoint_seconds=0.0, keep="best", symmetries=("flip_x",),
)  # fmt: skip


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def arm(forward: int, saves: int) -> None:
    """Kill this process in a forward pass of training, or in a checkpoint."""
    passes, written = iter(range(10**9)), iter(range(10**9))
    real_forward, real_save = operator_toys.TinyConv.forward, torch.save

    def dying_forward(self, batch):
        if self.training and next(passes) == forward:
            die()
        return real_forward(self, batch)

    def dying_save(state, stream):
        if next(written) == saves:
            stream.write(b"PK half a checkpoint")
            stream.flush()
            die()
        real_save(state, stream)

    operator_toys.TinyConv.forward = dying_forward
    checkpoints.torch.save = dying_save


def train(project: Path, config: TrainOperatorConfig = CONFIG):
    """Key and dataset of the trained model, through the runner and its catalog."""
    data = operator_toys.problem()
    inputs = {"data": data, "split": operator_toys.split(data), "scales": operator_toys.scales(data)}
    with Runner(Settings(project=project, quiet=True)) as runner:
        keys = {name: runner.add(name, dataset, {}) for name, dataset in inputs.items()}
        key = runner.step(STAGE, config, keys)
        return key, runner.catalog.open(key).load()


def same(one, other) -> list[str]:
    """Names of variables and attributes, times left out, that are not the same to the bit."""
    names = [name for name in one.variables if name != "epoch_seconds"]
    found = [name for name in names if not np.array_equal(one[name].values, other[name].values)]
    return found + [name for name in one.attrs if one.attrs[name] != other.attrs[name]]


if __name__ == "__main__":
    operator_toys.install(setattr)
    arm(int(os.environ.get("KILL_AT", "-1")), int(os.environ.get("KILL_IN_SAVE", "-1")))
    train(Path(sys.argv[1]))
