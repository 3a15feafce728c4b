"""The log marginal likelihood of a Gaussian process with Matern-5/2 correlation, and its exact gradient."""

import math

import numpy as np

from kernels.errors import InputError
from kernels.regression import lapack
from kernels.regression.matern import correlation_lower, gradient_contraction

JITTER_LADDER = (0.0, 1e-12, 1e-11, 1e-10, 1e-9, 1e-8, 1e-7, 1e-6)
"""Added to the unit diagonal of the correlation, in this order, until the Cholesky factorisation succeeds."""


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

    def profiled(self, lengthscale: np.ndarray, ratio: float) -> tuple[float, np.ndarray, float]:
        """Likelihood at the best signal variance, its gradient, and that variance.

        L = -n/2 (log(2 pi s) + 1) - 1/2 log|A|, A = R + g I, s = y^T A^-1 y / n (Jones, Schonlau and Welch
        1998, eq. 5 and 6, with a zero mean). Gradient with respect to (log lengthscale_1..d, log g), (d +
        1,); by the envelope theorem it is the partial derivative of the full likelihood at s.
        """
        scaled, factor, _ = self.factorise(lengthscale, ratio)
        n = self.targets.size
        weights = lapack.solve(factor, self.targets)
        variance = max(float(self.targets @ weights) / n, 1e-300)
        log_determinant = 2.0 * float(np.log(np.diagonal(factor)).sum())
        value = -0.5 * (n * (math.log(2.0 * math.pi * variance) + 1.0) + log_determinant)
        lengths, noise = self._gradient(scaled, factor, weights, variance, ratio)
        return value, np.append(lengths, noise), variance

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
