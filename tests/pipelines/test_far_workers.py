"""A stage that is cut, as a team runs it: a Dask scheduler, data in an object store, rows in PostgreSQL."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from fake_stages import PAIRS, SOURCE, TOTAL, SourceConfig, SumConfig, WorkConfig

from kernels.errors import InputError
from pipelines.runner import Runner
from pipelines.settings import settings


@pytest.fixture
def scheduler(bucket, tmp_path):
    """Address of a scheduler with two workers, in a process of their own that works in another folder."""
    here = Path(__file__).resolve()
    paths = os.pathsep.join([str(here.parent), str(here.parents[2])])
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    code = (
        "from distributed import LocalCluster\n"
        "if __name__ == '__main__':\n"
        "    with LocalCluster(n_workers=2, threads_per_worker=1, host='127.0.0.1', memory_limit=0,"
        " dashboard_address='127.0.0.1:0', processes=False, protocol='tcp://') as cluster:\n"
        "        print(cluster.scheduler_address, flush=True)\n"
        "        input()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": paths},
        cwd=elsewhere,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    yield process.stdout.readline().strip()
    process.kill()
    process.communicate()


def surrogate_like(runner):
    """A set of meshes, a stage that is cut, one over all: keys, and the datasets."""
    meshes = runner.step(SOURCE, SourceConfig(samples=8), {})
    worked = runner.step(PAIRS, WorkConfig(power=1.5), {"meshes": meshes})
    total = runner.step(TOTAL, SumConfig(), {"worked": worked})
    return [(key, runner.catalog.open(key).load()) for key in (meshes, worked, total)]


@pytest.mark.xdist_group("workers")
@pytest.mark.timeout(180)
def test_far_workers_give_what_a_folder_gives(scheduler, bucket, postgres, tmp_path, monkeypatch):
    monkeypatch.setenv("FAKE_COUNTER", str(tmp_path / "counter"))
    monkeypatch.setattr("catalogs.catalog.SMALL_BYTES", -1)  # else so little would lie in the database
    for name, value in {"DATABASE_URL": postgres(), "STORE_URL": bucket, "SCHEDULER": scheduler}.items():
        monkeypatch.setenv(f"PUSHFORWARD_{name}", value)
    with Runner(settings(project=tmp_path / "far", quiet=True)) as runner:
        far = surrogate_like(runner)
        assert runner.catalog.data.remote
        with pytest.raises(InputError, match="on sample case_0, case_1, case_2: the mesh is folded"):
            runner.step(PAIRS, WorkConfig(refuse="case_1"), {"meshes": far[0][0]})
    assert not (tmp_path / "counter").exists() or "work" not in (tmp_path / "counter").read_text()
    for name in ("DATABASE_URL", "STORE_URL", "SCHEDULER"):
        monkeypatch.delenv(f"PUSHFORWARD_{name}")
    with Runner(settings(project=tmp_path / "near", workers=0, quiet=True)) as runner:
        near = surrogate_like(runner)
    assert [key for key, _ in far] == [key for key, _ in near]
    for (_, there), (_, here) in zip(far, near, strict=True):
        assert set(there.variables) == set(here.variables)
        for name in here.variables:
            np.testing.assert_array_equal(there[name].values, here[name].values)
