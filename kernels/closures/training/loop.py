"""The loop of training a closure: a function of seed, epoch and step, which a kill does not change."""

import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from kernels.closures.base import Closure
from kernels.closures.training.options import Options
from kernels.operators.training.checkpoints import copied, load, put_back, save, tensors_of
from kernels.operators.training.order import step_seed
from kernels.operators.training.schedules import SCHEDULES
from kernels.torch_threads import torch_threads

Report = Callable[[int, int, str], None]
"""`report(done, total, text)`: steps done of all, and the latest figures."""


class Problem(Protocol):
    """What is minimised."""

    def steps(self, epoch: int) -> int:
        """Steps of an epoch."""
        ...

    def loss(self, epoch: int, step: int) -> Tensor:
        """Loss of a step."""
        ...

    def validation(self) -> float | None:
        """What chooses the weights; None where nothing does."""
        ...

    def about(self, epoch: int, step: int) -> str:
        """The batch of a step in words."""
        ...


@dataclass
class State:
    """Where a training is, and its history by epochs."""

    epoch: int = 0
    step: int = 0
    total: float = 0.0
    best: float = math.inf
    waited: int = 0
    stopped: str = ""
    diverged: bool = False
    train_loss: list[float] = field(default_factory=list)
    validation_error: list[float] = field(default_factory=list)
    epoch_seconds: list[float] = field(default_factory=list)


def train(
    closure: Closure, problem: Problem, options: Options, report: Report | None = None,
    scratch: Path | None = None, purpose: str = "",
) -> State:  # fmt: skip
    """Train in place by AdamW (Loshchilov and Hutter 2019), from the checkpoint in the scratch, if any.

    After it the closure has the weights that `options.keep` says. A loss or gradient that is not finite ends
    the training, and so do weights that a step has ruined: `stopped` says in which batch, and the weights are
    the best of the epochs before it, or those of the start where no epoch was sound. A checkpoint of other
    options, tensors or purpose is not gone on from; on one number of threads a run that was killed anywhere
    ends with the same bits.
    """
    try:
        with torch_threads(options.threads):
            return _Run(closure, problem, options, report, scratch, purpose).all()
    finally:
        closure.eval()


class _Run:
    def __init__(
        self, closure: Closure, problem: Problem, options: Options, report: Report | None,
        scratch: Path | None, purpose: str,
    ) -> None:  # fmt: skip
        self.closure, self.problem, self.options = closure, problem, options
        self.report, self.scratch, self.state = report, scratch, State()
        self.parameters = [p for p in closure.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(
            self.parameters, lr=options.learning_rate, weight_decay=options.weight_decay
        )
        self.best: dict[str, Tensor] = copied(closure)
        shapes = {name: list(one.shape) for name, one in tensors_of(closure).items()}
        folder = None if scratch is None else scratch.name
        self.bound = json.dumps([folder, purpose, asdict(options), shapes], sort_keys=True)
        self.saved = time.monotonic()
        counts = [problem.steps(epoch) for epoch in range(options.epochs)]
        self.before = [sum(counts[:epoch]) for epoch in range(options.epochs + 1)]
        if scratch is not None:
            self._restore(load(scratch))

    def all(self) -> State:
        state = self.state
        while state.epoch < self.options.epochs and not state.stopped:
            begun = time.monotonic()
            while state.step < self.problem.steps(state.epoch) and not state.stopped:
                self._step()
                if not state.stopped and state.step < self.problem.steps(state.epoch):
                    self._save_if_due()
            if state.stopped:
                break
            self._end(time.monotonic() - begun)
        if self.options.keep == "best" or state.diverged:
            put_back(self.closure, self.best)
        return state

    def _step(self) -> None:
        state, options = self.state, self.options
        done = self.before[state.epoch] + state.step
        rate = options.learning_rate * SCHEDULES[options.schedule](
            min(1.0, done / max(1, self.before[-1] - 1))
        )
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.closure.train()
        self.optimizer.zero_grad(set_to_none=True)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(step_seed(options.seed, state.epoch, state.step))
            loss = self.problem.loss(state.epoch, state.step)
        value = float(loss.detach())
        if not math.isfinite(value):
            return self._diverged("loss", rate)
        loss.backward()
        most = math.inf if options.clip is None else options.clip
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, most)
        if not bool(torch.isfinite(norm)):
            return self._diverged("gradient", rate)
        self.optimizer.step()
        if not all(bool(torch.isfinite(one).all()) for one in self.parameters):
            return self._diverged("weights", rate)
        state.total += value
        state.step += 1
        if self.report is not None:
            known = f", validation {state.validation_error[-1]:.3g}" if state.validation_error else ""
            self.report(done + 1, self.before[-1], f"epoch {state.epoch + 1}, loss {value:.3g}{known}")
        return None

    def _diverged(self, what: str, rate: float) -> None:
        state = self.state
        state.diverged = True
        where = f"epoch {state.epoch + 1}, batch {state.step + 1}"
        state.stopped = (
            f"the {what} {'are' if what == 'weights' else 'is'} not finite in {where} "
            f"({self.problem.about(state.epoch, state.step)}), at the learning rate {rate:.3g}: lower "
            "`learning_rate` or look at those runs"
        )

    def _end(self, seconds: float) -> None:
        state = self.state
        self.closure.eval()
        state.train_loss.append(state.total / max(1, state.step))
        state.epoch_seconds.append(seconds)
        error = self.problem.validation()
        state.validation_error.append(math.nan if error is None else error)
        if error is None or error < state.best:
            state.best = math.inf if error is None else error
            state.waited, self.best = 0, copied(self.closure)
        else:
            state.waited += 1
        state.epoch, state.step, state.total = state.epoch + 1, 0, 0.0
        if self.options.patience is not None and state.waited >= self.options.patience:
            state.stopped = "early"
        self._save_if_due(last=bool(state.stopped) or state.epoch >= self.options.epochs)

    def _save_if_due(self, last: bool = False) -> None:
        if self.scratch is None:
            return
        if last or time.monotonic() - self.saved >= self.options.checkpoint_seconds:
            plain = dict(vars(self.state))
            held: dict[str, Any] = {"bound": self.bound, "state": plain, "tensors": copied(self.closure)}
            held |= {"optimizer": self.optimizer.state_dict(), "best": self.best}
            save(self.scratch, held)
            self.saved = time.monotonic()

    def _restore(self, found: dict[str, Any] | None) -> None:
        if found is None or found.get("bound") != self.bound:
            return
        for name, value in found["state"].items():
            setattr(self.state, name, value)
        put_back(self.closure, found["tensors"])
        self.optimizer.load_state_dict(found["optimizer"])
        self.best = found["best"]
