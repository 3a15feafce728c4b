"""Object stores by URL, through obstore: s3://, gs://, az:// and file://."""

import functools
import os
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from typing import Any, BinaryIO
from urllib.parse import urlsplit

from zarr.storage import StorePath

from catalogs import environment
from catalogs.stores import Draft, Entry, Store, checked_name
from kernels.errors import InputError

_REMEDIES = {
    "s3": "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, and AWS_ENDPOINT_URL for another server",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS or GOOGLE_SERVICE_ACCOUNT",
    "az": "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
    "file": "permission to write the folder",
}


class ObjectStore(Store):
    """A bucket by its URL. Nothing is renamed: data go to a location that no one else has, and the row makes
    them visible.
    """

    remote = True

    def __init__(self, url: str) -> None:
        self.url = url
        parts = urlsplit(url)
        self.shown = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
        self._scheme = parts.scheme
        try:
            import obstore
            import obstore.exceptions
        except ModuleNotFoundError as error:
            raise InputError(
                f"the store {self.shown} needs obstore, which is not installed: "
                "pip install 'pushforward[deploy]'"
            ) from error
        self._obstore, self._failures = obstore, obstore.exceptions
        with self.errors("opening the store"):
            self._store = self._opened(url)

    def _opened(self, url: str) -> Any:
        from datetime import timedelta

        from obstore.store import from_url

        if self._scheme == "file":
            return from_url(url, mkdir=True)
        options: dict[str, Any] = {"timeout": "120s", "connect_timeout": "5s"}
        if os.environ.get("AWS_ALLOW_HTTP", "").lower() in ("1", "true", "yes"):
            options["allow_http"] = True  # obstore reads it only where no client options are given
        retries: Any = {"max_retries": 3, "retry_timeout": timedelta(seconds=20)}
        return from_url(url, client_options=options, retry_config=retries)  # type: ignore[call-overload]

    def __reduce__(self) -> tuple[Any, ...]:
        return (object_store, (self.url,))

    def check(self) -> None:
        """Ask the store for one name.

        Raises InputError, within seconds, where credentials, the bucket or the server are missing.
        """
        with self.errors("opening the store"):
            next(iter(self._obstore.list(self._store, prefix="probe", chunk_size=1)), None)

    def failure(self, error: BaseException, doing: str) -> str | None:  # noqa: D102
        if not (isinstance(error, self._failures.BaseError) or _not_found(error)):
            return None
        text = str(error)
        short = text.split("\n", 1)[0][:300]
        if "NoSuchBucket" in text:
            remedy = "there is no such bucket: create it, or correct PUSHFORWARD_STORE_URL"
        elif "169.254.169.254" in text or "metadata.google" in text or "MissingAccount" in text:
            remedy = f"no credentials were found: set {_REMEDIES.get(self._scheme, 'them')}"
        elif any(word in text for word in ("403", "401", "Denied", "Unauth", "InvalidAccessKeyId")):
            remedy = f"the credentials are refused: check {_REMEDIES.get(self._scheme, 'them')}"
        elif "not recognise" in text or "Unrecognised" in text or "Unable to" in text:
            remedy = "expected a URL like s3://BUCKET/PREFIX, gs://, az:// or file:///FOLDER"
        else:
            remedy = "check that the server is up and reachable from here, and PUSHFORWARD_STORE_URL"
        return (
            f"the store {self.shown} does not answer as it should while {doing}: {remedy}. "
            f"The catalog is as it was before ({short})"
        )

    def zarr(self, prefix: str, read_only: bool = True) -> StorePath:  # noqa: D102
        from zarr.storage import ObjectStore as ZarrObjectStore

        if read_only:
            return StorePath(ZarrObjectStore(self._store, read_only=True), checked_name(prefix))
        # of its own: in a shared one zarr would write groups above the prefix too
        inner = self._opened(f"{self.url.rstrip('/')}/{checked_name(prefix)}")
        return StorePath(ZarrObjectStore(inner))

    def get(self, name: str) -> bytes | None:  # noqa: D102
        try:
            return bytes(self._obstore.get(self._store, checked_name(name)).bytes())
        except FileNotFoundError:
            return None

    def source(self, name: str) -> BinaryIO | None:  # noqa: D102
        data = self.get(name)
        return None if data is None else BytesIO(data)

    def put(self, name: str, write: Callable[[BinaryIO], object]) -> int:  # noqa: D102
        stream = BytesIO()
        write(stream)
        size = stream.getbuffer().nbytes
        self._obstore.put(self._store, checked_name(name), stream.getvalue())
        return size

    def put_new(self, name: str, data: bytes) -> bool:  # noqa: D102
        try:
            self._obstore.put(self._store, checked_name(name), data, mode="create")
        except self._failures.AlreadyExistsError:
            return False
        except self._failures.NotSupportedError:
            if self.exists(name):
                return False
            self._obstore.put(self._store, checked_name(name), data)
        return True

    def replace(self, name: str, data: bytes, seen: bytes) -> bool:  # noqa: D102
        found = self._obstore.get(self._store, checked_name(name))
        mark: Any = {name: value for name in ("e_tag", "version") if (value := found.meta[name]) is not None}
        if bytes(found.bytes()) != seen:
            return False
        try:
            self._obstore.put(self._store, checked_name(name), data, mode=mark)
        except self._failures.PreconditionError:
            return False
        except (self._failures.NotSupportedError, NotImplementedError):
            self._obstore.put(self._store, checked_name(name), data)
        return True

    def entries(self, prefix: str = "") -> Iterator[Entry]:  # noqa: D102
        for block in self._obstore.list(self._store, prefix=checked_name(prefix) if prefix else None):
            for item in block:
                yield Entry(item["path"], item["size"], item["last_modified"].timestamp())

    def tops(self) -> list[str]:  # noqa: D102
        found = self._obstore.list_with_delimiter(self._store)
        names = [*found["common_prefixes"], *(item["path"] for item in found["objects"])]
        return sorted(name.rstrip("/") for name in names)

    def exists(self, name: str) -> bool:  # noqa: D102
        try:
            self._obstore.head(self._store, checked_name(name))
        except FileNotFoundError:
            return next(self.entries(name), None) is not None
        return True

    def delete(self, names: Sequence[str]) -> None:  # noqa: D102
        doomed: list[str] = []
        for name in names:
            doomed += [entry.name for entry in self.entries(name)] or [checked_name(name)]
        for start in range(0, len(doomed), 1000):
            try:
                self._obstore.delete(self._store, doomed[start : start + 1000])
            except FileNotFoundError:
                for name in doomed[start : start + 1000]:
                    self._delete(name)

    def _delete(self, name: str) -> None:
        try:
            self._obstore.delete(self._store, name)
        except FileNotFoundError:
            return

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Nothing: locations are unique, and the record of a key is written by one only."""
        yield

    def new_draft(self, key: str) -> Draft:  # noqa: D102
        owner = environment.process_name().replace(":", "_")
        location = f"{key}.{owner}.{uuid.uuid4().hex[:8]}.zarr"
        return Draft(location, location)

    def place(self, draft: Draft) -> None:  # noqa: D102
        del draft

    def discard(self, draft: Draft) -> None:  # noqa: D102
        if not draft.kept:
            try:
                self.delete([draft.location])
            except (self._failures.BaseError, OSError):
                return  # the store is away, which the error that led here says; gc removes it later


def _not_found(error: BaseException) -> bool:
    # obstore raises the built-in error here, which a disk raises too
    return isinstance(error, FileNotFoundError) and "Debug source" in str(error)


@functools.lru_cache(maxsize=8)
def object_store(url: str) -> ObjectStore:
    """The store of a URL, one of each in a process.

    Raises InputError where the URL cannot be used.
    """
    return ObjectStore(url)


def owner_of(location: str) -> str | None:
    """Process that wrote a location of an object store, None where the location does not say."""
    fields = location.removesuffix(".zarr").split(".", 1)
    if len(fields) != 2 or "." not in fields[1]:
        return None
    host, _, rest = fields[1].rpartition(".")[0].partition("_")
    name = f"{host}_{rest}".rsplit("_", 2)
    return ":".join(name) if len(name) == 3 else None
