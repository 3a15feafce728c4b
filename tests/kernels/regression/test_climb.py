import numpy as np
import pytest
from scipy.optimize import minimize

from kernels.regression.climb import box_maximum, climb
from kernels.regression.likelihood import Likelihood

LOW, HIGH = np.log([1e-2] * 5 + [1e-8]), np.log([1e4] * 5 + [1e2])


def sampled(seed: int = 0, samples: int = 120) -> Likelihood:
    """Two relevant inputs, one weak, two without any effect."""
    generator = np.random.default_rng(seed)
    x = generator.standard_normal((samples, 5))
    y = np.sin(1.5 * x[:, 0]) + x[:, 1] * x[:, 0] + 0.1 * x[:, 2] + 0.05 * generator.standard_normal(samples)
    return Likelihood(x, (y - y.mean()) / y.std())


def test_the_box_maximum_satisfies_the_first_order_conditions():
    generator = np.random.default_rng(1)
    for _ in range(30):
        half = generator.standard_normal((8, 8))
        matrix, vector = half @ half.T + 0.1 * np.eye(8), 5.0 * generator.standard_normal(8)
        low, high = -generator.random(8), generator.random(8)
        low[0] = high[1] = 0.0
        p = box_maximum(matrix, vector, low, high)
        force = vector - matrix @ p
        assert ((p >= low) & (p <= high)).all()
        assert np.abs(force[(p > low) & (p < high)]).max(initial=0.0) < 1e-9
        assert (force[p == low] <= 1e-9).all()
        assert (force[p == high] >= -1e-9).all()


def test_no_bounded_quasi_newton_search_climbs_higher_from_where_it_ended():
    likelihood = sampled()
    found, value = climb(likelihood, np.append(np.full(5, np.log(4.0)), np.log(1e-2)), LOW, HIGH, 1e-8, 100)

    def objective(logarithms: np.ndarray) -> tuple[float, np.ndarray]:
        up, gradient, _ = likelihood.profiled(np.exp(logarithms[:-1]), float(np.exp(logarithms[-1])))
        return -up, -gradient

    bounds = list(zip(LOW, HIGH, strict=True))
    peer = minimize(objective, found, jac=True, method="L-BFGS-B", bounds=bounds, options={"ftol": 1e-14})
    assert value == pytest.approx(likelihood.evaluate(found).value, abs=1e-9)
    assert -peer.fun < value + 1e-5


def test_inputs_without_effect_reach_their_bound_in_few_evaluations(monkeypatch):
    likelihood, calls = sampled(), []
    evaluate = likelihood.evaluate
    monkeypatch.setattr(likelihood, "evaluate", lambda here: calls.append(here) or evaluate(here))
    found, _ = climb(likelihood, np.append(np.full(5, np.log(4.0)), np.log(1e-2)), LOW, HIGH, 1e-6, 100)
    np.testing.assert_allclose(found[3:5], HIGH[3:5])
    assert found[:2].max() < np.log(100.0)
    assert len(calls) < 60
    assert all(((here >= LOW) & (here <= HIGH)).all() for here in calls)


def test_it_comes_back_from_the_bound():
    likelihood = sampled()
    near, far = (
        np.append(np.full(5, np.log(4.0)), np.log(1e-2)),
        np.append(np.log([4.0] * 2 + [1e4] * 3), -4.0),
    )
    values = [climb(likelihood, start, LOW, HIGH, 1e-6, 100)[1] for start in (near, far)]
    assert values[1] == pytest.approx(values[0], abs=1e-3)


def test_iterations_are_limited():
    likelihood = sampled()
    start = np.append(np.full(5, np.log(4.0)), np.log(1e-2))
    once, twice = (climb(likelihood, start, LOW, HIGH, 1e-6, count)[1] for count in (1, 2))
    assert likelihood.evaluate(start).value < once < twice
