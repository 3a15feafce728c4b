"""Exact Gaussian processes on shared inputs, one an output: fitted by maximum likelihood, in parallel."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace

import numpy as np
from threadpoolctl import threadpool_limits

from kernels.errors import InputError
from kernels.regression import lapack
from kernels.regression.climb import SPREAD, climb
from kernels.regression.likelihood import Likelihood
from kernels.regression.matern import correlation_row

Progress = Callable[[int, int], None]

_SMALL = 160  # samples on which the starts compete: about 1/10 of the time of an evaluation on 500
_COARSE = 1e-2  # nats: tolerance of the climbs that are compared with each other
_AGAIN = (SPREAD, 30.0)  # spreads of the further climbs: another one takes another path between local optima
_CONSTANT = 1e-12  # a target whose deviation is below this part of its size is constant


@dataclass(frozen=True)
class FitOptions:
    """How the hyperparameters are searched.

    restarts: starts that compete, the first two fixed, the others seeded by (seed, position of the output).
    max_iterations: of every climb. noise_ratio: bounds of noise variance / signal variance.
    lengthscale: bounds, in standard deviations of an input. threads: outputs fitted side by side; None:
    every core. tolerance: nats that the last quadratic model of the likelihood still promised.
    """

    restarts: int = 5
    seed: int = 0
    max_iterations: int = 200
    noise_ratio: tuple[float, float] = (1e-11, 1e2)
    lengthscale: tuple[float, float] = (1e-2, 1e5)
    threads: int | None = None
    tolerance: float = 1e-6


@dataclass(frozen=True)
class GaussianProcesses:
    """Fitted processes: standardised inputs (n, d) and targets (n, m), their means and scales, and the
    hyperparameters.

    lengthscale (m, d), signal_variance and noise_variance (m,) belong to standardised inputs and targets. A
    constant target has target_scale 0 and both variances 0.
    """

    inputs: np.ndarray
    input_mean: np.ndarray
    input_scale: np.ndarray
    targets: np.ndarray
    target_mean: np.ndarray
    target_scale: np.ndarray
    lengthscale: np.ndarray
    signal_variance: np.ndarray
    noise_variance: np.ndarray
    log_marginal_likelihood: np.ndarray


def fit(
    inputs: np.ndarray,
    targets: np.ndarray,
    options: FitOptions | None = None,
    names: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> GaussianProcesses:
    """Maximum-likelihood Gaussian processes, y_k ~ GP(0, s_k R(x / lengthscale_k)) + noise_k, on
    standardised data.

    inputs (n, d) and targets (n, m) in any units; the likelihood is that of `Likelihood.evaluate`, maximised
    over lengthscales and noise ratio within bounds by `climb`. Starts compete on a subset of 160 samples, the
    winner goes on with all of them; with no more samples than that, every start goes on. Before it goes on,
    and twice more from the best end, long lengthscales are brought back to 5 times the shortest, which leaves
    local optima where an input is ignored. The best end counts; with many inputs it may still be a local
    optimum. `progress(done, m)` is called from the calling thread. Results do not depend on `threads`: every
    output is fitted by one thread with single-threaded BLAS and seeds of its own position. Jitter that a
    factorisation needed (JITTER_LADDER) is part of the noise variance returned.

    Raises InputError for shapes that do not match, values that are not finite, fewer than 2 samples and a
    covariance that no jitter makes positive definite (naming the output). Does not handle correlation
    between outputs, missing targets, or more samples than a dense n x n matrix allows.
    """
    options = options or FitOptions()
    inputs, targets = np.asarray(inputs, dtype=np.float64), np.asarray(targets, dtype=np.float64)
    names = [f"output {k}" for k in range(targets.shape[-1])] if names is None else list(names)
    _check(inputs, targets, names, options)
    empty = _standardised(inputs, targets)
    live = np.flatnonzero(empty.target_scale > 0.0)
    total, done = targets.shape[1], targets.shape[1] - live.size
    lengthscale, signal = np.ones_like(empty.lengthscale), np.zeros(total)
    noise, value = np.zeros(total), np.zeros(total)

    def one(k: int) -> tuple[np.ndarray, float, float, float]:
        return _fit_one(empty.inputs, empty.targets[:, k], options, k, names[k])

    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(_threads(options.threads)) as pool:
        jobs = {pool.submit(one, int(k)): int(k) for k in live}
        try:
            for job in as_completed(jobs):
                k = jobs[job]
                lengthscale[k], signal[k], noise[k], value[k] = job.result()
                done += 1
                if progress is not None:
                    progress(done, total)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return replace(
        empty,
        lengthscale=lengthscale,
        signal_variance=signal,
        noise_variance=noise,
        log_marginal_likelihood=value,
    )


def predict(
    model: GaussianProcesses, inputs: np.ndarray, include_noise: bool = False, threads: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Posterior mean and standard deviation of every output at new inputs, both (q, m), in the units of the
    targets.

    mean = k^T K^-1 y, variance = s - k^T K^-1 k (Rasmussen and Williams 2006, eq. 2.25 and 2.26); with
    include_noise the variance of a new noisy observation. inputs (q, d) in the units of the training inputs.
    Every input is evaluated by itself, so a value does not depend on which inputs are asked for together,
    nor on `threads`. A constant target is predicted with deviation 0. Raises InputError for another number
    of inputs than the model has or values that are not finite. Does not return covariances between inputs.
    """
    inputs = np.asarray(inputs, dtype=np.float64)
    wanted = model.inputs.shape[1]
    if inputs.ndim != 2 or inputs.shape[1] != wanted or not np.isfinite(inputs).all():
        raise InputError(
            f"inputs of shape {inputs.shape}, finite: {bool(np.isfinite(inputs).all())}; expected finite "
            "values of shape "
            f"(any, {wanted}), the inputs that the model was trained on"
        )
    standard = (inputs - model.input_mean) / model.input_scale
    outputs = model.targets.shape[1]
    mean = np.repeat(model.target_mean[None, :], inputs.shape[0], axis=0)
    deviation = np.zeros_like(mean)
    live = [int(k) for k in np.flatnonzero(model.signal_variance > 0.0)]
    if inputs.shape[0] == 0 or outputs == 0:
        return mean, deviation

    def one(k: int) -> tuple[np.ndarray, np.ndarray]:
        return _predict_one(model, k, standard, include_noise)

    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(_threads(threads)) as pool:
        for k, (value, spread) in zip(live, pool.map(one, live), strict=True):
            mean[:, k] += model.target_scale[k] * value
            deviation[:, k] = model.target_scale[k] * spread
    return mean, deviation


def _threads(threads: int | None) -> int:
    return max(1, threads or len(os.sched_getaffinity(0)))


def _check(inputs: np.ndarray, targets: np.ndarray, names: Sequence[str], options: FitOptions) -> None:
    if inputs.ndim != 2 or targets.ndim != 2 or inputs.shape[0] != targets.shape[0] or inputs.shape[0] < 2:
        raise InputError(
            f"inputs of shape {inputs.shape} and targets of shape {targets.shape}; expected (n, d) and (n, "
            "m) with the same "
            "n >= 2: one row a training sample"
        )
    if len(names) != targets.shape[1]:
        raise InputError(f"{len(names)} names for {targets.shape[1]} outputs; expected one name an output")
    if not np.isfinite(inputs).all():
        columns = np.flatnonzero(~np.isfinite(inputs).all(axis=0)).tolist()
        raise InputError(
            f"inputs {columns} hold values that are not finite; expected finite ones: drop those samples"
        )
    if not np.isfinite(targets).all():
        bad = [names[int(k)] for k in np.flatnonzero(~np.isfinite(targets).all(axis=0))]
        raise InputError(
            f"outputs {bad} hold values that are not finite; expected finite ones: drop those samples"
        )
    for label, (low, high) in (("noise_ratio", options.noise_ratio), ("lengthscale", options.lengthscale)):
        if not 0.0 < low < high:
            raise InputError(f"{label} bounds ({low:g}, {high:g}); expected 0 < lower < upper")


def _moments(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    rows = np.ascontiguousarray(values.T)  # one sum a column, in an order that no other column changes
    return rows.mean(axis=1), rows.std(axis=1)


def _standardised(inputs: np.ndarray, targets: np.ndarray) -> GaussianProcesses:
    mean, scale = _moments(inputs)
    scale = np.where(scale > _CONSTANT * np.abs(inputs).max(axis=0), scale, 1.0)
    level, spread = _moments(targets)
    spread = np.where(spread > _CONSTANT * np.abs(targets).max(axis=0, initial=0.0), spread, 0.0)
    divisor = np.where(spread > 0.0, spread, 1.0)
    outputs = targets.shape[1]
    return GaussianProcesses(
        inputs=(inputs - mean) / scale,
        input_mean=mean,
        input_scale=scale,
        targets=np.where(spread > 0.0, (targets - level) / divisor, 0.0),
        target_mean=level,
        target_scale=spread,
        lengthscale=np.ones((outputs, inputs.shape[1])),
        signal_variance=np.zeros(outputs),
        noise_variance=np.zeros(outputs),
        log_marginal_likelihood=np.zeros(outputs),
    )


def _fit_one(
    inputs: np.ndarray, targets: np.ndarray, options: FitOptions, position: int, name: str
) -> tuple[np.ndarray, float, float, float]:
    generator = np.random.default_rng((options.seed, position))
    n, dimensions = inputs.shape
    low, high = _bounds(dimensions, options)
    subset = generator.permutation(n)[:_SMALL] if n > _SMALL else np.arange(n)

    def best(likelihood: Likelihood, starts: list[np.ndarray], tolerance: float) -> tuple[np.ndarray, float]:
        found = [climb(likelihood, start, low, high, tolerance, options.max_iterations) for start in starts]
        return max(found, key=lambda pair: pair[1])

    coarse = max(_COARSE, options.tolerance)
    starts = _starts(generator, dimensions, options)
    if n > _SMALL:
        starts = [_within_reach(best(Likelihood(inputs[subset], targets[subset], name), starts, coarse)[0])]
    full = Likelihood(inputs, targets, name)
    found = best(full, starts, coarse)
    for spread in _AGAIN:
        again = climb(full, _within_reach(found[0]), low, high, coarse, options.max_iterations, spread)
        found = max(found, again, key=lambda pair: pair[1])
    optimum, _ = best(full, [found[0]], options.tolerance)
    lengthscale, ratio = np.exp(optimum[:-1]), float(np.exp(optimum[-1]))
    _, _, jitter = full.factorise(lengthscale, ratio)
    value, _, variance = full.profiled(lengthscale, ratio + jitter)
    return lengthscale, variance, variance * (ratio + jitter), value


def _bounds(dimensions: int, options: FitOptions) -> tuple[np.ndarray, np.ndarray]:
    low = np.log([options.lengthscale[0]] * dimensions + [options.noise_ratio[0]])
    return low, np.log([options.lengthscale[1]] * dimensions + [options.noise_ratio[1]])


def _within_reach(logarithms: np.ndarray) -> np.ndarray:
    """A start that leaves local optima in which an input is ignored: no lengthscale is long."""
    nearer = logarithms.copy()
    nearer[:-1] = np.minimum(nearer[:-1], nearer[:-1].min() + np.log(SPREAD))
    return nearer


def _starts(generator: np.random.Generator, dimensions: int, options: FitOptions) -> list[np.ndarray]:
    """Starts in the logarithms; distances, and so lengthscales, grow with the root of the number of inputs.

    The first is smooth with little noise, the second rough with much, the others are drawn between the two.
    """
    centre = np.log(2.0 * np.sqrt(dimensions))
    starts = [np.append(np.full(dimensions, centre), np.log(1e-2)), np.zeros(dimensions + 1)]
    for _ in range(options.restarts - 2):
        noise = np.log(10.0) * generator.uniform(-5.0, -0.5)
        starts.append(np.append(centre + 0.7 * generator.standard_normal(dimensions), noise))
    return starts[: options.restarts]


def _predict_one(
    model: GaussianProcesses, k: int, inputs: np.ndarray, include_noise: bool
) -> tuple[np.ndarray, np.ndarray]:
    signal, noise = float(model.signal_variance[k]), float(model.noise_variance[k])
    likelihood = Likelihood(model.inputs, model.targets[:, k], f"output {k}")
    scaled, factor, _ = likelihood.factorise(model.lengthscale[k], noise / signal)
    weights = lapack.solve(factor, likelihood.targets)
    row = np.empty(model.inputs.shape[0])
    mean, deviation = np.empty(inputs.shape[0]), np.empty(inputs.shape[0])
    for i, point in enumerate(inputs / model.lengthscale[k]):
        correlation_row(scaled, point, row)
        mean[i] = row @ weights
        half = lapack.solve_lower(factor, row)
        variance = signal * max(1.0 - float(half @ half), 0.0)
        deviation[i] = np.sqrt(variance + (noise if include_noise else 0.0))
    return mean, deviation
