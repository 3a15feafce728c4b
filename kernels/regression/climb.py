"""Climb to a maximum of a Gaussian process's likelihood by the average-information method, within bounds."""

import numpy as np
from numba import njit

from kernels.regression.likelihood import Likelihood

SPREAD = 5.0
"""Lengthscales longer than this many times the shortest count as long."""

_STEP = np.array(
    [2.0, 4.0]
)  # largest change in an iteration: of log(w + c), and of the log of the noise ratio
_WEAKEST, _FIRST, _STRONGEST = 1e-7, 1e-2, 1e8  # damping: smallest, at the start, where the search gives up
_FLOOR = 1e-2  # nats per squared unit: curvature that a direction without any is damped with
_SETS = 8  # times d: most changes of the set of active bounds


def climb(
    likelihood: Likelihood,
    start: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    tolerance: float,
    iterations: int,
    spread: float = SPREAD,
) -> tuple[np.ndarray, float]:
    """Logarithms of lengthscales and noise ratio (d + 1,) at a local maximum within bounds, and its value.

    Newton steps p = argmax g.p - 1/2 p.(B + k D)p within the bounds, B the average information of
    `Likelihood.derivatives` (Gilmour, Thompson, Cullis 1995, Biometrics 51), D its diagonal, k the damping
    (Marquardt 1963), smaller after a step that gained what the quadratic promised, larger after one that did
    not. A step of an input changes log(w + c), w = lengthscale^-2, c = max(w) / spread^2: relative for
    relevant inputs; for the others linear in w, in which the likelihood is smooth down to w = 0, so that
    they reach their bound in a step or two and come back from it. Ends where the undamped quadratic promises
    less than `tolerance` nats, or after `iterations`.

    start, low and high (d + 1,): natural logarithms. Another spread takes another path, and where there are
    several maxima it may end at another. Does not look for the global maximum.
    """
    here = np.clip(start, low, high)
    point = likelihood.evaluate(here)
    damping = _FIRST
    for _ in range(iterations):
        derivatives = likelihood.derivatives(point)
        w = np.exp(-2.0 * here[:-1])
        soft = float(w.max()) / spread**2
        slope = np.append(-0.5 * (w + soft) / w, 1.0)
        gradient, information = derivatives[0] * slope, derivatives[1] * np.outer(slope, slope)
        room = _room(here, low, high, soft)
        while True:
            step, gain = _step(gradient, information, damping, room)
            if gain * (1.0 + damping) < tolerance or damping > _STRONGEST:
                return here, point.value
            there = np.clip(_moved(here, step, soft), low, high)
            trial = likelihood.evaluate(there)
            kept = (trial.value - point.value) / gain
            if kept > 1e-3:
                break
            damping = max(8.0 * damping, _FIRST)
        damping = max(damping * (0.2 if kept > 0.75 else 3.0 if kept < 0.25 else 1.0), _WEAKEST)
        here, point = there, trial
    return here, point.value


def _moved(here: np.ndarray, step: np.ndarray, soft: float) -> np.ndarray:
    w = (np.exp(-2.0 * here[:-1]) + soft) * np.exp(step[:-1]) - soft
    return np.append(-0.5 * np.log(np.maximum(w, np.finfo(float).tiny)), here[-1] + step[-1])


def _room(here: np.ndarray, low: np.ndarray, high: np.ndarray, soft: float) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest step: to the bounds, and not beyond _STEP."""
    level = np.log(np.exp(-2.0 * here[:-1]) + soft)
    down = np.append(np.log(np.exp(-2.0 * high[:-1]) + soft) - level, low[-1] - here[-1])
    up = np.append(np.log(np.exp(-2.0 * low[:-1]) + soft) - level, high[-1] - here[-1])
    most = np.append(np.full(level.size, _STEP[0]), _STEP[1])
    return np.clip(down, -most, 0.0), np.clip(up, 0.0, most)


def _step(
    gradient: np.ndarray, information: np.ndarray, damping: float, room: tuple[np.ndarray, np.ndarray]
) -> tuple[np.ndarray, float]:
    """Damped step within `room`, and the gain that the undamped quadratic promises for it."""
    damped = information + damping * np.diag(np.diagonal(information) + _FLOOR)
    step = box_maximum(damped, gradient, *room)
    return step, float(gradient @ step - 0.5 * step @ information @ step)


@njit(cache=True, nogil=True)
def _solve_free(matrix, force, side):
    """x with (matrix x)_k = force_k where side_k = 0, and x_k = 0 elsewhere, by Cholesky factorisation."""
    count = force.size
    factor, x = np.zeros((count, count)), np.zeros(count)
    for i in range(count):
        if side[i] != 0.0:
            continue
        x[i] = force[i]
        for j in range(i + 1):
            if side[j] == 0.0:
                entry = matrix[i, j]
                for k in range(j):
                    entry -= factor[i, k] * factor[j, k]
                factor[i, j] = entry / factor[j, j] if j < i else np.sqrt(entry)
        for k in range(i):
            x[i] -= factor[i, k] * x[k]
        x[i] /= factor[i, i]
    for i in range(count - 1, -1, -1):
        if side[i] == 0.0:
            for k in range(i + 1, count):
                x[i] -= factor[k, i] * x[k]
            x[i] /= factor[i, i]
    return x


@njit(cache=True, nogil=True)
def box_maximum(matrix, vector, low, high):
    """p (d,) that maximises vector.p - 1/2 p.matrix p for low <= p <= high, `matrix` positive definite.

    Primal active set method from p = 0 (Nocedal and Wright 2006, algorithm 16.3): exact after finitely many
    changes of the active set; after 8 d of them p is within the bounds, better than 0, and not the maximum.
    low <= 0 <= high (d,).
    """
    count = vector.size
    p, side, force = np.zeros(count), np.zeros(count), vector.copy()
    for _ in range(_SETS * count):
        change = _solve_free(matrix, force, side)
        part, blocking = 1.0, -1
        for k in range(count):
            limit = high[k] if change[k] > 0.0 else low[k]
            if abs(limit - p[k]) < part * abs(change[k]):
                part, blocking = (limit - p[k]) / change[k], k
        for k in range(count):
            p[k] = min(max(p[k] + part * change[k], low[k]), high[k])
        if blocking >= 0:
            side[blocking] = np.sign(change[blocking])
            p[blocking] = high[blocking] if side[blocking] > 0.0 else low[blocking]
        for k in range(count):
            force[k] = vector[k]
            for j in range(count):
                force[k] -= matrix[k, j] * p[j]
        if blocking < 0:
            worst = np.argmin(side * force)
            if side[worst] * force[worst] >= 0.0:
                break
            side[worst] = 0.0
    return p
