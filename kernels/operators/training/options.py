"""Options of the training loop, free of torch, and the learning rates that families start with."""

from dataclasses import dataclass
from typing import Literal

Schedule = Literal["one_cycle", "cosine", "halving", "constant"]
Loss = Literal["relative_l2", "h1", "l2_h1"]
Precision = Literal["32-true", "bf16-mixed", "64-true"]

LEARNING_RATES = {"mgno": 3e-3, "fno": 3e-3, "deeponet": 1e-3, "multionet": 1e-3, "spon": 3e-3}
"""Peak learning rate of a family where none is asked for."""


@dataclass(frozen=True)
class Options:
    """How to train.

    epochs: over the training samples; batch: samples a step at most. learning_rate: at the peak of the
    schedule. weight_decay: of AdamW (Loshchilov and Hutter 2019, algorithm 2). clip: largest norm of all
    gradients together, None for any. patience: epochs without a better validation error after which training
    ends, None: never. keep: the weights of the last epoch, or of the best validation error. max_minutes:
    budget of time, by which the schedule is shortened too: the result then depends on the machine.
    threads: of torch in each process, None divides those that it has. checkpoint_seconds: between two
    checkpoints. devices: over which every batch is divided, a process each.
    """

    epochs: int = 100
    batch: int = 16
    learning_rate: float = 1e-3
    schedule: Schedule = "one_cycle"
    weight_decay: float = 1e-4
    clip: float | None = 1.0
    loss: Loss = "relative_l2"
    seed: int = 0
    precision: Precision = "32-true"
    compile: bool = False
    threads: int | None = None
    accelerator: str = "auto"
    patience: int | None = None
    keep: Literal["last", "best"] = "last"
    max_minutes: float | None = None
    checkpoint_seconds: float = 60.0
    devices: int = 1
