"""SIGKILL and SIGTERM on the pipeline as people run it, with Prefect and worker processes: nothing is lost,
nothing computed twice, nobody left.
"""

import contextlib
import random
import signal
import sqlite3
import time

import numpy as np
import pytest
from bars import SIMULATED, pipeline, simulated_toml
from surrogate_process import Run, created, parts

from catalogs.catalog import Catalog
from pipelines.interrupts import LINE


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Keys by stage, and datasets by stage, of a run in this process."""
    project = tmp_path_factory.mktemp("undisturbed")
    keys = {stage: key for stage, key in pipeline(SIMULATED, project).items() if key}
    catalog = Catalog(project)
    datasets = {stage: catalog.open(key).load() for stage, key in keys.items()}
    catalog.close()
    return keys, datasets


def start(project):
    return Run(project, simulated_toml())


def wait_for(run, reached):
    deadline = time.monotonic() + 300
    while not reached() and run.driver.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.2 * random.Random(7).random())
    assert run.driver.poll() is None, run.log()


def last_state(project):
    """State of the last flow run, as the run's own Prefect server kept it."""
    with contextlib.closing(sqlite3.connect(project / ".prefect" / "prefect.db")) as database:
        return database.execute("SELECT state_type FROM flow_run ORDER BY created DESC").fetchone()[0]


def check_what_is_visible(project, datasets):
    """Every row has its data, whole, and they are those of the undisturbed run."""
    catalog = Catalog(project)
    for row in catalog.list().itertuples():
        dataset = catalog.open(row.key).load()
        for name, variable in datasets.get(row.stage, dataset).variables.items():
            np.testing.assert_array_equal(
                dataset[name].values, variable.values, err_msg=f"{row.stage}.{name}"
            )
    for part in parts(project):
        catalog.load_part(part)
    catalog.close()


@pytest.mark.xdist_group("workers")
def test_a_run_that_is_killed_twice_ends_as_an_undisturbed_one(tmp_path, undisturbed):
    keys, datasets = undisturbed
    project = tmp_path / "p"

    run = start(project)
    wait_for(run, lambda: len(parts(project)) >= 3)
    run.signal(signal.SIGKILL)
    assert run.wait() == -signal.SIGKILL
    assert run.seconds_until_alone() < 60.0, run.others()
    check_what_is_visible(project, datasets)
    solved = parts(project)
    assert len(solved) >= 3

    run = start(project)
    wait_for(run, lambda: "reduce: running" in run.log())
    run.signal(signal.SIGTERM, group=True)
    assert run.wait() == 128 + signal.SIGTERM
    assert run.log().endswith(LINE)
    assert "Traceback" not in run.log()
    assert run.seconds_until_alone() < 60.0, run.others()
    check_what_is_visible(project, datasets)
    assert solved.items() <= parts(project).items()
    solved, artifacts = parts(project), created(project)
    assert {keys[stage] for stage in ("design", "simulate", "common_mesh", "morph")} <= set(artifacts)

    run = start(project)
    assert run.wait() == 0, run.log()
    assert run.seconds_until_alone() < 60.0, run.others()
    check_what_is_visible(project, datasets)
    assert solved.items() <= parts(project).items()
    assert artifacts.items() <= created(project).items()
    assert set(keys.values()) <= set(created(project))
    assert len(created(project)) == len(keys) + 2, "besides these the report and its provenance"
    assert last_state(project) == "COMPLETED"
