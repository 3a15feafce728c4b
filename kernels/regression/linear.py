"""Linear least squares: the baseline that a Gaussian process has to beat."""

import numpy as np


def fit_linear(inputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Coefficients c (m, d + 1) of y = c_0 + sum_d c_d x_d by least squares, of smallest norm where not
    unique.

    inputs (n, d), targets (n, m), any units. Hastie, Tibshirani, Friedman 2009, eq. 3.6. Not handled:
    weights, and regularisation.
    """
    design = np.concatenate([np.ones((inputs.shape[0], 1)), inputs], axis=1)
    return np.linalg.lstsq(design, targets, rcond=None)[0].T


def predict_linear(coefficients: np.ndarray, inputs: np.ndarray) -> np.ndarray:
    """y (q, m) = c_0 + sum_d c_d x_d for coefficients (m, d + 1) from `fit_linear` and inputs (q, d)."""
    return coefficients[:, 0] + inputs @ coefficients[:, 1:].T
