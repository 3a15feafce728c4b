"""Worker processes of a run: a local Dask cluster that starts with the first work and stays to the end."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Any

from kernels.errors import InputError
from pipelines.local_cluster import LocalCluster
from pipelines.parts import PartJob, compute_part, prepare_worker

if TYPE_CHECKING:
    from distributed import Client, Future


class Cluster:
    """Runs part jobs on `workers` processes, in this process where that is 0, or on the workers of a Dask
    scheduler where its address is given. `threads`: tasks that run at once; `resources`: what each local
    worker offers. copies: workers are copies of a process that has imported the stages, see `fork_server`.
    """

    def __init__(
        self, workers: int, scheduler: str | None = None, copies: bool = False,
        resources: Mapping[str, float] | None = None,
    ) -> None:  # fmt: skip
        self._workers, self._scheduler, self._copies = workers, scheduler, copies
        self._resources = dict(resources or {})
        self.threads = workers
        self._cluster: LocalCluster | None = None
        self._client: Client | None = None

    def map(
        self, jobs: Iterable[PartJob | int], inline: Callable[[PartJob], None]
    ) -> Iterator[tuple[str, int]]:
        """Run jobs as they come; yield (part key, samples) of each as it ends, ('', samples) for a number
        among the jobs.

        Raises the first error of a job, after the jobs that run have ended; InputError where workers keep
        dying.
        """
        if self._workers == 0 and self._scheduler is None:
            for job in jobs:
                if isinstance(job, int):
                    yield "", job
                else:
                    inline(job)
                    yield job.part, len(job.samples)
            return
        yield from self._map(jobs)

    def _map(self, jobs: Iterable[PartJob | int]) -> Iterator[tuple[str, int]]:
        from distributed import as_completed

        running: Any = None
        samples: dict[str, int] = {}
        try:
            for job in jobs:
                if isinstance(job, int):
                    yield "", job
                    continue
                client = self.client()
                future = client.submit(
                    compute_part, job, key=f"{job.stage.name}-{job.part}", pure=False, retries=0
                )
                samples[str(future.key)] = len(job.samples)
                if running is None:
                    running = as_completed([future], loop=client.loop)
                else:
                    running.add(future)
                if len(samples) >= 4 * self.threads:
                    yield self._finish(next(running), samples)
            while samples:
                yield self._finish(next(running), samples)
        except BaseException:
            if samples:
                self.cancel(list(running.futures))
            raise

    def _finish(self, future: Any, samples: dict[str, int]) -> tuple[str, int]:
        from distributed.scheduler import KilledWorker

        count = samples.pop(str(future.key))
        try:
            return future.result(), count
        except (CancelledError, OSError) as error:
            if future.status == "error":  # of the job itself
                raise
            raise InputError(
                f"the scheduler {self._scheduler} was lost: start it and its workers again, and the same "
                "command; finished parts are kept"
            ) from error
        except KilledWorker as error:
            name = future.key.split("-")[0]
            raise InputError(
                f"stage {name!r}: the process of one part died again and again, most often because "
                "memory ran out: use "
                "fewer workers (--workers 1) or smaller cases; finished parts are kept"
            ) from error

    def client(self, timeout: float = 20.0) -> "Client":
        """Client of the workers, which are started, or reached, at the first call. It is not the default of
        this process: what its own stages load would go through the workers, over a socket, three times slower
        than from the file. `timeout`: seconds in which a scheduler has to answer.

        Raises InputError where workers cannot be started, or no scheduler with workers answers.
        """
        if self._client is None:
            import dask
            import distributed  # noqa: F401 - its defaults must be there before one of them is set

            _quiet()
            dask.config.set({"distributed.worker.daemon": False, "distributed.scheduler.allowed-failures": 3})
            self._client = self._local() if self._scheduler is None else _remote(self._scheduler, timeout)
            self.threads = sum(worker["nthreads"] for worker in self.workers())
        return self._client

    def workers(self) -> list[dict[str, Any]]:
        """What the scheduler says of its workers, `nthreads` and `resources` among it."""
        return list(self.client().scheduler_info(n_workers=-1)["workers"].values())

    def reconnect(self, seconds: float) -> None:
        """Connect again to a scheduler that was lost, when it is back with workers; start local workers anew.

        Raises InputError where it is not within that time.
        """
        deadline = time.monotonic() + seconds
        self.close()
        while True:
            try:
                self.client(timeout=max(1.0, min(20.0, deadline - time.monotonic())))
                return
            except InputError as error:
                if time.monotonic() > deadline:
                    raise InputError(
                        f"the scheduler {self._scheduler} was lost, and is not back with workers after "
                        f"{seconds:g} s: start both again, then the same command; what is finished is kept"
                    ) from error
            time.sleep(0.5)

    def cancel(self, futures: Sequence["Future"]) -> None:
        """Stop tasks, where a scheduler is there to be told."""
        if self._client is not None and futures and self._client.status == "running":
            self._client.cancel(list(futures), force=True)

    def _local(self) -> "Client":
        from distributed import Client

        self._cluster = LocalCluster(self._workers, self._copies, self._resources)
        client = Client(self._cluster.dask, set_as_default=False)
        client.register_worker_callbacks(prepare_worker)  # also of those that are started again
        return client

    def processes(self) -> int | None:
        """Local worker processes that live; None where the workers are those of a given scheduler."""
        return None if self._cluster is None else self._cluster.processes()

    def close(self) -> None:
        """End the worker processes."""
        if self._client is not None:
            self._client.close(timeout=5)
        if self._cluster is not None:
            self._cluster.close()
        self._client = self._cluster = None


def _quiet() -> None:
    """Nothing of Dask's log on the terminal: what matters to the user is said as an error."""
    import logging

    for name in [one for one in logging.root.manager.loggerDict if one.split(".")[0] == "distributed"]:
        logging.getLogger(name).setLevel(logging.CRITICAL)


def _remote(address: str, timeout: float) -> "Client":
    """Client of a scheduler that has workers; raises InputError where there is none, or it has none."""
    from distributed import Client

    client = None
    try:
        client = Client(address, timeout=timeout, set_as_default=False)
        workers = client.scheduler_info(n_workers=-1)["workers"]
        client.run(prepare_worker)
    except (OSError, ValueError) as error:
        if client is not None:
            client.close(timeout=5)
        raise InputError(
            f"no Dask scheduler answers at {address} ({error}): start it, or unset PUSHFORWARD_SCHEDULER"
        ) from error
    if not workers:
        client.close()
        raise InputError(
            f"the scheduler {address} has no workers: start some with `dask worker {address}`, on machines "
            "that see the project folder or its object store"
        )
    return client
