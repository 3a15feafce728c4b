"""Spectra of plane periodic flows, and distances between them."""

import numpy as np
from scipy import fft

from kernels.errors import InputError


def vorticity(u: np.ndarray, v: np.ndarray, length: float) -> np.ndarray:
    """v_x - u_y of a periodic square of side `length` by FFT; (..., n, n), x along the first of the two axes.

    The shortest wave of an even n has no sign, so no first derivative.
    """
    n = u.shape[-1]
    waves = 2.0 * np.pi / length * np.fft.fftfreq(n, 1.0 / n)
    if n % 2 == 0:
        waves[n // 2] = 0.0
    along_x = 1j * waves[:, None] * fft.fft2(v)
    along_y = 1j * waves[None, :] * fft.fft2(u)
    return np.asarray(fft.ifft2(along_x - along_y).real)


def wavenumbers(points: int, length: float) -> np.ndarray:
    """k_j = 2 pi j / length of the shells j = 0, 1, .., up to the corner of the square of waves."""
    return 2.0 * np.pi / length * np.arange(_shell(points).max() + 1)


def _shell(points: int) -> np.ndarray:
    waves = np.fft.fftfreq(points, 1.0 / points)
    return np.rint(np.hypot(waves[:, None], waves[None, :])).astype(np.int64)


def velocity_spectrum(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Energy of each shell of waves, sum over |k| L / 2 pi in [j - 1/2, j + 1/2) of |u_hat|^2 / 2.

    u, v: (..., n, n); (..., shells). All shells add up to the mean of |u|^2 / 2 (Parseval). Pope 2000,
    Turbulent Flows, section 6.5 (there per unit of k: divide by 2 pi / L).
    """
    n = u.shape[-1]
    energy = 0.5 * (np.abs(fft.fft2(u, norm="forward")) ** 2 + np.abs(fft.fft2(v, norm="forward")) ** 2)
    shell = _shell(n).ravel()
    order = np.argsort(shell, kind="stable")
    starts = np.searchsorted(shell[order], np.arange(shell.max() + 1))
    return np.asarray(np.add.reduceat(energy.reshape(*energy.shape[:-2], -1)[..., order], starts, axis=-1))


def resolved(points: int) -> int:
    """Last shell below 2/3 of the Nyquist wave: all that a grid with the 2/3 filter resolves."""
    return int(np.ceil(points / 3.0)) - 1


def spectral_rmse(truth: np.ndarray, guess: np.ndarray, last: int) -> float:
    """sqrt(mean over shells 1 .. last of (E_guess - E_truth)^2), E (shells,); in the units of E.

    Ross et al. 2023, J. Adv. Model. Earth Syst. 15, e2022MS003258, section 3.4. Raises InputError where a
    spectrum is shorter.
    """
    own, other = _pair(truth, guess, last)
    return float(np.sqrt(((other - own) ** 2).mean()))


def log_spectrum_error(truth: np.ndarray, guess: np.ndarray, last: int) -> float:
    """sqrt(mean over shells 1 .. last of log10(E_guess / E_truth)^2), in decades: all scales weigh alike.

    NaN where a shell is empty. Raises InputError where a spectrum is shorter than `last`.
    """
    own, other = _pair(truth, guess, last)
    if not ((own > 0.0) & (other > 0.0)).all():
        return float("nan")
    return float(np.sqrt((np.log10(other / own) ** 2).mean()))


def _pair(truth: np.ndarray, guess: np.ndarray, last: int) -> tuple[np.ndarray, np.ndarray]:
    if not 1 <= last < min(len(truth), len(guess)):
        raise InputError(
            f"spectra of {len(truth)} and {len(guess)} shells compared up to shell {last}: expected a last "
            "shell of at least 1 that both have"
        )
    return truth[1 : last + 1], guess[1 : last + 1]
