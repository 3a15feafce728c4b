"""A Dask cluster on this machine that stays whole: workers that are gone for good are started again."""

import asyncio
import contextlib
import logging
import os
import signal
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kernels.errors import InputError
from pipelines import fork_server

if TYPE_CHECKING:
    from distributed import LocalCluster as DaskCluster
    from distributed import Nanny
    from distributed.utils import LoopRunner

_LOOK_EVERY = 2.0

_GONE_AFTER = 10.0
"""Seconds without a process after which a worker is gone for good: its nanny starts the next within these."""

_SLOWEST_START = "120s"
"""After which Dask gives up a worker that does not come back; its 15 s are too few on a loaded machine."""

_CLOSE_WITHIN = 30.0


class LocalCluster:
    """`workers` processes and their scheduler, which runs in a thread of this process.

    copies: workers are copies of a process that has imported the stages, see `fork_server`. resources: what
    each worker offers. Raises InputError where a worker does not start.
    """

    def __init__(self, workers: int, copies: bool, resources: Mapping[str, float]) -> None:
        import dask
        from distributed import LocalCluster as DaskCluster

        environment = dict(fork_server.THREADS)
        if copies:
            fork_server.start()
            environment = {**os.environ, **environment}  # a copy has that of the day it was started
        else:
            fork_server.start_tracker()
        self._loop = _loop_without_ctrl_c()
        method = "forkserver" if copies else "spawn"
        dask.config.set(
            {
                "distributed.worker.multiprocessing-method": method,
                "distributed.deploy.lost-worker-timeout": _SLOWEST_START,
            }
        )
        try:
            with dask.config.set({"distributed.worker.resources": dict(resources)}):
                self.dask = DaskCluster(
                    loop=self._loop.loop,
                    n_workers=workers,
                    threads_per_worker=1,
                    processes=True,
                    host="127.0.0.1",
                    dashboard_address="127.0.0.1:0",
                    memory_limit=0,
                    silence_logs=logging.CRITICAL,
                    env=environment,
                )
        except RuntimeError as error:
            self._loop.stop()
            raise InputError(
                f"one of {workers} worker processes ended while it started, most often because "
                "memory ran out: use fewer workers (--workers 1), or run the same command to go on"
            ) from error
        self._loop.loop.add_callback(_stay_whole, self.dask)

    def processes(self) -> int:
        """Worker processes that live, whatever the scheduler knows of them."""
        return sum(_lives(nanny) for nanny in list(self.dask.workers.values()))

    def close(self) -> None:
        """End the worker processes, by force where they do not end when told."""
        try:
            self.dask.close(timeout=_CLOSE_WITHIN)
        except TimeoutError:
            self.dask.shutdown_on_close = False  # else it waits again when this process ends
            for nanny in list(self.dask.workers.values()):
                nanny.close_gracefully()  # it starts no other
                if nanny.pid:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(nanny.pid, signal.SIGKILL)
        self._loop.stop()


def _loop_without_ctrl_c() -> "LoopRunner":
    """Loop of the cluster, whose thread starts the workers and hands on that it takes no Ctrl-C."""
    from distributed.utils import LoopRunner

    loop = LoopRunner()
    with fork_server.without_ctrl_c():
        loop.start()
    return loop


def _lives(nanny: "Nanny") -> bool:
    return nanny.process is not None and nanny.process.is_alive()


async def _stay_whole(cluster: "DaskCluster") -> None:
    """Start another worker in the place of each that has had no process for too long. A nanny starts its
    worker again, but not one that died while it started; a scheduler may know a dead one for minutes.
    """
    without: dict[Any, float] = {}
    while cluster.status.name == "running":
        await asyncio.sleep(_LOOK_EVERY)
        for name, nanny in list(cluster.workers.items()):
            if _lives(nanny):
                without.pop(name, None)
            elif time.monotonic() - without.setdefault(name, time.monotonic()) > _GONE_AFTER:
                del without[name]
                await _forget(cluster, name)
        if cluster.status.name == "running" and set(cluster.worker_spec) - set(cluster.workers):
            with contextlib.suppress(Exception):  # it does not start now: it is tried again
                await cluster


async def _forget(cluster: "DaskCluster", name: Any) -> None:
    nanny = cluster.workers.pop(name, None)
    for address, worker in list(cluster.scheduler.workers.items()):
        if worker.name == name:
            await cluster.scheduler.remove_worker(address, stimulus_id="gone-for-good")
    if nanny is not None:
        with contextlib.suppress(Exception):  # it ends itself, or is of no use any more
            await asyncio.wait_for(nanny.close(), _GONE_AFTER)
