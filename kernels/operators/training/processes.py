"""A function in several processes of this machine that are one process group of torch and end together."""

import contextlib
import logging
import multiprocessing
import os
import pickle
import signal
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import connection
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from kernels.errors import InputError

Function = Callable[[Any, Callable[..., None] | None], Any]
"""`function(task, report)`, of a module; report is None but in the first process."""

_TASK, _RESULT, _MEETING = "task", "result", "meeting"


def in_processes(
    function: Function, task: Any, devices: Sequence[str], threads: int,
    report: Callable[..., None] | None = None,
) -> Any:  # fmt: skip
    """What function(task, report) gives in the first of as many processes as there are devices.

    devices: of torch, "cpu" or "cuda:0" and so on, one a process; threads: of torch in each.
    They are spawned, so threads of this process do no harm, and a script must guard its main part. What the
    first one reports is reported here, in this thread. None of them outlives this call or this process.

    Raises InputError as one of them does, and where one of them is killed; RuntimeError with the traceback
    for any other error in them.
    """
    with tempfile.TemporaryDirectory(prefix="pushforward-") as name:
        folder = Path(name)
        with (folder / _TASK).open("wb") as stream:  # in a file, since queues would share tensors
            pickle.dump((function, task), stream, protocol=pickle.HIGHEST_PROTOCOL)
        receiver, sender = multiprocessing.get_context("spawn").Pipe(duplex=False)
        given = (str(folder), tuple(devices), threads, sender if report is not None else None)
        with receiver, sender:
            with _inherited("TORCH_CPP_LOG_LEVEL", "ERROR"):  # else DDP advises, in every training
                started = mp.start_processes(_process, given, len(devices), join=False, start_method="spawn")
            assert started is not None
            try:
                _watch(started, receiver, folder, report)
            finally:
                _end(started.processes)
        with (folder / _RESULT).open("rb") as stream:
            return pickle.load(stream)


def _watch(started: Any, receiver: Any, folder: Path, report: Callable[..., None] | None) -> None:
    """Pass on reports until all processes have ended; raise where one fails."""
    try:
        over = False
        while not over:
            connection.wait([receiver, *started.sentinels])
            with _without_warnings():
                over = started.join(timeout=0.0)
            while report is not None and receiver.poll():
                report(*receiver.recv())
    except (mp.ProcessExitedException, mp.ProcessRaisedException):
        raise _error(started.processes, folder) from None


@contextlib.contextmanager
def _inherited(name: str, value: str) -> Iterator[None]:
    """A variable of the environment for processes that start meanwhile, unless it is set."""
    if name in os.environ:
        yield
        return
    os.environ[name] = value
    try:
        yield
    finally:
        os.environ.pop(name, None)


@contextlib.contextmanager
def _without_warnings() -> Iterator[None]:
    """Torch says which processes it ends because of another; the error says enough."""
    logger = logging.getLogger("torch.multiprocessing.spawn")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def _error(processes: list[Any], folder: Path) -> Exception:
    """Why processes ended: what one refused, else a signal from outside, else what was raised first."""
    found = sorted(folder.glob("failed.*"), key=lambda file: file.stat().st_mtime_ns)
    said = [pickle.loads(file.read_bytes()) for file in found]
    for refused, text in said:
        if refused:
            return InputError(text)
    codes = [process.exitcode or 0 for process in processes]
    killed = [i for i, code in enumerate(codes) if code < 0 and code != -signal.SIGTERM]
    if said and not killed:
        return RuntimeError(said[0][1])
    rank = killed[0] if killed else codes.index(max(codes) or min(codes))
    which, code = f"process {rank + 1} of the {len(codes)} that train together", codes[rank]
    if code > 0:
        return InputError(
            f"{which} ended with exit status {code} before it could begin: see what it wrote; a script that "
            'starts a training on several devices does so below `if __name__ == "__main__":`'
        )
    return InputError(
        f"{which} was ended from outside ({signal.Signals(-code).name}), and the others with it: see that "
        "the memory suffices for all (lower `devices` or `memory_mb`) and start again, which goes on from "
        "the last checkpoint"
    )


def _end(processes: list[Any]) -> None:
    for process in processes:
        if process.is_alive():
            process.kill()
    for process in processes:
        process.join()


def _process(rank: int, name: str, devices: tuple[str, ...], threads: int, sender: Any) -> None:
    _end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    folder = Path(name)
    try:
        torch.set_num_threads(threads)
        _meet(folder, rank, devices)
        with (folder / _TASK).open("rb") as stream:
            function, task = pickle.load(stream)
        dist.barrier()
        (folder / _TASK).unlink(missing_ok=True)  # all have it; after a kill nobody would remove it
        report = None if rank or sender is None else lambda *given: sender.send(given)
        result = function(task, report)
        if rank == 0:
            with (folder / _RESULT).open("wb") as stream:
                pickle.dump(result, stream, protocol=pickle.HIGHEST_PROTOCOL)
        dist.destroy_process_group()
    except Exception as error:  # noqa: BLE001 - whatever it is, the process that waits says it
        refused = isinstance(error, InputError)
        text = str(error) if refused else f"process {rank + 1} of {len(devices)}: {traceback.format_exc()}"
        new = folder / f".{rank}"
        new.write_bytes(pickle.dumps((refused, text)))
        new.rename(folder / f"failed.{rank}")
        os._exit(1)  # at once: threads of a broken process group may wait for ever


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None

    def wait() -> None:
        connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=wait, name="parent", daemon=True).start()


def _meet(folder: Path, rank: int, devices: tuple[str, ...]) -> None:
    """Join the process group by a file, since a port that is free now may be taken next."""
    os.environ["LOCAL_RANK"] = str(rank)  # tells Lightning that the processes are there
    own = torch.device(devices[rank])
    if own.type == "cuda":
        torch.cuda.set_device(own)
    dist.init_process_group(
        "nccl" if own.type == "cuda" else "gloo", init_method=(folder / _MEETING).as_uri(), rank=rank,
        world_size=len(devices), device_id=own if own.type == "cuda" else None,
    )  # fmt: skip
