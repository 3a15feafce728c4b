"""Errors by scale: the energy of fields on even grids in three bands of radial wavenumbers."""

from functools import lru_cache

import numpy as np
from scipy import fft

from kernels.metrics.fields import ratio
from kernels.metrics.measures import GridMeasure

BANDS = ("low", "middle", "high")

_EMPTY = 1e-24
"""A band with less than this share of the truth's energy holds nothing but round-off."""


def band_energies(measure: GridMeasure, values: np.ndarray) -> np.ndarray:
    """Mean square of the parts of `values` (samples, *axes) in each band; (samples, 3).

    With kappa_j the wavenumber along axis j over the largest that the axis has (Nyquist), a mode belongs to
    the band low, middle or high by the third of [0, 1] that |kappa|_2 lies in; the corners beyond 1 are
    high. Modes are those of the FFT along periodic axes, else of the orthonormal DCT-II (even extension: what
    has different values at its two ends has no jump there, so the high band is not filled by an artefact).
    Both keep energy, so the bands add up to the mean of u^2 (Parseval).
    """
    wrapped, other = ([j + 1 for j, w in enumerate(measure.wraps) if w is wanted] for wanted in (True, False))
    if other:
        values = fft.dctn(values, type=2, axes=other, norm="ortho")
    if wrapped:
        values = fft.fftn(values, axes=wrapped, norm="ortho")
    energy = np.abs(values) ** 2
    band = _bands(values.shape[1:], measure.wraps).ravel()
    flat = energy.reshape(len(values), -1)
    return np.stack([flat[:, band == b].sum(axis=1) for b in range(3)], axis=1) / flat.shape[1]


@lru_cache(maxsize=8)
def _bands(shape: tuple[int, ...], wraps: tuple[bool, ...]) -> np.ndarray:
    square = np.zeros(shape)
    for j, n in enumerate(shape):
        waves = np.abs(np.fft.fftfreq(n, 1.0 / n)) if wraps[j] else np.arange(n, dtype=np.float64)
        share = waves / max(waves.max(), 1.0)
        square = square + (share**2).reshape([-1 if i == j else 1 for i in range(len(shape))])
    # the third itself belongs to the band above, whatever the last bit of the root is
    return np.digitize(np.sqrt(square), [1.0 / 3.0 - 1e-12, 2.0 / 3.0 - 1e-12])


def spectral_errors(
    measure: GridMeasure, truth: np.ndarray, error: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Error of each band over the truth's size in that band, and over the truth's size in all bands.

    The first is 1 where a band is missed altogether, and NaN where the truth has nothing there; squares of
    the second add up to the squared relative L2 error. Both (samples, 3). NaN on a grid that is not even.
    """
    if not measure.even:
        nothing = np.full((len(truth), 3), np.nan)
        return nothing, nothing
    own, wrong = band_energies(measure, truth), band_energies(measure, error)
    whole = own.sum(axis=1, keepdims=True)
    return ratio(wrong, np.where(own > _EMPTY * whole, own, 0.0)), ratio(wrong, whole + 0.0 * wrong)
