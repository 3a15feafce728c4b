"""A snapshot matrix that is read in blocks, whatever its size, with bounds that no caller can change."""

from collections.abc import Callable, Iterator

import numpy as np

from kernels.errors import InputError

Reader = Callable[[int, int], np.ndarray]
"""read(start, stop) returns the snapshots start..stop-1 as rows, shape (stop - start, N)."""

_BLOCK_BYTES = 32 * 2**20


class Snapshots:
    """n snapshots of N values, streamed in row blocks within `memory_bytes`.

    Two block sizes follow from n, N and the budget alone: `block` rows are read at a time (at most 32 MiB and
    a sixteenth of the budget), `row_block` rows are held while the others stream past them (half of the
    budget). A caller's chunking therefore cannot change a result by a single bit. A set that fits in a
    quarter of the budget is read once and held. The budget is for snapshots; a basis of k modes takes 8 k N
    bytes twice on top of it.

    Raises InputError where no snapshot is given, where the budget is below eight snapshots, where the reader
    returns another shape, and where a value is not finite.
    """

    def __init__(self, read: Reader, samples: int, nodes: int, memory_bytes: int) -> None:
        if samples < 1 or nodes < 1:
            raise InputError(
                f"{samples} snapshots of {nodes} values were given; expected at least one of each"
            )
        row = 8 * nodes
        if memory_bytes < 8 * row:
            raise InputError(
                f"a memory budget of {memory_bytes / 2**20:.1f} MiB was given for snapshots of {nodes} "
                "values; "
                f"expected at least {8 * row / 2**20:.1f} MiB (eight snapshots): raise the budget"
            )
        self.samples, self.nodes = samples, nodes
        self.block = int(np.clip(min(_BLOCK_BYTES, memory_bytes // 16) // row, 1, samples))
        self.row_block = max(1, memory_bytes // 2 // (row * self.block)) * self.block
        self._read = read
        self._mean: np.ndarray | None = None
        self._held: np.ndarray | None = None
        if samples * row <= memory_bytes // 4:
            self._held = np.concatenate([self._fetch(a, b) for a, b in self.blocks()])

    def blocks(self, start: int = 0, stop: int | None = None) -> Iterator[tuple[int, int]]:
        """Bounds of the reading blocks that cover start..stop-1; `start` is a multiple of `block`."""
        end = self.samples if stop is None else stop
        for first in range(start, end, self.block):
            yield first, min(first + self.block, end)

    def row_blocks(self) -> Iterator[tuple[int, int]]:
        """Bounds of the blocks that are held while others stream."""
        for first in range(0, self.samples, self.row_block):
            yield first, min(first + self.row_block, self.samples)

    def _fetch(self, start: int, stop: int) -> np.ndarray:
        rows = np.array(self._read(start, stop), dtype=np.float64, order="C")
        if rows.shape != (stop - start, self.nodes):
            raise InputError(
                f"snapshots {start}..{stop - 1} have shape {rows.shape}, expected "
                f"{(stop - start, self.nodes)}: "
                "give every snapshot on the same mesh"
            )
        bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
        if bad.size:
            raise InputError(
                f"snapshot {start + bad[0]} has {int((~np.isfinite(rows[bad[0]])).sum())} values that are "
                "not finite; "
                "remove the sample or repair its field"
            )
        return rows

    def mean(self) -> np.ndarray:
        """Mean snapshot, shape (N,); read once, then kept."""
        if self._mean is None:
            total = np.zeros(self.nodes)
            for start, stop in self.blocks():
                total += (self._fetch(start, stop) if self._held is None else self._held[start:stop]).sum(
                    axis=0
                )
            self._mean = total / self.samples
        return self._mean

    def centred(self, start: int, stop: int, mean: np.ndarray | None = None) -> np.ndarray:
        """Snapshots start..stop-1 less `mean` (by default their own), a new array (stop - start, N)."""
        shift = self.mean() if mean is None else mean
        if self._held is not None:
            return np.asarray(self._held[start:stop] - shift)
        rows = self._fetch(start, stop)
        rows -= shift
        return rows
