"""What the operating system and the database say about a disk, as one message for the user."""

import errno
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa

from kernels.errors import InputError

_FULL = (errno.ENOSPC, errno.EDQUOT)
_LOCKED = (errno.EROFS, errno.EACCES, errno.EPERM)

_Value = TypeVar("_Value")


class StorageError(InputError):
    """The catalog cannot be used now, whatever was to be stored; `away`: a database server does not answer,
    which may pass.
    """

    def __init__(self, message: str, away: bool = False) -> None:
        super().__init__(message)
        self.away = away


@contextmanager
def storage_errors(doing: str, folder: Path) -> Iterator[None]:
    """Turn a full disk, a folder that cannot be written and a database that does not answer into
    StorageError, an InputError; the rest passes.
    """
    try:
        yield
    except InputError:
        raise
    except OSError as error:
        message = _disk_message(error, doing, folder)
        if message is None:
            raise
        raise StorageError(message) from error
    except sa.exc.OperationalError as error:
        text, away = " ".join(str(error.orig).split()), _is_away(error.orig)
        message = _away_message(text, doing) if away else _database_message(text, doing, folder)
        raise StorageError(message, away) from error


def outlasted(doing: str, folder: Path, seconds: float, call: Callable[[], _Value]) -> _Value:
    """What `call` gives, tried again for so many seconds where the database's server is away.

    A call whose answer was lost is made again: doing it twice has to be harmless. Raises InputError as
    `storage_errors`, at once where nothing passes by waiting.
    """
    deadline, pause = time.monotonic() + seconds, 0.1
    while True:
        try:
            with storage_errors(doing, folder):
                return call()
        except StorageError as error:
            if not error.away or time.monotonic() + pause > deadline:
                raise
        time.sleep(pause)
        pause = min(2.0 * pause, 2.0)


def _is_away(error: Any) -> bool:
    """Whether a server of PostgreSQL closed the connection, refuses one, or starts up and shuts down."""
    state = getattr(error, "sqlstate", "none")
    return state is None or state.startswith(("08", "57P"))


def _disk_message(error: OSError, doing: str, folder: Path) -> str | None:
    if error.errno in _FULL:
        return (
            f"the disk of {folder} is full: {doing} was stopped and the catalog is as it was before; "
            "free some space "
            "(for instance with `pushforward catalog gc`) or choose another project folder, then run again"
        )
    if error.errno in _LOCKED:
        return (
            f"{folder} cannot be written ({error.strerror}) while {doing}; the catalog is as it was before: "
            "give yourself write permission or choose another project folder"
        )
    return None


def _away_message(text: str, doing: str) -> str:
    return (
        f"the catalog's database server does not answer while {doing} ({text}): check that the server which "
        "PUSHFORWARD_DATABASE_URL names is up and reachable, then run again; what is finished is kept"
    )


def _database_message(text: str, doing: str, folder: Path) -> str:
    if "full" in text:
        return _disk_message(OSError(errno.ENOSPC, "full"), doing, folder) or text
    if "readonly" in text or "read-only" in text:
        return _disk_message(OSError(errno.EROFS, "Read-only file system"), doing, folder) or text
    return (
        f"the catalog's database does not answer while {doing} ({text}): check that its "
        f"folder {folder} exists "
        "and can be written, or the server that PUSHFORWARD_DATABASE_URL names, then run again"
    )
