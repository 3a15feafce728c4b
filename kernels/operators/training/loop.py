"""The training loop: Lightning steps an operator through an ordered stream, and can go on after a kill."""

import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from kernels.operators.base import Batch, Operator, seeded
from kernels.operators.training.batches import select, to_device
from kernels.operators.training.checkpoints import copied, load, put_back, save, tensors_of
from kernels.operators.training.lightning_quiet import check_accelerator, quiet_trainer
from kernels.operators.training.losses import LOSSES, Scales, relative_l2
from kernels.operators.training.options import Options
from kernels.operators.training.order import step_seed
from kernels.operators.training.outcome import Diverged, NotFinite, Outcome, State
from kernels.operators.training.processes import in_processes
from kernels.operators.training.schedules import SCHEDULES
from kernels.operators.training.shares import Share, check_devices, devices_of
from kernels.operators.training.stream import Step, Stream
from kernels.operators.training.weak_form import Diffusion, residual
from kernels.torch_threads import threads_each

Transform = Callable[[Batch, torch.Generator], Batch]
"""A batch -> another one of the same problem; all chance comes from the generator."""

Report = Callable[[int, int, str], None]
"""`report(done, total, text)`: batches done of all, and the latest figures."""

_DTYPES = {"32-true": torch.float32, "bf16-mixed": torch.float32, "64-true": torch.float64}


@dataclass(frozen=True)
class Hooks:
    """What a caller may add: other batches, an equation, the grid's boundary, reports, a place to save."""

    transform: Transform | None = None
    equation: Diffusion | None = None
    boundary: Any = "dirichlet"
    report: Report | None = None
    scratch: Path | None = None


def train(
    operator: Operator, stream: Stream, validation: Stream, scales: Scales, options: Options,
    hooks: Hooks | None = None,
) -> Outcome:  # fmt: skip
    """Train in place by AdamW (Loshchilov and Hutter 2019), from the checkpoint in the scratch, if any.

    After it the operator has the weights that `options.keep` says. After a loss that was not finite these are
    the ones before that step, or, where their validation error is not finite either, those of the last epoch
    where it was; in the first epoch, those that training began with. A checkpoint of another folder or of
    other options, so of another number of devices, is not gone on from.
    On one CPU thread count a run that was killed anywhere ends with the same bits. Handlers of signals,
    seeds, thread counts and environment are as they were, in the end.
    On several devices each has a process with a share of every batch, see `in_processes`. The gradient is
    that of the mean over the whole batch, so the result is that of one device to rounding, unless the
    operator itself draws numbers (dropout). Operator, streams, transform and equation must be picklable then.

    Raises InputError where there are too few GPUs or samples in a batch for the devices.
    """
    hooks = hooks or Hooks()
    module = _Module(operator, stream, validation, scales, options, hooks)
    if not module.state.stopped and module.state.epoch < options.epochs:
        if options.devices == 1:
            module.fit_here()
        else:
            check_accelerator(options)
            check_devices(options, stream)
            given = (operator, stream, validation, scales, options, replace(hooks, report=None))
            threads = threads_each(options.threads, options.devices)
            module.take(in_processes(_train_share, given, devices_of(options), threads, hooks.report))
    module.to("cpu")
    module.finish()
    return module.outcome


def _train_share(given: tuple[Any, ...], report: Report | None) -> "_Trained":
    """What one of several processes does."""
    operator, stream, validation, scales, options, hooks = given
    share = Share(dist.get_rank(), dist.get_world_size())
    module = _Module(operator, stream, validation, scales, options, replace(hooks, report=report), share)
    module.fit_here()
    return _Trained(module.outcome, copied(module.operator), module._best, module._good)


@dataclass(frozen=True)
class _Trained:
    """What a process hands over: its outcome, weights, those of the best and of the last good epoch."""

    outcome: Outcome
    tensors: dict[str, Tensor]
    best: dict[str, Tensor] | None
    good: dict[str, Tensor] | None


class _Module(pl.LightningModule):
    def __init__(
        self, operator: Operator, stream: Stream, validation: Stream, scales: Scales, options: Options,
        hooks: Hooks, share: Share | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.operator, self.options, self.hooks = operator, options, hooks
        self.share = share or Share()
        self.stream, self.validation, self.scales = stream, validation, scales
        self.kind = _DTYPES[options.precision]
        operator.to_precision(self.kind)
        self.state = State()
        self._optimizer_state: dict[str, Any] | None = None
        self._best: dict[str, Tensor] | None = None
        self._good: dict[str, Tensor] | None = copied(operator)
        self.outcome = Outcome(self.state)
        self._call: list[Callable[[Batch], Tensor]] = [operator]
        self._saved = self._begun = time.monotonic()
        self._rate, self._now = 0.0, 0
        self._bound = _bound(operator, stream, options, hooks.scratch)
        if hooks.scratch is not None:
            self._restore(load(hooks.scratch))

    # --- Lightning's hooks

    def configure_optimizers(self) -> torch.optim.Optimizer:
        optimizer = torch.optim.AdamW(
            self.operator.parameters(), lr=self.options.learning_rate, weight_decay=self.options.weight_decay
        )
        if self._optimizer_state is not None:
            optimizer.load_state_dict(self._optimizer_state)
        return optimizer

    def train_dataloader(self) -> "_Epochs":
        return _Epochs(self)

    def transfer_batch_to_device(self, batch: Step, device: torch.device, dataloader_idx: int) -> Step:
        # what a transform draws, it draws for the whole batch, whatever the number of devices
        values = batch.batch if self.hooks.transform is not None else self.share.of(batch.batch)
        return replace(batch, batch=to_device(values, self.kind, device))

    def on_fit_start(self) -> None:
        self._begun = self._saved = time.monotonic()
        self.scales = self.scales.to(self.kind, self.device)
        self.outcome.device = str(self.device)
        if self.options.compile:
            self._call, self.outcome.compiled = _compiled(self.operator, self.stream, self.kind, self.device)
        if self.share.count > 1 and self.state.epoch == self.state.step == 0:
            self._see_first()

    def on_train_batch_start(self, batch: Step, batch_idx: int) -> None:
        total = self.options.epochs * self.stream.steps
        done = (self.state.epoch * self.stream.steps + batch.number) / max(1, total - 1)
        if self.options.max_minutes is not None:
            spent = self.share.first(self._spent(), self.device)
            done = max(done, spent / (60.0 * self.options.max_minutes))
        self._rate = self.options.learning_rate * SCHEDULES[self.options.schedule](min(done, 1.0))
        for group in self.trainer.optimizers[0].param_groups:
            group["lr"] = self._rate
        torch.manual_seed(step_seed(self.options.seed, self.state.epoch, batch.number) + self.share.rank)
        self._now = batch.number

    def training_step(self, batch: Step, batch_idx: int) -> Tensor:
        values, chance = self._values(batch)
        predicted = self._call[0](values).to(self.kind)
        with torch.autocast(self.device.type, enabled=False):
            loss = self._loss_of(predicted, values, chance)
        self._seen = batch.positions
        part = values.samples / len(batch.positions)
        self._loss = self.share.total(float(loss.detach()) * part, self.device)
        if not math.isfinite(self._loss):
            raise NotFinite(self._diverged("loss"))
        return loss * (part * self.share.count)  # gradients are averaged over the processes

    def _values(self, batch: Step) -> tuple[Batch, torch.Generator]:
        """What this process trains on in a step, and the source of chance, which is the same in all."""
        chance = seeded(step_seed(self.options.seed, self.state.epoch, batch.number))
        if self.hooks.transform is None:
            return batch.batch, chance
        return self.share.of(self.hooks.transform(batch.batch, chance)), chance

    def _see_first(self) -> None:
        """Show the first sample to the operator: what it keeps of that is the same in every process."""
        values = next(iter(self.stream.epoch(0))).batch.to(self.kind)
        if self.hooks.transform is not None:
            values = self.hooks.transform(values, seeded(step_seed(self.options.seed, 0, 0)))
        self.operator.train()
        with torch.no_grad():
            self.operator(to_device(select(values, np.arange(1)), self.kind, self.device))

    def _loss_of(self, predicted: Tensor, values: Batch, chance: torch.Generator) -> Tensor:
        loss = LOSSES[self.options.loss](predicted, values, self.scales, self.hooks.boundary).mean()
        if self.hooks.equation is None:
            return loss
        weak = residual(predicted, values, self.scales, self.hooks.equation, chance)
        return loss + self.hooks.equation.weight * weak.mean()

    def configure_gradient_clipping(self, optimizer: Any, *_: Any, **__: Any) -> None:
        """Clip, and stop before a gradient that is not finite reaches the weights."""
        most = math.inf if self.options.clip is None else self.options.clip
        norm = torch.nn.utils.clip_grad_norm_(self.operator.parameters(), most)
        if not bool(torch.isfinite(norm)):
            raise NotFinite(self._diverged("gradient"))

    def on_train_batch_end(self, outputs: Any, batch: Step, batch_idx: int) -> None:
        self.state.total += self._loss
        self.state.step = batch.number + 1
        if self.hooks.report is not None:
            done = self.state.epoch * self.stream.steps + self.state.step
            self.hooks.report(done, self.options.epochs * self.stream.steps, self._text())
        if self._is_over():
            self.trainer.should_stop = True
        if self.state.step < self.stream.steps and not self.trainer.should_stop:
            self._save_if_due()

    def on_train_epoch_end(self) -> None:
        state = self.state
        state.train_loss.append(state.total / max(1, state.step))
        state.epoch_seconds.append(state.seconds + self._lap())
        error = self._validation_error()
        self._lap()
        state.validation_error.append(error)
        if math.isfinite(error):
            self._good = copied(self.operator)
        if error < state.best_error:
            state.best_error, state.waited = error, 0
            if self.options.keep == "best":
                self._best = copied(self.operator)
        else:
            state.waited += 1
        patience = self.options.patience
        state.stopped = self._is_over() or (patience is not None and state.waited >= patience)
        state.epoch, state.step, state.total, state.seconds = state.epoch + 1, 0, 0.0, 0.0
        if state.stopped:
            self.trainer.should_stop = True
        if state.stopped or state.epoch >= self.options.epochs:
            self._save()
        else:
            self._save_if_due()

    # --- ours

    def fit_here(self) -> None:
        """Step through the epochs that are left, in this process."""
        try:
            with quiet_trainer(self.options, self.options.epochs - self.state.epoch) as trainer:
                trainer.fit(self)
        except NotFinite as error:
            self.outcome.diverged = error.diverged

    def take(self, trained: _Trained) -> None:
        """Be what the process was that trained."""
        self.outcome, self.state = trained.outcome, trained.outcome.state
        put_back(self.operator, trained.tensors)
        self._best, self._good = trained.best, trained.good

    def finish(self) -> None:
        """Leave the weights that are to be kept in the operator."""
        if self.options.keep == "best" and self._best is not None:
            put_back(self.operator, self._best)
        elif self.outcome.diverged is not None and self._good is not None:
            self.scales = self.scales.to(self.kind, "cpu")
            if not math.isfinite(self._validation_error()):
                put_back(self.operator, self._good)
        self.operator.eval()

    def _diverged(self, what: str) -> Diverged:
        return Diverged(what, self.state.epoch + 1, self._now + 1, self._seen, self._rate)

    def _is_over(self) -> bool:
        minutes = self.options.max_minutes
        return minutes is not None and self.share.first(self._spent(), self.device) >= 60.0 * minutes

    def _spent(self) -> float:
        return self.state.spent + time.monotonic() - self._begun

    def _lap(self) -> float:
        """Seconds since the last lap, which count as spent."""
        now = time.monotonic()
        passed, self._begun = now - self._begun, now
        self.state.spent += passed
        return passed

    def _text(self) -> str:
        errors = self.state.validation_error
        known = f", validation {100.0 * errors[-1]:.2f} %" if errors else ""
        return f"epoch {self.state.epoch + 1}, loss {self._loss:.4g}{known}"

    def _validation_error(self) -> float:
        self.operator.eval()
        total = 0.0
        with torch.no_grad():
            for step in self.validation.in_order():
                low, high = self.share.ends(step.batch.samples)
                if low == high:
                    continue
                values = to_device(self.share.of(step.batch), self.kind, self.device)
                predicted = self.operator(values).to(self.kind)
                errors = relative_l2(predicted, values, self.scales, self.hooks.boundary)
                total += float(errors.mean(dim=1).sum())
        self.operator.train()
        return self.share.total(total, self.device) / len(self.validation.samples)

    def _save_if_due(self) -> None:
        if time.monotonic() - self._saved >= self.options.checkpoint_seconds:
            self._save()

    def _save(self) -> None:
        if self.hooks.scratch is None or self.share.rank > 0:
            return
        self.state.seconds += self._lap()
        plain = dict(vars(self.state))
        optimizer = self.trainer.optimizers[0].state_dict()
        tensors = copied(self.operator)
        save(
            self.hooks.scratch,
            {
                "bound": self._bound,
                "state": plain,
                "tensors": tensors,
                "optimizer": optimizer,
                "best": self._best,
                "good": self._good,
            },
        )
        self._saved = time.monotonic()

    def _restore(self, found: dict[str, Any] | None) -> None:
        if found is None or found.get("bound") != self._bound:
            return
        for name, value in found["state"].items():
            setattr(self.state, name, value)
        put_back(self.operator, found["tensors"])
        self._optimizer_state = found["optimizer"]
        self._best, self._good = found["best"], found["good"]
        self.outcome.resumed = (self.state.epoch, self.state.step)


class _Epochs:
    """What Lightning iterates: the rest of the epoch that the module is in."""

    def __init__(self, module: _Module) -> None:
        self._module = module

    def __iter__(self) -> Any:
        state = self._module.state
        return self._module.stream.epoch(state.epoch, state.step)


def _bound(operator: Operator, stream: Stream, options: Options, scratch: Path | None) -> str:
    """What a checkpoint must have been written for: the folder, which is named after the key, and the run."""
    shapes = {name: list(one.shape) for name, one in tensors_of(operator).items()}
    folder = None if scratch is None else scratch.name
    return json.dumps([folder, asdict(options), len(stream.samples), shapes], sort_keys=True)


def _compiled(
    operator: Operator, stream: Stream, kind: torch.dtype, device: torch.device
) -> tuple[list[Callable[[Batch], Tensor]], str]:
    """The operator compiled, tried on one batch; itself, with the reason, where that fails."""
    first = next(iter(stream.epoch(0)))
    try:
        with torch.no_grad():
            compiled = torch.compile(operator)
            compiled(to_device(first.batch, kind, device))
    except Exception as error:  # noqa: BLE001 - whatever the compiler lacks, training can do without it
        reason = str(error).strip().splitlines()
        return [operator], f"no: {type(error).__name__}: {reason[0] if reason else ''}"
    return [compiled], "yes"
