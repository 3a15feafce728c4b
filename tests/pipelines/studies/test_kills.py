"""Studies whose worker or driver is killed: every point done once, results as of an undisturbed run."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import sqlalchemy as sa
from killed_study import study as killed_study
from study_stages import POINT

from catalogs.catalog import Catalog
from catalogs.tables import artifacts
from pipelines.settings import settings
from pipelines.studies.driver import run_study
from pipelines.studies.results import result_table


def start(folder, counter_file, workers, count):
    here = Path(__file__).parent
    paths = os.pathsep.join([str(here), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": paths, "STUDY_COUNTER": str(counter_file)}
    command = [sys.executable, str(here / "killed_study.py"), str(folder), str(workers), str(count)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def lines_of(path):
    return path.read_text().splitlines() if path.exists() else []


@pytest.mark.xdist_group("workers")
def test_kills_of_a_worker_and_of_the_driver_are_survived(tmp_path):
    counter_file, count = tmp_path / "counter", 80
    first = start(tmp_path / "p", counter_file, 1, count)
    waited = time.monotonic() + 120
    while len(lines_of(counter_file)) < 20 and first.poll() is None and time.monotonic() < waited:
        time.sleep(0.01)
    family = psutil.Process(first.pid).children(recursive=True)
    workers = [p for p in family if any("point_process" in word for word in p.cmdline())]
    os.kill(psutil.Process(workers[0].pid).ppid(), signal.SIGKILL)  # the worker that owns a point process
    while len(lines_of(counter_file)) < 45 and first.poll() is None and time.monotonic() < waited:
        time.sleep(0.01)
    first.kill()
    first.communicate()
    psutil.wait_procs(family, timeout=30)
    assert not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in family)
    second = start(tmp_path / "p", counter_file, 1, count)
    errors = second.communicate(timeout=200)[1]
    assert second.returncode == 0, errors.decode()
    catalog = Catalog(tmp_path / "p")
    table = result_table(catalog, "killed")
    assert table["state"].tolist() == ["done"] * count
    with catalog.engine.connect() as connection:
        keys = list(connection.execute(sa.select(artifacts.c.key)).scalars())
    assert sorted(keys) == sorted(table["key"])
    clean = settings(project=tmp_path / "clean", workers=0, quiet=True)
    undisturbed = killed_study(count)
    run_study(undisturbed.model_copy(update={"config": {"sleep": 0.0}}), clean, stage=POINT)
    other = Catalog(tmp_path / "clean")
    wanted = result_table(other, "killed")
    assert table["a"].tolist() == wanted["a"].tolist()
    assert table["y"].tolist() == wanted["y"].tolist()
    catalog.close()
    other.close()
