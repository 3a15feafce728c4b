"""Arrays in zarr folders of format 2 and 3, read chunk by chunk."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.storage import LocalStore, StorePath, WrapperStore

from catalogs.formats.arrays_held import Held, of_values, reading
from kernels.errors import InputError

_MARKS = ("zarr.json", ".zgroup", ".zarray")
_BLOSC_HEADER = 16


class _WholeBlosc(WrapperStore):
    """A store whose chunks must be as long as their Blosc header says: the decoder reads past a short one."""

    def _with_store(self, store: Any) -> "_WholeBlosc":
        return _WholeBlosc(store)

    async def get(self, key: str, prototype: Any, byte_range: Any = None) -> Any:
        value = await super().get(key, prototype, byte_range)
        if value is None or byte_range is not None or key.rpartition("/")[2] in (*_MARKS, ".zattrs"):
            return value
        head = value.to_bytes()[:_BLOSC_HEADER]
        said = int.from_bytes(head[12:16], "little")
        if len(head) < _BLOSC_HEADER or said != len(value):
            raise ValueError(f"chunk {key} has {len(value)} bytes, its header says {said}")
        return value


def open_zarr(path: Path) -> dict[str, Held]:
    """Arrays of a zarr group by their path in it, or the one array of the folder under its stem.

    Arrays of objects, and such as pass through a codec that unpickles, are refused where they are read.
    """
    if not any((path / mark).is_file() for mark in _MARKS):
        raise InputError(
            f"{path} is a folder without any of {', '.join(_MARKS)}, expected a zarr group: check the path"
        )
    with reading(path):
        root = zarr.open(LocalStore(path, read_only=True), mode="r")
        if isinstance(root, zarr.Array):
            return {path.stem: _held(path, path.stem, root)}
        members = [
            (name, node) for name, node in root.members(max_depth=None) if isinstance(node, zarr.Array)
        ]
        return {name: _held(path, name, node) for name, node in members}


def _held(path: Path, name: str, array: Any) -> Held:
    described = json.dumps(array.metadata.to_dict(), default=str).lower()
    if "pickle" in described or array.dtype.kind == "O":
        return of_values(path, name, np.empty(0)).unusable(
            "holds Python objects, which are never loaded; expected numbers: save a plain array"
        )
    sharded = getattr(array, "shards", None) is not None
    if "blosc" in described and not sharded:
        place = array.store_path
        array = zarr.open_array(StorePath(_WholeBlosc(place.store), place.path), mode="r")
    attrs = dict(array.attrs)
    named = getattr(array.metadata, "dimension_names", None) or attrs.pop("_ARRAY_DIMENSIONS", None)
    dims = tuple(map(str, named)) if named and None not in named else None
    chunks = array.shards if sharded else array.chunks
    return Held(path, name, array.shape, array.dtype, array.__getitem__, dims, attrs, chunks)
