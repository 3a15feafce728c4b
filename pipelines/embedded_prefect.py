"""Prefect without set-up: its own server for the time of one flow, with its files in the project folder."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace

from catalogs.environment import is_alive, process_name
from pipelines.config import PipelineConfig
from pipelines.settings import Settings

_MARK = "PUSHFORWARD_FLOW_PROCESS"

_DEFAULTS = {
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "90",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_LOGGING_LEVEL": "CRITICAL",
    "PREFECT_LOGGING_TO_API_ENABLED": "false",
    "PREFECT_CLI_COLORS": "false",
    "DO_NOT_TRACK": "1",
}


def prepare(project: Path) -> None:
    """Set what Prefect reads when it is imported, and end servers that killed runs left behind."""
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)
    os.environ.setdefault("PREFECT_HOME", str((project / ".prefect").resolve()))
    end_leftover_servers()
    os.environ[_MARK] = process_name()


def run_flow(config: PipelineConfig, settings: Settings) -> dict[str, str]:
    """Run the surrogate flow under Prefect; stage name -> key.

    Raises InputError as the stages do.
    """
    prepare(settings.project)
    # Prefect reads its settings when it is imported, so only now.
    from pipelines.flows import surrogate

    try:
        _own_the_server()
        return surrogate(config.model_dump(mode="json"), settings.model_dump(mode="json"))
    finally:
        _stop_server()


def _own_the_server() -> None:
    """Let Prefect start its server by `start_server`, unless another server is configured."""
    from prefect.settings import PREFECT_API_URL

    if PREFECT_API_URL.value() is None:
        from prefect.server.api import server

        # The class has no setting for how its process is started, nor a method that only starts it.
        own = SimpleNamespace(Popen=start_server, TimeoutExpired=subprocess.TimeoutExpired)
        server.subprocess = own  # type: ignore[assignment]


def start_server(args: Sequence[str], env: Mapping[str, str]) -> "subprocess.Popen[bytes]":
    """Start Prefect's `python -m MODULE ...` as a process that ends with this one.

    Its session is its own, so that Ctrl-C and signals to the group of the run leave it up until the flow has
    told it how it ended; its output goes to `server.log` in Prefect's folder, so that nobody who reads the
    output of the run waits for the server.
    """
    folder = Path(env["PREFECT_HOME"])
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "pipelines.prefect_server", *args[args.index("-m") + 1 :]]
    with (folder / "server.log").open("ab") as log:
        return subprocess.Popen(
            command, env=env, stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True
        )


def _stop_server() -> None:
    # Importing it here would take a second where the flow never came to it.
    module = sys.modules.get("prefect.server.api.server")
    for server in list(getattr(getattr(module, "SubprocessASGIServer", None), "_instances", {}).values()):
        server.stop()


def end_leftover_servers(processes: Path = Path("/proc")) -> list[int]:
    """End embedded servers whose flow process is gone; their process ids.

    Only processes that carry this product's mark in their environment are looked at; `processes`: folder
    with an entry for each process, as Linux has it.
    """
    ended = []
    for folder in processes.glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if b"prefect" not in (folder / "cmdline").read_bytes():
                continue
            entries = (folder / "environ").read_bytes().split(b"\0")
            marks = [
                entry.split(b"=", 1)[1].decode()
                for entry in entries
                if entry.startswith(_MARK.encode() + b"=")
            ]
            if marks and not is_alive(marks[0]):
                os.kill(int(folder.name), signal.SIGTERM)
                ended.append(int(folder.name))
    return ended
