"""Where the next simulations are worth most: where closures trained alike disagree, apart from each other."""

import numpy as np

from kernels.errors import InputError

FLOOR = 1e-6
"""Least disagreement relative to the largest, so that points are spread where all members agree."""


def relative_variance(members: np.ndarray, base: np.ndarray | None = None) -> float:
    """sum over points of the variance over members, over that of |mean - base|^2; members (M, ...) complex.

    Without a base the size of an NMSE: what members that agree on nothing else would score against their
    mean. With the field (...) of a base closure: of an NMSE over that of the base, as far as the members know
    it. Sums do not depend on the order of members. Raises InputError for fewer than two members.
    """
    if len(members) < 2:
        raise InputError(f"{len(members)} member was given, expected at least 2: train with other seeds")
    variance, power = 0.0, 0.0
    for k, part in enumerate((np.real(members), np.imag(members))):
        ordered = np.sort(part, axis=0)
        from_base = 0.0 if base is None else (np.real(base), np.imag(base))[k]
        mean = ordered.mean(axis=0)
        variance += float(((ordered - mean) ** 2).sum()) / (len(members) - 1)
        power += float(((mean - from_base) ** 2).sum())
    return variance / max(power, np.finfo(np.float64).tiny)


def correlation(first: np.ndarray, second: np.ndarray, length: float) -> np.ndarray:
    """Matern 5/2 correlation (n, m) of points (n, d), (m, d) (Rasmussen and Williams 2006, eq. 4.17)."""
    distance = np.sqrt(((first[:, None, :] - second[None, :, :]) ** 2).sum(-1))
    r = np.sqrt(5.0) * distance / length
    return np.asarray((1.0 + r + r * r / 3.0) * np.exp(-r))


def choose(
    candidates: np.ndarray, scores: np.ndarray, taken: np.ndarray, count: int, length: float
) -> np.ndarray:
    """Indices (count,) of candidates (N, d) in the unit cube, in the order in which they are chosen.

    The error of a closure is modelled as a Gaussian field with standard deviation scores^(1/2) and Matern
    correlation; each choice is the largest variance that is left given taken points (K, d) and the choices so
    far: the greedy determinantal selection of quality times diversity (Kulesza and Taskar, Found. Trends
    Mach. Learn. 5, 2012, section 2.4.5). Ties go to the first candidate; taken points are never chosen.
    Raises InputError where there are fewer free candidates than asked for, or scores are no numbers.
    """
    if scores.shape != (len(candidates),) or not np.isfinite(scores).all() or (scores < 0.0).any():
        raise InputError(f"scores have shape {scores.shape}, expected {len(candidates)} numbers, 0 or more")
    held = np.concatenate([taken.reshape(-1, candidates.shape[1]), candidates])
    known = len(held) - len(candidates)
    same = np.abs(candidates[:, None, :] - held[None, :known, :]).max(-1, initial=0.0) < 1e-9
    free = ~same.any(axis=1)
    if free.sum() < count:
        raise InputError(
            f"{count} new points were asked for, {int(free.sum())} of {len(candidates)} candidates are not "
            "simulated: raise the number of candidates"
        )
    top = float(scores.max())
    quality = np.sqrt(np.maximum(scores / top, FLOOR)) if top > 0.0 else np.ones(len(scores))
    left, rows = np.ones(len(candidates)), np.zeros((0, len(candidates)))
    chosen: list[int] = []

    def condition(point: np.ndarray, before: np.ndarray) -> None:
        """A further row of the Cholesky factor of the correlation, at all candidates."""
        nonlocal rows, left
        rest = 1.0 - float(before @ before)
        if rest <= 1e-12:
            return  # a point that is there already tells nothing
        row = (correlation(point[None], candidates, length)[0] - before @ rows) / np.sqrt(rest)
        rows, left = np.vstack([rows, row]), np.maximum(left - row**2, 0.0)

    inner = np.zeros((0, known))
    for k in range(known):
        before = inner[:, k]
        rest = 1.0 - float(before @ before)
        if rest <= 1e-12:
            continue
        own = (correlation(held[k : k + 1], held[:known], length)[0] - before @ inner) / np.sqrt(rest)
        condition(held[k], before)
        inner = np.vstack([inner, own])
    for _ in range(count):
        gain = np.where(free, quality**2 * left, -1.0)
        best = int(np.argmax(gain > gain.max() * (1.0 - 1e-9)))  # rounding breaks no tie
        chosen.append(best)
        free[best] = False
        condition(candidates[best], rows[:, best])
    return np.array(chosen, dtype=np.int64)
