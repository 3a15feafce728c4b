import numpy as np
import pytest

from kernels.elliptic.coefficients import log_normal, multiscale, two_valued
from kernels.errors import InputError
from kernels.fields.random_fields import Covariance, Field, draw


def test_the_same_sample_at_nested_grids_is_the_same_function():
    covariance = Covariance("neumann", 2, 3.0, 2.0, 3.0, 20)
    field = draw(covariance, np.random.default_rng(4))
    fine, coarse = (np.arange(n) + 0.5 for n in (48, 16))
    values = field.at(fine / 48, fine / 48)[1::3, 1::3]
    np.testing.assert_allclose(values, field.at(coarse / 16, coarse / 16), atol=1e-13)


@pytest.mark.parametrize(("ends", "dimension"), [("neumann", 2), ("periodic", 1), ("dirichlet", 2)])
def test_more_modes_refine_the_same_sample(ends, dimension):
    few, many = (
        draw(Covariance(ends, dimension, 3.0, 2.0, 3.0, k), np.random.default_rng(1)) for k in (4, 9)
    )
    part = tuple(slice(0, n) for n in few.coefficients.shape)
    np.testing.assert_array_equal(many.coefficients[part], few.coefficients)


def test_moments_of_a_periodic_field_are_those_of_the_closed_form():
    """With alpha = 1: cosh(tau (1/2 - r)) / (2 tau sinh(tau / 2)) - 1 / tau^2 at distance r."""
    tau, scale = 5.0, 2.0
    covariance = Covariance("periodic", 1, tau, 1.0, scale, 400)
    x = np.array([0.13, 0.33])
    random = np.random.default_rng(0)
    samples = np.array([draw(covariance, random).at(x) for _ in range(4000)])
    exact = [
        scale**2 * (np.cosh(tau * (0.5 - r)) / (2 * tau * np.sinh(tau / 2)) - 1 / tau**2) for r in (0.0, 0.2)
    ]
    found = samples.T @ samples / len(samples)
    error = 5.0 * np.sqrt(2.0 / len(samples)) * exact[0]
    np.testing.assert_allclose(
        [found[0, 0], found[1, 1], found[0, 1]], [exact[0], exact[0], exact[1]], atol=error
    )
    assert np.abs(samples.mean(axis=0)).max() < 5.0 * np.sqrt(exact[0] / len(samples))
    basis = covariance.basis(x)
    series = (basis * covariance.deviations() ** 2) @ basis.T
    np.testing.assert_allclose(series[0], exact, atol=4e-4 * scale**2)


@pytest.mark.parametrize("ends", ["periodic", "neumann", "dirichlet"])
def test_basis_is_orthonormal_and_made_of_eigenfunctions(ends):
    covariance = Covariance(ends, 1, 3.0, 2.0, 1.0, 5)
    x = (np.arange(64) + 0.5) / 64
    basis = covariance.basis(x)
    np.testing.assert_allclose(basis.T @ basis / 64, np.eye(basis.shape[1]), atol=1e-12)
    h = 1e-4
    second = (covariance.basis(x + h) - 2 * basis + covariance.basis(x - h)) / h**2
    np.testing.assert_allclose(second, -basis * covariance.numbers() ** 2, atol=1e-2)
    ends_of = {"neumann": lambda b: (b(x * 0 + h) - b(x * 0)) / h, "dirichlet": lambda b: b(x * 0)}
    if ends in ends_of:
        assert np.abs(ends_of[ends](covariance.basis)).max() < 0.1


def test_variance_of_a_field_in_two_dimensions():
    covariance = Covariance("neumann", 2, 3.0, 2.0, 3.0, 12)
    x = np.array([0.2, 0.7])
    random = np.random.default_rng(3)
    samples = np.array([draw(covariance, random).at(x, x) for _ in range(3000)])
    square = covariance.basis(x) ** 2
    exact = square @ covariance.deviations() ** 2 @ square.T
    np.testing.assert_allclose(samples.var(axis=0), exact, rtol=5.0 * np.sqrt(2.0 / 3000))
    assert covariance.deviations()[0, 0] == 0.0


def test_coefficients_of_darcy():
    g = np.array([[-0.5, 0.0, 0.5]])
    np.testing.assert_allclose(log_normal(g, 2.0), np.exp(2.0 * g))
    np.testing.assert_array_equal(two_valued(g, 3.0, 4.0), [[3.0, 12.0, 12.0]])
    x = (np.arange(108) + 0.5) / 108
    a = multiscale(x, x, 3, np.random.default_rng(0))
    assert a.min() >= 0.25**3
    assert a.max() <= 2.25**3
    coarse = multiscale(x[1::3], x[1::3], 3, np.random.default_rng(0))
    np.testing.assert_allclose(coarse, a[1::3, 1::3], rtol=1e-12)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: Covariance("neumann", 2, 3.0, 1.0, 3.0, 4), "alpha is 1, expected above 1 in 2 dimensions"),
        (lambda: Covariance("neumann", 3, 3.0, 2.0, 3.0, 4), "expected 1 or 2 dimensions"),
        (lambda: Covariance("robin", 1, 3.0, 2.0, 3.0, 4), "ends is 'robin'"),
        (
            lambda: Field(Covariance("neumann", 1, 3.0, 2.0, 3.0, 4), np.ones(5)).at(),
            "0 axes for a field in 1",
        ),
        (lambda: multiscale(np.ones(64), np.ones(64), 6, np.random.default_rng(0)), "expected at least 288"),
    ],
)
def test_bad_input_is_refused(make, match):
    with pytest.raises(InputError, match=match):
        make()
