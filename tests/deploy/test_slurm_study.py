"""A study whose workers are Slurm jobs: its results, the loss of a worker and of the driver (-m slurm)."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import xarray as xr
from certificates import make_certificates
from deploy_files import DEPLOY
from slurm_node import cluster_settings

from catalogs.catalog import Catalog
from kernels.errors import InputError
from pipelines.runner import Runner
from pipelines.settings import settings
from pipelines.studies.definition import load_study
from pipelines.studies.driver import run_study
from pipelines.studies.results import result_table
from stages.registry import STAGES

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(500), pytest.mark.xdist_group("workers")]

POINTS = 20
STUDY = f"""
name = "sizes"
stage = "simulate"
config = {{ notch_segments = 8 }}
inputs = {{ design = "bars" }}
design.method = "latin_hypercube"
design.samples = {POINTS}
design.parameters = {{ mesh_size = {{ low = 0.006, high = 0.02 }} }}
run = {{ batch_seconds = 0.3, lease_seconds = 20.0 }}
"""
JOBS = ["squeue", "--noheader", "--states=R", "--format=%A %j"]


def project(folder: Path) -> Path:
    """A new project with the design of two bars that the study takes as input."""
    with Runner(settings(project=folder, workers=0, quiet=True)) as runner:
        design = STAGES["design"]
        key = runner.step(design, design.config(train=1, test=1), {})
    catalog = Catalog(folder)
    catalog.name(key, "bars")
    catalog.close()
    return folder


def table(folder: Path):
    catalog = Catalog(folder)
    try:
        return result_table(catalog, "sizes")
    finally:
        catalog.close()


def wait_for(folder: Path, points: int, driver: subprocess.Popen, log: Path) -> None:
    """Until so many points are done; then the study is in its middle."""
    deadline = time.monotonic() + 200
    while True:
        try:
            done = int((table(folder)["state"] == "done").sum())
        except InputError:  # the study is not there yet
            done = 0
        if done >= points:
            assert done < POINTS, "the study ended before it could be disturbed"
            return
        assert driver.poll() is None, log.read_text()
        if time.monotonic() > deadline:
            driver.kill()
            pytest.fail(f"{done} points done\n{log.read_text()}")
        time.sleep(0.1)


class Site:
    """The study as a user of a Slurm site runs it: `sbatch run.sbatch cluster.toml study run study.toml`."""

    def __init__(self, environment: dict[str, str], folder: Path) -> None:
        make_certificates(folder / "certificates", ["127.0.0.1"])
        logs = str(folder / "logs")
        self.settings = cluster_settings(folder, log_directory=logs, interface="lo", wait=90)
        self.study, self.log = folder / "study.toml", folder / "driver.log"
        self.study.write_text(STUDY)
        self.environment = {
            **environment,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(DEPLOY.parent),
            "PUSHFORWARD_CHECKOUT": str(DEPLOY.parent),
        }

    def start(self, folder: Path) -> subprocess.Popen:
        options = ["--wait", "--mem=1G", "--cpus-per-task=1", f"--output={self.log}"]
        script = [str(DEPLOY / "slurm" / "run.sbatch"), self.settings]
        study = ["study", "run", str(self.study), "--project", str(folder), "--quiet"]
        return subprocess.Popen(["sbatch", *options, *script, *study], env=self.environment)

    def jobs(self, name: str) -> list[str]:
        """Numbers of the running jobs of that name."""
        listed = subprocess.run(JOBS, env=self.environment, capture_output=True, text=True, check=True)
        return [line.split()[0] for line in listed.stdout.splitlines() if line.split()[1] == name]

    def cancel(self, job: str) -> None:
        subprocess.run(["scancel", job], env=self.environment, check=True)


@pytest.fixture
def site(slurm, tmp_path):
    return Site(slurm, tmp_path)


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    """The project of an undisturbed run without Slurm."""
    folder = tmp_path_factory.mktemp("local")
    (folder / "study.toml").write_text(STUDY)
    where = settings(project=project(folder / "p"), workers=0, quiet=True)
    run_study(load_study(folder / "study.toml"), where)
    return folder / "p"


def assert_equal(folder: Path, local: Path) -> None:
    """Every point is done once, with the values of the local run."""
    found, wanted = table(folder), table(local)
    assert found["state"].tolist() == ["done"] * POINTS
    assert found["key"].tolist() == wanted["key"].tolist()
    one, other = Catalog(folder), Catalog(local)
    try:
        assert len(one.list(stage="simulate")) == POINTS
        for key in wanted["result"]:
            xr.testing.assert_equal(one.open(key).load(), other.open(key).load())
    finally:
        one.close()
        other.close()


def test_a_study_survives_the_loss_of_a_worker_job(site, local, tmp_path):
    folder = project(tmp_path / "p")
    with site.start(folder) as driver:
        wait_for(folder, 4, driver, site.log)
        workers = site.jobs("dask-worker")
        assert len(workers) == 2, site.log.read_text()
        site.cancel(workers[0])
        assert driver.wait(200) == 0, site.log.read_text()
    assert f"{POINTS} done; computed now: {POINTS}" in site.log.read_text()
    assert_equal(folder, local)
    assert site.jobs("dask-worker") == []


def test_a_study_goes_on_after_its_driver_job_was_cancelled(site, local, tmp_path):
    folder = project(tmp_path / "p")
    with site.start(folder) as driver:
        wait_for(folder, 4, driver, site.log)
        site.cancel(site.jobs("pushforward")[0])
        assert driver.wait(100) != 0
    done = int((table(folder)["state"] == "done").sum())
    assert 4 <= done < POINTS
    with site.start(folder) as driver:
        assert driver.wait(200) == 0, site.log.read_text()
    assert f"{POINTS} done; computed now: {POINTS - done}" in site.log.read_text()
    assert_equal(folder, local)
