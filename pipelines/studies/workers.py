"""Worker processes of a study: a local Dask cluster, or the one that PUSHFORWARD_SCHEDULER names."""

import queue
import time
from typing import TYPE_CHECKING, Any

from kernels import cuda_support
from kernels.errors import InputError
from pipelines.cluster import Cluster
from pipelines.settings import Settings
from pipelines.studies.batches import Batch, Report, end_processes, run_batch

if TYPE_CHECKING:
    from distributed import Client

_COUNT_AGAIN = 5.0
"""Seconds after which the workers of an outer scheduler are counted again."""


class Workers:
    """Runs batches on processes, or in this one where `settings.workers` is 0; `next` gives what ended.

    gpus: slots of the Dask resource GPU that a batch takes. Raises InputError where no worker offers them: a
    request that cannot be met would wait forever.
    """

    def __init__(self, settings: Settings, gpus: float) -> None:
        self._ended: queue.Queue[Any] = queue.Queue()
        self._running: dict[Any, Batch] = {}
        self._cluster: Cluster | None = None
        self._own: Client | None = None
        self._client: Client | None = None
        self._resources = {"GPU": gpus} if gpus else None
        address = getattr(settings, "scheduler", None)
        self._count, self._counted = max(settings.workers, 1), time.monotonic()
        if address is None and gpus and not cuda_support.available():
            raise InputError(
                f"run.gpus is {gpus:g}, and this machine has no GPU that numba-cuda can use: set gpus = 0, "
                "or name a scheduler by PUSHFORWARD_SCHEDULER whose workers have --resources GPU=1"
            )
        if settings.workers == 0 and address is None:
            return
        self._client = self._outer(address) if address else self._local(settings.workers)
        self._check_slots(gpus)
        self._count = self._slots()

    def _local(self, workers: int) -> "Client":
        import dask
        import distributed  # noqa: F401 - its defaults must be there before one of them is set for a while

        # of several GPUs in one machine every worker would take the first: those need workers of their own
        self._cluster = Cluster(1 if self._resources else workers)
        with dask.config.set({"distributed.worker.resources": self._resources or {}}):
            return self._cluster._started()

    def _outer(self, address: str) -> "Client":
        from distributed import Client

        try:
            self._own = Client(address, timeout=20)
        except (OSError, TimeoutError) as error:
            raise InputError(
                f"no Dask scheduler answers at {address} ({error}): start it, or unset PUSHFORWARD_SCHEDULER"
            ) from error
        if not self._own.scheduler_info(n_workers=-1)["workers"]:
            raise InputError(
                f"the scheduler {address} has no workers: start some with `dask worker {address}`"
            )
        return self._own

    def _check_slots(self, gpus: float) -> None:
        assert self._client is not None
        workers = self._client.scheduler_info(n_workers=-1)["workers"].values()
        offered = max((worker["resources"].get("GPU", 0) for worker in workers), default=0)
        if gpus > offered:
            raise InputError(
                f"run.gpus is {gpus:g}, and no worker offers more than {offered:g}: start workers with "
                f"`dask worker --resources GPU={gpus:g}`, or set gpus to what they have"
            )

    def _slots(self) -> int:
        assert self._client is not None
        workers = self._client.scheduler_info(n_workers=-1)["workers"].values()
        if self._resources:
            return sum(int(worker["resources"].get("GPU", 0) // self._resources["GPU"]) for worker in workers)
        return sum(worker["nthreads"] for worker in workers)

    @property
    def count(self) -> int:
        """Batches that run at once, at least 1; the workers of an outer scheduler come and go."""
        if self._own is not None and time.monotonic() - self._counted > _COUNT_AGAIN:
            self._count, self._counted = self._slots(), time.monotonic()
        return max(self._count, 1)

    @property
    def running(self) -> int:
        """Batches that have not ended."""
        return len(self._running)

    def submit(self, batch: Batch) -> None:
        """Start a batch; without processes it is computed when `next` is called."""
        if self._client is None:
            self._running[id(batch)] = batch
            self._ended.put(id(batch))
            return
        future = self._client.submit(run_batch, batch, pure=False, retries=0, resources=self._resources)
        self._running[future] = batch
        future.add_done_callback(self._ended.put)

    def next(self, seconds: float) -> tuple[Batch, Report | None] | None:
        """A batch that ended with its report; report None where its workers died again and again, None where
        nothing ended in that time.

        Raises InputError as `run_batch`.
        """
        from distributed.scheduler import KilledWorker

        try:
            ended = self._ended.get(timeout=seconds)
        except queue.Empty:
            return None
        batch = self._running.pop(ended)
        if self._client is None:
            return batch, run_batch(batch)
        try:
            return batch, ended.result()
        except KilledWorker:
            return batch, None

    def close(self) -> None:
        """Stop what runs and end the processes that are ours."""
        if self._client is not None and self._running:
            self._client.cancel(list(self._running), force=True)
        self._running.clear()
        end_processes()
        if self._own is not None:
            self._own.close()
        if self._cluster is not None:
            self._cluster.close()
