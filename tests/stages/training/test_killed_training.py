"""A training that was killed goes on, and ends with the bits of one that was not."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from catalogs import scratch
from catalogs.catalog import Catalog
from catalogs.collect import gc


@pytest.fixture
def process(toys):
    import training_process

    return training_process


def killed(project: Path, **where: int) -> None:
    script = Path(__file__).with_name("training_process.py")
    root = Path(__file__).resolve().parents[3]
    environment = {**os.environ, "PYTHONPATH": str(root), **{k: str(v) for k, v in where.items()}}
    run = subprocess.run([sys.executable, str(script), str(project)], env=environment, check=False)
    assert run.returncode == -signal.SIGKILL


def test_a_run_killed_in_mid_epoch_and_in_a_checkpoint_ends_with_the_same_bits(process, tmp_path):
    _, wanted = process.train(tmp_path / "undisturbed")
    project = tmp_path / "killed"
    killed(project, KILL_AT=7)  # five batches an epoch
    (folder,) = (project / "scratch").iterdir()
    assert (folder / "checkpoint.pt").is_file()
    killed(project, KILL_IN_SAVE=6)
    assert len(list(folder.glob(".checkpoint.pt.*"))) == 1
    _, found = process.train(project)
    assert process.same(wanted, found) == []
    assert not folder.exists()
    assert not (project / "lightning_logs").exists()
    assert found.sizes["epoch"] == 6


def test_gc_removes_what_nobody_goes_on_from(process, tmp_path, monkeypatch):
    key, _ = process.train(tmp_path)
    catalog = Catalog(tmp_path)
    left = {name: tmp_path / "scratch" / name for name in (key, "f" * 64)}
    for folder in left.values():
        folder.mkdir(parents=True)
        (folder / ".owner").write_text("nowhere")
        (folder / "checkpoint.pt").write_bytes(b"1234")
    found = gc(catalog)
    assert list(found[found["kind"] == "scratch"]["name"]) == [key]
    assert not left[key].exists()
    assert left["f" * 64].exists()
    now = time.time()
    monkeypatch.setattr(scratch.time, "time", lambda: now + 8 * 86400.0)
    assert "f" * 64 in list(gc(catalog)["name"])
    catalog.close()
