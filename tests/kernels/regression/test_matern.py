import numpy as np
import pytest
from scipy.spatial.distance import cdist

from kernels.regression.matern import correlation_lower, correlation_row, gradient_contraction, slope_products


def reference(points: np.ndarray, others: np.ndarray) -> np.ndarray:
    a = np.sqrt(5.0) * cdist(points, others)
    return (1.0 + a + a**2 / 3.0) * np.exp(-a)


@pytest.mark.parametrize("scale", [1e-6, 0.3, 1.0, 30.0, 1e4])
def test_correlation_is_exact_to_rounding(scale):
    points = scale * np.random.default_rng(0).standard_normal((70, 5))
    correlation, slope = np.full((70, 70), np.nan), np.full((70, 70), np.nan)
    correlation_lower(np.ascontiguousarray(points.T), 0.25, correlation, slope)
    lower = np.tril_indices(70, -1)
    expected = reference(points, points)[lower]
    large = expected > 1e-290
    np.testing.assert_allclose(correlation[lower][large], expected[large], rtol=2e-13)
    assert np.abs(correlation[lower][~large]).max(initial=0.0) < 1e-280
    np.testing.assert_array_equal(np.diag(correlation), 1.25)
    assert np.isnan(correlation[np.triu_indices(70, 1)]).all()
    row = np.empty(70)
    correlation_row(np.ascontiguousarray(points.T), points[3] + 0.1 * scale, row)
    expected = reference(points[[3]] + 0.1 * scale, points)[0]
    np.testing.assert_allclose(row, expected, rtol=2e-13, atol=1e-290)


def test_slope_is_the_derivative_by_a_logarithmic_lengthscale():
    points = np.random.default_rng(1).standard_normal((12, 3))
    correlation, slope = np.zeros((12, 12)), np.zeros((12, 12))
    correlation_lower(np.ascontiguousarray(points.T), 0.0, correlation, slope)
    step = 1e-6
    for d in range(3):
        longer, shorter = points.copy(), points.copy()
        longer[:, d] *= np.exp(-step)
        shorter[:, d] *= np.exp(step)
        difference = (reference(longer, longer) - reference(shorter, shorter)) / (2.0 * step)
        exact = slope * (points[:, None, d] - points[None, :, d]) ** 2
        lower = np.tril_indices(12, -1)
        np.testing.assert_allclose(exact[lower], difference[lower], atol=1e-9)


def test_contraction_equals_the_written_out_trace():
    generator = np.random.default_rng(2)
    points, weights = generator.standard_normal((15, 4)), generator.standard_normal(15)
    inverse, slope = generator.standard_normal((2, 15, 15))
    inverse, slope = inverse + inverse.T, slope + slope.T
    found = gradient_contraction(np.ascontiguousarray(points.T), weights, 0.7, inverse, slope)
    pair = (0.7 * np.outer(weights, weights) - inverse) * slope
    expected = [0.5 * (pair * (points[:, None, d] - points[None, :, d]) ** 2).sum() for d in range(4)]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_slope_products_equal_the_written_out_sums():
    generator = np.random.default_rng(4)
    points, weights = generator.standard_normal((15, 4)), generator.standard_normal(15)
    slope = generator.standard_normal((15, 15))
    slope, found = slope + slope.T, np.full((4, 15), np.nan)
    slope_products(np.ascontiguousarray(points.T), weights, np.tril(slope), found)
    expected = [(slope * (points[:, None, d] - points[None, :, d]) ** 2) @ weights for d in range(4)]
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)
