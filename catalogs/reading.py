"""Reading zarr groups lazily, so that a damaged or missing chunk is an error that names it."""

import itertools
import math
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
import zarr
import zarr.storage

from kernels.errors import InputError

EAGER_BYTES = 2**20
"""Arrays up to this size are read when the artifact is opened."""


class CheckedArray:
    """One stored array; reading a part of it gives the numbers that were written or raises InputError."""

    def __init__(self, path: Path, name: str, what: str) -> None:
        self._path, self._name, self._what = path, name, what
        self._open()

    def _open(self) -> None:
        array = zarr.open_array(
            zarr.storage.LocalStore(self._path, read_only=True), path=self._name, mode="r"
        )
        self._array = array
        self.shape, self.ndim = array.shape, array.ndim
        self.dtype = np.dtype(object) if array.dtype.kind in "TOU" else array.dtype

    def __reduce__(self) -> tuple[Any, ...]:
        return (CheckedArray, (self._path, self._name, self._what))

    def __getitem__(self, selection: Any) -> np.ndarray:
        return checked_read(self._array, selection, self._what, self._name)


def checked_read(array: zarr.Array, selection: Any, what: str, name: str) -> np.ndarray:
    """Values of an array; raises InputError naming the artifact, the variable and the chunk that cannot be
    trusted.
    """
    try:
        values = np.asarray(array[selection])
    except MemoryError:
        raise
    except Exception as error:
        raise InputError(damage_message(what, name, _bad_chunk(array), error)) from error
    return values.astype(object) if values.dtype.kind in "TU" else values


def damage_message(what: str, name: str, chunk: str, error: object) -> str:
    """The message about a chunk that cannot be read."""
    return (
        f"{what} is damaged: chunk {chunk} of variable {name!r} cannot be trusted ({error}); the disk "
        "changed it after it "
        "was written. Remove the artifact with `pushforward catalog gc --remove KEY` and run again, "
        "which computes it anew"
    )


def _bad_chunk(array: zarr.Array) -> str:
    for index in _grid(array, array.chunks):
        region = tuple(slice(i * c, (i + 1) * c) for i, c in zip(index, array.chunks, strict=True))
        try:
            array[region]
        except Exception:  # noqa: BLE001 - whatever the codec raises marks the chunk
            return "/".join(map(str, index)) or "0"
    return "unknown"


def _files(array: zarr.Array) -> tuple[int, ...]:
    """Shape of what one file holds."""
    return array.chunks if array.shards is None else array.shards


def _grid(array: zarr.Array, step: tuple[int, ...]) -> itertools.product:
    counts = [math.ceil(length / size) for length, size in zip(array.shape, step, strict=True)]
    return itertools.product(*map(range, counts))


def _chunk_names(array: zarr.Array, name: str) -> list[str]:
    return ["/".join([name, "c", *map(str, index)]) for index in _grid(array, _files(array))]


def open_dataset(path: Path, what: str) -> xr.Dataset:
    """A stored dataset: small arrays in memory, the others as dask arrays of the stored chunks.

    Raises InputError where metadata or a chunk is missing or damaged.
    """
    group = _open_group(zarr.storage.LocalStore(path, read_only=True), what)
    variables = {}
    for name, array in _arrays(group, what):
        for chunk in _chunk_names(array, name):
            if not (path / chunk).is_file():
                raise InputError(
                    damage_message(what, name, chunk.split("/c", 1)[1].strip("/") or "0", "missing")
                )
        checked = CheckedArray(path, name, what)
        if math.prod(checked.shape) * max(1, checked.dtype.itemsize) <= EAGER_BYTES:
            data: Any = checked[...]
        else:
            data = da.from_array(
                checked,
                chunks=_files(array),
                name=f"{path.stem}-{name}",
                inline_array=True,
                meta=np.empty((0,) * checked.ndim, checked.dtype),
            )
        variables[name] = xr.Variable(_dims(array), data, dict(array.attrs))
    return _assemble(variables, dict(group.attrs))


def _open_group(store: Any, what: str) -> zarr.Group:
    try:
        return zarr.open_group(store, mode="r", zarr_format=3, use_consolidated=False)
    except Exception as error:
        raise InputError(
            f"{what} is damaged: its metadata cannot be read ({error}); remove it and run again"
        ) from error


def _arrays(group: zarr.Group, what: str) -> list[tuple[str, zarr.Array]]:
    try:
        return sorted(group.arrays())
    except Exception as error:
        raise InputError(
            f"{what} is damaged: its metadata cannot be read ({error}); remove it and run again"
        ) from error


def _dims(array: zarr.Array) -> tuple[str, ...]:
    return tuple(str(dim) for dim in getattr(array.metadata, "dimension_names", None) or ())


def _assemble(variables: dict[str, xr.Variable], attrs: dict[str, Any]) -> xr.Dataset:
    extra = str(attrs.pop("coordinates", "")).split()
    coords = {n: v for n, v in variables.items() if n in extra or v.dims == (n,)}
    return xr.Dataset({n: v for n, v in variables.items() if n not in coords}, coords=coords, attrs=attrs)
