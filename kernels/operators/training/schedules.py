"""Learning rates as pure functions of how much of the training is done: nothing to restore after a kill."""

import math
from collections.abc import Callable

from kernels.operators.training.options import Schedule

_RISE, _START, _END = 0.3, 1.0 / 25.0, 1e-4 / 25.0
_WARM = 0.05


def one_cycle(done: float) -> float:
    """Cosine from 1/25 up to 1 over the first 30 %, then down to 4e-6 (Smith and Topin 2018, section 4)."""
    if done < _RISE:
        return _between(_START, 1.0, done / _RISE)
    return _between(1.0, _END, (done - _RISE) / (1.0 - _RISE))


def cosine(done: float) -> float:
    """Linear over the first 5 %, then a cosine to 0 (Loshchilov and Hutter 2017, equation 5, no restart)."""
    if done < _WARM:
        return (done + 1e-3) / (_WARM + 1e-3)
    return _between(1.0, 0.0, (done - _WARM) / (1.0 - _WARM))


def halving(done: float) -> float:
    """Half of it after each fifth of the training."""
    return float(0.5 ** min(4, math.floor(5.0 * done)))


def _between(start: float, end: float, part: float) -> float:
    return end + (start - end) * 0.5 * (1.0 + math.cos(math.pi * min(max(part, 0.0), 1.0)))


SCHEDULES: dict[Schedule, Callable[[float], float]] = {
    "one_cycle": one_cycle,
    "cosine": cosine,
    "halving": halving,
    "constant": lambda done: 1.0,
}
"""Factor of the peak learning rate by the part of the training that is done, 0 to 1."""
