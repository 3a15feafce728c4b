"""Distance of two distributions, and how much of the way from a baseline to the target a model has gone."""

import numpy as np

from kernels.errors import InputError


def wasserstein(x: np.ndarray, y: np.ndarray) -> float:
    """Wasserstein-1 distance of two sets of values of equal weights, int_0^1 |F_x^-1(q) - F_y^-1(q)| dq.

    Exact for any numbers of values; in the units of the values. Villani 2009, Optimal Transport, remark
    6.6. Raises InputError where a set is empty or a value is not a number.
    """
    x, y = (np.sort(np.asarray(v, dtype=np.float64), axis=None) for v in (x, y))
    if not (x.size and y.size and np.isfinite(x).all() and np.isfinite(y).all()):
        raise InputError(
            f"a distance of distributions of {x.size} and {y.size} values, not all finite or none of one: "
            "expected finite values of both; leave runs out that have died"
        )
    if x.size == y.size:
        return float(np.abs(x - y).mean())
    ends = np.union1d(np.arange(1, x.size + 1) / x.size, np.arange(1, y.size + 1) / y.size)
    widths = np.diff(ends, prepend=0.0)
    middle = ends - 0.5 * widths  # inside its interval, so no rounding of an end picks a neighbour
    at_x, at_y = (np.minimum((middle * v.size).astype(np.int64), v.size - 1) for v in (x, y))
    return float((widths * np.abs(x[at_x] - y[at_y])).sum())


def similarity(model: float, baseline: float) -> float:
    """1 - d(model, target) / d(baseline, target): 1 is the target itself, 0 no better than the baseline,
    below 0 worse.

    Ross, Li, Perezhogin, Fernandez-Granda, Zanna 2023, J. Adv. Model. Earth Syst. 15, e2022MS003258, section
    3.4. Where the baseline is the target too: 1 for a model that is, else minus infinity.
    """
    if baseline == 0.0:
        return 1.0 if model == 0.0 else float("-inf")
    return 1.0 - model / baseline
