"""Worker processes of a study: a local Dask cluster, or the one that PUSHFORWARD_SCHEDULER names."""

import contextlib
import queue
import time
from collections import deque
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Any, Literal

from kernels import cuda_support
from kernels.errors import InputError
from pipelines.cluster import Cluster
from pipelines.progress import say
from pipelines.settings import Settings
from pipelines.studies.batches import Batch, Report, end_processes, run_batch

if TYPE_CHECKING:
    from distributed import Future

Lost = Literal["died", "lost"]
"""Why a batch has no report: its workers died again and again, or the scheduler went away with it."""

_ANSWER = 5.0
"""Seconds to wait for the report of a batch that ended: it may have been lost with its worker, and the batch
waits for another worker then.
"""

_COUNT_AGAIN = 5.0
"""Seconds after which the workers of a given scheduler are counted again."""


class Workers:
    """Runs batches on processes, or in this one where `settings.workers` is 0; `next` gives what ended.

    gpus: slots of the Dask resource GPU that a batch takes. patience: seconds to wait for a scheduler that
    was lost, or for workers where there are none any more. Raises InputError where no worker offers the
    slots: a request that cannot be met would wait forever.
    """

    def __init__(self, settings: Settings, gpus: float, patience: float) -> None:
        self._ended: queue.Queue[Any] = queue.Queue()
        self._running: dict[Any, Batch] = {}
        self._lost: deque[Batch] = deque()
        self._cluster: Cluster | None = None
        self._resources = {"GPU": gpus} if gpus else {}
        self._gpus, self._settings, self._patience = gpus, settings, patience
        self._idle_since: float | None = None
        self._slots, self._counted = max(settings.workers, 1), time.monotonic()
        if settings.scheduler is None and gpus and not cuda_support.available():
            raise InputError(
                f"run.gpus is {gpus:g}, and this machine has no GPU that numba-cuda can use: set gpus = 0, "
                "or name a scheduler by PUSHFORWARD_SCHEDULER whose workers have --resources GPU=1"
            )
        if settings.workers == 0 and settings.scheduler is None:
            return
        # of several GPUs in one machine every worker would take the first: those need workers of their own
        local = 1 if gpus else settings.workers
        self._cluster = Cluster(local, settings.scheduler, resources=self._resources)
        try:
            self._slots = self._offered(self._cluster)
        except BaseException:
            self._cluster.close()
            raise

    def _offered(self, cluster: Cluster) -> int:
        workers = cluster.workers()
        if not self._gpus:
            return sum(worker["nthreads"] for worker in workers)
        slots = [worker["resources"].get("GPU", 0) for worker in workers]
        offered = max(slots, default=0)
        if self._gpus > offered:
            raise InputError(
                f"run.gpus is {self._gpus:g}, and no worker offers more than {offered:g}: start workers with "
                f"`dask worker --resources GPU={self._gpus:g}`, or set gpus to what they have"
            )
        return sum(int(one // self._gpus) for one in slots)

    @property
    def count(self) -> int:
        """Batches that run at once, at least 1; the workers of a given scheduler come and go."""
        old = time.monotonic() - self._counted > _COUNT_AGAIN
        if self._cluster is not None and self._settings.scheduler is not None and old:
            self._counted = time.monotonic()
            with contextlib.suppress(OSError, InputError):  # what is wrong `next` says
                self._slots = self._offered(self._cluster)
        return max(self._slots, 1)

    @property
    def running(self) -> int:
        """Batches that have not ended."""
        return len(self._running) + len(self._lost)

    def submit(self, batch: Batch) -> None:
        """Start a batch; without processes it is computed when `next` is called."""
        if self._cluster is None:
            self._running[id(batch)] = batch
            self._ended.put(id(batch))
            return
        future = self._cluster.client().submit(
            run_batch, batch, pure=False, retries=0, resources=self._resources or None
        )
        self._running[future] = batch
        future.add_done_callback(self._ended.put)

    def next(self, seconds: float) -> tuple[Batch, Report | Lost] | None:
        """A batch that ended with its report, or why it has none; None where nothing ended in that time.

        Raises InputError as `run_batch`, and where a lost scheduler, or workers, do not come back.
        """
        from distributed.scheduler import KilledWorker

        if self._lost:
            return self._lost.popleft(), "lost"
        try:
            ended = self._ended.get(timeout=seconds)
        except queue.Empty:
            self._check_workers()
            return None
        batch = self._running.pop(ended, None)
        if batch is None:  # of a scheduler that was lost
            return None
        if self._cluster is None:
            return batch, run_batch(batch)
        try:
            report = ended.result(timeout=_ANSWER)
        except KilledWorker:
            return batch, "died"
        except (CancelledError, OSError) as error:
            if ended.status == "error":  # of the batch itself
                raise
            if isinstance(error, TimeoutError):
                self._running[ended] = batch
                self._ended.put(ended)
                self._check_workers()
                return None
            self._reconnect(self._cluster)
            return batch, "lost"
        self._idle_since = None
        return batch, report

    def _check_workers(self) -> None:
        """Start others where all local workers are gone for good; raise InputError where a given scheduler
        has had none for too long: batches would wait forever.
        """
        if self._cluster is None:
            return
        try:
            # a scheduler may know workers whose processes are dead
            if self._cluster.processes() != 0 and self._cluster.workers():
                self._idle_since = None
                return
        except OSError:  # the scheduler is being lost, of which its batches will tell
            return
        if self._idle_since is None:
            self._idle_since = time.monotonic()
            say(f"no workers are left: waiting {self._patience:g} s for others", self._settings.quiet)
        elif time.monotonic() - self._idle_since > self._patience:
            if self._settings.scheduler is None:
                self._reconnect(self._cluster)
                return
            raise InputError(
                f"the scheduler {self._settings.scheduler} has had no workers for {self._patience:g} s: "
                f"start some with `dask worker {self._settings.scheduler}`, and the same command; what is "
                "finished is kept"
            )

    def _reconnect(self, cluster: Cluster) -> None:
        self._lost.extend(self._running.values())
        self._running.clear()
        self._idle_since = None
        address, quiet = self._settings.scheduler, self._settings.quiet
        if address is not None:
            say(f"the scheduler {address} was lost: waiting {self._patience:g} s for it", quiet)
        cluster.reconnect(self._patience)
        self._slots = self._offered(cluster)
        who = "workers were started again" if address is None else "the scheduler is back"
        say(f"{who}, with room for {self._slots} batches", quiet)

    def close(self) -> None:
        """Stop what runs and end the processes that are ours."""
        end_processes()
        if self._cluster is not None:
            running: list[Future] = list(self._running)
            self._cluster.cancel(running)
            self._cluster.close()
        self._running.clear()
