"""Folders to go on from: one computation each, kept where it failed, gone when it is done."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path

from catalogs import environment
from catalogs.scratch import scratch, stale

ROOT = Path(__file__).resolve().parents[2]


def files(folder: Path) -> set[str]:
    return {entry.name for entry in folder.glob("*") if not entry.name.startswith(".")}


def fail(project: Path, left: str = "") -> Path:
    """Leave a text in the folder of a key, and fail; the folder."""
    with contextlib.suppress(OSError), scratch(project, "k") as folder:
        if left:
            (folder / "state").write_text(left)
        raise OSError("the disk is full")
    return folder


def test_what_a_failed_computation_left_is_there_again_and_gone_in_the_end(tmp_path):
    folder = fail(tmp_path, "half")
    with scratch(tmp_path, "k") as again:
        assert again == folder
        assert (again / "state").read_text() == "half"
    assert not folder.exists()
    assert not fail(tmp_path).exists()


def test_a_second_computation_of_a_key_gets_a_folder_of_its_own(tmp_path):
    with scratch(tmp_path, "k") as first:
        (first / "state").write_text("mine")
        second = fail(tmp_path, "theirs")
        assert second != first
        assert not second.exists()
        assert (first / "state").read_text() == "mine"


def test_a_process_that_died_holds_nothing(tmp_path):
    code = (
        "import os, signal, sys; from pathlib import Path; from catalogs.scratch import scratch\n"
        "with scratch(Path(sys.argv[1]), 'k') as folder:\n"
        "    (folder / 'state').write_text('left'); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], env=environ, check=False)
    with scratch(tmp_path, "k") as folder:
        assert files(folder) == {"state"}


def test_folders_of_finished_keys_are_stale_also_those_of_a_second_computation(tmp_path, monkeypatch):
    for name in ("done", "done.17-1", "open"):
        (tmp_path / "scratch" / name).mkdir(parents=True)
        (tmp_path / "scratch" / name / "state").write_text("1234")
        (tmp_path / "scratch" / name / ".owner").write_text("nowhere")
    monkeypatch.setattr(environment, "is_alive", lambda name: False)
    found = stale(tmp_path, lambda key: key == "done")
    assert [(folder.name, size >= 4) for folder, size in found] == [("done", True), ("done.17-1", True)]
