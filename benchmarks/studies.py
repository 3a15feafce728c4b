"""Parameter studies: cost of a trivial point beside plain Dask, memory of the driver, extension, kills.

python benchmarks/studies.py --points 10000 --memory 100000 --extend --kills 20
"""

import argparse
import os
import random
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandera.xarray as pa
import psutil
import sqlalchemy as sa
import xarray as xr

from catalogs.catalog import Catalog
from catalogs.tables import artifacts
from pipelines.cluster import Cluster
from pipelines.settings import Settings, settings
from pipelines.studies.definition import Definition, parse_study
from pipelines.studies.driver import run_study
from pipelines.studies.results import result_table
from stages.base import Stage, StageConfig


class TrivialConfig(StageConfig):
    a: float = 0.0
    sleep: float = 0.0


def trivial(config: TrivialConfig) -> xr.Dataset:
    time.sleep(config.sleep)
    return xr.Dataset({"y": ((), config.a**2, {"units": "1"})})


TRIVIAL = Stage("trivial", 1, TrivialConfig, {}, pa.DatasetSchema(data_vars={}), trivial)


def study(name: str, points: int, sleep: float = 0.0, keep: str = "all") -> Definition:
    design = {"method": "random", "samples": points, "parameters": {"a": {"low": 0.0, "high": 1.0}}}
    config = {"sleep": sleep}
    return parse_study({"name": name, "config": config, "design": design, "run": {"keep": keep}})


def plain_batch(values: list[float]) -> list[float]:
    """What plain Dask does for the same batch: the stage's function, the number sent back."""
    return [float(trivial(TrivialConfig(a=value))["y"]) for value in values]


def plain_dask(points: int, workers: int, batch: int) -> float:
    """Seconds of plain Dask for the same batches, its cluster started before."""
    cluster = Cluster(workers)
    client = cluster.client()
    client.gather([client.submit(plain_batch, [float(i)], pure=False) for i in range(workers)])
    values = np.random.default_rng(0).random(points).tolist()
    start = time.perf_counter()
    batches = [values[i : i + batch] for i in range(0, points, batch)]
    client.gather([client.submit(plain_batch, one, pure=False) for one in batches])
    seconds = time.perf_counter() - start
    cluster.close()
    return seconds


def where(folder: Path, workers: int, quiet: bool = True) -> Settings:
    return settings(project=folder, workers=workers, quiet=quiet)


def costs(points: int, workers: int, times: int) -> None:
    plain = statistics.median(plain_dask(points, workers, 500) for _ in range(times))
    whole = []
    for _ in range(times):
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            run_study(study("s", points), where(Path(folder), workers), stage=TRIVIAL)
            whole.append(time.perf_counter() - start)
    ours = statistics.median(whole)
    print(f"{points} trivial points, {workers} workers, median of {times}")
    print(f"  plain Dask, same batches {1e3 * plain / points:8.3f} ms a point")
    print(f"  study, with all starts   {1e3 * ours / points:8.3f} ms a point")
    print(f"  over plain Dask          {1e3 * (ours - plain) / points:8.3f} ms a point (bar: 3)")


def memory(points: int, workers: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        outcome = run_study(study("s", points, keep="metrics"), where(Path(folder), workers), stage=TRIVIAL)
        seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{points} points: {outcome.counts['done']} done, {seconds:.0f} s; driver {peak:.2f} GiB (bar: 1)")


def extension(workers: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        first = run_study(study("s", 1000), where(Path(folder), workers), stage=TRIVIAL)
        second = run_study(study("s", 1100), where(Path(folder), workers), stage=TRIVIAL)
    print(f"1000 points, then 1100: computed {first.computed}, then {second.computed} (bar: 100)")


def driver_process(folder: Path, points: int, workers: int, sleep: float) -> subprocess.Popen[bytes]:
    command = [sys.executable, __file__, "--drive", str(folder), str(points), str(workers), str(sleep)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def done(folder: Path) -> int:
    if not (folder / "catalog.db").is_file():
        return 0
    engine = sa.create_engine(f"sqlite:///{folder / 'catalog.db'}")
    try:
        with engine.connect() as connection:
            return int(connection.execute(sa.text("SELECT count(*) FROM artifacts")).scalar() or 0)
    except sa.exc.OperationalError:
        return 0
    finally:
        engine.dispose()


def victims(driver: psutil.Process, kind: str) -> list[psutil.Process]:
    """Processes of one kind: the driver (with it goes the scheduler), Dask workers, processes of points."""
    if kind == "driver":
        return [driver]
    points = [p for p in driver.children(recursive=True) if any("point_process" in w for w in p.cmdline())]
    if kind == "point process":
        return points
    return [parent for p in points if (parent := p.parent()) is not None and parent.pid != driver.pid]


def kills(count: int, points: int, workers: int, sleep: float, seed: int) -> None:
    chance, struck = random.Random(seed), {"driver": 0, "worker": 0, "point process": 0}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "killed"
        process = driver_process(folder, points, workers, sleep)
        seen, starts = 0, 1
        while sum(struck.values()) < count:
            before = done(folder)
            while process.poll() is None and done(folder) <= before:
                time.sleep(0.05)
            time.sleep(chance.random())
            if process.poll() is not None:
                print("  the study ended before all kills: more --kill-points are needed")
                break
            kind = chance.choice(list(struck))
            try:
                chance.choice(victims(psutil.Process(process.pid), kind)).send_signal(signal.SIGKILL)
            except (psutil.Error, IndexError):
                continue
            struck[kind] += 1
            now = done(folder)
            assert now >= seen, "a published point was lost"
            seen = now
            if kind == "driver":
                process.communicate()
                process = driver_process(folder, points, workers, sleep)
                starts += 1
        process.communicate()
        last = driver_process(folder, points, workers, sleep)
        errors = last.communicate()[1].decode()
        assert last.returncode == 0, errors
        catalog, clean = Catalog(folder), Path(name) / "clean"
        table = result_table(catalog, "s")
        with catalog.engine.connect() as connection:
            keys = sorted(connection.execute(sa.select(artifacts.c.key)).scalars())
        run_study(study("s", points), where(clean, workers), stage=TRIVIAL)
        other = Catalog(clean)
        wanted = result_table(other, "s")
        print(f"{sum(struck.values())} kills {struck}, {starts} starts of the driver, {points} points")
        print(f"  done: {int((table['state'] == 'done').sum())}; each once: {keys == sorted(table['key'])}")
        print(f"  results equal to an undisturbed run: {table['y'].equals(wanted['y'])}")
        print(f"  points computed more than once or failed once: {int((table['attempts'] > 1).sum())}")
        catalog.close()
        other.close()


def drive(folder: str, points: str, workers: str, sleep: str) -> None:
    one = study("s", int(points), float(sleep))
    one = one.model_copy(update={"run": one.run.model_copy(update={"batch_seconds": 0.5})})
    run_study(one, where(Path(folder), int(workers)), stage=TRIVIAL, retry_failed=True)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    parser = argparse.ArgumentParser()
    parser.add_argument("--points", type=int)
    parser.add_argument("--memory", type=int)
    parser.add_argument("--extend", action="store_true")
    parser.add_argument("--kills", type=int)
    parser.add_argument("--kill-points", type=int, default=3000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--drive", nargs=4)
    given = parser.parse_args()
    if given.drive:
        drive(*given.drive)
    if given.points:
        costs(given.points, given.workers, given.times)
    if given.memory:
        memory(given.memory, given.workers)
    if given.extend:
        extension(given.workers)
    if given.kills:
        kills(given.kills, given.kill_points, given.workers, 0.02, given.seed)
