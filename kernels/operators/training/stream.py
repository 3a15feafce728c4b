"""Batches out of storage: windows of blocks, the next one read by a thread while the present one trains."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from kernels.operators.base import Batch
from kernels.operators.training.batches import join, select
from kernels.operators.training.order import Window, bounds, windows


class Readable(Protocol):
    """Samples that can be read by position, as normalised batches."""

    def __len__(self) -> int:
        """How many there are."""
        ...

    def read(self, positions: np.ndarray) -> Batch:
        """The samples at these positions."""
        ...


@dataclass(frozen=True)
class Step:
    """One step of training: its number within the epoch, the positions of its samples, and their values."""

    number: int
    positions: np.ndarray
    batch: Batch


class Stream:
    """Batches of `samples` in the order of `windows`; at most two windows are held.

    blocks: positions that one read serves; most: samples of a window. Where all samples fit into a window
    they are read once and kept. dtype: what values are held in.
    """

    def __init__(
        self, samples: Readable, batch: int, blocks: Sequence[np.ndarray] | None = None, most: int = 1 << 62,
        seed: int = 0, dtype: torch.dtype = torch.float32,
    ) -> None:  # fmt: skip
        self.samples, self.dtype, self._most, self._seed = samples, dtype, most, seed
        self._blocks = [np.arange(len(samples))] if blocks is None else list(blocks)
        self.bounds = bounds(len(samples), batch)
        self._kept: Batch | None = None

    @property
    def steps(self) -> int:
        """Batches of an epoch."""
        return len(self.bounds) - 1

    def epoch(self, number: int, start: int = 0) -> Iterator[Step]:
        """The batches of an epoch from a step on; windows before it are not read."""
        yield from self._cut(windows(self._blocks, self._most, self._seed, number), start)

    def in_order(self) -> Iterator[Step]:
        """All batches, unshuffled."""
        count = len(self.samples)
        if count <= self._most:  # held as `epoch` holds them
            blocks = tuple(np.sort(block) for block in self._blocks)
            plan = [Window(blocks, np.argsort(np.concatenate(blocks)))]
        else:
            starts = range(0, count, self._most)
            cuts = [np.arange(a, min(a + self._most, count)) for a in starts]
            plan = [Window((cut,), np.arange(len(cut))) for cut in cuts]
        yield from self._cut(plan, 0)

    def _cut(self, plan: Sequence[Window], start: int) -> Iterator[Step]:
        ends = np.cumsum([len(window.shuffled) for window in plan])
        skipped = int(np.searchsorted(ends, self.bounds[start], side="right"))
        step, pieces, positions = start, list[Batch](), list[np.ndarray]()
        for number, held in self._loaded(plan, skipped):
            order, end = plan[number], int(ends[number])
            begin = end - len(order.shuffled)
            while step < self.steps and max(self.bounds[step], begin) < end:
                low, high = max(int(self.bounds[step]), begin), min(int(self.bounds[step + 1]), end)
                pieces.append(select(held, order.shuffled[low - begin : high - begin]))
                positions.append(order.positions[low - begin : high - begin])
                if high < self.bounds[step + 1]:
                    break
                yield Step(step, np.concatenate(positions), join(pieces))
                step, pieces, positions = step + 1, [], []

    def _loaded(self, plan: Sequence[Window], first: int) -> Iterator[tuple[int, Batch]]:
        if len(plan) == 1:
            if self._kept is None:
                self._kept = self._load(plan[0])
            if first == 0:
                yield 0, self._kept
            return
        with ThreadPoolExecutor(1, "prefetch") as pool:
            ahead = pool.submit(self._load, plan[first]) if first < len(plan) else None
            for number in range(first, len(plan)):
                assert ahead is not None
                held = ahead.result()
                ahead = pool.submit(self._load, plan[number + 1]) if number + 1 < len(plan) else None
                yield number, held

    def _load(self, window: Window) -> Batch:
        return join([self.samples.read(block).to(self.dtype) for block in window.blocks])
