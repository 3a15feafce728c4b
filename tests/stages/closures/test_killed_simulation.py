"""A kinetic run that was killed goes on in the middle, and ends with the bits of one that was not."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import kinetic_process
import pytest


@pytest.mark.filterwarnings("ignore:run 'a-3_z1_s0'. the angle")
def test_a_run_killed_between_frames_while_it_stored_its_state_ends_with_the_same_bits(tmp_path, monkeypatch):
    monkeypatch.setattr("stages.simulate_kinetic._CHUNK", 10)
    _, wanted = kinetic_process.simulate(tmp_path / "undisturbed")
    project = tmp_path / "killed"
    script, root = Path(__file__).with_name("kinetic_process.py"), Path(__file__).resolve().parents[3]
    environment = {**os.environ, "PYTHONPATH": str(root), "KILL_IN_SAVE": "6"}
    run = subprocess.run([sys.executable, str(script), str(project)], env=environment, check=False)
    assert run.returncode == -signal.SIGKILL
    (folder,) = (project / "scratch").iterdir()
    assert (folder / "state.npz").is_file()
    assert len(list(folder.glob(".state.npz.*"))) == 1
    assert (folder / "harmonics.frames").stat().st_size == 3 * (3 * 12 * 12 * 16)  # 7 blocks, 3 a frame
    _, found = kinetic_process.simulate(project)
    assert kinetic_process.same(wanted, found) == []
    assert not folder.exists()
    assert "the angle is not resolved" in str(found["warning"].values[0])
    assert found["sample_name"].values.tolist() == ["a-3_z1_s0", "a-1_z0.5_s1"]
