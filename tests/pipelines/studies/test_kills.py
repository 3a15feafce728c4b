"""Studies whose worker, driver, scheduler or database server is killed: every point done once, results as of
an undisturbed run.
"""

import threading
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


def results(where):
    catalog = catalog_of(where)
    table = result_table(catalog, "killed")
    catalog.close()
    return table[["a", "y"]]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    where = settings(project=tmp_path_factory.mktemp("undisturbed"), workers=0, quiet=True)
    run_study(study(POINTS, SLEEP), where, stage=POINT)
    return results(where)


@pytest.fixture
def where(tmp_path):
    return settings(project=tmp_path / "p", workers=0, quiet=True)


@pytest.fixture
def begun(counter):
    """Do something in a thread as soon as so many points were begun, by whatever process."""
    threads = []

    def start(count, *calls):
        def watch():
            while len(counter()) < count and not over.is_set():
                time.sleep(0.005)
            for call in calls:
                call()

        threads.append(threading.Thread(target=watch))
        threads[-1].start()
        return threads[-1]

    over = threading.Event()
    yield start
    over.set()
    for thread in threads:
        thread.join()


def run(where, patience):
    return run_study(study(POINTS, SLEEP, patience), where, stage=POINT)


def check_end(where, undisturbed):
    assert wrong_things(where.project, where.database_url, ended=True) == []
    assert results(where).equals(undisturbed)


def test_a_killed_worker_and_a_killed_driver(where, undisturbed):
    driver = Driver(where.project, POINTS, SLEEP, 1)
    try:
        assert driver.wait_for(10)
        driver.workers()[0].kill()
        # all of the killed batch may be begun again
        assert driver.wait_for(driver.begun() + 15)
        family = driver.family()
    finally:
        driver.process.kill()
        driver.end()
    assert "Traceback" not in driver.log()
    psutil.wait_procs(family, timeout=30)
    assert not any(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in family)
    assert wrong_things(where.project, None) == []
    begun = driver.begun()
    outcome = run(where, 30.0)
    assert 0 < outcome.computed < POINTS < begun + outcome.computed
    check_end(where, undisturbed)


def test_a_killed_scheduler(tmp_path, where, undisturbed, begun):
    scheduler = Scheduler(tmp_path, tmp_path / "counter")
    try:
        scheduler.start()
        begun(8, scheduler.kill, scheduler.start)
        run(where.model_copy(update={"scheduler": scheduler.address}), 120.0)
        check_end(where, undisturbed)
    finally:
        scheduler.stop()


def test_a_killed_database_server(tmp_path, where, undisturbed, begun, counter):
    database = Database(tmp_path / "postgres")
    where = where.model_copy(update={"database_url": database.url})
    try:
        killer = begun(10, database.kill)
        with pytest.raises(InputError, match="the catalog's database server does not answer"):
            run(where, 0.5)
        killer.join()
        database.start()
        assert wrong_things(where.project, database.url) == []
        begun(len(counter()) + 15, database.kill, database.start)
        run(where, 90.0)
        check_end(where, undisturbed)
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


def test_a_scheduler_that_does_not_come_back_is_said(tmp_path):
    from distributed import LocalCluster

    from pipelines.studies import workers

    cluster = LocalCluster(
        n_workers=1, processes=False, protocol="tcp://", host="127.0.0.1", dashboard_address="127.0.0.1:0"
    )
    where = settings(project=tmp_path / "p", quiet=True, scheduler=cluster.scheduler_address)
    made = workers.Workers(where, 0.0, 0.5)
    try:
        future = made._cluster.client().submit(time.sleep, 0.0, workers="none", allow_other_workers=False)
        made._running[future] = "batch"
        future.add_done_callback(made._ended.put)
        cluster.close()
        with pytest.raises(InputError, match=r"was lost, and is not back with workers after 0.5 s: start bo"):
            made.next(60.0)
    finally:
        made.close()
