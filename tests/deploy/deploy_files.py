"""Reads the compose files as Docker Compose does, and runs their processes by hand."""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil
import yaml

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
Process = subprocess.Popen[bytes]
VARIABLE = re.compile(r"\$\{(?P<name>\w+)(?:(?P<operator>:[-?])(?P<text>[^}]*))?\}")
SECRETS = {
    "PUSHFORWARD_PREFECT_PASSWORD": "prefect0password",
    "PUSHFORWARD_CATALOG_PASSWORD": "catalog0password",
    "PUSHFORWARD_STORE_KEY_ID": "storekeyid",
    "PUSHFORWARD_STORE_KEY": "store0secret",
    "PUSHFORWARD_PREFECT_AUTH": "group:prefect0auth",
    "PUSHFORWARD_CERTIFICATES": "/certificates-folder",
}


def compose(*names: str, environment: Mapping[str, str] | None = SECRETS) -> dict[str, Any]:
    """Services of compose files laid over each other; variables filled in, except where environment is None.

    Mappings merge, ports and volumes are joined, everything else is replaced, as in the specification.
    """
    services: dict[str, Any] = {}
    for name in names:
        content = yaml.safe_load((DEPLOY / name).read_text())
        if environment is not None:
            content = filled(content, environment)
        for service, given in content["services"].items():
            services[service] = _merged(services.get(service, {}), given)
    return services


def _merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        if isinstance(value, dict) and isinstance(merged.get(key), dict):
            merged[key] = {**merged[key], **value}
        elif key in ("ports", "volumes", "networks") and key in merged:
            merged[key] = merged[key] + [entry for entry in value if entry not in merged[key]]
        else:
            merged[key] = value
    return merged


def filled(value: Any, environment: Mapping[str, str]) -> Any:
    """Every ${NAME}, ${NAME:-default} and ${NAME:?message} filled in.

    Raises KeyError with the message where a required variable is missing or empty.
    """
    if isinstance(value, dict):
        return {key: filled(entry, environment) for key, entry in value.items()}
    if isinstance(value, list):
        return [filled(entry, environment) for entry in value]
    return VARIABLE.sub(lambda found: _value(found, environment), value) if isinstance(value, str) else value


def _value(found: re.Match[str], environment: Mapping[str, str]) -> str:
    given = environment.get(found["name"], "")
    if given or found["operator"] == ":-":
        return given or found["text"]
    raise KeyError(f"{found['name']}: {found['text']}")


def free_ports(count: int) -> list[int]:
    """Ports of the loopback that nothing listens on."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for entry in sockets:
            entry.bind(("127.0.0.1", 0))
        return [entry.getsockname()[1] for entry in sockets]


def replaced(value: Any, changes: Mapping[str, str]) -> Any:
    """Text, or all texts of a list or mapping, with the names and ports of the containers replaced."""
    if isinstance(value, dict):
        return {key: replaced(entry, changes) for key, entry in value.items()}
    if isinstance(value, list):
        return [replaced(entry, changes) for entry in value]
    for old, new in changes.items():
        value = re.sub(rf"(?<![\w.-]){re.escape(old)}(?![\w.-])", new, str(value))
    return value


def program(name: str) -> str:
    """Where the environment of the tests has the program; the image has the same environment.

    Raises FileNotFoundError where it has none of that name.
    """
    path = shutil.which(name, path=str(Path(sys.executable).parent))
    if path is None:
        raise FileNotFoundError(f"no program {name!r} beside {sys.executable}")
    return path


@contextlib.contextmanager
def process(command: Sequence[str], environment: Mapping[str, str], folder: Path) -> Iterator[Process]:
    """A process of a compose file with a bare environment in the folder; ended with SIGTERM, as by Docker."""
    folder.mkdir(exist_ok=True)
    bare = {"PATH": os.environ["PATH"], "HOME": str(folder), "OMP_NUM_THREADS": "1", "DO_NOT_TRACK": "1"}
    with (folder / "log").open("wb") as log:
        started = subprocess.Popen(
            [program(command[0]), *command[1:]],
            env={**bare, **environment},
            cwd=folder,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield started
    finally:
        started.send_signal(signal.SIGTERM)
        try:
            started.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(started.pid, signal.SIGKILL)
            started.wait(10)


def healthy(check: Sequence[str], started: Process, folder: Path, seconds: float = 90) -> None:
    """Wait until the health check of the compose file passes.

    Raises AssertionError with the end of the log where the process dies or does not answer.
    """
    deadline, up = time.monotonic() + seconds, False
    while time.monotonic() < deadline and started.poll() is None:
        # each check is a Python of its own, which takes time from the start of what it waits for
        with contextlib.suppress(psutil.NoSuchProcess):
            up = bool(listening(started))
        if up:
            done = subprocess.run(
                [program(check[0]), *check[1:]], capture_output=True, check=False, timeout=30
            )
            if done.returncode == 0:
                return
        time.sleep(0.1)
    raise AssertionError(f"{started.args} is not healthy: {(folder / 'log').read_text()[-3000:]}")


def listening(started: Process) -> set[str]:
    """Addresses that the process and its children listen on."""
    parent = psutil.Process(started.pid)
    family = [parent, *parent.children(recursive=True)]
    return {
        connection.laddr.ip
        for member in family
        for connection in member.net_connections(kind="inet")
        if connection.status == psutil.CONN_LISTEN
    }
