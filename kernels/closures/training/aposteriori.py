"""A-posteriori training: the closure is judged by what the coarse model makes of it over growing horizons."""

import math

import numpy as np
import torch
from torch import Tensor

from kernels.closures.base import Closure
from kernels.closures.coarse import Coarse
from kernels.closures.training.data import Runs
from kernels.closures.training.options import Options
from kernels.errors import InputError

_ORDER = 4


class Aposteriori:
    """Mean square distance of c, z_2 and the strain rate from the kinetic run, relative to their variance.

    A window starts from a stored frame of a run and is stepped over `horizon` frames, which grows with the
    epochs (a constraint in time, Maddu et al. 2024, section 4); every frame counts the same. The distance of
    each field is divided by the mean square of the kinetic field about its mean in that run, c by 1, since c
    stays uniform where it began so. An epoch takes `options.steps` batches of `options.batch` windows, drawn
    from seed and epoch alone. time_step: of the coarse model, a divisor of the time between two frames.

    Raises InputError where frames are not evenly spaced, the step does not divide them, or a run is shorter
    than the longest horizon.
    """

    def __init__(
        self, closure: Closure, train: Runs, validation: Runs | None, options: Options, time_step: float
    ) -> None:
        self.train, self.watched, self.options = train, validation, options
        self._broken = ""
        self.every = steps_between(train.time, time_step)
        for runs in (train, validation):
            if runs is not None and runs.c.shape[1] <= max(options.horizons):
                raise InputError(
                    f"runs have {runs.c.shape[1]} frames, the longest horizon is {max(options.horizons)}: "
                    "expected more frames than that; lower `horizons` or keep more frames"
                )
        self.coarse = Coarse(closure, train.c.shape[-1], train.length, time_step)

    def horizon(self, epoch: int) -> int:
        """Frames that a window runs over in this epoch."""
        horizons = self.options.horizons
        return horizons[min(len(horizons) - 1, epoch * len(horizons) // max(1, self.options.epochs))]

    def steps(self, epoch: int) -> int:
        """Batches of an epoch."""
        return self.options.steps

    def loss(self, epoch: int, step: int) -> Tensor:
        """Of one batch of windows."""
        runs, starts = self._windows(epoch, step)
        try:
            return self._distance(self.train, runs, starts, self.horizon(epoch))
        except InputError as error:  # a step that training has made unstable
            if (epoch, step) == (0, 0):
                raise
            self._broken = f" ({error})"
            return torch.full((), math.nan, dtype=torch.float64)

    def validation(self) -> float | None:
        """The same over the longest horizon from evenly spread starts of the validation runs; infinite where
        the coarse model breaks down. None where there are no such runs."""
        if self.watched is None:
            return None
        runs, frames, longest = *self.watched.c.shape[:2], max(self.options.horizons)
        starts = np.unique(np.linspace(0, frames - 1 - longest, 4).astype(np.int64))
        found = []
        with torch.no_grad():
            for start in starts:
                try:
                    value = self._distance(self.watched, np.arange(runs), np.full(runs, start), longest)
                except InputError:  # a step that the closure makes unstable
                    return math.inf
                found.append(float(value))
        mean = float(np.mean(found))
        return mean if math.isfinite(mean) else math.inf

    def about(self, epoch: int, step: int) -> str:
        """The batch in words."""
        runs, starts = self._windows(epoch, step)
        names = [self.train.names[i] if self.train.names else str(i) for i in runs]
        shown = [
            f"{name} from t = {float(self.train.time[s]):g}" for name, s in zip(names, starts, strict=True)
        ]
        return f"{self.horizon(epoch)} frames of " + ", ".join(shown[:8]) + self._broken

    def _windows(self, epoch: int, step: int) -> tuple[np.ndarray, np.ndarray]:
        random = np.random.default_rng([self.options.seed, epoch, step, _ORDER])
        runs, frames = self.train.c.shape[:2]
        return (
            random.integers(runs, size=self.options.batch),
            random.integers(frames - self.horizon(epoch), size=self.options.batch),
        )

    def _distance(self, data: Runs, runs: np.ndarray, starts: np.ndarray, horizon: int) -> Tensor:
        picked = torch.from_numpy(np.asarray(runs, dtype=np.int64))
        start = torch.from_numpy(np.asarray(starts, dtype=np.int64))
        at = start[:, None] + torch.arange(1, horizon + 1)
        physics = data.physics(picked, 2)
        c, z2 = self.coarse(
            data.c[picked, start], data.z2[picked, start], physics, horizon * self.every, self.every
        )
        many = data.physics(torch.repeat_interleave(picked, horizon), 2)
        shape = c.shape
        known = self.coarse.look(c.flatten(0, 1), z2.flatten(0, 1), many)
        strain = known.flow.strain.reshape(shape)
        rows = picked[:, None]
        total = (c - data.c[rows, at]).square().mean()
        for given, truth in ((z2, data.z2), (strain, data.strain)):
            wanted = truth[rows, at]
            power = (wanted - wanted.mean((-2, -1), keepdim=True)).abs().square().mean((1, 2, 3))
            power = power + 1e-6
            total = total + ((given - wanted).abs().square().mean((1, 2, 3)) / power).mean()
        return total


def steps_between(time: Tensor, time_step: float) -> int:
    """Steps from one frame to the next; raises InputError where there is no whole number of them."""
    gaps = np.diff(time.numpy())
    if len(gaps) == 0 or not np.allclose(gaps, gaps[0], rtol=1e-6):
        raise InputError(f"frames are at the times {time.tolist()[:5]}..., expected evenly spaced ones")
    count = round(float(gaps[0]) / time_step)
    if count < 1 or abs(count * time_step - gaps[0]) > 1e-6 * gaps[0]:
        raise InputError(
            f"frames are {gaps[0]:g} apart and the time step is {time_step:g}: expected a divisor of that"
        )
    return count
