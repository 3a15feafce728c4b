"""Trains on three devices, and kills where the environment says: `python devices_process.py SCRATCH`.

DIE_AT=7 kills in the 8th forward pass of training, DIE_WHO: 0, 1 or 2 kills that process of the three, all
kills the one that started them.
"""

import os
import signal
import sys
from pathlib import Path

import operator_toys
import torch.distributed as dist

from stages.train_operator import STAGE, TrainOperatorConfig

CONFIG = TrainOperatorConfig(
    model="fno", settings={"modes": 3, "width": 8, "layers": 9}, epochs=3, batch=4, threads=1, devices=3,
    accelerator="cpu", precision="64-true", checkpoint_seconds=0.0, keep="best", symmetries=("flip_x",),
)  # fmt: skip


def arm() -> None:
    """Make the forward pass of training deadly in this process."""
    who, when, passes = os.environ.get("DIE_WHO"), int(os.environ.get("DIE_AT", "-1")), iter(range(10**9))
    real = operator_toys.TinyConv.forward

    def dying(self, batch):
        if self.training and dist.is_initialized() and next(passes) == when:
            if who == "all" and dist.get_rank() == 0:
                os.kill(os.getppid(), signal.SIGKILL)
            if who == str(dist.get_rank()):
                os.kill(os.getpid(), signal.SIGKILL)
        return real(self, batch)

    operator_toys.TinyConv.forward = dying


arm()  # also where this module is the main one of a process that trains

if __name__ == "__main__":
    operator_toys.install(setattr)
    data = operator_toys.problem(dtype="float64")
    given = {"data": data, "split": operator_toys.split(data), "scales": operator_toys.scales(data)}
    STAGE.resuming_in(Path(sys.argv[1]))(CONFIG, **given)
