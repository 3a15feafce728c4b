"""Order in which samples are read and trained on: a pure function of seed and epoch, by stored blocks."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_ORDER, _STEP = 1, 2


@dataclass(frozen=True)
class Window:
    """Samples that are held together: blocks of positions as they are read, and the order of training within.

    `shuffled` holds indices into the joined blocks.
    """

    blocks: tuple[np.ndarray, ...]
    shuffled: np.ndarray

    @property
    def positions(self) -> np.ndarray:
        """Positions in the order of training."""
        return np.concatenate(self.blocks)[self.shuffled]


def windows(blocks: Sequence[np.ndarray], most: int, seed: int, epoch: int) -> list[Window]:
    """The windows of an epoch: blocks in random order, as many as hold `most` samples, shuffled inside.

    blocks: positions that lie together in storage, so that each is one read. Where all fit into one window
    the order is a random permutation of all samples, whatever the blocks are.
    """
    random = np.random.default_rng([seed, epoch, _ORDER])
    if sum(map(len, blocks)) <= most:
        held = np.sort(np.concatenate(list(blocks)))
        return [
            Window(tuple(np.sort(b) for b in blocks), _ranks(blocks, held, random.permutation(len(held))))
        ]
    found: list[Window] = []
    group: list[np.ndarray] = []
    for number in random.permutation(len(blocks)):
        block = np.sort(blocks[number])
        if group and sum(map(len, group)) + len(block) > most:
            found.append(Window(tuple(group), random.permutation(sum(map(len, group)))))
            group = []
        group.append(block)
    return [*found, Window(tuple(group), random.permutation(sum(map(len, group))))]


def _ranks(blocks: Sequence[np.ndarray], held: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Where the samples held[order] lie in the joined blocks."""
    joined = np.concatenate([np.sort(block) for block in blocks])
    place = np.empty(int(joined.max()) + 1, dtype=np.int64)
    place[joined] = np.arange(len(joined))
    return place[held[order]]


def bounds(count: int, batch: int) -> np.ndarray:
    """Where the batches of an epoch begin and end, int64 (steps + 1,): as few as need be, of nearly one size,
    so that no step sees a handful of samples left over.
    """
    steps = -(-count // batch)
    return np.arange(steps + 1, dtype=np.int64) * count // steps


def step_seed(seed: int, epoch: int, step: int) -> int:
    """Seed of whatever is drawn in a step, so that it does not depend on where a run was resumed."""
    return int(np.random.SeedSequence([seed, epoch, step, _STEP]).generate_state(1, np.uint64)[0] >> 1)
