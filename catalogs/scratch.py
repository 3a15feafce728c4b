"""Folders in which a computation keeps what it needs to go on after a kill, one for each key of a result."""

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from catalogs import environment

STALE_SECONDS = 7 * 86400.0
"""From this age on, what a dead process left is garbage."""

_FOLDER, _OWNER = "scratch", ".owner"


@contextmanager
def scratch(project: Path, key: str) -> Iterator[Path]:
    """The folder of a key, with what an earlier run left there; removed at the end unless something failed.

    It lies on the disk of this machine, also where the data lie in an object store.
    """
    folder = project / _FOLDER / key
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _OWNER).write_text(environment.process_name())
    try:
        yield folder
    except BaseException:
        if [entry.name for entry in folder.glob("*")] in ([], [_OWNER]):
            shutil.rmtree(folder, ignore_errors=True)
        raise
    shutil.rmtree(folder, ignore_errors=True)


def stale(project: Path, is_published: Callable[[str], bool]) -> list[tuple[Path, int]]:
    """Folders, with their bytes, that no living process uses and whose result is there, or that are old."""
    found = []
    for folder in sorted((project / _FOLDER).glob("*")):
        files = [file for file in folder.glob("*") if file.is_file()]
        owner = folder / _OWNER
        alive = owner.is_file() and environment.is_alive(owner.read_text())
        newest = max((file.stat().st_mtime for file in files), default=0.0)
        if not alive and (is_published(folder.name) or time.time() - newest > STALE_SECONDS):
            found.append((folder, sum(file.stat().st_size for file in files)))
    return found
