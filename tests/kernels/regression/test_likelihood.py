import warnings

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from kernels.errors import InputError
from kernels.regression import lapack
from kernels.regression.likelihood import JITTER_LADDER, Likelihood

LENGTHS, SIGNAL, NOISE = np.array([0.7, 1.9, 4.0]), 2.3, 1e-3


@pytest.fixture(scope="module")
def data() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    inputs = generator.standard_normal((80, 3))
    targets = np.sin(inputs[:, 0]) + 0.3 * inputs[:, 1] ** 2 + 0.05 * generator.standard_normal(80)
    return inputs, (targets - targets.mean()) / targets.std()


def test_value_and_gradient_equal_scikit_learn(data):
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

    kernel = ConstantKernel(SIGNAL) * Matern(LENGTHS, nu=2.5) + WhiteKernel(NOISE)
    peer = GaussianProcessRegressor(kernel, alpha=0.0, optimizer=None).fit(*data)
    value, gradient = peer.log_marginal_likelihood(peer.kernel_.theta, eval_gradient=True)
    ours, our_gradient = Likelihood(*data).full(LENGTHS, SIGNAL, NOISE)
    assert ours == pytest.approx(value, rel=1e-9)
    np.testing.assert_allclose(our_gradient, gradient, rtol=1e-7, atol=1e-8)


def test_value_equals_gpytorch(data):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import gpytorch
        import torch

        x, y = torch.as_tensor(data[0]), torch.as_tensor(data[1])
        kernel = gpytorch.kernels.ScaleKernel(gpytorch.kernels.MaternKernel(nu=2.5, ard_num_dims=3)).double()
        kernel.outputscale = torch.tensor(SIGNAL, dtype=torch.float64)
        kernel.base_kernel.lengthscale = torch.as_tensor(LENGTHS)
        covariance = kernel(x).to_dense() + NOISE * torch.eye(len(y), dtype=torch.float64)
        normal = torch.distributions.MultivariateNormal(torch.zeros_like(y), covariance)
        value = float(normal.log_prob(y))
    assert Likelihood(*data).full(LENGTHS, SIGNAL, NOISE)[0] == pytest.approx(value, rel=1e-9)


def test_full_gradient_equals_finite_differences(data):
    likelihood, centre = Likelihood(*data), np.log([SIGNAL, *LENGTHS, NOISE])

    def value(logarithms: np.ndarray) -> float:
        s, *lengths, noise = np.exp(logarithms)
        return likelihood.full(np.array(lengths), s, noise)[0]

    _, gradient = likelihood.full(LENGTHS, SIGNAL, NOISE)
    for k in range(5):
        step = 1e-5 * np.eye(5)[k]
        difference = (value(centre + step) - value(centre - step)) / 2e-5
        assert gradient[k] == pytest.approx(difference, rel=1e-6, abs=1e-6)


def test_profiled_is_the_maximum_over_the_signal_variance(data):
    likelihood = Likelihood(*data)
    value, gradient, variance = likelihood.profiled(LENGTHS, 1e-3)
    full, full_gradient = likelihood.full(LENGTHS, variance, 1e-3 * variance)
    assert value == pytest.approx(full, rel=1e-12)
    np.testing.assert_allclose(gradient, full_gradient[1:], rtol=1e-9, atol=1e-9)
    for other in (0.9, 1.1):
        assert likelihood.full(LENGTHS, other * variance, 1e-3 * other * variance)[0] < value
    step = 1e-5
    above, below = (likelihood.profiled(LENGTHS, 1e-3 * np.exp(s))[0] for s in (step, -step))
    assert gradient[-1] == pytest.approx((above - below) / (2.0 * step), rel=1e-6, abs=1e-6)


def test_information_is_the_written_out_quadratic_form_less_the_signal_variance(data):
    likelihood, logarithms = Likelihood(*data), np.log([*LENGTHS, 1e-2])
    point = likelihood.evaluate(logarithms)
    gradient, information = likelihood.derivatives(point)
    assert point.value == pytest.approx(likelihood.profiled(LENGTHS, 1e-2)[0], rel=1e-12)
    np.testing.assert_allclose(gradient, likelihood.profiled(LENGTHS, 1e-2)[1], rtol=1e-9, atol=1e-9)

    def covariance(s: float, parameters: np.ndarray) -> np.ndarray:
        *lengths, noise = np.exp(parameters)
        a = np.sqrt(5.0) * cdist(data[0] / lengths, data[0] / lengths)
        return s * ((1.0 + a + a**2 / 3.0) * np.exp(-a) + noise * np.eye(80))

    inverse = np.linalg.inv(covariance(point.variance, logarithms))
    steps = 1e-5 * np.eye(4)
    tangents = [covariance(point.variance, logarithms)] + [
        (covariance(point.variance, logarithms + s) - covariance(point.variance, logarithms - s)) / 2e-5
        for s in steps
    ]
    products = np.stack(tangents) @ inverse @ likelihood.targets
    full = 0.5 * products @ inverse @ products.T
    expected = full[1:, 1:] - np.outer(full[1:, 0], full[0, 1:]) / full[0, 0]
    np.testing.assert_allclose(information, expected, rtol=1e-6, atol=1e-6 * np.abs(expected).max())


def test_jitter_ladder_saves_repeated_samples_and_then_names_the_output(data):
    inputs, targets = np.repeat(data[0], 2, axis=0), np.repeat(data[1], 2)
    _, _, jitter = Likelihood(inputs, targets).factorise(1e3 * LENGTHS, 0.0)
    assert jitter in JITTER_LADDER[1:]
    with pytest.raises(InputError, match="covariance of 'stress_11:3' is not positive definite"):
        Likelihood(inputs, targets, "stress_11:3").factorise(LENGTHS, -0.5)


def test_lapack_routines_against_numpy():
    generator = np.random.default_rng(3)
    half = generator.standard_normal((20, 20))
    matrix = half @ half.T + np.eye(20)
    right = generator.standard_normal(20)
    factor = np.tril(matrix)
    assert lapack.cholesky(factor)
    np.testing.assert_allclose(factor, np.linalg.cholesky(matrix), rtol=1e-12)
    np.testing.assert_allclose(lapack.solve(factor, right), np.linalg.solve(matrix, right), rtol=1e-10)
    np.testing.assert_allclose(lapack.solve_lower(factor, right), np.linalg.solve(factor, right), rtol=1e-10)
    rows = np.stack([right, right[::-1], np.ones(20)])
    np.testing.assert_allclose(lapack.solve_lower(factor, rows), np.linalg.solve(factor, rows.T).T, rtol=1e-9)
    lapack.invert(factor)
    np.testing.assert_allclose(factor, np.tril(np.linalg.inv(matrix)), rtol=1e-9, atol=1e-12)
    assert not lapack.cholesky(-np.eye(3))
