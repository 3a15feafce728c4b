"""Serving: a killed run is marked as crashed, started again, and ends with a model in use."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from catalogs.catalog import Catalog

ROOT = Path(__file__).resolve().parents[2]

DEPLOYMENTS = """
[[deployment]]
name = "tiny"
pipeline = "nightly"
config = "night.toml"
retries = 1
"""

NIGHT = """
[pipeline.design]
train = 6
test = 2
[pipeline.simulate]
mesh_size = 0.008
notch_segments = 8
[pipeline.reduce]
shape_modes = 3
modes = { default = 3 }
[pipeline.train_gp]
restarts = 1
max_iterations = 20
"""


def wait_for(what, condition, process, log, seconds=150.0):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        found = condition()
        if found:
            return found
        assert process.poll() is None, f"serve ended while waiting for {what}: {log.read_text()}"
        time.sleep(0.2)
    raise AssertionError(f"no {what} in {seconds} s: {log.read_text()}")


@pytest.fixture
def served(tmp_path):
    (tmp_path / "deployments.toml").write_text(DEPLOYMENTS)
    (tmp_path / "night.toml").write_text(NIGHT)
    log = tmp_path / "log"
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
    command = [sys.executable, str(ROOT / "tests" / "pipelines" / "serve_process.py")]
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [*command, str(tmp_path / "deployments.toml"), str(tmp_path / "project")],
            stdout=stream, stderr=stream, cwd=tmp_path, env={**environment, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
    yield process, log, tmp_path / "project"
    process.terminate()
    process.wait(60)


def names_of(client):
    return {run.id: run.state_name for run in client.read_flow_runs()}


@pytest.mark.xdist_group("workers")
def test_a_killed_run_is_marked_and_goes_on(served, monkeypatch):
    process, log, project = served
    found = wait_for(
        "server",
        lambda: re.search(r"Prefect server: (http://127\.0\.0\.1:\d+)", log.read_text()),
        process,
        log,
    )
    monkeypatch.setenv("PREFECT_API_URL", f"{found[1]}/api")
    from prefect.client.orchestration import SyncPrefectClient

    with SyncPrefectClient(f"{found[1]}/api") as client:
        wait_for("deployment", lambda: "nightly/tiny" in log.read_text(), process, log)
        deployment = wait_for("deployment", client.read_deployments, process, log)[0]
        assert str(deployment.global_concurrency_limit.limit) == "1"
        run = client.create_flow_run_from_deployment(deployment.id)
        mark = project / ".prefect" / "alive" / str(run.id)
        wait_for("run", lambda: mark.is_file() and mark.read_text(), process, log)
        parts = project / "store" / "parts"
        wait_for("part", lambda: parts.is_dir() and list(parts.iterdir()), process, log)
        os.kill(int(mark.read_text().split(":")[1]), signal.SIGKILL)
        wait_for("crash", lambda: names_of(client).get(run.id) == "Crashed", process, log)
        wait_for("second run", lambda: "Completed" in names_of(client).values(), process, log)
        states = names_of(client)
        assert len(states) == 2
        retried = next(one for one in client.read_flow_runs() if one.id != run.id)
        assert "attempt-1" in retried.tags
        shown = {artifact.key for artifact in client.read_artifacts()}
        alive = project / ".prefect" / "alive"
        wait_for("marks to go", lambda: not list(alive.iterdir()), process, log)
    assert shown >= {"nightly-progress", "nightly-scores", "nightly-report", "nightly-verdict"}
    catalog = Catalog(project)
    model = catalog.tagged("in-use")
    assert model is not None
    assert catalog.show(model)["stage"] == "train_gp"
    assert catalog.show(model)["names"] == ["surrogate@1"]
    catalog.close()
