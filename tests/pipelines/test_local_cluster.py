"""Local workers that are gone for good, while the scheduler still knows them: others take their place,
and nobody waits for the dead.
"""

import contextlib
import os
import signal
import threading
import time

import psutil
import pytest

from pipelines import local_cluster
from pipelines.cluster import Cluster
from pipelines.settings import settings
from pipelines.studies.workers import Workers

pytestmark = pytest.mark.xdist_group("workers")


@pytest.fixture
def holders(tmp_path):
    """File of the processes that hold the connections of dead workers open."""
    path = tmp_path / "holders"
    yield path
    for pid in path.read_text().split() if path.exists() else ():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)


@pytest.fixture
def lost(tmp_path, monkeypatch, holders):
    """Workers whose only one ended its batch, was then killed with its report, and is not started again by
    its nanny; the scheduler still knows it. It takes how often to look for dead ones, and the patience.
    """
    made = []

    def start(look_every, patience):
        monkeypatch.setattr(local_cluster, "_LOOK_EVERY", look_every)
        monkeypatch.setattr(local_cluster, "_GONE_AFTER", 0.3)
        workers = Workers(settings(project=tmp_path, workers=1, quiet=True), 0.0, patience)
        made.append(workers)
        cluster = workers._cluster

        def run():
            """Leave a process that holds what its parent had open, its connections too."""
            import os
            import time

            child = os.fork()
            if child == 0:
                time.sleep(300)
                os._exit(0)
            with open(name, "a") as stream:
                stream.write(f"{child}\n")
            return "report"

        name = str(holders)
        future = cluster.client().submit(run, pure=False, retries=0)
        ended = threading.Event()
        workers._running[future] = "batch"
        future.add_done_callback(lambda future: (workers._ended.put(future), ended.set()))
        assert ended.wait(60)
        (nanny,) = cluster._cluster.dask.workers.values()
        nanny.close_gracefully()
        worker = psutil.Process(nanny.pid)
        worker.kill()
        while nanny.pid is not None:
            time.sleep(0.02)
        return workers

    yield start
    for one in made:
        one.close()


def next_ended(workers):
    """What ends next; a driver that waits without end fails the test."""
    found = []

    def wait():
        while not found:
            ended = workers.next(0.1)
            if ended is not None:
                found.append(ended)

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    thread.join(60)
    assert found, "the driver waits without end"
    return found[0]


def test_another_worker_takes_the_place_of_a_dead_one_that_the_scheduler_knows(lost):
    workers = lost(look_every=0.5, patience=1e6)
    cluster = workers._cluster._cluster
    assert next_ended(workers) == ("batch", "report")
    assert workers._cluster._cluster is cluster
    assert len(workers._cluster.workers()) == 1


def test_a_driver_without_any_worker_process_starts_all_again(lost, monkeypatch):
    monkeypatch.setattr("pipelines.studies.workers._ANSWER", 0.2)
    workers = lost(look_every=1e6, patience=0.0)
    assert (workers._cluster.processes(), len(workers._cluster.workers())) == (0, 1)
    before = workers._cluster._cluster
    assert next_ended(workers) == ("batch", "lost")
    assert workers._cluster._cluster is not before
    assert workers._cluster.processes() == 1


def test_a_worker_that_does_not_end_when_told_is_killed(tmp_path, monkeypatch):
    import asyncio

    monkeypatch.setattr(local_cluster, "_CLOSE_WITHIN", 0.2)
    made = local_cluster.LocalCluster(1, False, {})
    (nanny,) = made.dask.workers.values()
    worker = psutil.Process(nanny.pid)

    async def never(*_given, **_more):
        await asyncio.sleep(1e6)

    monkeypatch.setattr(nanny, "close", never)
    made.close()
    assert psutil.wait_procs([worker], timeout=30)[1] == []


def test_a_worker_computes_lazy_arrays_itself():
    def where():
        from dask.base import get_scheduler

        return get_scheduler().__module__

    cluster = Cluster(1, None, copies=True)
    try:
        assert cluster.client().submit(where, pure=False).result(timeout=60) == "dask.threaded"
    finally:
        cluster.close()
