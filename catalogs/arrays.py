"""Datasets as zarr v3 groups with a checksum on every chunk: chunk sizes, whole and streamed writing."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import xarray as xr
import zarr
from zarr.codecs import Crc32cCodec, ZstdCodec
from zarr.storage import StorePath

from catalogs.contents import growing_dims
from catalogs.keys import is_text, plain, storable
from kernels.errors import InputError

CHUNK_BYTES = 32 * 2**20
"""Size of a full chunk before compression; an array below it is one chunk."""

PIECE_BYTES = 2**20
"""A full chunk is a shard of pieces of about this size, each with a checksum: one sample is a small read."""

BUFFER_BYTES = 256 * 2**20
"""Memory that a streamed write may hold, besides one part."""

_STRING_BYTES = 32
_COORDINATES = "coordinates"


class Parts(Protocol):
    """Pieces of one dataset along `sample`, read one by one."""

    def __len__(self) -> int:
        """Number of pieces."""
        ...

    def sizes(self, number: int) -> Mapping[str, int]:
        """Length of every dim of a piece."""
        ...

    def load(self, number: int, names: Sequence[str] | None = None) -> xr.Dataset:
        """A piece in memory, optionally of some variables only."""
        ...


@dataclass(frozen=True)
class Layout:
    """One array to be written: the axis that grows from part to part, shape, dtype, chunks and their pieces.

    A chunk is one file, a zarr shard where it has several pieces.
    """

    name: str
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: np.dtype | str
    axis: int
    chunks: tuple[int, ...]
    pieces: tuple[int, ...]
    attrs: dict[str, Any]

    @property
    def buffer_bytes(self) -> int:
        """Memory of one chunk."""
        return math.prod(self.chunks) * _item_bytes(self.dtype)

    @property
    def files(self) -> int:
        """Number of chunks."""
        return math.prod(math.ceil(n / step) for n, step in zip(self.shape, self.chunks, strict=True))


def layout(name: str, variable: xr.Variable, sizes: Mapping[str, int], growing: set[str]) -> Layout:
    """Layout of a variable in a store where the dims have the given sizes.

    Raises InputError for dtypes that have no place in the store: dates and records.
    """
    dims = tuple(str(dim) for dim in variable.dims)
    dtype: np.dtype | str = "string" if is_text(storable(name, variable).dtype) else variable.dtype
    shape = tuple(int(sizes[dim]) for dim in dims)
    axis = next((i for i, dim in enumerate(dims) if dim in growing), 0)
    chunks, pieces = sharded(chunk_shape(shape, _item_bytes(dtype), axis), _item_bytes(dtype), axis)
    return Layout(name, dims, shape, dtype, axis, chunks, pieces, plain(variable.attrs))


def _item_bytes(dtype: np.dtype | str) -> int:
    return _STRING_BYTES if isinstance(dtype, str) else dtype.itemsize


def chunk_shape(shape: tuple[int, ...], item_bytes: int, axis: int) -> tuple[int, ...]:
    """Chunks of at most CHUNK_BYTES: cut along `axis` first, then along the longest dims left."""
    chunks = [max(1, length) for length in shape]
    order = [axis, *sorted((i for i in range(len(shape)) if i != axis), key=lambda i: -chunks[i])]
    for i in order if shape else []:
        rest = item_bytes * math.prod(chunks) // chunks[i]
        if rest * chunks[i] > CHUNK_BYTES:
            chunks[i] = max(1, CHUNK_BYTES // rest)
    return tuple(chunks)


def sharded(chunks: tuple[int, ...], item_bytes: int, axis: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Chunks whose length along `axis` is a whole number of pieces of about PIECE_BYTES, and those pieces."""
    if not chunks or item_bytes * math.prod(chunks) <= 2 * PIECE_BYTES:
        return chunks, chunks
    row = item_bytes * math.prod(chunks) // chunks[axis]
    length = min(chunks[axis], max(1, PIECE_BYTES // row))
    whole = max(1, chunks[axis] // length) * length
    lead, tail = chunks[:axis], chunks[axis + 1 :]
    return (*lead, whole, *tail), (*lead, length, *tail)


def write_dataset(store: StorePath, dataset: xr.Dataset) -> list[Layout]:
    """Write a dataset, chunk by chunk where it is lazy, whatever its own chunks are; what was written.

    Raises InputError for dtypes that are not stored, OSError where the disk is full.
    """
    plans = []
    group = _create_group(store, dataset)
    growing = growing_dims(dataset)
    sizes = {str(dim): size for dim, size in dataset.sizes.items()}
    for name, variable in dataset.variables.items():
        plan = layout(str(name), variable, sizes, growing)
        array = _create_array(group, plan)
        for region in _regions(plan):
            write_region(array, region, _values(plan, variable[region].values))
        plans.append(plan)
    return plans


def write_region(array: zarr.Array, region: tuple[slice, ...], values: np.ndarray) -> None:
    """Write whole chunk files, so that writers side by side never share one.

    Two that write parts of one file each read it, change their part and write it back: one of them is lost,
    without an error. Raises InputError where the region does not start and end with a file, or the values
    have another shape.
    """
    whole = array.chunks if array.shards is None else array.shards
    cuts = (*region, *(slice(None),) * (array.ndim - len(region)))
    for axis, (cut, step, length) in enumerate(zip(cuts, whole, array.shape, strict=True)):
        start, stop, stride = cut.indices(length)
        if stride != 1 or start % step or (stop % step and stop != length):
            raise InputError(
                f"cannot write {start}:{stop} along axis {axis} of {array.path!r}: its chunks hold {step}, "
                f"and part of a chunk could be lost where two write; expected bounds at multiples of {step}, "
                f"or the end {length}: choose other bounds, or let one writer join the pieces"
            )
    wanted = tuple(len(range(*cut.indices(length))) for cut, length in zip(cuts, array.shape, strict=True))
    if values.shape != wanted:
        raise InputError(
            f"values of shape {values.shape} for {wanted} of {array.path!r}: give the same shape"
        )
    array[region] = values


def write_parts(store: StorePath, parts: Parts) -> list[Layout]:
    """Join parts along `sample` and every ragged dim in bounded memory; what was written.

    Raises InputError where the parts disagree on variables, dims, dtypes or units.
    """
    first = parts.load(0)
    growing = growing_dims(first)
    totals = {str(dim): size for dim, size in first.sizes.items()}
    for dim in growing & set(totals):
        totals[dim] = sum(int(parts.sizes(number)[dim]) for number in range(len(parts)))
    group = _create_group(store, first)
    plans = [layout(str(name), variable, totals, growing) for name, variable in first.variables.items()]
    arrays = {plan.name: _create_array(group, plan) for plan in plans}
    moving = [plan for plan in plans if growing & set(plan.dims)]
    for plan in plans:
        if plan not in moving:
            for region in _regions(plan):
                values = _values(plan, first[plan.name].variable[region].values)
                write_region(arrays[plan.name], region, values)
    names = {plan.name for plan in plans}
    for batch in _batches(moving):
        appenders = [_Appender(plan, arrays[plan.name]) for plan in batch]
        for number in range(len(parts)):
            part = parts.load(number, [plan.name for plan in batch])
            for appender in appenders:
                appender.append(_matching(appender.plan, part, number, names))
        for appender in appenders:
            appender.finish()
    return plans


def _batches(plans: Sequence[Layout]) -> Iterator[list[Layout]]:
    batch: list[Layout] = []
    for plan in plans:
        if batch and sum(p.buffer_bytes for p in [*batch, plan]) > BUFFER_BYTES:
            yield batch
            batch = []
        batch.append(plan)
    if batch:
        yield batch


def check_fits(first: xr.Dataset, part: xr.Dataset, number: int) -> None:
    """Raise InputError, naming the variable, where a part does not fit the first one."""
    sizes = {str(dim): size for dim, size in first.sizes.items()}
    for name, variable in first.variables.items():
        plan = layout(str(name), variable, sizes, set())
        _check_matching(plan, part, number, {str(one) for one in first.variables})


def _check_matching(plan: Layout, part: xr.Dataset, number: int, names: set[str]) -> None:
    if plan.name not in part.variables:
        raise InputError(f"part {number} has no variable {plan.name!r}; part 0 has {sorted(names)}")
    variable = part.variables[plan.name]
    given, wanted = variable.attrs.get("units"), plan.attrs.get("units")
    kind = "string" if is_text(variable.dtype) else variable.dtype
    if tuple(variable.dims) != plan.dims or kind != plan.dtype or given != wanted:
        raise InputError(
            f"{plan.name!r} has dims {variable.dims}, dtype {kind} and units {given!r} in part {number}, "
            f"dims {plan.dims}, dtype {plan.dtype} and units {wanted!r} in part 0: make them agree"
        )


def _matching(plan: Layout, part: xr.Dataset, number: int, names: set[str]) -> np.ndarray:
    _check_matching(plan, part, number, names)
    return _values(plan, part.variables[plan.name].values)


class _Appender:
    """Collects rows of one array and writes them in whole chunks."""

    def __init__(self, plan: Layout, array: zarr.Array) -> None:
        self.plan = plan
        self._array = array
        self._held: list[np.ndarray] = []
        self._rows = 0
        self._written = 0

    def append(self, values: np.ndarray) -> None:
        """Take rows; write every chunk that they complete."""
        self._held.append(values)
        self._rows += values.shape[self.plan.axis]
        step = self.plan.chunks[self.plan.axis]
        if self._rows >= step:
            self._write(self._rows - self._rows % step)

    def finish(self) -> None:
        """Write what is left."""
        if self._rows:
            self._write(self._rows)

    def _write(self, rows: int) -> None:
        joined = np.concatenate(self._held, axis=self.plan.axis)
        lead = (slice(None),) * self.plan.axis
        region = (*lead, slice(self._written, self._written + rows))
        write_region(self._array, region, joined[(*lead, slice(0, rows))])
        self._written += rows
        self._rows -= rows
        self._held = [joined[(*lead, slice(rows, None))].copy()] if self._rows else []


def _create_group(store: StorePath, dataset: xr.Dataset) -> zarr.Group:
    attrs = plain(dataset.attrs)
    extra = sorted(str(name) for name in dataset.coords if name not in dataset.dims)
    if extra:
        attrs[_COORDINATES] = " ".join(extra)
    return zarr.create_group(store=store, zarr_format=3, attributes=attrs)


def _create_array(group: zarr.Group, plan: Layout) -> zarr.Array:
    return group.create_array(
        plan.name,
        shape=plan.shape,
        dtype=plan.dtype,
        chunks=plan.pieces,
        shards=None if plan.pieces == plan.chunks else plan.chunks,
        compressors=(ZstdCodec(level=1), Crc32cCodec()),
        dimension_names=plan.dims,
        attributes=plan.attrs,
        config={"write_empty_chunks": True},
    )


def _regions(plan: Layout) -> Iterator[tuple[slice, ...]]:
    if not plan.shape:
        yield ()
        return
    if 0 in plan.shape:
        return
    lead = (slice(None),) * plan.axis
    step = plan.chunks[plan.axis]
    for start in range(0, plan.shape[plan.axis], step):
        yield (*lead, slice(start, min(start + step, plan.shape[plan.axis])))


def _values(plan: Layout, values: np.ndarray) -> np.ndarray:
    if plan.dtype != "string":
        return values
    return np.array([str(item) for item in values.ravel()], dtype=object).reshape(values.shape)
