"""A study whose results go to an object store, against the HTTP server of moto: the numbers of the folder,
also when its driver was killed.
"""

import pytest
from killed_study import study
from study_cases import catalog_of
from study_processes import Driver, wrong_things
from study_stages import POINT

from pipelines.settings import settings
from pipelines.studies.driver import run_study
from pipelines.studies.results import result_table

POINTS, SLEEP = 60, 0.02
pytestmark = pytest.mark.xdist_group("workers")


def run(where):
    outcome = run_study(study(POINTS, SLEEP), where, stage=POINT)
    catalog = catalog_of(where)
    table = result_table(catalog, "killed")
    large = [
        catalog.open(key).load()["big"]
        for key, size in zip(table["key"], table["size"], strict=True)
        if size > 0
    ]
    catalog.close()
    return outcome, table[["a", "y"]], large


def test_results_in_an_object_store_are_those_of_the_folder_after_a_killed_driver(
    tmp_path, bucket, monkeypatch
):
    folder = settings(project=tmp_path / "folder", workers=0, quiet=True)
    _, wanted, large = run(folder)
    assert len(large) == POINTS / 10
    monkeypatch.setenv("PUSHFORWARD_STORE_URL", bucket)
    where = settings(project=tmp_path / "p", workers=0, quiet=True)
    driver = Driver(where.project, POINTS, SLEEP, 0)
    assert driver.wait_for(25)
    driver.process.kill()
    driver.end()
    assert "Traceback" not in driver.log()
    assert wrong_things(where.project, None, store=bucket) == []
    outcome, found, stored = run(where)
    assert outcome.counts["done"] == POINTS
    assert 0 < outcome.computed < POINTS
    assert found.equals(wanted)
    assert all(one.equals(other) for one, other in zip(stored, large, strict=True))
    assert wrong_things(where.project, None, ended=True, store=bucket) == []
    assert not (where.project / "store").exists()
