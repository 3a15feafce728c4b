"""Samples to be stored, read in pieces that fit in memory: of a dataset, of several, some of them."""

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr

from catalogs.arrays import BUFFER_BYTES, Parts


def taken(dataset: xr.Dataset, picks: np.ndarray) -> xr.Dataset:
    """The given samples, in that order, with everything that belongs to them along the ragged dims."""
    index: dict[str, np.ndarray] = {"sample": picks}
    for variable in dataset.variables.values():
        if "sample_dimension" not in variable.attrs:
            continue
        edges = np.concatenate(([0], np.cumsum(np.asarray(variable.values, dtype=np.int64))))
        stretches = [np.arange(edges[i], edges[i + 1]) for i in picks]
        index[str(variable.attrs["sample_dimension"])] = np.concatenate([np.empty(0, np.int64), *stretches])
    cuts = {dim: _as_slice(numbers) for dim, numbers in index.items() if dim in dataset.dims}
    return dataset.isel(cuts)


def _as_slice(numbers: np.ndarray) -> slice | np.ndarray:
    if numbers.size and np.array_equal(numbers, np.arange(numbers[0], numbers[0] + numbers.size)):
        return slice(int(numbers[0]), int(numbers[0]) + numbers.size)
    return numbers


def counts_of(dataset: xr.Dataset) -> list[str]:
    """Names of the variables that say how long a sample is along a ragged dim."""
    return [str(name) for name, v in dataset.variables.items() if "sample_dimension" in v.attrs]


class Blocks:
    """A dataset, lazy or not, in blocks of samples of a bounded size."""

    def __init__(self, dataset: xr.Dataset, most: int = BUFFER_BYTES) -> None:
        self._dataset = dataset
        count = dataset.sizes.get("sample", 0)
        blocks = min(max(1, -(-dataset.nbytes // most)), max(1, count))
        self.bounds = [(count * i // blocks, count * (i + 1) // blocks) for i in range(blocks)]

    def __len__(self) -> int:
        return len(self.bounds)

    def samples(self, number: int) -> int:
        """How many samples a block has."""
        start, stop = self.bounds[number]
        return stop - start

    def sizes(self, number: int) -> Mapping[str, int]:
        """Length of every dim of a block."""
        return {str(dim): size for dim, size in self._cut(number, None).sizes.items()}

    def load(self, number: int, names: Sequence[str] | None = None) -> xr.Dataset:
        """A block in memory, optionally of some variables only."""
        return self._cut(number, names).load()

    def _cut(self, number: int, names: Sequence[str] | None) -> xr.Dataset:
        needed = None if names is None else {*names, *counts_of(self._dataset)}
        chosen = self._dataset if needed is None else _only(self._dataset, needed)
        if "sample" not in self._dataset.dims:
            return chosen
        return taken(chosen, np.arange(*self.bounds[number]))


class Chain:
    """Blocks of several datasets, one after the other."""

    def __init__(self, sources: Sequence[Blocks]) -> None:
        self._places = [(source, i) for source in sources for i in range(len(source))]
        self.counts = [source.samples(i) for source, i in self._places]

    def __len__(self) -> int:
        return len(self._places)

    def sizes(self, number: int) -> Mapping[str, int]:
        """Length of every dim of a block."""
        source, i = self._places[number]
        return source.sizes(i)

    def load(self, number: int, names: Sequence[str] | None = None) -> xr.Dataset:
        """A block in memory, optionally of some variables only."""
        source, i = self._places[number]
        return source.load(i, names)


class Chosen:
    """Some samples of other parts; those of which none is chosen are not read."""

    def __init__(self, parts: Parts, counts: Sequence[int], chosen: np.ndarray) -> None:
        self._parts = parts
        edges = np.concatenate(([0], np.cumsum(counts)))
        picks = [np.flatnonzero(chosen[edges[i] : edges[i + 1]]) for i in range(len(counts))]
        self._picks = [(i, some, len(some) == counts[i]) for i, some in enumerate(picks) if len(some)]
        self._needed: list[str] | None = None

    def __len__(self) -> int:
        return len(self._picks)

    def sizes(self, number: int) -> Mapping[str, int]:
        """Length of every dim of what is chosen of a part."""
        part, picks, whole = self._picks[number]
        if whole:
            return self._parts.sizes(part)
        cut = taken(self._parts.load(part), picks)
        return {str(dim): size for dim, size in cut.sizes.items()}

    def load(self, number: int, names: Sequence[str] | None = None) -> xr.Dataset:
        """What is chosen of a part, in memory, optionally of some variables only."""
        part, picks, whole = self._picks[number]
        if whole:
            return self._parts.load(part, names)
        if names is None:
            return taken(self._parts.load(part), picks)
        if self._needed is None:
            self._needed = counts_of(self._parts.load(part))
        return _only(taken(self._parts.load(part, [*names, *self._needed]), picks), set(names))


def _only(dataset: xr.Dataset, names: set[str]) -> xr.Dataset:
    return dataset.drop_vars([name for name in dataset.variables if name not in names])
