"""A Lightning trainer that says nothing, writes nothing, and leaves the process as it was."""

import logging
import os
import signal
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.plugins.environments import LightningEnvironment
from lightning.pytorch.strategies import DDPStrategy

from kernels.errors import InputError
from kernels.operators.training.options import Options
from kernels.torch_threads import torch_threads

_LOGGERS = ("lightning", "lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero")


@contextmanager
def quiet_trainer(options: Options, epochs: int) -> Iterator[pl.Trainer]:
    """A trainer for `epochs` epochs in this process; no logs, bars, files or handlers of signals.

    Where options.devices > 1 this must be one of as many processes that are a process group of torch.
    Raises InputError where a GPU is asked for and there is none.
    """
    check_accelerator(options)
    with ExitStack() as stack:
        for guard in (torch_threads(options.threads), _random(), _environment(), _silence(), _signals()):
            stack.enter_context(guard)
        # weights and batches have their precision; its own for float64 would make complex weights real
        mixed = options.precision if options.precision.endswith("mixed") else "32-true"
        trainer = pl.Trainer(
            accelerator=options.accelerator, devices=options.devices, strategy=_strategy(options),
            precision=mixed, max_epochs=epochs, logger=False, enable_checkpointing=False,
            enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0,
            use_distributed_sampler=False, plugins=[LightningEnvironment()],
        )  # fmt: skip
        # its handler would put off SIGTERM to the end of a step, and ours would not be asked
        trainer._signal_connector.register_signal_handlers = lambda: None  # type: ignore[method-assign]
        yield trainer


def check_accelerator(options: Options) -> None:
    """Raise InputError where a GPU is asked for and there is none."""
    if options.accelerator == "gpu" and not (torch.cuda.is_available() or torch.backends.mps.is_available()):
        raise InputError(
            f"accelerator is 'gpu', and torch {torch.__version__} sees none on this machine: set it to "
            '"auto" or "cpu", or install a torch that is built for it'
        )


def _strategy(options: Options) -> str | DDPStrategy:
    """DDP where there are several processes.

    Looking for unused weights lets an operator have some, and keeps the buckets in which gradients are
    summed: DDP would rearrange them after the first step, and a run that was resumed would round otherwise.
    """
    if options.devices == 1:
        return "auto"
    return DDPStrategy(find_unused_parameters=True, broadcast_buffers=False)


@contextmanager
def _random() -> Iterator[None]:
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices):
        yield


@contextmanager
def _environment() -> Iterator[None]:
    before = dict(os.environ)
    try:
        yield
    finally:
        for name in set(os.environ) - set(before):
            del os.environ[name]
        for name, value in before.items():
            if os.environ.get(name) != value:
                os.environ[name] = value


@contextmanager
def _silence() -> Iterator[None]:
    levels = {name: logging.getLogger(name).level for name in _LOGGERS}
    try:
        for name in levels:
            logging.getLogger(name).setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"lightning\..*")
            warnings.filterwarnings("ignore", message=r".*(GPU available but not used|lr_scheduler\.step).*")
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


@contextmanager
def _signals() -> Iterator[None]:
    """Handlers as they were; Ctrl-C stays a KeyboardInterrupt, where Lightning ends the process instead."""
    mine = threading.current_thread() is threading.main_thread()
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1) if mine else ()
    before: dict[Any, Any] = {number: signal.getsignal(number) for number in numbers}
    try:
        yield
    except SystemExit as error:
        if isinstance(error.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from None
        raise
    finally:
        for number, handler in before.items():
            if handler is not None and signal.getsignal(number) != handler:
                signal.signal(number, handler)
