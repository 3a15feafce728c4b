"""Options of training a closure, free of torch."""

from dataclasses import dataclass
from typing import Literal

from kernels.operators.training.options import Schedule


@dataclass(frozen=True)
class Options:
    """How to train.

    epochs: number of them; steps: of the optimiser in an epoch at most. batch: points a step a priori (whole
    frames, one at least, where the closure looks at neighbours), windows a step a posteriori. learning_rate:
    at the peak of the schedule. clip: largest norm of all gradients together, None for any. patience: epochs
    without a better validation error after which training ends, None: never. keep: weights of the best
    validation error or of the last epoch. threads: of torch, None leaves them. checkpoint_seconds: between
    two checkpoints. horizons: frames that a window runs over a posteriori, one after the other, each for an
    equal share of the epochs.
    """

    epochs: int = 40
    steps: int = 100
    batch: int = 8192
    learning_rate: float = 1e-2
    schedule: Schedule = "cosine"
    weight_decay: float = 0.0
    clip: float | None = 1.0
    seed: int = 0
    patience: int | None = None
    keep: Literal["best", "last"] = "best"
    threads: int | None = None
    checkpoint_seconds: float = 60.0
    horizons: tuple[int, ...] = (2, 4, 8, 16)
