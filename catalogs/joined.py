"""Pieces of several stored groups as one lazy dataset, the same as if they had been written as one."""

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from catalogs import reading
from catalogs.reading import CheckedArray, stored_metadata
from catalogs.sealing import divided
from catalogs.segments import Piece, Place
from catalogs.stores import Store
from kernels.errors import InputError

_READERS = 8


class _Stored:
    """One array of a segment, opened when it is read first."""

    def __init__(self, store: Store, path: str, metadata: bytes, what: str) -> None:
        self._given = (store, path, metadata, what)
        self._array: CheckedArray | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return (_Stored, self._given)

    @property
    def array(self) -> CheckedArray:
        """The array itself."""
        if self._array is None:
            try:
                self._array = CheckedArray(*self._given)
            except InputError:
                raise
            except Exception as error:
                raise InputError(reading.metadata_message(self._given[3], error)) from error
        return self._array


class JoinedArray:
    """Rows of several stored arrays, one after the other along an axis; reads what a selection meets only."""

    def __init__(self, parts: Sequence[tuple[_Stored, int, int]], axis: int, shape: tuple[int, ...]) -> None:
        self._parts, self._axis = list(parts), axis
        self._ends = np.cumsum([stop - start for _, start, stop in parts])
        self.shape, self.ndim = shape, len(shape)
        self.dtype = parts[0][0].array.dtype

    def __getitem__(self, selection: Any) -> np.ndarray:
        given = selection if isinstance(selection, tuple) else (selection,)
        if Ellipsis in given:
            place = given.index(Ellipsis)
            fill = (slice(None),) * (self.ndim - len(given) + 1)
            given = (*given[:place], *fill, *given[place + 1 :])
        given = (*given, *(slice(None),) * (self.ndim - len(given)))
        cuts = [_cut(item, length) for item, length in zip(given, self.shape, strict=True)]
        values = self._block([(low, high) for low, high, _ in cuts])
        for axis in reversed(range(self.ndim)):  # one by one, since numpy would pair two lists
            values = values[(*(slice(None),) * axis, cuts[axis][2])]
        return values

    def _block(self, bounds: Sequence[tuple[int, int]]) -> np.ndarray:
        low, high = bounds[self._axis]
        found = []
        number = int(np.searchsorted(self._ends, low, side="right"))
        while low < high:
            stored, start, stop = self._parts[number]
            before = int(self._ends[number]) - (stop - start)
            until = min(high, int(self._ends[number]))
            region = [slice(*bound) for bound in bounds]
            region[self._axis] = slice(start + low - before, start + until - before)
            if until > low:
                found.append(stored.array[tuple(region)])
            low, number = until, number + 1
        if len(found) == 1:
            return found[0]
        shape = [b - a for a, b in bounds]
        return np.concatenate(found, axis=self._axis) if found else np.empty(shape, self.dtype)


def _cut(item: Any, length: int) -> tuple[int, int, Any]:
    """First, past the last, and what is to be taken of that stretch."""
    if isinstance(item, slice):
        chosen = range(*item.indices(length))
        if not chosen:
            return 0, 0, slice(None)
        low, high = min(chosen[0], chosen[-1]), max(chosen[0], chosen[-1]) + 1
        return low, high, slice(None, None, chosen.step)
    if np.ndim(item):
        numbers = np.arange(length)[np.asarray(item)]
        if not numbers.size:
            return 0, 0, slice(None)
        return int(numbers.min()), int(numbers.max()) + 1, numbers - numbers.min()
    number = range(length)[int(item)]
    return number, number + 1, 0


@dataclass(frozen=True)
class _Group:
    """A segment as its metadata say: its place, and the metadata of its arrays."""

    prefix: str
    what: str
    members: dict[str, dict[str, Any]]


def open_place(store: Store, place: Place, what: str) -> xr.Dataset:
    """The dataset at a place: small arrays in memory, the others as dask arrays of the stored chunks.

    Raises InputError, naming the segment where there are several, where metadata or a chunk of a small array
    are missing or damaged, or segments do not fit each other.
    """
    if not place.pieces:
        location, digest = divided(place.address)
        return reading.open_dataset(store, location, what, digest)
    attrs, groups = _groups(store, place, what)
    first = groups[place.pieces[0].address]
    growing = _growing(first)
    bounds = _bounds(store, place.pieces, groups)

    def variable(name: str) -> xr.Variable:
        about = first.members[name]
        dims = reading.dims_of(about)
        axis = next((i for i, dim in enumerate(dims) if dim in growing), None)
        if axis is None:
            stored = _stored(store, first, name)
            data: Any = stored.array
            if _bytes(stored.array.shape, stored.array.dtype) > reading.EAGER_BYTES:
                return xr.Variable(dims, reading.lazy(data, f"{first.prefix}-{name}"), about["attributes"])
            return xr.Variable(dims, data[...], dict(about.get("attributes", {})))
        data = _joined(store, place.pieces, groups, name, axis, bounds[dims[axis]])
        return xr.Variable(dims, data, dict(about.get("attributes", {})))

    names = sorted(first.members)
    if store.remote:
        with ThreadPoolExecutor(_READERS) as pool:
            made = dict(zip(names, pool.map(variable, names), strict=True))
    else:
        made = {name: variable(name) for name in names}
    return reading.assemble(made, attrs)


def _stored(store: Store, group: _Group, name: str) -> _Stored:
    metadata = json.dumps(group.members[name]).encode()
    return _Stored(store, f"{group.prefix}/{name}", metadata, group.what)


def _bytes(shape: Sequence[int], dtype: np.dtype) -> int:
    return math.prod(shape) * max(1, dtype.itemsize)


def _joined(
    store: Store, pieces: Sequence[Piece], groups: Mapping[str, _Group], name: str, axis: int,
    bounds: Sequence[tuple[int, int]],
) -> Any:  # fmt: skip
    opened = {address: _stored(store, group, name) for address, group in groups.items()}
    parts = [
        (opened[piece.address], start, stop) for piece, (start, stop) in zip(pieces, bounds, strict=True)
    ]
    shape = list(groups[pieces[0].address].members[name]["shape"])
    shape[axis] = sum(stop - start for start, stop in bounds)
    array = JoinedArray(parts, axis, tuple(shape))
    if _bytes(array.shape, array.dtype) <= reading.EAGER_BYTES:
        return array[...]
    steps = {address: reading.file_shape(group.members[name]) for address, group in groups.items()}
    along = [
        length
        for piece, bound in zip(pieces, bounds, strict=True)
        for length in _lengths(bound, steps[piece.address][axis])
    ]
    chunks: list[Any] = list(steps[pieces[0].address])
    chunks[axis] = tuple(along)
    import dask.array as da  # here, as in `reading.lazy`

    return da.from_array(
        array,
        chunks=tuple(chunks),
        name=f"{hashlib.sha256(repr(list(pieces)).encode()).hexdigest()}-{name}",
        inline_array=True,
        meta=np.empty((0,) * array.ndim, array.dtype),
    )


def _lengths(bound: tuple[int, int], step: int) -> Iterator[int]:
    """Rows of a piece, file by file."""
    start, stop = bound
    while start < stop:
        until = min(stop, (start // step + 1) * step)
        yield until - start
        start = until


def _groups(store: Store, place: Place, what: str) -> tuple[dict[str, Any], dict[str, _Group]]:
    """Attributes, and the groups by address; all agree but in how many samples they hold."""

    def read(address: str) -> tuple[dict[str, Any], _Group]:
        location, digest = divided(address)
        shown = f"{what}, segment {location}"
        attrs, members = stored_metadata(store, location, shown, digest)
        return attrs, _Group(location, shown, members)

    addresses = place.addresses
    if store.remote:
        with ThreadPoolExecutor(_READERS) as pool:
            read_ones = list(pool.map(read, addresses))
    else:
        read_ones = [read(address) for address in addresses]
    attrs, first = read_ones[0]
    for others, group in read_ones[1:]:
        if _form(others, group) != _form(attrs, first):
            raise InputError(
                f"{group.what} does not fit segment {first.prefix}: attributes, variables, dims or dtypes "
                "differ, expected the same in all; run `pushforward catalog verify`, and publish it anew"
            )
    return dict(attrs), {address: group for address, (_, group) in zip(addresses, read_ones, strict=True)}


def _form(attrs: Mapping[str, Any], group: _Group) -> str:
    """All that has to be the same in every segment, as text, since NaN is not equal to itself."""
    growing = _growing(group)
    members = {
        name: [
            about.get("data_type"),
            about.get("attributes"),
            [
                (d, None if d in growing else n)
                for d, n in zip(reading.dims_of(about), about["shape"], strict=True)
            ],
        ]
        for name, about in group.members.items()
    }
    return json.dumps([attrs, members], sort_keys=True)


def _growing(group: _Group) -> set[str]:
    found = (about.get("attributes", {}).get("sample_dimension") for about in group.members.values())
    return {"sample", *(str(dim) for dim in found if dim is not None)}


def _bounds(
    store: Store, pieces: Sequence[Piece], groups: Mapping[str, _Group]
) -> dict[str, list[tuple[int, int]]]:
    """For `sample` and each ragged dim, what every piece takes of its segment."""
    found: dict[str, list[tuple[int, int]]] = {"sample": [(piece.start, piece.stop) for piece in pieces]}
    first = groups[pieces[0].address]
    lengths = {address: _lengths_of(group) for address, group in groups.items()}
    for piece in pieces:
        if piece.stop > lengths[piece.address].get("sample", 0):
            raise InputError(
                f"{groups[piece.address].what} has {lengths[piece.address].get('sample', 0)} samples, the "
                f"catalog expects at least {piece.stop}: run `pushforward catalog verify`"
            )
    for name, about in first.members.items():
        dim = about.get("attributes", {}).get("sample_dimension")
        if dim is None:
            continue
        edges: dict[str, np.ndarray] = {}
        found[str(dim)] = []
        for piece in pieces:
            total = lengths[piece.address].get(str(dim), 0)
            if (piece.start, piece.stop) == (0, lengths[piece.address]["sample"]):
                found[str(dim)].append((0, total))
                continue
            if piece.address not in edges:
                counts = _stored(store, groups[piece.address], name).array[...].astype(np.int64)
                edges[piece.address] = np.concatenate(([0], np.cumsum(counts)))
            edge = edges[piece.address]
            found[str(dim)].append((int(edge[piece.start]), int(edge[piece.stop])))
    return found


def _lengths_of(group: _Group) -> dict[str, int]:
    return {
        dim: int(length)
        for about in group.members.values()
        for dim, length in zip(reading.dims_of(about), about["shape"], strict=True)
    }
