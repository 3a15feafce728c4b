"""Intervals mean +- factor * deviation: how often they hold, by point and by field, and how wide."""

import numpy as np


def interval_scores(error: np.ndarray, std: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Part of the points inside, whether all are, and mean width, of each sample at each factor.

    error, std: (samples, *points), u - m and s >= 0; factors: (levels,), half widths over s, as conformal
    calibration gives them (Angelopoulos, Bates 2023, Foundations and Trends in Machine Learning 16, 494-591,
    section 2.2). Returns (3, levels, samples): pointwise coverage, 1 or 0 for the whole field, 2 factor s
    averaged over the points, in the units of the field. A point on the end of its interval is inside.
    """
    size, spread = (np.abs(v).reshape(len(error), -1) for v in (error, std))
    found = np.empty((3, len(factors), len(error)))
    for k, factor in enumerate(factors):
        inside = size <= factor * spread
        found[:, k] = inside.mean(axis=1), inside.all(axis=1), 2.0 * factor * spread.mean(axis=1)
    return found
