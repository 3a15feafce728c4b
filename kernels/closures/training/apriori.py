"""A-priori training: the closure is fitted to the moments of kinetic runs, point by point."""

import numpy as np
import torch
from torch import Tensor

from kernels.closures.base import Closure
from kernels.closures.neural.pointwise import Neural
from kernels.closures.training.data import Runs, balanced, nmse, predicted, target
from kernels.closures.training.options import Options
from kernels.errors import InputError
from kernels.operators.training.order import bounds

_ORDER = 3


class Apriori:
    """Mean over runs and components of the square error of S:T, normalised as in `data.balanced`.

    An epoch takes as many batches from a new random order of all points (frames, where the closure looks at
    neighbours) as `options.steps` allows; the order follows from seed and epoch alone.
    """

    def __init__(self, closure: Closure, train: Runs, validation: Runs | None, options: Options) -> None:
        self.closure, self.train, self.watched, self.options = closure, train, validation, options
        self._count = train.c.numel() if closure.local else train.frames()
        self._batch = options.batch if closure.local else max(1, options.batch // train.c[0, 0].numel())
        self._weight = balanced(train)
        if not bool(torch.isfinite(self._weight).all()):
            raise InputError(
                "S:T is zero in a whole run: nothing can be learnt from it, leave the run out or begin later"
            )
        self._epoch, self._order = -1, np.empty(0, np.int64)

    def steps(self, epoch: int) -> int:
        """Batches of an epoch."""
        return int(min(self.options.steps, -(-self._count // self._batch)))

    def loss(self, epoch: int, step: int) -> Tensor:
        """Of one batch."""
        train, index = self.train, self._index(epoch, step)
        local = self.closure.local
        moments, z4, physics = train.at_points(index) if local else train.at_frames(index)
        difference = predicted(self.closure, moments, physics) - target(moments, z4, physics)[1]
        size = train.c[0].numel() if local else train.c.shape[1]
        weight = self._weight[torch.div(index, size, rounding_mode="floor")]
        weight = weight if local else weight[:, None, None, :]
        return 0.5 * (difference.real**2 * weight[..., 0] + difference.imag**2 * weight[..., 1]).mean()

    def validation(self) -> float | None:
        """Mean of the errors of the validation runs; None where there are none."""
        return None if self.watched is None else float(nmse(self.closure, self.watched).mean())

    def about(self, epoch: int, step: int) -> str:
        """The batch in words."""
        size = self.train.c[0].numel() if self.closure.local else self.train.c.shape[1]
        runs = sorted(set(torch.div(self._index(epoch, step), size, rounding_mode="floor").tolist()))
        return "runs " + ", ".join(self.train.names[i] if self.train.names else str(i) for i in runs[:8])

    def _index(self, epoch: int, step: int) -> Tensor:
        if epoch != self._epoch:
            random = np.random.default_rng([self.options.seed, epoch, _ORDER])
            kept = min(self._count, self.options.steps * self._batch)
            self._order, self._epoch = random.permutation(self._count)[:kept], epoch
        cuts = bounds(len(self._order), self._batch)
        return torch.from_numpy(self._order[cuts[step] : cuts[step + 1]])


def calibrated(closure: Closure, runs: Runs, most: int = 64) -> None:
    """Set the scales of a new network from at most `most` frames spread over the training runs."""
    count = runs.frames()
    picked = torch.from_numpy(np.unique(np.linspace(0, count - 1, min(count, most)).astype(np.int64)))
    moments, _, physics = runs.at_frames(picked)
    if isinstance(closure, Neural):
        closure.calibrate(moments, physics)
