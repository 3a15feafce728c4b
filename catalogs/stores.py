"""Where the data of artifacts and parts lie: a folder, or an object store by its URL."""

import fcntl
import os
import shutil
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from zarr.storage import LocalStore, StorePath

from catalogs import environment
from catalogs.failures import StorageError
from kernels.errors import InputError

PARTS = "parts"
"""Name under which parts lie."""

_PRIVATE = ".private"
_LOCK = ".lock"


class Entry(NamedTuple):
    """Something stored: its name, bytes, and when it was written, in seconds since 1970."""

    name: str
    size: int
    modified: float


class Draft:
    """Data that are written and not published; `prefix` is where they lie, `location` where they will.

    Unless `kept`, they are deleted at the end.
    """

    def __init__(self, prefix: str, location: str) -> None:
        self.prefix, self.location = prefix, location
        self.kept = False


class Store(ABC):
    """Named bytes and zarr groups. Names are relative, their parts divided by `/`."""

    shown: str
    """What people see of the place: a folder or a URL without secrets."""

    remote: bool
    """Whether a read takes a request over a network."""

    @abstractmethod
    def zarr(self, prefix: str, read_only: bool = True) -> StorePath:
        """The place of a zarr group."""

    @abstractmethod
    def get(self, name: str) -> bytes | None:
        """The bytes of a name, None where there are none."""

    @abstractmethod
    def source(self, name: str) -> Path | BinaryIO | None:
        """A file to read from, None where there is none."""

    @abstractmethod
    def put(self, name: str, write: Callable[[BinaryIO], object]) -> int:
        """Write a name, all of it or nothing, in place of what is there; its bytes."""

    @abstractmethod
    def put_new(self, name: str, data: bytes) -> bool:
        """Write a name unless it is there; whether it was written."""

    @abstractmethod
    def replace(self, name: str, data: bytes, seen: bytes) -> bool:
        """Write a name if it still holds what was seen; whether it was written."""

    @abstractmethod
    def entries(self, prefix: str = "") -> Iterator[Entry]:
        """Everything whose name starts with the parts of the prefix, in no order."""

    @abstractmethod
    def tops(self) -> list[str]:
        """First parts of all names, without what is private."""

    @abstractmethod
    def exists(self, name: str) -> bool:
        """Whether a name is there."""

    @abstractmethod
    def delete(self, names: Sequence[str]) -> None:
        """Delete names, and everything below them; those that are not there are passed over."""

    @abstractmethod
    def alone(self) -> AbstractContextManager[None]:
        """Hold the store alone between processes, where that can be."""

    @abstractmethod
    def new_draft(self, key: str) -> Draft:
        """A place for new data of a key."""

    @abstractmethod
    def place(self, draft: Draft) -> None:
        """Bring the data of a draft to its location, safe against a power cut."""

    @abstractmethod
    def discard(self, draft: Draft) -> None:
        """Remove what a draft left; its data too unless they are kept."""

    def failure(self, error: BaseException, doing: str) -> str | None:
        """The message for the user about an error of the store itself, None for other errors."""
        del error, doing
        return None

    @contextmanager
    def draft(self, key: str) -> Iterator[Draft]:
        """A place for new data, gone at the end unless it was kept."""
        draft = self.new_draft(key)
        try:
            yield draft
        finally:
            self.discard(draft)

    @contextmanager
    def errors(self, doing: str) -> Iterator[None]:
        """Turn errors of the store into StorageError, an InputError; the rest passes."""
        try:
            yield
        except InputError:
            raise
        except Exception as error:
            message = self.failure(error, doing)
            if message is None:
                raise
            raise StorageError(message) from error


class FolderStore(Store):
    """A folder on a disk of this machine: files are written elsewhere, synced, and renamed."""

    remote = False

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.shown = str(folder)

    def __reduce__(self) -> tuple[Any, ...]:
        return (FolderStore, (self.folder,))

    @property
    def private(self) -> Path:
        """Where data are written before they are published."""
        return self.folder / _PRIVATE

    def make(self) -> None:
        """Create the folders."""
        for folder in (self.private, self.folder / PARTS):
            folder.mkdir(parents=True, exist_ok=True)

    def path(self, name: str) -> Path:
        """File of a name.

        Raises InputError where the name leaves the folder.
        """
        return self.folder / checked_name(name)

    def zarr(self, prefix: str, read_only: bool = True) -> StorePath:  # noqa: D102
        return StorePath(LocalStore(self.path(prefix), read_only=read_only))

    def get(self, name: str) -> bytes | None:  # noqa: D102
        try:
            return self.path(name).read_bytes()
        except FileNotFoundError:
            return None

    def source(self, name: str) -> Path | None:  # noqa: D102
        path = self.path(name)
        return path if path.is_file() else None

    @contextmanager
    def private_place(self) -> Iterator[Path]:
        """A folder of this process, gone at the end."""
        place = self.private / f"{environment.process_name()}.{uuid.uuid4().hex}"
        place.mkdir()
        try:
            yield place
        finally:
            shutil.rmtree(place, ignore_errors=True)

    def put(self, name: str, write: Callable[[BinaryIO], object]) -> int:  # noqa: D102
        with self.private_place() as place, self._written(place, write) as file:
            size = file.stat().st_size
            path = self.path(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            file.rename(path)
        return size

    def put_new(self, name: str, data: bytes) -> bool:  # noqa: D102
        with self.private_place() as place, self._written(place, lambda f: f.write(data)) as file:
            try:
                os.link(file, self.path(name))
            except FileExistsError:
                return False
        return True

    def replace(self, name: str, data: bytes, seen: bytes) -> bool:  # noqa: D102 - callers hold the store
        if self.get(name) != seen:
            return False
        self.put(name, lambda file: file.write(data))
        return True

    @contextmanager
    def _written(self, place: Path, write: Callable[[BinaryIO], object]) -> Iterator[Path]:
        file = place / "file"
        with file.open("wb") as stream:
            write(stream)
        _sync(file)
        yield file

    def entries(self, prefix: str = "") -> Iterator[Entry]:  # noqa: D102
        root = self.path(prefix) if prefix else self.folder
        for folder, inner, files in os.walk(root):
            if Path(folder) == self.folder:
                inner[:] = [name for name in inner if name != _PRIVATE]
                files = [name for name in files if name != _LOCK]
            for file in files:
                path = Path(folder) / file
                try:
                    about = path.stat()
                except FileNotFoundError:
                    continue
                yield Entry(path.relative_to(self.folder).as_posix(), about.st_size, about.st_mtime)

    def tops(self) -> list[str]:  # noqa: D102
        return sorted(path.name for path in self.folder.iterdir() if path.name not in (_PRIVATE, _LOCK))

    def exists(self, name: str) -> bool:  # noqa: D102
        return self.path(name).exists()

    def delete(self, names: Sequence[str]) -> None:  # noqa: D102
        with self.private_place() as place:
            for number, name in enumerate(names):
                path = self.path(name)
                if path.exists():
                    path.rename(place / str(number))

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the store; given back by the system when a process is killed."""
        with (self.folder / _LOCK).open("a") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield

    def new_draft(self, key: str) -> Draft:  # noqa: D102
        place = f"{_PRIVATE}/{environment.process_name()}.{uuid.uuid4().hex}"
        self.path(place).mkdir()
        return Draft(f"{place}/data", f"{key}.{uuid.uuid4().hex[:8]}.zarr")

    def place(self, draft: Draft) -> None:  # noqa: D102
        for folder, _, files in os.walk(self.path(draft.prefix)):
            for file in files:
                _sync(Path(folder) / file)
            _sync(Path(folder))
        self.path(draft.prefix).rename(self.path(draft.location))
        _sync(self.folder)

    def discard(self, draft: Draft) -> None:  # noqa: D102
        place = self.path(draft.prefix).parent
        if not draft.kept and self.path(draft.location).exists():
            self.path(draft.location).rename(place / "placed")
        shutil.rmtree(place, ignore_errors=True)


def open_store(url: str | None, project: Path) -> Store:
    """The store of a catalog: by URL, or the folder `store` of the project; made and asked once.

    Raises InputError naming the URL and the remedy where it cannot be reached.
    """
    if url is None:
        folder = FolderStore(project / "store")
        folder.make()
        return folder
    if "://" not in url:
        raise InputError(
            f"the store {url!r} is no URL; expected one like s3://BUCKET/PREFIX, gs://, az:// or "
            "file:///FOLDER: correct PUSHFORWARD_STORE_URL"
        )
    from catalogs.object_stores import object_store

    store = object_store(url)
    store.check()
    return store


def checked_name(name: str) -> str:
    """The name; raises InputError where it is not relative, or leaves the store."""
    parts = name.split("/")
    if not name or "\\" in name or "\0" in name or any(part in ("", ".", "..") for part in parts):
        raise InputError(f"the name {name!r} leaves the store; expected names divided by single slashes")
    return name


def age(entry: Entry) -> float:
    """Seconds since something was written."""
    return time.time() - entry.modified


def _sync(file: Path) -> None:
    handle = os.open(file, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
