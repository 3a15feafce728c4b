"""Folders in which a computation keeps what it needs to go on after a kill, one for each key of a result."""

import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from catalogs import environment

STALE_SECONDS = 7 * 86400.0
"""From this age on, what a dead process left is garbage."""

_FOLDER, _OWNER, _LOCK = "scratch", ".owner", ".lock"


@contextmanager
def scratch(project: Path, key: str) -> Iterator[Path]:
    """The folder of a key, with what an earlier run left there; removed at the end unless something failed.

    Where another process computes the same key just now, a new folder of one's own. It lies on the disk of
    this machine, also where the data lie in an object store.
    """
    with _held(project / _FOLDER / key) as mine:
        folder = mine or project / _FOLDER / f"{key}.{os.getpid()}-{time.time_ns()}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _OWNER).write_text(environment.process_name())
        try:
            yield folder
        except BaseException:
            if mine is None or {entry.name for entry in folder.glob("*")} <= {_OWNER, _LOCK}:
                shutil.rmtree(folder, ignore_errors=True)
            raise
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _held(folder: Path) -> Iterator[Path | None]:
    """The folder, locked until the end or the death of this process; None where somebody else has it."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / _LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            there = os.fstat(lock.fileno()).st_nlink > 0  # else its holder has just removed the folder
        except BlockingIOError:
            there = False
        yield folder if there else None


def stale(project: Path, is_published: Callable[[str], bool]) -> list[tuple[Path, int]]:
    """Folders, with their bytes, that no living process uses and whose result is there, or that are old."""
    found = []
    for folder in sorted((project / _FOLDER).glob("*")):
        files = [file for file in folder.glob("*") if file.is_file()]
        owner = folder / _OWNER
        alive = owner.is_file() and environment.is_alive(owner.read_text())
        newest = max((file.stat().st_mtime for file in files), default=0.0)
        if not alive and (
            is_published(folder.name.partition(".")[0]) or time.time() - newest > STALE_SECONDS
        ):
            found.append((folder, sum(file.stat().st_size for file in files)))
    return found
