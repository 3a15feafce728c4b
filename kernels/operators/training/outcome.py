"""What a training gives beside weights: its history, where it stands, why it ended."""

import math
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Diverged:
    """A loss or a gradient that is not finite: where, counted from 1, and the samples of the batch."""

    what: str
    epoch: int
    step: int
    positions: np.ndarray
    learning_rate: float


@dataclass
class State:
    """Where a training is, everything that a checkpoint holds beside weights and optimizer."""

    epoch: int = 0
    step: int = 0
    total: float = 0.0
    seconds: float = 0.0
    spent: float = 0.0
    best_error: float = math.inf
    waited: int = 0
    stopped: bool = False
    train_loss: list[float] = field(default_factory=list)
    validation_error: list[float] = field(default_factory=list)
    epoch_seconds: list[float] = field(default_factory=list)


@dataclass
class Outcome:
    """What training gave: its history, where it resumed, and why it ended early, if it did."""

    state: State
    resumed: tuple[int, int] | None = None
    diverged: Diverged | None = None
    compiled: str = "no"
    device: str = "cpu"


class NotFinite(Exception):
    """Raised inside the loop where the loss or the gradient is not finite."""

    def __init__(self, diverged: Diverged) -> None:
        super().__init__(diverged.what)
        self.diverged = diverged
