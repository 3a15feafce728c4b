"""Studies whose disk fills up or cannot be written: one clear error, a catalog as it was, and they go on."""

import subprocess

import pytest
import sqlalchemy as sa
from study_cases import catalog_of, study
from study_stages import POINT

from catalogs import studies, study_queries
from catalogs.catalog import Catalog
from catalogs.failures import StorageError, outlasted
from kernels.errors import InputError
from pipelines.settings import settings
from pipelines.studies.driver import run_study


def states(catalog):
    return study_queries.counts(catalog.engine, studies.get(catalog.engine, "s").number)


@pytest.fixture
def small_disk(tmp_path):
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting a small file system needs root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize("run", [{}, {"timeout": 200.0}], ids=["in this process", "in a process of points"])
def test_a_full_disk_fails_no_point_and_the_study_goes_on(small_disk, run):
    where = settings(project=small_disk / "p", workers=0, quiet=True)
    one = study(method="grid", parameters={"n": list(range(8))}, config={"noise": 200_000}, run=run)
    with pytest.raises(InputError, match=r"the disk of .* is full: .* was stopped and the catalog is as it"):
        run_study(one, where, stage=POINT)
    catalog = catalog_of(where)
    before = states(catalog)
    assert before["failed"] == 0
    assert before["done"] < 8
    assert len(catalog.list()) <= before["done"] + 1  # one may be there whose point could not be marked
    for key in catalog.list()["key"]:
        catalog.open(key).load()
    catalog.close()
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    assert run_study(one, where, stage=POINT).counts["done"] == 8
    catalog = catalog_of(where)
    assert len(catalog.list()) == 8
    assert list(catalog.private.iterdir()) == []
    catalog.close()


def test_a_store_that_became_read_only_is_refused_until_it_is_not(small_disk):
    where = settings(project=small_disk / "p", workers=0, quiet=True)
    one = study(method="grid", parameters={"n": [1, 2, 3]}, config={"noise": 20_000})
    first = study("before", method="grid", parameters={"n": [1]}, config={"noise": 20_000})
    run_study(first, where, stage=POINT)
    store = str(where.project / "store")
    subprocess.run(["mount", "--bind", store, store], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", store], check=True)
        with pytest.raises(
            InputError, match=r"cannot be written .*Read-only file system.* catalog is as it was"
        ):
            run_study(one, where, stage=POINT)
    finally:
        subprocess.run(["umount", "-l", store], check=True)
    assert run_study(one, where, stage=POINT).counts["done"] == 3


@pytest.mark.parametrize("broken", ["catalogs.catalog.Catalog.publish", "catalogs.study_results._mark_done"])
@pytest.mark.parametrize(("code", "message"), [(28, "is full"), (30, "cannot be written")])
def test_a_write_that_fails_in_the_middle_leaves_the_points_open(local, monkeypatch, broken, code, message):
    one = study(method="grid", parameters={"a": [1.0, 2.0, 3.0], "size": [0, 20_000]})
    with monkeypatch.context() as patch:

        def fail(*_given):
            raise OSError(code, "no")

        patch.setattr(broken, fail)
        with pytest.raises(InputError, match=message):
            run_study(one, local, stage=POINT)
    catalog = catalog_of(local)
    found = states(catalog)
    assert (found["failed"], found["running"], found["pending"] + found["done"]) == (0, 0, 6)
    assert found["done"] <= 1  # of the first batch
    assert run_study(one, local, stage=POINT).counts["done"] == 6
    assert len(catalog.list()) == 6
    catalog.close()


def test_a_server_that_is_away_is_waited_for(tmp_path, postgres):
    url = postgres()
    catalog = Catalog(tmp_path, url)
    other = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    calls = []

    def call():
        with catalog.engine.connect() as connection:
            calls.append(1)
            if len(calls) == 1:  # as a server does that is shut down
                own = connection.execute(sa.text("SELECT pg_backend_pid()")).scalar()
                with other.connect() as killer:
                    killer.execute(sa.text("SELECT pg_terminate_backend(:own)"), {"own": own})
            return connection.execute(sa.text("SELECT 7")).scalar()

    assert outlasted("testing", tmp_path, 30.0, call) == 7
    assert len(calls) == 2
    calls.clear()
    with pytest.raises(StorageError, match=r"database server does not answer while testing .* is kept"):
        outlasted("testing", tmp_path, 0.0, call)
    with pytest.raises(StorageError, match=r"does not answer while testing .*other"):
        outlasted(
            "testing", tmp_path, 30.0, lambda: _raise(sa.exc.OperationalError("", {}, Exception("other")))
        )
    catalog.close()
    other.dispose()


def _raise(error):
    raise error
