"""Errors of a symmetric tensor along and across the director."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Split:
    """along, across: mean square error of the components nn and nm over the mean square of the truth's, n
    along the director and m normal to it; share: part of the squared error of the deviator that is across.
    """

    along: float
    across: float
    share: float


def in_eigenframe(z2: np.ndarray, deviator: np.ndarray) -> np.ndarray:
    """A complex deviator (A_11 - A_22) / 2 + i A_12 turned into the eigenframe of D: A' = A e^{-2 i omega}.

    omega = arg(z_2) / 2 is the angle of the director, z_2 twice the deviator of D. Real part: half of
    A_nn - A_mm, imaginary part: A_nm. Where z_2 is zero there is no director, and the frame of the axes is
    kept.
    """
    size = np.abs(z2)
    return np.asarray(deviator * np.where(size > 0.0, z2.conj() / np.where(size > 0.0, size, 1.0), 1.0))


def split_error(
    z2: np.ndarray, truth: tuple[np.ndarray, np.ndarray], guess: tuple[np.ndarray, np.ndarray]
) -> Split:
    """How the error of a symmetric tensor, given as (trace, complex deviator), lies to the director.

    All arrays of one shape. NaN where what an error is relative to is zero.
    """
    own, other = (in_eigenframe(z2, one[1]) for one in (truth, guess))
    error, trace = other - own, guess[0] - truth[0]
    along = ((0.5 * trace + error.real) ** 2).mean(), ((0.5 * truth[0] + own.real) ** 2).mean()
    across = (error.imag**2).mean(), (own.imag**2).mean()
    share = (error.imag**2).mean(), (np.abs(error) ** 2).mean()
    return Split(*(float(a) / float(b) if b > 0.0 else float("nan") for a, b in (along, across, share)))
