"""Two-dimensional Navier-Stokes equations for the vorticity on the periodic unit square, pseudo-spectral."""

from collections.abc import Sequence

import numpy as np
from scipy import fft

from kernels.errors import InputError
from kernels.fields.exponential import Evolution, check_resolved, integrate

RESOLVED = 1e-2
"""Largest share of the shortest waves in a solution that is handed out."""


def diagonal_forcing(points: int, size: float) -> np.ndarray:
    """size (sin 2 pi (x + y) + cos 2 pi (x + y)) at (i, j) / points (Li et al. 2021, appendix A.3.3)."""
    angle = 2.0 * np.pi * np.add.outer(np.arange(points), np.arange(points)) / points
    return np.asarray(size * (np.sin(angle) + np.cos(angle)))


def _waves(points: int) -> tuple[np.ndarray, np.ndarray]:
    """Wave numbers along both axes in the order of `rfft2`, as a column and a row."""
    return np.rint(fft.fftfreq(points) * points)[:, None], np.arange(points // 2 + 1.0)[None, :]


def evolution(points: int, viscosity: float, forcing: np.ndarray) -> tuple[Evolution, np.ndarray]:
    """w_t = viscosity Laplace w + f - div(u w) for the coefficients of `rfft2`, and the waves that are kept.

    u = (psi_y, -psi_x), -Laplace psi = w. Waves from points / 3 on are dropped along both axes.
    """
    first, second = _waves(points)
    kept = (np.abs(first) < points / 3.0) & (second < points / 3.0)
    d1, d2 = 2j * np.pi * first, 2j * np.pi * second
    square = (2.0 * np.pi) ** 2 * (first**2 + second**2)
    inverse = np.where(square > 0.0, 1.0 / np.where(square > 0.0, square, 1.0), 0.0)
    to_u, to_v = d2 * inverse, -d1 * inverse
    flux1, flux2 = np.where(kept, -d1, 0.0), np.where(kept, -d2, 0.0)
    force = np.where(kept, fft.rfft2(forcing), 0.0)
    shape = points, points
    largest = 2.0 * np.pi * float(np.abs(first[kept.any(axis=1)]).max())

    def velocity(w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return fft.irfft2(to_u * w, shape), fft.irfft2(to_v * w, shape)

    def nonlinear(w: np.ndarray) -> np.ndarray:
        u, v = velocity(w)
        inside = fft.irfft2(w, shape)
        return np.asarray(flux1 * fft.rfft2(u * inside) + flux2 * fft.rfft2(v * inside) + force)

    def frequency(w: np.ndarray) -> float:
        u, v = velocity(w)
        return largest * float((np.abs(u) + np.abs(v)).max())

    return Evolution(-viscosity * square, nonlinear, frequency), kept


def solve_navier_stokes(
    w: np.ndarray,
    viscosity: float,
    forcing: np.ndarray,
    times: Sequence[float],
    time_step: float | None = None,
) -> np.ndarray:
    """Vorticity (times, n, n) at (i, j) / n from w (n, n) at time 0, of mean zero, period 1 along both axes.

    w_t + u . grad w = viscosity Laplace w + f, div u = 0, curl u = w, without mean flow; forcing f (n, n).
    Spectral in space, `Etdrk4` in time. Raises InputError where n is below 8, shapes differ, the viscosity is
    not positive, w or f has a mean, w or the solution has waves from n / 3 on, or a given step is not stable.
    """
    if w.ndim != 2 or w.shape[0] != w.shape[1] or len(w) < 8 or not np.isfinite(w).all():
        raise InputError(
            f"w has shape {w.shape}, expected finite values on n x n points, n from 8: refine it"
        )
    if forcing.shape != w.shape:
        raise InputError(f"the forcing has shape {forcing.shape}, expected {w.shape}, as the vorticity")
    if not viscosity > 0.0:
        raise InputError(f"viscosity is {viscosity!r}, expected a positive number: raise it")
    for name, values in (("vorticity", w), ("forcing", forcing)):
        mean = float(values.mean())
        if abs(mean) > 1e-10 * max(float(np.abs(values).max()), 1.0):
            raise InputError(f"the {name} has mean {mean:.3g}, expected 0 on a periodic square: subtract it")
    problem, kept = evolution(len(w), viscosity, forcing)
    start = fft.rfft2(w)
    if start.any():
        check_resolved(start, ~kept, 1e-6)
    states = integrate(problem, np.where(kept, start, 0.0), times, time_step)
    first, second = _waves(len(w))
    outer = kept & (np.maximum(np.abs(first), second) >= 0.9 * (np.count_nonzero(kept[0]) - 1))
    for state in states:
        check_resolved(state, outer, RESOLVED)
    return np.stack([fft.irfft2(state, w.shape) for state in states])
