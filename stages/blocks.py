"""Reading a data set in blocks of samples, so that memory does not grow with it."""

from collections.abc import Iterator, Sequence

import numpy as np
import xarray as xr

from stages.ragged import offsets, ragged_dims, take

BLOCK_BYTES = 32 * 2**20
"""About how much of the named variables is in memory at a time; one sample at least."""


def blocks(
    dataset: xr.Dataset, names: Sequence[str], rows: np.ndarray | None = None, size: int = BLOCK_BYTES
) -> Iterator[tuple[np.ndarray, xr.Dataset]]:
    """Runs of the samples `rows` (rising; all by default) and the named variables of them, in memory.

    Samples between the rows of a block are read and dropped: one read of whole chunks costs less than many.
    """
    wanted = np.arange(dataset.sizes["sample"]) if rows is None else np.asarray(rows, dtype=np.int64)
    dims = {str(dim) for name in names for dim in dataset[name].dims}
    counts = [count for dim, count in ragged_dims(dataset).items() if dim in dims]
    part = dataset[list(dict.fromkeys([*names, *counts]))]
    ends = np.cumsum(_bytes(part))
    start = 0
    while start < wanted.size:
        first = int(wanted[start])
        before = float(ends[first - 1]) if first else 0.0
        last = int(np.searchsorted(ends, before + size, side="right"))
        stop = max(start + 1, int(np.searchsorted(wanted, last)))
        chosen = wanted[start:stop]
        loaded = take(part, np.arange(first, int(chosen[-1]) + 1)).load()
        if chosen.size < loaded.sizes["sample"]:
            loaded = take(loaded, chosen - first)
        yield chosen, loaded
        start = stop


def pieces(block: xr.Dataset, name: str) -> list[np.ndarray]:
    """The values of a variable, an array a sample."""
    values = np.asarray(block[name].values)
    dim = str(block[name].dims[0])
    if dim == "sample":
        return list(values)
    return np.split(values, offsets(block, dim)[1:-1])


def _bytes(dataset: xr.Dataset) -> np.ndarray:
    """Bytes of every sample, float64."""
    total = np.zeros(dataset.sizes["sample"])
    ragged = ragged_dims(dataset)
    for variable in dataset.data_vars.values():
        dims = [str(dim) for dim in variable.dims]
        grown = next((dim for dim in dims if dim == "sample" or dim in ragged), None)
        if grown is None:
            continue
        entry = variable.dtype.itemsize * np.prod([variable.sizes[d] for d in dims if d != grown], initial=1)
        total += entry if grown == "sample" else entry * np.diff(offsets(dataset, grown))
    return total
