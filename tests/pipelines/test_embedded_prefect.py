"""Embedded Prefect: servers that a killed flow left behind are ended, those of a living one are not."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from catalogs.environment import process_name
from pipelines.embedded_prefect import end_leftover_servers

_SLEEPER = "import time; print('up', flush=True); time.sleep(60)"


def sleeper(mark, word="prefect"):
    environment = {**os.environ, "PUSHFORWARD_FLOW_PROCESS": mark}
    command = [sys.executable, "-c", _SLEEPER, word]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"up\n"
    return process


def unmarked_sleeper():
    environment = {name: value for name, value in os.environ.items() if name != "PUSHFORWARD_FLOW_PROCESS"}
    process = subprocess.Popen(
        [sys.executable, "-c", _SLEEPER, "prefect"], env=environment, stdout=subprocess.PIPE
    )
    assert process.stdout.readline() == b"up\n"
    return process


def dead_name():
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    name = process_name(child.pid)
    child.communicate(b"\n")
    return name


def test_only_servers_of_dead_flows_are_ended(tmp_path):
    gone = dead_name()
    left = sleeper(gone)
    everyone = (left, sleeper(process_name()), unmarked_sleeper(), sleeper(gone, "something else"))
    try:
        # A folder of these processes alone: the test must not reach for anything else on the machine.
        for process in everyone:
            (tmp_path / str(process.pid)).symlink_to(Path("/proc") / str(process.pid))
        assert end_leftover_servers(tmp_path) == [left.pid]
        assert left.wait(timeout=30) == -signal.SIGTERM
        assert [process.poll() for process in everyone[1:]] == [None, None, None]
        assert end_leftover_servers(tmp_path) == []
    finally:
        for process in everyone:
            process.kill()
            process.communicate()
