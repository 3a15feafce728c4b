"""Prefect without set-up: its own server for the time of one flow, with its files in the project folder."""

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from catalogs.environment import is_alive, process_name
from pipelines.local_server import LocalServer

if TYPE_CHECKING:
    from pipelines.config import PipelineConfig
    from pipelines.settings import Settings

_MARK = "PUSHFORWARD_FLOW_PROCESS"

_DEFAULTS = {
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


_begun: list[LocalServer | None] = []


def begin(project: Path) -> None:
    """Start the server of a flow, unless another one is configured; nothing happens where it is begun."""
    if not _begun:
        prepare(project)
        _begun.append(None if _configured() else LocalServer())


def end() -> None:
    """End the server that `begin` started, if there is one."""
    while _begun:
        server = _begun.pop()
        if server is not None:
            server.stop()


def run_flow(config: "PipelineConfig", settings: "Settings") -> dict[str, str]:
    """Run the flow of a pipeline under Prefect; label of a step -> key. While Prefect is imported and its
    server starts, the first steps are computed.

    Raises InputError as the stages do.
    """
    from pipelines.head_start import HeadStart
    from pipelines.runner import close_runner, runner_for

    begin(settings.project)
    ahead = HeadStart(config, runner_for(settings))
    try:
        # Prefect reads its settings when it is imported, so only now.
        from pipelines import flows

        flow = getattr(flows, config.pipeline)
        with _server():
            ahead.over()
            keys: dict[str, str] = flow(config.model_dump(mode="json"), settings.model_dump(mode="json"))
            return keys
    finally:
        close_runner(settings)
        ahead.join()
        end()


@contextlib.contextmanager
def _server() -> Iterator[None]:
    """Context in which flows run on the server that was begun, from when it answers."""
    from prefect.settings import PREFECT_API_URL, temporary_settings

    own = _begun[0]
    if own is None:
        yield
    else:
        with temporary_settings({PREFECT_API_URL: own.address()}):
            yield


def _configured() -> bool:
    """Whether another server is named, in the environment or in a file that Prefect reads."""
    if os.environ.get("PREFECT_API_URL"):
        return True
    profiles = Path(os.environ.get("PREFECT_PROFILES_PATH", f"{os.environ['PREFECT_HOME']}/profiles.toml"))
    files = {
        profiles: "",
        Path("prefect.toml"): "",
        Path("pyproject.toml"): "[tool.prefect",
        Path(".env"): "",
    }
    if not any(file.is_file() and words in file.read_text(errors="replace") for file, words in files.items()):
        return False
    from prefect.settings import PREFECT_API_URL  # a second, which nobody waits for where no such file is

    return PREFECT_API_URL.value() is not None


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
