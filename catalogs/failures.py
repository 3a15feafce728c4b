"""What the operating system and the database say about a disk, as one message for the user."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

from kernels.errors import InputError

_FULL = (errno.ENOSPC, errno.EDQUOT)
_LOCKED = (errno.EROFS, errno.EACCES, errno.EPERM)


@contextmanager
def storage_errors(doing: str, folder: Path) -> Iterator[None]:
    """Turn a full disk and a folder that cannot be written into InputError; the rest passes."""
    try:
        yield
    except InputError:
        raise
    except OSError as error:
        message = _disk_message(error, doing, folder)
        if message is None:
            raise
        raise InputError(message) from error
    except sa.exc.OperationalError as error:
        raise InputError(_database_message(str(error.orig), doing, folder)) from error


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


def _database_message(text: str, doing: str, folder: Path) -> str:
    if "full" in text:
        return _disk_message(OSError(errno.ENOSPC, "full"), doing, folder) or text
    if "readonly" in text or "read-only" in text:
        return _disk_message(OSError(errno.EROFS, "Read-only file system"), doing, folder) or text
    return (
        f"the catalog's database does not answer while {doing} ({text.strip()}): check that its "
        f"folder {folder} exists "
        "and can be written, or the server that PUSHFORWARD_DATABASE_URL names, then run again"
    )
