"""Worker processes as copies of one process that has imported what parts need, which takes seconds: it starts
beside the run's own imports, and a worker is then there at once.
"""

import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

THREADS = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
}
"""Environment of a worker: it is one of several, so it computes in one thread."""

# It frees what an interrupted run left, and would say so on the terminal.
_QUIET_TRACKER = "ignore:resource_tracker:UserWarning"


def start() -> None:
    """Start the process that workers are copies of, which ends with this one; nothing where it is up."""
    from multiprocessing import forkserver

    start_tracker()
    with without_ctrl_c(), _environment(THREADS):
        forkserver.set_forkserver_preload(["pipelines.worker_imports"])
        forkserver.ensure_running()


def start_tracker() -> None:
    """Start Python's resource tracker, which else starts with the first worker: in a thread that takes no
    Ctrl-C it would let that in again.
    """
    from multiprocessing import resource_tracker

    before = os.environ.get("PYTHONWARNINGS")
    quiet = _QUIET_TRACKER if before is None else f"{before},{_QUIET_TRACKER}"
    with _environment({"PYTHONWARNINGS": quiet}):
        resource_tracker.ensure_running()


@contextmanager
def without_ctrl_c() -> Iterator[None]:
    """What this thread starts meanwhile takes no Ctrl-C, nor does what that starts: the terminal sends it to
    all processes of a run, and workers end with the run, without a traceback.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
