import warnings
from dataclasses import fields, replace

import numpy as np
import pytest

from kernels.errors import InputError
from kernels.regression.gaussian_process import FitOptions, GaussianProcesses, fit, predict
from kernels.regression.linear import fit_linear, predict_linear

QUICK = FitOptions(restarts=2, max_iterations=60, threads=1)


def problem(samples: int = 90, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    x = generator.uniform(-1.7, 1.7, (samples, 4))
    noise = generator.standard_normal((4, samples))
    columns = [
        np.sin(2.0 * x[:, 0]) + 0.5 * x[:, 1] * x[:, 2] + 0.05 * noise[0],
        x[:, 0] + 0.1 * x[:, 3] ** 2 + 0.01 * noise[1],
        np.cos(x @ [1.0, 0.5, 0.25, 0.0]) + 0.3 * noise[2],
        np.exp(0.5 * x[:, 1]) * np.tanh(2.0 * x[:, 2]) + 0.001 * noise[3],
    ]
    return x * [1.0, 10.0, 1e-3, 1e4] + [0.0, 5.0, 1.0, -1e4], np.stack(columns, axis=1) * 50.0 + 3.0


def scikit_learn(model: GaussianProcesses, k: int, optimizer: str | None):
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

    if optimizer is None:
        start = (model.signal_variance[k], model.lengthscale[k], model.noise_variance[k])
    else:
        start = (1.0, np.ones(model.inputs.shape[1]), 1.0)
    kernel = ConstantKernel(start[0]) * Matern(start[1], nu=2.5) + WhiteKernel(start[2], (1e-9, 1e2))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peer = GaussianProcessRegressor(kernel, alpha=0.0, optimizer=optimizer)
        return peer.fit(model.inputs, model.targets[:, k])


@pytest.fixture(scope="module")
def model() -> GaussianProcesses:
    return fit(*problem(), FitOptions(threads=2))


def test_optimum_is_at_least_that_of_scikit_learn(model):
    for k in range(4):
        peer = scikit_learn(model, k, "fmin_l_bfgs_b")
        assert model.log_marginal_likelihood[k] > peer.log_marginal_likelihood_value_ - 1e-3


@pytest.mark.parametrize("include_noise", [False, True])
def test_posterior_equals_scikit_learn(model, include_noise):
    model = replace(
        model,
        lengthscale=np.clip(model.lengthscale, 0.5, 8.0),
        signal_variance=np.array([0.5, 1.0, 2.0, 4.0]),
        noise_variance=np.array([1e-3, 1e-2, 1e-1, 1e-3]),
    )
    inputs = problem(25, seed=9)[0]
    mean, std = predict(model, inputs, include_noise)
    standard = (inputs - model.input_mean) / model.input_scale
    for k in range(4):
        noise = model.noise_variance[k]
        peer = scikit_learn(model, k, None)
        expected, deviation = peer.predict(standard, return_std=True)
        variance = deviation**2 - (0.0 if include_noise else noise)  # the white kernel is part of its prior
        scale = model.target_scale[k]
        np.testing.assert_allclose((mean[:, k] - model.target_mean[k]) / scale, expected, atol=1e-8)
        np.testing.assert_allclose((std[:, k] / scale) ** 2, variance, atol=1e-8)


def test_samples_beyond_the_subset_give_a_stationary_optimum():
    inputs, targets = problem(240)
    model = fit(inputs, targets[:, :2], QUICK)
    from kernels.regression.likelihood import Likelihood

    for k in range(2):
        likelihood = Likelihood(model.inputs, model.targets[:, k])
        value, gradient = likelihood.full(
            model.lengthscale[k], model.signal_variance[k], model.noise_variance[k]
        )
        assert value == pytest.approx(model.log_marginal_likelihood[k], abs=1e-6)
        inside = np.append(model.lengthscale[k] < 9e4, True)
        assert np.abs(gradient[1:][inside]).max() < 0.05


def test_thread_count_changes_no_bit_and_progress_counts_to_the_end():
    inputs, targets = problem(50)
    calls: list[tuple[int, int]] = []
    one = fit(inputs, targets, QUICK)
    three = fit(inputs, targets, replace(QUICK, threads=3), progress=lambda *call: calls.append(call))
    for entry in fields(one):
        np.testing.assert_array_equal(getattr(one, entry.name), getattr(three, entry.name))
    assert calls == [(1, 4), (2, 4), (3, 4), (4, 4)]
    for a, b in zip(predict(one, inputs, threads=1), predict(one, inputs, threads=4), strict=True):
        np.testing.assert_array_equal(a, b)


def test_any_cut_of_the_inputs_gives_the_same_bits(model):
    inputs = problem(11, seed=4)[0]
    whole = predict(model, inputs)
    for cut in (1, 4, 10):
        parts = [predict(model, inputs[:cut]), predict(model, inputs[cut:])]
        for q in range(2):
            np.testing.assert_array_equal(np.concatenate([p[q] for p in parts]), whole[q])
    empty = predict(model, inputs[:0])
    assert empty[0].shape == (0, 4)


def test_position_of_an_output_alone_seeds_its_starts():
    inputs, targets = problem(40)
    both = fit(inputs, targets[:, :2], QUICK)
    first = fit(inputs, targets[:, :1], QUICK)
    np.testing.assert_array_equal(both.lengthscale[0], first.lengthscale[0])


def test_constant_target_and_constant_input_are_handled():
    inputs, targets = problem(40)
    inputs[:, 3], targets[:, 1] = 7.0, 0.1
    calls: list[tuple[int, int]] = []
    model = fit(inputs, targets[:, :2], QUICK, progress=lambda *call: calls.append(call))
    mean, std = predict(model, inputs[:3], include_noise=True)
    np.testing.assert_allclose(mean[:, 1], 0.1, rtol=1e-14)
    np.testing.assert_array_equal(std[:, 1], 0.0)
    assert np.isfinite(mean).all()
    assert std[:, 0].min() > 0.0
    assert calls == [(2, 2)]


def test_repeated_samples_without_noise_are_fitted():
    inputs, targets = problem(30)
    model = fit(np.tile(inputs, (2, 1)), np.tile(targets[:, [3]], (2, 1)), QUICK)
    mean, _ = predict(model, inputs)
    np.testing.assert_allclose(mean, targets[:, [3]], atol=0.5)


def test_wrong_inputs_are_named():
    inputs, targets = problem(20)
    with pytest.raises(InputError, match=r"inputs of shape \(20, 4\) and targets of shape \(19, 4\)"):
        fit(inputs, targets[1:])
    broken = targets.copy()
    broken[3, 2] = np.nan
    with pytest.raises(InputError, match=r"outputs \['c'\] hold values that are not finite"):
        fit(inputs, broken, names=list("abcd"))
    with pytest.raises(InputError, match="3 names for 4 outputs"):
        fit(inputs, targets, names=list("abc"))
    with pytest.raises(InputError, match=r"inputs \[1\] hold values that are not finite"):
        fit(np.where(np.arange(4) == 1, np.inf, inputs), targets)
    with pytest.raises(InputError, match="noise_ratio bounds"):
        fit(inputs, targets, FitOptions(noise_ratio=(1.0, 0.1)))
    model = fit(inputs, targets[:, :1], QUICK)
    with pytest.raises(InputError, match=r"inputs of shape \(20, 3\)"):
        predict(model, inputs[:, :3])


def test_linear_baseline_recovers_a_linear_map():
    generator = np.random.default_rng(0)
    inputs, coefficients = generator.standard_normal((30, 3)), generator.standard_normal((2, 4))
    targets = predict_linear(coefficients, inputs)
    np.testing.assert_allclose(fit_linear(inputs, targets), coefficients, atol=1e-12)
