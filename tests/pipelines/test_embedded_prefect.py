"""Embedded Prefect: the server ends with its flow; ones left behind are ended, those of a living one not."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from catalogs.environment import is_alive, process_name
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


_FLOW = """
import os, time
from pipelines.local_server import start_server
server = start_server(["http.server", "--bind", "127.0.0.1", "0"], dict(os.environ))
print(server.pid, flush=True)
time.sleep(60)
"""


def test_the_server_ends_with_the_flow_and_holds_nothing_of_it(tmp_path):
    environment = {**os.environ, "PREFECT_HOME": str(tmp_path / "home"), "PYTHONUNBUFFERED": "1"}
    flow = subprocess.Popen([sys.executable, "-c", _FLOW], env=environment, stdout=subprocess.PIPE)
    log = tmp_path / "home" / "server.log"
    try:
        server = int(flow.stdout.readline())
        name = process_name(server)
        wait(lambda: "Serving HTTP" in log.read_text())
        assert is_alive(name)
        assert os.getsid(server) == server
        assert Path(f"/proc/{server}/fd/1").resolve() == log == Path(f"/proc/{server}/fd/2").resolve()
    finally:
        flow.kill()
        flow.communicate()
    wait(lambda: not is_alive(name))


def wait(reached):
    deadline = time.monotonic() + 60
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.02)
