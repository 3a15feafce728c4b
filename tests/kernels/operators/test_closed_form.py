from dataclasses import replace

import numpy as np
import pytest
import torch

from kernels.errors import InputError
from kernels.operators.families import build
from kernels.operators.kernel_search import Choice, squares, transform
from kernels.operators.settings import KernelRidgeSettings, LinearSettings, MeanSettings
from tests.kernels.operators.made_batches import grids, on_grid, on_meshes, signature, waves

SETTINGS = {"mean": MeanSettings(), "linear": LinearSettings(), "kernel_ridge": KernelRidgeSettings()}
QUICK = KernelRidgeSettings(kernel="matern", sensitivity=0.0, linear=False)


def trained(name, settings, samples=40, nonlinear=0.0, points=20):
    a, u, x = waves(samples + 20, points, nonlinear=nonlinear)
    operator = build(name, signature((x,), (x,)), settings)
    operator.fit(on_grid(a[:samples], u[:samples], (x,), (x,)), None)
    return operator, on_grid(a[samples:], u[samples:], (x,), (x,))


def relative(prediction, truth):
    return float((prediction - truth).norm() / truth.norm())


def test_the_mean_is_the_mean_of_the_training_outputs():
    operator, test = trained("mean", MeanSettings())
    _, u, _ = waves(60, 20)
    np.testing.assert_allclose(operator(test)[3].numpy(), u[:40].mean(axis=0), atol=1e-14)


@pytest.mark.parametrize("samples", [12, 60], ids=["fewer samples than features", "more"])
def test_a_linear_operator_is_found_exactly_by_least_squares(samples):
    operator, test = trained("linear", LinearSettings(), samples)
    assert relative(operator(test), test.u) < 1e-9


@pytest.mark.parametrize("ridge", [None, 0.0])
def test_least_squares_keeps_directions_that_hardly_vary(ridge):
    random = np.random.default_rng(0)
    modes = np.linalg.qr(random.normal(size=(12, 12)))[0]
    a = (random.normal(size=(40, 12)) * 10.0 ** -np.arange(0.0, 6.0, 0.5)) @ modes.T
    u = a @ (modes * 10.0 ** np.arange(0.0, 6.0, 0.5)) @ modes.T
    (x,) = grids(12)
    operator = build("linear", signature((x,), (x,)), LinearSettings(ridge))
    operator.fit(on_grid(a[:30, None], u[:30, None], (x,), (x,)), None)
    test = on_grid(a[30:, None], u[30:, None], (x,), (x,))
    assert relative(operator(test), test.u) < 1e-8


def test_a_ridge_is_chosen_where_the_data_are_noisy():
    a, u, x = waves(60, 20)
    noisy = u + 0.05 * np.random.default_rng(1).normal(size=u.shape)
    errors = {}
    for ridge in (None, 0.0, 1.0):
        operator = build("linear", signature((x,), (x,)), LinearSettings(ridge))
        operator.fit(on_grid(a[:12], noisy[:12], (x,), (x,)), None)
        errors[ridge] = relative(operator(on_grid(a[12:], u[12:], (x,), (x,))), torch.as_tensor(u[12:]))
    assert errors[None] < 0.9 * errors[0.0]
    assert errors[None] < 0.9 * errors[1.0]


def test_ridge_weights_solve_the_normal_equations():
    operator, _ = trained("linear", LinearSettings(ridge=0.01))
    a, u, x = waves(60, 20)
    rows = operator.flat.inputs(on_grid(a[:40], u[:40], (x,), (x,)))
    y = torch.as_tensor(u[:40, 0]) - operator.mean
    normal = rows.T @ rows
    shift = 0.01 * torch.linalg.eigvalsh(normal)[-1] * torch.eye(20, dtype=torch.float64)
    torch.testing.assert_close((normal + shift) @ operator.weight, rows.T @ y)


def test_weights_are_kept_as_factors_where_samples_are_few():
    a, u, x = waves(30, 40)
    operator = build("linear", signature((x,), (x,)), LinearSettings(ridge=1e-6))
    operator.fit(on_grid(a[:10], u[:10], (x,), (x,)), None)
    assert operator.size() == 2 * 40 * 10 + 40
    full = operator.basis @ operator.weight
    test = on_grid(a[10:], u[10:], (x,), (x,))
    torch.testing.assert_close(operator(test)[:, 0], operator.flat.inputs(test) @ full + operator.mean)


def test_plain_kernel_ridge_is_that_of_scikit_learn():
    from sklearn.kernel_ridge import KernelRidge

    settings = KernelRidgeSettings(kernel="rbf", length=0.7, ridge=1e-3, sensitivity=0.0, linear=False)
    operator, test = trained("kernel_ridge", settings, nonlinear=3.0)
    a, u, _ = waves(60, 20, nonlinear=3.0)
    x, y = a[:40, 0], u[:40, 0]
    distance = ((x[:, None] - x[None]) ** 2).sum(axis=-1).mean()
    other = KernelRidge(alpha=1e-3, kernel="rbf", gamma=0.5 / (0.49 * distance)).fit(x, y - y.mean(axis=0))
    expected = other.predict(a[40:, 0]) + y.mean(axis=0)
    np.testing.assert_allclose(operator(test)[:, 0].numpy(), expected, atol=1e-10)


@pytest.mark.parametrize("power", [0.5, 1.0])
def test_the_metric_is_a_power_of_that_of_the_ridge_regression(power):
    random = np.random.default_rng(0)
    x, y = (torch.as_tensor(random.normal(size=(40, n))) for n in (6, 3))
    x, y = x - x.mean(dim=0), y - y.mean(dim=0)
    choice = Choice(1.0, power, 0.01, 1.0, 0.0, 0.0)
    found = transform(x, y, choice)
    shift = 0.01 * x.square().sum() * torch.eye(6, dtype=torch.float64)
    w = torch.linalg.solve(x.T @ x + shift, x.T @ y)
    values, vectors = torch.linalg.eigh(w @ w.T)
    expected = (vectors[:, -3:] * values[-3:] ** power) @ vectors[:, -3:].T
    metric = found @ found.T
    torch.testing.assert_close(metric / metric.trace(), expected / expected.trace())
    rows = x @ found
    assert float(squares(rows, rows).mean()) == pytest.approx(1.0)


def test_the_learnt_metric_helps_where_most_directions_of_the_input_do_not_matter():
    random = np.random.default_rng(0)
    a = random.normal(size=(200, 1, 15))
    hidden = a[:, 0, :2] @ np.array([[1.0, 0.5], [-0.5, 1.0]])
    u = np.stack([np.sin(hidden[:, 0]), np.tanh(2.0 * hidden[:, 1])], axis=1)[:, None]
    grid, out = grids(15), grids(2)
    errors = {}
    for power in (0.0, None):
        operator = build("kernel_ridge", signature(grid, out), KernelRidgeSettings(sensitivity=power))
        operator.fit(on_grid(a[:150], u[:150], grid, out), None)
        test = on_grid(a[150:], u[150:], grid, out)
        errors[power] = relative(operator(test), test.u)
    assert errors[None] < 0.8 * errors[0.0]


def test_the_search_chooses_a_nonlinear_kernel_where_it_pays():
    operator, test = trained("kernel_ridge", KernelRidgeSettings(), 60, nonlinear=3.0)
    linear, _ = trained("linear", LinearSettings(), 60, nonlinear=3.0)
    assert relative(operator(test), test.u) < 0.5 * relative(linear(test), test.u)
    assert "length" in operator.chosen


def test_the_validation_part_is_not_looked_at():
    a, u, x = waves(60, 20, nonlinear=3.0)
    train, other = on_grid(a[:30], u[:30], (x,), (x,)), on_grid(a[30:], 0.0 * u[30:], (x,), (x,))
    for name, settings in SETTINGS.items():
        one, two = (build(name, signature((x,), (x,)), settings) for _ in range(2))
        one.fit(train, None)
        two.fit(train, other)
        torch.testing.assert_close(one(other), two(other), rtol=0.0, atol=0.0)


@pytest.mark.parametrize("name", SETTINGS)
def test_tensors_alone_restore_a_model(name):
    operator, test = trained(name, QUICK if name == "kernel_ridge" else SETTINGS[name])
    settings = QUICK if name == "kernel_ridge" else SETTINGS[name]
    again = build(name, operator.signature, settings)
    state = operator.state_dict()
    for key, tensor in state.items():
        owner, _, leaf = key.rpartition(".")
        setattr(again.get_submodule(owner), leaf, tensor.clone())
    torch.testing.assert_close(again(test), operator(test), rtol=0.0, atol=0.0)
    assert operator.size() > 0


@pytest.mark.parametrize("name", ["linear", "kernel_ridge"])
def test_another_resolution_is_served_through_the_training_grid(name):
    operator, _ = trained(name, QUICK if name == "kernel_ridge" else SETTINGS[name], 60, points=21)
    a, u, x = waves(60, 41)
    got = operator(on_grid(a, None, (x,), (x,)))
    coarse = on_grid(a[..., ::2], None, (x[::2],), (x[::2],))
    assert got.shape == (60, 1, 41)
    torch.testing.assert_close(got[..., ::2], operator(coarse))
    assert relative(got, torch.as_tensor(u)) < 0.02


@pytest.mark.parametrize("name", ["linear", "kernel_ridge"])
def test_numbers_alone_can_be_the_input(name):
    p = np.random.default_rng(0).uniform(-1.0, 1.0, (50, 2))
    out = grids(4, 5)
    u = (p[:, :1, None] + p[:, 1:, None] * out[1])[:, None] * np.ones((4, 1))
    where = signature((), out, inputs=0, parameters=2)
    operator = build(name, where, QUICK if name == "kernel_ridge" else SETTINGS[name])
    a = np.empty((50, 0, 4, 5))
    operator.fit(on_grid(a[:40], u[:40], (), out, p[:40]), None)
    got = operator(on_grid(a[40:], None, (), out, p[40:]))
    assert relative(got, torch.as_tensor(u[40:])) < (1e-10 if name == "linear" else 0.05)


@pytest.mark.parametrize("name", ["linear", "kernel_ridge"])
def test_meshes_that_move_with_a_parameter(name):
    where, train = on_meshes(20)
    _, test = on_meshes(5, seed=1)
    operator = build(name, where, QUICK if name == "kernel_ridge" else SETTINGS[name])
    operator.fit(train, None)
    assert operator(test).shape == (45, 1)
    assert relative(operator(test), test.u) < (1e-10 if name == "linear" else 0.02)


@pytest.mark.parametrize("name", ["linear", "kernel_ridge"])
def test_where_the_nodes_lie_is_an_input_too(name):
    where, train = on_meshes(20)
    _, test = on_meshes(5, seed=1)
    nothing = {"a": torch.zeros(180, 1, dtype=torch.float64), "parameters": torch.zeros(20, 0)}
    operator = build(name, replace(where, inputs=1, parameters=0), SETTINGS[name])
    operator.fit(replace(train, **nothing), None)
    got = operator(replace(test, a=nothing["a"][:45], parameters=torch.zeros(5, 0)))
    assert relative(got, test.u) < (1e-10 if name == "linear" else 0.02)


def test_meshes_of_different_topology_are_refused():
    where, train = on_meshes(6)
    with pytest.raises(InputError, match="differ in their numbers of nodes; expected one topology"):
        build("linear", replace(where, nodes=0), LinearSettings())
    operator = build("linear", where, LinearSettings())
    with pytest.raises(InputError, match="differ in their cells: use 'spon'"):
        operator.fit(on_meshes(6, broken=True)[1], None)
    operator.fit(train, None)
    with pytest.raises(InputError, match="cells of the meshes differ from those of the training"):
        operator(on_meshes(1, broken=True)[1])


def test_what_cannot_be_served_is_refused_by_name():
    x, y = grids(6, 6)
    where = signature((x,), (x,))
    with pytest.raises(InputError, match=r"ridge is -1.0, expected zero or more"):
        build("linear", where, LinearSettings(ridge=-1.0))
    with pytest.raises(InputError, match=r"length is 0.0, expected a positive"):
        build("kernel_ridge", where, KernelRidgeSettings(length=0.0))
    operator = build("kernel_ridge", where, KernelRidgeSettings())
    a, u, _ = waves(4, 6)
    with pytest.raises(InputError, match="4 training samples, expected 5 to 12000"):
        operator.fit(on_grid(a, u, (x,), (x,)), None)
    with pytest.raises(InputError, match="not trained"):
        operator(on_grid(a, u, (x,), (x,)))
    a, u, _ = waves(10, 6)
    with pytest.raises(InputError, match="inputs of all training samples are the same"):
        operator.fit(on_grid(0.0 * a + 1.0, u, (x,), (x,)), None)
    trained_operator, _ = trained("linear", LinearSettings(), points=6)
    with pytest.raises(InputError, match="inputs have 2 axes, the model was trained on 1"):
        trained_operator(on_grid(np.zeros((2, 1, 6, 6)), None, (y, x), (y, x)))


def greens(folder, name):
    from scipy.io import loadmat

    data = loadmat(folder / "greens" / f"{name}.mat")
    grid, out = (data["Y"].ravel(),), (data["X"].ravel(),)
    order = np.random.default_rng(0).permutation(100)
    parts = [on_grid(data["F"].T[rows, None], data["U"].T[rows, None], grid, out)
             for rows in (order[:80], order[80:])]  # fmt: skip
    return signature(grid, out), *parts


def mean_error(operator, test):
    wrong = (operator(test) - test.u).flatten(1).norm(dim=1)
    return float((wrong / test.u.flatten(1).norm(dim=1)).mean())


@pytest.mark.reference_data
@pytest.mark.parametrize("name", ["laplace", "advection_diffusion"])
def test_linear_green_sets_to_round_off(reference_data, name):
    where, train, test = greens(reference_data, name)
    operator = build("linear", where, LinearSettings())
    operator.fit(train, None)
    assert mean_error(operator, test) < 1e-6


@pytest.mark.reference_data
def test_cubic_helmholtz_beats_plain_kernel_ridge(reference_data):
    where, train, test = greens(reference_data, "cubic_helmholtz")
    operator = build("kernel_ridge", where, KernelRidgeSettings())
    operator.fit(train, None)
    assert mean_error(operator, test) < 0.031


@pytest.mark.reference_data
def test_burgers_is_below_a_quarter_percent(reference_data):
    first, second = (
        torch.load(reference_data / "burgers" / f"burgers_{part}_16.pt", weights_only=True)
        for part in ("train", "test")
    )
    grid, out = grids(16), grids(17, 16)
    parts = [on_grid(part["x"][:, None], part["y"][:, None], grid, out) for part in (first, second)]
    settings = KernelRidgeSettings(kernel="matern", linear=True, sensitivity=0.5)
    operator = build("kernel_ridge", signature(grid, out), settings)
    operator.fit(parts[0], None)
    assert mean_error(operator, parts[1]) < 0.0025
