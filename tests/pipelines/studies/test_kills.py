"""Studies whose worker, driver, scheduler or database server is killed: every point done once, results as of
an undisturbed run.
"""

import os
import signal
import time

import psutil
import pytest
from killed_study import study
from study_cases import catalog_of
from study_processes import Database, Driver, Scheduler, wrong_things
from study_stages import POINT

from kernels.errors import InputError
from pipelines.settings import settings
from pipelines.studies.driver import run_study
from pipelines.studies.results import result_table

POINTS, SLEEP = 60, 0.02
pytestmark = pytest.mark.xdist_group("workers")


@pytest.fixture
def drive(tmp_path):
    started = []

    def start(**more):
        started.append(Driver(tmp_path / "p", POINTS, SLEEP, 1, **more))
        return started[-1]

    yield start
    for one in started:
        one.process.kill()
        one.process.wait()


def check_end(driver, tmp_path, url=None):
    assert driver.end() == 0, driver.log()
    assert "Traceback" not in driver.log()
    assert wrong_things(tmp_path / "p", url, ended=True) == []
    undisturbed = settings(project=tmp_path / "clean", workers=0, quiet=True)
    run_study(study(POINTS, 0.0), undisturbed, stage=POINT)
    tables = []
    for where in (settings(project=tmp_path / "p", database_url=url), undisturbed):
        catalog = catalog_of(where)
        tables.append(result_table(catalog, "killed"))
        catalog.close()
    assert tables[0][["a", "y"]].equals(tables[1][["a", "y"]])


def test_a_killed_worker_and_a_killed_driver(tmp_path, drive):
    first = drive()
    assert first.wait_for(10)
    family = first.family()
    os.kill(first.workers()[0].pid, signal.SIGKILL)
    assert first.wait_for(25)
    first.process.kill()
    first.end()
    psutil.wait_procs(family, timeout=30)
    assert not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in family)
    assert wrong_things(tmp_path / "p", None) == []
    check_end(drive(), tmp_path)


def test_a_killed_scheduler(tmp_path, drive):
    scheduler = Scheduler(tmp_path, tmp_path / "p.counter")
    try:
        scheduler.start()
        first = drive(PUSHFORWARD_SCHEDULER=scheduler.address, patience=0.5)
        assert first.wait_for(8)
        scheduler.kill()
        assert first.end(60) == 1
        assert "error: the scheduler tcp://127.0.0.1" in first.log()
        assert "is not back with workers after 0.5 s: start both again" in first.log()
        assert "Traceback" not in first.log()
        assert wrong_things(tmp_path / "p", None) == []
        scheduler.start()
        check_end(drive(PUSHFORWARD_SCHEDULER=scheduler.address), tmp_path)
    finally:
        scheduler.stop()


def test_a_killed_database_server(tmp_path, drive):
    database = Database(tmp_path / "postgres")
    try:
        first = drive(PUSHFORWARD_DATABASE_URL=database.url, patience=0.5)
        assert first.wait_for(10)
        database.kill()
        assert first.end(60) == 1
        assert "error: the catalog's database server does not answer" in first.log()
        assert "Traceback" not in first.log()
        database.start()
        assert wrong_things(tmp_path / "p", database.url) == []
        second = drive(PUSHFORWARD_DATABASE_URL=database.url, patience=90.0)
        assert second.wait_for(25)
        database.kill()
        database.start()
        check_end(second, tmp_path, database.url)
    finally:
        database.stop()


def test_a_scheduler_whose_workers_are_gone_is_said(tmp_path):
    from distributed import LocalCluster

    from pipelines.studies import workers

    with LocalCluster(
        n_workers=1,
        threads_per_worker=2,
        processes=False,
        protocol="tcp://",
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
    ) as cluster:
        where = settings(project=tmp_path / "p", quiet=True, scheduler=cluster.scheduler_address)
        made = workers.Workers(where, 0.0, 0.0)
        assert made.count == 2
        with pytest.raises(InputError, match=r"run.gpus is 1, and no worker offers more than 0"):
            workers.Workers(where, 1.0, 0.0)
        cluster.scale(0)
        while made._cluster.workers():
            time.sleep(0.05)
        assert made.next(0.1) is None
        with pytest.raises(InputError, match="has had no workers for 0 s: start some with `dask worker tcp"):
            made.next(0.1)
        made.close()
