"""Sets of meshes of different sizes as one dataset: the CF contiguous ragged form, cut and joined by sample.

A count variable such as `node_count(sample)` carries the attribute `sample_dimension = "node"`; the values of
sample i along `node` are those from offsets[i] to offsets[i + 1].
"""

from collections.abc import Sequence

import numpy as np
import xarray as xr

from kernels.errors import InputError


def ragged_dims(dataset: xr.Dataset) -> dict[str, str]:
    """Ragged dim -> name of its count variable."""
    return {
        str(v.attrs["sample_dimension"]): str(name)
        for name, v in dataset.variables.items()
        if "sample_dimension" in v.attrs
    }


def offsets(dataset: xr.Dataset, dim: str) -> np.ndarray:
    """Start of every sample along a ragged dim, and the end: int64 of shape (samples + 1,)."""
    counts = np.asarray(dataset[ragged_dims(dataset)[dim]].values, dtype=np.int64)
    return np.concatenate(([0], np.cumsum(counts)))


def take(dataset: xr.Dataset, samples: Sequence[int] | np.ndarray) -> xr.Dataset:
    """The given samples, in that order, with everything that belongs to them along the ragged dims (lazy)."""
    picked = np.asarray(samples, dtype=np.int64)
    index: dict[str, object] = {"sample": _as_slice(picked)}
    for dim in ragged_dims(dataset):
        bounds = offsets(dataset, dim)
        pieces = [np.arange(bounds[i], bounds[i + 1]) for i in picked]
        index[dim] = _as_slice(np.concatenate(pieces) if pieces else np.empty(0, np.int64))
    return dataset.isel({k: v for k, v in index.items() if k in dataset.dims})


def _as_slice(index: np.ndarray) -> object:
    if index.size and np.array_equal(index, np.arange(index[0], index[0] + index.size)):
        return slice(int(index[0]), int(index[0]) + index.size)
    return index


def concat(parts: Sequence[xr.Dataset]) -> xr.Dataset:
    """Join datasets along `sample` and along every ragged dim; what has neither must be equal in all parts.

    Raises InputError where the parts disagree on variables, dims or units.
    """
    if not parts:
        raise InputError("nothing to join: expected at least one part, got none")
    first = parts[0]
    growing = {"sample", *ragged_dims(first)}
    for number, part in enumerate(parts[1:], start=1):
        _check_joinable(first, part, number)
    joined = {}
    for name, head in first.variables.items():
        dim = next((d for d in head.dims if d in growing), None)
        if dim is None:
            joined[name] = head
            continue
        joined[name] = xr.Variable.concat([part.variables[name] for part in parts], dim=dim)
        joined[name].attrs = dict(head.attrs)
    coords = {n: v for n, v in joined.items() if n in first.coords}
    data = {n: v for n, v in joined.items() if n not in first.coords}
    return xr.Dataset(data, coords=coords, attrs=first.attrs)


def _check_joinable(first: xr.Dataset, part: xr.Dataset, number: int) -> None:
    if set(part.variables) != set(first.variables):
        difference = sorted(map(str, set(part.variables) ^ set(first.variables)))
        raise InputError(
            f"part {number} and part 0 differ in the variables {difference}; expected the same set"
        )
    for name, head in first.variables.items():
        other = part.variables[name]
        given, wanted = other.attrs.get("units"), head.attrs.get("units")
        if other.dims != head.dims or given != wanted:
            raise InputError(
                f"{name!r} has dims {other.dims} and units {given!r} in part {number}, "
                f"dims {head.dims} and units {wanted!r} in part 0: convert one of them"
            )


def sample_names(dataset: xr.Dataset) -> list[str]:
    """Names of the samples for messages: `sample_name`, or the position where it is absent."""
    if "sample_name" in dataset:
        return [str(name) for name in dataset["sample_name"].values]
    return [str(i) for i in range(dataset.sizes["sample"])]
