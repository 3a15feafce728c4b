"""Honest variances of Gaussian processes: errors of refits on samples that were held out."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from scipy.special import ndtri

from kernels.regression.gaussian_process import FitOptions, GaussianProcesses, fit, predict

LEVEL = 0.9
"""Central interval that `variance_factors` makes right: lower levels are blind to the tails, higher ones rest
on too few of about 100 held-out errors."""

SMALLEST = 1e-6
"""Smallest factor; 0 would turn a process into a constant."""


def rotation(groups: np.ndarray, folds: int) -> np.ndarray:
    """Which outputs are tested in which fold, bool (folds, m).

    groups (m,): outputs with equal numbers share one factor. A lone output is tested in every fold; the
    outputs of a larger group take turns, so that the whole costs about one more training.
    """
    tested = np.zeros((folds, groups.size), dtype=bool)
    for number in np.unique(groups):
        members = np.flatnonzero(groups == number)
        if members.size < folds:
            tested[:, members] = True
        else:
            tested[np.arange(members.size) % folds, members] = True
    return tested


def held_out_scores(
    inputs: np.ndarray,
    targets: np.ndarray,
    tested: np.ndarray,
    options: FitOptions,
    names: Sequence[str],
    progress: Callable[[], None] | None = None,
) -> np.ndarray:
    """Standardised errors z = (y - m) / s (n, m) of samples that a refit has not seen; NaN where not tested.

    Cross-validation over the folds of `tested` (folds, m), with new hyperparameters in every fold: closed
    leave-one-out errors (Rasmussen and Williams 2006, eq. 5.10 to 5.12) keep those that saw the sample, and
    with many lengthscales and few samples they look honest where predictions are not. Folds are drawn from
    `options.seed` alone. m and s: posterior with noise. inputs (n, d), targets (n, m) in any units; options,
    names: see `fit`. NaN too where s is 0. Raises InputError as `fit` does.
    """
    n, folds = len(inputs), len(tested)
    fold = np.random.default_rng((options.seed, n)).permutation(n) % folds
    scores = np.full(targets.shape, np.nan)
    for k in range(folds):
        seen, chosen = fold != k, np.flatnonzero(tested[k])
        if chosen.size == 0 or seen.all():
            continue
        model = fit(inputs[seen], targets[seen][:, chosen], options, [names[int(i)] for i in chosen])
        mean, std = predict(model, inputs[~seen], include_noise=True, threads=options.threads)
        error = targets[~seen][:, chosen] - mean
        safe = np.where(std > 0.0, std, 1.0)
        scores[np.ix_(~seen, chosen)] = np.where(std > 0.0, error / safe, np.nan)
        if progress is not None:
            progress()
    return scores


def variance_factors(scores: np.ndarray, groups: np.ndarray, seen: float) -> np.ndarray:
    """Factor of the variances of every output (m,), with which its central interval of LEVEL holds.

    f = (q / Phi^-1((1 + p) / 2))^2, q the quantile of |z| at p (1 + 1 / n), p = LEVEL, over the n scores of a
    group: the normalised split-conformal quantile (Lei, G'Sell, Rinaldo, Tibshirani, Wasserman 2018, JASA
    113, section 5.2), read as a variance. Few outliers do not move it, as they do the mean square. Where f
    exceeds 1, the excess is what estimated hyperparameters add, of order 1 / n (Zimmerman, Cressie 1992, Ann.
    Inst. Statist. Math. 44, 27-43); the refits had `seen` n samples only, so f = 1 + seen (f - 1).

    scores (n, m) from `held_out_scores`, seen = 1 - 1 / folds; 1 for a group without any score.
    """
    factors = np.ones(groups.size)
    for number in np.unique(groups):
        members = groups == number
        size = np.abs(scores[:, members])
        size = size[np.isfinite(size)]
        if size.size:
            level = min(1.0, LEVEL * (1.0 + 1.0 / size.size))
            quantile = float(np.quantile(size, level))
            factor = (quantile / ndtri(0.5 + 0.5 * LEVEL)) ** 2
            factors[members] = 1.0 + seen * (factor - 1.0) if factor > 1.0 else max(factor, SMALLEST)
    return factors


def scaled(model: GaussianProcesses, factors: np.ndarray) -> GaussianProcesses:
    """The processes with both variances of every output times its factor (m,).

    Posterior means stay, posterior variances scale: a cross-validated amplitude in place of the likelihood's
    (Bachoc 2013, Computational Statistics and Data Analysis 66, section 2.2).
    """
    return replace(
        model,
        signal_variance=model.signal_variance * factors,
        noise_variance=model.noise_variance * factors,
    )
