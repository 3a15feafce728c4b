"""Errors of predicted fields, sample by sample: in L2 and H1, on the boundary, at worst, in the mean."""

import numpy as np

from kernels.metrics.measures import Measure

_NOTHING = 1e-6
"""A boundary where the truth is below this share of its size in the whole field is one where it is zero."""


def relative_l2(measure: Measure, truth: np.ndarray, error: np.ndarray) -> np.ndarray:
    """|e| / |u| of each sample, NaN where u is zero: the error of Li et al. 2021, Fourier neural operator,
    ICLR, arXiv 2010.08895, section 5.

    truth, error: (samples, *points), v - u as error, in the same units; (samples,). Norms are the measure's.
    """
    return ratio(measure.square(error), measure.square(truth))


def relative_h1(measure: Measure, truth: np.ndarray, error: np.ndarray) -> np.ndarray:
    """sqrt((|e|^2 + |grad e|^2) / (|u|^2 + |grad u|^2)), integrals over a domain of unit extent; as above.

    He, Liu, Xu 2024, MgNO, ICLR, arXiv 2310.19809, section 4 (there with derivatives by FFT).
    """
    top = measure.norm_square(error) + measure.gradient_square(error)
    return ratio(top, measure.norm_square(truth) + measure.gradient_square(truth))


def boundary_error(measure: Measure, truth: np.ndarray, error: np.ndarray) -> np.ndarray:
    """Relative L2 error over the boundary points alone, all weighing alike.

    A sample whose truth is zero on the boundary has its error there relative to the root mean square of the
    whole field. NaN where the domain has no boundary or the field is zero.
    """
    mask = measure.boundary
    if mask is None:
        return np.full(len(truth), np.nan)
    size = (truth[:, mask] ** 2).mean(axis=1)
    whole = (truth.reshape(len(truth), -1) ** 2).mean(axis=1)
    return ratio((error[:, mask] ** 2).mean(axis=1), np.where(size > _NOTHING**2 * whole, size, whole))


def max_error(truth: np.ndarray, error: np.ndarray) -> np.ndarray:
    """max |e| / max |u| of each sample, NaN where u is zero."""
    over = tuple(range(1, truth.ndim))
    return ratio(np.abs(error).max(axis=over) ** 2, np.abs(truth).max(axis=over) ** 2)


def mean_error(measure: Measure, truth: np.ndarray, error: np.ndarray) -> np.ndarray:
    """|mean e| / mean |u|: error of the conserved quantity, the integral over the domain.

    For a field of one sign that is the relative error of its integral; a field whose positive and negative
    parts cancel, such as vorticity, keeps a scale that does not vanish. NaN where u is zero.
    """
    return ratio(measure.mean(error) ** 2, measure.mean(np.abs(truth)) ** 2)


def ratio(top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
    """sqrt(top / bottom) of squares (samples,), NaN where the bottom is zero; below zero is round-off."""
    safe = np.where(bottom > 0.0, bottom, np.nan)
    return np.asarray(np.sqrt(np.maximum(top, 0.0) / safe))
