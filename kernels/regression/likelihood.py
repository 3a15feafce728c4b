"""The log marginal likelihood of a Gaussian process with Matern-5/2 correlation, and its exact gradient."""

import math
from dataclasses import dataclass

import numpy as np

from kernels.errors import InputError
from kernels.regression import lapack
from kernels.regression.matern import correlation_lower, gradient_contraction, slope_products

JITTER_LADDER = (0.0, 1e-12, 1e-11, 1e-10, 1e-9, 1e-8, 1e-7, 1e-6)
"""Added to the unit diagonal of the correlation, in this order, until the Cholesky factorisation succeeds."""


@dataclass(frozen=True)
class Point:
    """Where a likelihood was evaluated: value, weights A^-1 y (n,), best signal variance, scaled inputs (d,
    n), noise ratio."""

    value: float
    weights: np.ndarray
    variance: float
    scaled: np.ndarray
    ratio: float


class Likelihood:
    """Likelihood of one output: inputs (n, d) and targets (n,), both standardised, with its work arrays.

    y ~ N(0, s (R + g I)), R the Matern-5/2 correlation, s the signal variance, g = noise variance / s. One
    object is used by one thread at a time. `name` names the output in errors.
    """

    def __init__(self, inputs: np.ndarray, targets: np.ndarray, name: str = "output") -> None:
        self.columns = np.ascontiguousarray(inputs.T, dtype=np.float64)
        self.targets = np.ascontiguousarray(targets, dtype=np.float64)
        self.name = name
        n = self.targets.size
        self._matrix, self._slope = np.empty((n, n)), np.empty((n, n))

    def factorise(self, lengthscale: np.ndarray, ratio: float) -> tuple[np.ndarray, np.ndarray, float]:
        """Scaled inputs (d, n), Cholesky factor of R + (ratio + jitter) I, and the jitter taken from
        JITTER_LADDER.

        The factor is a work array that the next call overwrites. Raises InputError that names the output
        where the last rung fails.
        """
        scaled = self.columns / np.asarray(lengthscale, dtype=np.float64)[:, None]
        for jitter in JITTER_LADDER:
            correlation_lower(scaled, ratio + jitter, self._matrix, self._slope)
            if lapack.cholesky(self._matrix):
                return scaled, self._matrix, jitter
        raise InputError(
            f"the covariance of {self.name!r} is not positive definite, even with {JITTER_LADDER[-1]:g} "
            "added to its "
            f"diagonal; expected finite inputs and a noise ratio >= 0, given {ratio:g}: raise the lower "
            "noise bound or "
            "remove repeated samples"
        )

    def evaluate(self, logarithms: np.ndarray) -> Point:
        """Likelihood at the best signal variance; logarithms of lengthscales and noise ratio g (d + 1,).

        L = -n/2 (log(2 pi s) + 1) - 1/2 log|A|, A = R + g I, s = y^T A^-1 y / n (Jones, Schonlau and Welch
        1998, eq. 5 and 6, with a zero mean).
        """
        ratio = math.exp(logarithms[-1])
        scaled, factor, _ = self.factorise(np.exp(logarithms[:-1]), ratio)
        n = self.targets.size
        weights = lapack.solve(factor, self.targets)
        variance = max(float(self.targets @ weights) / n, 1e-300)
        log_determinant = 2.0 * float(np.log(np.diagonal(factor)).sum())
        value = -0.5 * (n * (math.log(2.0 * math.pi * variance) + 1.0) + log_determinant)
        return Point(value, weights, variance, scaled, ratio)

    def derivatives(self, point: Point) -> tuple[np.ndarray, np.ndarray]:
        """Gradient (d + 1,) and average information (d + 1, d + 1) by the logarithms, at the point of the
        last `evaluate`; once, since the factor is spoilt.

        Average information B_ij = 1/2 y^T P K_i P K_j P y, P = K^-1, K_i = dK/dt_i: the mean of observed and
        expected information, where second derivatives of K are left out (Gilmour, Thompson, Cullis 1995,
        Biometrics 51); the signal variance is eliminated by its Schur complement. It costs n^2 d flops
        beside the n^3 of the gradient.
        """
        weights, variance = point.weights, point.variance
        dimensions, n = point.scaled.shape
        tangents = np.empty((dimensions + 1, n))
        slope_products(point.scaled, weights, self._slope, tangents[:-1])
        tangents[-1] = point.ratio * weights
        halves = lapack.solve_lower(self._matrix, tangents)
        mixed = tangents @ weights / variance
        information = 0.5 * (halves @ halves.T / variance - np.outer(mixed, mixed) / n)
        lengths, noise = self._gradient(point.scaled, self._matrix, weights, variance, point.ratio)
        return np.append(lengths, noise), information

    def profiled(self, lengthscale: np.ndarray, ratio: float) -> tuple[float, np.ndarray, float]:
        """Likelihood at the best signal variance as in `evaluate`, its gradient, and that variance.

        Gradient with respect to (log lengthscale_1..d, log g), (d + 1,); by the envelope theorem it is the
        partial derivative of the full likelihood at s.
        """
        point = self.evaluate(np.log(np.append(lengthscale, ratio)))
        lengths, noise = self._gradient(
            point.scaled, self._matrix, point.weights, point.variance, point.ratio
        )
        return point.value, np.append(lengths, noise), point.variance

    def full(
        self, lengthscale: np.ndarray, signal_variance: float, noise_variance: float
    ) -> tuple[float, np.ndarray]:
        """Likelihood and its gradient with respect to the logarithms of (signal variance, lengthscales,
        noise variance).

        L = -1/2 y^T K^-1 y - 1/2 log|K| - n/2 log(2 pi), K = s R + noise I (Rasmussen and Williams 2006, eq.
        2.30); dL/dt = 1/2 tr((a a^T - K^-1) dK/dt), a = K^-1 y (eq. 5.9). Gradient (d + 2,). Exact to
        rounding: the relative error grows with the condition number, n s / noise. Does not handle a mean
        function.
        """
        ratio = noise_variance / signal_variance
        scaled, factor, _ = self.factorise(lengthscale, ratio)
        n = self.targets.size
        weights = lapack.solve(factor, self.targets)
        misfit = float(self.targets @ weights) / signal_variance
        log_determinant = 2.0 * float(np.log(np.diagonal(factor)).sum()) + n * math.log(signal_variance)
        value = -0.5 * (misfit + log_determinant + n * math.log(2.0 * math.pi))
        lengths, noise = self._gradient(scaled, factor, weights, signal_variance, ratio)
        signal = (
            0.5 * (misfit - n) - noise
        )  # K is homogeneous: the two variances share the derivative of a scaling
        return value, np.concatenate(([signal], lengths, [noise]))

    def _gradient(
        self, scaled: np.ndarray, factor: np.ndarray, weights: np.ndarray, variance: float, ratio: float
    ) -> tuple[np.ndarray, float]:
        lapack.invert(factor)
        lengths = gradient_contraction(scaled, weights, 1.0 / variance, factor, self._slope)
        trace = float(weights @ weights) / variance - float(np.trace(factor))
        return lengths, 0.5 * ratio * trace
