"""What a run ran on: host, user, process, code version and package versions."""

import functools
import getpass
import importlib.metadata
import os
import platform
import socket
import subprocess
from pathlib import Path

_PACKAGES = (
    "numpy",
    "scipy",
    "numba",
    "xarray",
    "zarr",
    "dask",
    "prefect",
    "pyvista",
    "scikit-fem",
    "netgen-mesher",
)


def host() -> str:
    """Name of this machine."""
    return socket.gethostname()


def user() -> str:
    """Name of the user, or the number where it has none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


@functools.lru_cache(maxsize=1)
def code_version() -> str:
    """Git commit of the checkout that runs, with '+changes' where files differ from it; else the
    distribution's version.
    """
    root = Path(__file__).resolve().parents[1]
    if (root / ".git").exists():
        commit = _git(root, "rev-parse", "HEAD")
        if commit:
            return commit + ("+changes" if _git(root, "status", "--porcelain", "-uno") else "")
    try:
        return importlib.metadata.version("pushforward")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def _git(root: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


@functools.lru_cache(maxsize=1)
def package_versions() -> dict[str, str]:
    """Versions of Python and of the packages that the numbers rest on."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def process_name(pid: int | None = None) -> str:
    """`host:pid:start`, which no later process repeats, even one that gets the same pid."""
    number = os.getpid() if pid is None else pid
    return f"{host()}:{number}:{_start_ticks(number)}"


def is_alive(process: str) -> bool:
    """Whether a process named by `process_name` may still run; one on another machine always may."""
    try:
        machine, number, start = process.rsplit(":", 2)
        pid = int(number)
    except ValueError:
        return False
    if machine != host():
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return str(_start_ticks(pid)) == start


def _start_ticks(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0
    fields = text.rsplit(")", 1)[1].split()
    return 0 if fields[0] == "Z" else int(fields[19])
