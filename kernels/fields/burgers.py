"""Viscous Burgers equation on the periodic unit interval, pseudo-spectral."""

from collections.abc import Sequence

import numpy as np

from kernels.errors import InputError
from kernels.fields.exponential import Evolution, check_resolved, integrate

RESOLVED = 1e-4
"""Largest share of the shortest waves in a solution that is handed out."""


def evolution(points: int, viscosity: float) -> tuple[Evolution, np.ndarray]:
    """u_t = viscosity u_xx - (u^2 / 2)_x for the coefficients of numpy's `rfft`, and the waves that are kept.

    Products are free of aliasing: waves from points / 3 on are dropped (Orszag, J. Atmos. Sci. 28, 1971).
    """
    wave = np.arange(points // 2 + 1)
    kept = wave < points / 3.0
    k = 2.0 * np.pi * wave
    slope = np.where(kept, -0.5j * k, 0.0)
    largest = float(k[kept][-1])

    def nonlinear(v: np.ndarray) -> np.ndarray:
        return slope * np.fft.rfft(np.fft.irfft(v, points) ** 2)

    def frequency(v: np.ndarray) -> float:
        return largest * float(np.abs(np.fft.irfft(v, points)).max())

    return Evolution(-viscosity * k**2, nonlinear, frequency), kept


def solve_burgers(
    u: np.ndarray, viscosity: float, times: Sequence[float], time_step: float | None = None
) -> np.ndarray:
    """u (times, n) at x = i / n from u (n,) at time 0: u_t + (u^2 / 2)_x = viscosity u_xx, period 1.

    Spectral in space, `Etdrk4` in time. Raises InputError where n is below 8, the viscosity is not positive,
    u has waves from n / 3 on, the solution has, or a given time step is not stable.
    """
    if u.ndim != 1 or len(u) < 8 or not np.isfinite(u).all():
        raise InputError(f"u has shape {u.shape}, expected at least 8 finite values on one axis: refine it")
    if not viscosity > 0.0:
        raise InputError(f"viscosity is {viscosity!r}, expected a positive number: raise it")
    problem, kept = evolution(len(u), viscosity)
    v = np.fft.rfft(u)
    check_resolved(v, ~kept, 1e-6)
    states = integrate(problem, np.where(kept, v, 0.0), times, time_step)
    outer = kept & (np.arange(len(v)) >= 0.9 * (np.count_nonzero(kept) - 1))
    for state in states:
        check_resolved(state, outer, RESOLVED)
    return np.stack([np.fft.irfft(state, len(u)) for state in states])
