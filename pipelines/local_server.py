"""A Prefect server of one's own: a process that only this machine reaches, and that ends with this one."""

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path

from kernels.errors import InputError

_START_SECONDS = 120.0
_TRIES = 3

# As Prefect itself starts the server of a single run: none of the services that look after many.
_OF_ONE_RUN = {"PREFECT__SERVER_EPHEMERAL": "1", "PREFECT__SERVER_FINAL": "1", "PREFECT_UI_ENABLED": "0"}


class LocalServer:
    """Starts at once; `address` waits until it answers. `whole`: with all services, for `pushforward serve`.

    Its files and `server.log` lie in the folder PREFECT_HOME, so that nobody who reads the output of the run
    waits for the server.
    """

    def __init__(self, whole: bool = False) -> None:
        self._whole, self._tries = whole, 0
        self._log = Path(os.environ["PREFECT_HOME"]) / "server.log"
        self._answers = False
        self._begin()

    def _begin(self) -> None:
        port = _free_port()
        self._root = f"http://127.0.0.1:{port}"
        self._tries += 1
        where = ["--host", "127.0.0.1", "--port", str(port)]
        if self._whole:
            self._process = start_server(["prefect", "server", "start", *where, "--no-ui"], os.environ)
        else:
            application = ["--factory", "prefect.server.api.server:create_app", "--log-level", "error"]
            self._process = start_server(["uvicorn", *application, *where], {**os.environ, **_OF_ONE_RUN})

    def address(self) -> str:
        """The address of its API, when that answers.

        Raises InputError where it does not in two minutes.
        """
        until = time.monotonic() + _START_SECONDS
        while not self._answers and time.monotonic() < until:
            if self._process.poll() is not None:
                if self._tries == _TRIES:
                    break
                self._begin()  # most often another process took the port
            try:
                with urllib.request.urlopen(f"{self._root}/api/health", timeout=2):
                    self._answers = True
            except (urllib.error.URLError, OSError):
                time.sleep(0.1)
        if not self._answers:
            raise InputError(
                f"Prefect's server did not start in {_START_SECONDS:g} s: see {self._log}, or name a running "
                "server with PREFECT_API_URL"
            )
        return f"{self._root}/api"

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        assert self._process.stdin is not None
        self._process.stdin.close()


def start_server(command: Sequence[str], environment: Mapping[str, str]) -> "subprocess.Popen[bytes]":
    """Start `python -m COMMAND` as a process that ends with this one.

    Its session is its own, so that Ctrl-C and signals to the group of the run leave it up until the flow has
    told it how it ended; its output goes to `server.log` in Prefect's folder.
    """
    folder = Path(environment["PREFECT_HOME"])
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "server.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "pipelines.prefect_server", *command],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
