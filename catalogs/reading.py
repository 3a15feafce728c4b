"""Reading zarr groups lazily, so that a damaged or missing chunk is an error that names it."""

import itertools
import json
import math
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
import zarr
from zarr.storage import StorePath, WrapperStore

from catalogs.sealing import META, digest_of
from catalogs.stores import Store
from kernels.errors import InputError

if TYPE_CHECKING:
    import dask.array as da

EAGER_BYTES = 2**20
"""Arrays up to this size are read when the artifact is opened."""

_READERS = 8


class MissingChunk(Exception):
    """A chunk that the metadata promise and the store has not; zarr would give fill values."""

    def __init__(self, chunk: str) -> None:
        super().__init__("missing")
        self.chunk = chunk


class _Strict(WrapperStore):
    """A store that gives known metadata for one array, and an error for every chunk that is not there."""

    def __init__(self, store: Any, metadata: bytes) -> None:
        super().__init__(store)
        self._metadata = metadata

    def _with_store(self, store: Any) -> "_Strict":
        return _Strict(store, self._metadata)

    async def get(self, key: str, prototype: Any, byte_range: Any = None) -> Any:
        if key.endswith(META):
            return prototype.buffer.from_bytes(self._metadata)
        value = await super().get(key, prototype, byte_range)
        if value is None:
            raise MissingChunk(_index(key))
        if len(value) == 0:  # no chunk is empty, and some codecs make fill values of nothing
            raise ValueError("the file is empty")
        return value


def _index(key: str) -> str:
    tail = f"/{key}".rpartition("/c")[2].strip("/")
    return tail or "0"


class CheckedArray:
    """One stored array; reading a part of it gives the numbers that were written or raises InputError."""

    def __init__(self, store: Store, path: str, metadata: bytes, what: str) -> None:
        self._given = (store, path, metadata, what)
        self._store, self._what, self._name = store, what, path.rpartition("/")[2]
        place = store.zarr(path)
        self.array = zarr.open_array(
            StorePath(_Strict(place.store, metadata), place.path), mode="r", zarr_format=3
        )
        self.shape, self.ndim = self.array.shape, self.array.ndim
        self.dtype = np.dtype(object) if self.array.dtype.kind in "TOU" else self.array.dtype

    def __reduce__(self) -> tuple[Any, ...]:
        return (CheckedArray, self._given)

    def regions(self) -> Iterator[tuple[str, tuple[slice, ...]]]:
        """Index and region of every file."""
        step = self.files
        for index in itertools.product(*_met(..., self.shape, step)):
            region = tuple(slice(i * c, (i + 1) * c) for i, c in zip(index, step, strict=True))
            yield "/".join(map(str, index)), region

    @property
    def files(self) -> tuple[int, ...]:
        """Shape of what one file holds."""
        return self.array.chunks if self.array.shards is None else self.array.shards

    def __getitem__(self, selection: Any) -> np.ndarray:
        try:
            values = np.asarray(self.array[selection])
        except MemoryError:
            raise
        except Exception as error:
            away = self._store.failure(error, f"reading variable {self._name!r} of {self._what}")
            if away is not None:
                raise InputError(away) from error
            if self._store.get(f"{self._given[1].rpartition('/')[0]}/{META}") is None:
                raise InputError(gone_message(self._what, self._store.shown)) from error
            chunk = error.chunk if isinstance(error, MissingChunk) else self._bad_chunk(selection)
            raise InputError(damage_message(self._what, self._name, chunk, error)) from error
        return values.astype(object) if values.dtype.kind in "TU" else values

    def _bad_chunk(self, selection: Any) -> str:
        return next((chunk for chunk, _ in self.faults(selection)), "unknown")

    def trouble(self, selection: Any) -> list[tuple[str, str]]:
        """(chunk, reason) of everything in a selection that cannot be read; empty where all is well.

        Raises InputError where the store itself does not answer.
        """
        try:
            self.array[selection]
        except MemoryError:
            raise
        except MissingChunk as error:
            return [(error.chunk, "missing")]
        except Exception as error:
            away = self._store.failure(error, f"reading variable {self._name!r} of {self._what}")
            if away is not None:
                raise InputError(away) from error
            found = [(chunk, str(fault)) for chunk, fault in self.faults(selection)]
            return found or [("unknown", str(error))]
        return []

    def faults(self, selection: Any = ...) -> Iterator[tuple[str, Exception]]:
        """Index and error of every chunk (piece of a file) that a selection meets and that cannot be read."""
        steps = self.array.chunks
        for index in itertools.product(*_met(selection, self.shape, steps)):
            region = tuple(slice(i * c, (i + 1) * c) for i, c in zip(index, steps, strict=True))
            try:
                self.array[region]
            except MemoryError:
                raise
            except Exception as error:  # noqa: BLE001 - whatever the codec raises marks the chunk
                yield "/".join(map(str, index)) or "0", error


def _met(selection: Any, shape: tuple[int, ...], steps: tuple[int, ...]) -> list[range]:
    """Along each axis, the chunks that a selection meets; all of them unless it is made of slices."""
    cuts = selection if isinstance(selection, tuple) else (selection,)
    if len(cuts) != len(shape) or not all(isinstance(cut, slice) and cut.step in (None, 1) for cut in cuts):
        cuts = (slice(None),) * len(shape)
    met = []
    for cut, length, step in zip(cuts, shape, steps, strict=True):
        start, stop, _ = cut.indices(length)
        met.append(range(start // step, math.ceil(stop / step)))
    return met


def gone_message(what: str, place: str) -> str:
    """The message about a group that is not there."""
    return (
        f"the data of {what} are gone from {place}: if it was compacted or removed meanwhile, open it again; "
        "else put them back, or remove its entry with `pushforward catalog gc --remove KEY` and run again"
    )


def damage_message(what: str, name: str, chunk: str, error: object) -> str:
    """The message about a chunk that cannot be read."""
    return (
        f"{what} is damaged: chunk {chunk} of variable {name!r} cannot be trusted ({error}); the disk "
        "changed it after it "
        "was written. Remove the artifact with `pushforward catalog gc --remove KEY` and run again, "
        "which computes it anew"
    )


def stored_metadata(store: Store, prefix: str, what: str, digest: str | None) -> tuple[dict, dict[str, dict]]:
    """Attributes of a group, and the metadata of each of its arrays; one read where the digest is known.

    Raises InputError where they are gone, or are not those that were published.
    """
    text = store.get(f"{prefix}/{META}")
    if text is None:
        raise InputError(gone_message(what, store.shown))
    if digest is not None and digest_of(text) != digest:
        raise InputError(metadata_message(what, "zarr.json has another digest than when it was published"))
    try:
        group = json.loads(text)
        if digest is None:  # data of an earlier version
            members = dict(_unsealed(store, prefix))
        else:
            members = group["consolidated_metadata"]["metadata"]
        return dict(group.get("attributes", {})), members
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(metadata_message(what, error)) from error


def metadata_message(what: str, error: object) -> str:
    """The message about metadata that cannot be understood."""
    return f"{what} is damaged: its metadata cannot be trusted ({error}); remove it and run again"


def _unsealed(store: Store, prefix: str) -> Iterator[tuple[str, dict]]:
    for entry in store.entries(prefix):
        name = entry.name[len(prefix) + 1 :]
        if name.count("/") == 1 and name.endswith(f"/{META}"):
            yield name.split("/")[0], json.loads(store.get(entry.name) or b"")


def checked_arrays(
    store: Store, prefix: str, what: str, members: Mapping[str, dict]
) -> dict[str, CheckedArray]:
    """The arrays of a group, by name; raises InputError where metadata cannot be understood."""
    arrays = {}
    for name in sorted(members):
        try:
            arrays[name] = CheckedArray(store, f"{prefix}/{name}", json.dumps(members[name]).encode(), what)
        except InputError:
            raise
        except Exception as error:
            raise InputError(metadata_message(what, f"variable {name!r}: {error}")) from error
    return arrays


def open_dataset(store: Store, prefix: str, what: str, digest: str | None = None) -> xr.Dataset:
    """A stored dataset: small arrays in memory, the others as dask arrays of the stored chunks.

    Chunks of lazy arrays are looked for when they are read. Raises InputError where metadata or a chunk of a
    small array are missing or damaged.
    """
    attrs, members = stored_metadata(store, prefix, what, digest)
    arrays = checked_arrays(store, prefix, what, members)
    small = [
        name for name, a in arrays.items() if math.prod(a.shape) * max(1, a.dtype.itemsize) <= EAGER_BYTES
    ]
    if store.remote and len(small) > 1:
        with ThreadPoolExecutor(_READERS) as pool:
            eager = dict(zip(small, pool.map(lambda name: arrays[name][...], small), strict=True))
    else:
        eager = {name: arrays[name][...] for name in small}
    variables = {}
    for name, checked in arrays.items():
        data = eager[name] if name in eager else lazy(checked, f"{prefix}-{name}")
        about = members[name]
        variables[name] = xr.Variable(dims_of(about), data, dict(about.get("attributes", {})))
    return assemble(variables, attrs)


def lazy(checked: CheckedArray, name: str) -> "da.Array":
    """A stored array as a dask array of its files."""
    import dask.array as da  # a quarter of what a search imports, which opens nothing

    return da.from_array(
        checked,
        chunks=checked.files,
        name=name,
        inline_array=True,
        meta=np.empty((0,) * checked.ndim, checked.dtype),
    )


def file_shape(about: Mapping[str, Any]) -> tuple[int, ...]:
    """Shape of what one file of an array holds, by its metadata."""
    return tuple(about["chunk_grid"]["configuration"]["chunk_shape"])


def dims_of(about: Mapping[str, Any]) -> tuple[str, ...]:
    """Dims of an array, by its metadata."""
    return tuple(str(dim) for dim in about.get("dimension_names") or ())


def assemble(variables: dict[str, xr.Variable], attrs: dict[str, Any]) -> xr.Dataset:
    """A dataset of variables, with the coordinates that the attributes of its group name."""
    extra = str(attrs.pop("coordinates", "")).split()
    coords = {n: v for n, v in variables.items() if n in extra or v.dims == (n,)}
    return xr.Dataset({n: v for n, v in variables.items() if n not in coords}, coords=coords, attrs=attrs)
