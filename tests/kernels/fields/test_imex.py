import numpy as np
import pytest
import torch

from kernels.fields.exponential import Etdrk2, Etdrk4
from kernels.fields.imex import Ars222, Sbdf2

STEPPERS = [Sbdf2, Ars222, Etdrk2, Etdrk4]
LINEAR = np.array([-10.0, -3.0, 0.0])
FIRST = [*[float(np.sin(0.3))] * 3, 0.3]


def states(method, steps, linear=LINEAR, end=1.0):
    """v' = L v + v^2 - sin^2 t + cos t - L sin t has v = sin t; from t = 0.3, time is a last component."""
    line = (
        np.append(linear, 0.0) if isinstance(linear, np.ndarray) else torch.cat([linear, linear.new_zeros(1)])
    )

    def nonlinear(v):
        t = v[3]
        s, c = (np.sin(t), np.cos(t)) if isinstance(v, np.ndarray) else (t.sin(), t.cos())
        rate = v**2 - s**2 + c - line * s
        last = 0.0 * rate[3:] + 1.0
        return np.append(rate[:3], last) if isinstance(v, np.ndarray) else torch.cat([rate[:3], last])

    stepper = method.of(line, end / steps)
    state = (0.0 * line + (np.array if isinstance(linear, np.ndarray) else torch.DoubleTensor)(FIRST),)
    for _ in range(steps):
        state = stepper.move(state, nonlinear)
    return state[0]


@pytest.mark.parametrize("method", STEPPERS)
def test_fitted_order_is_the_declared_one(method):
    counts = [40, 80, 160]
    errors = [np.abs(states(method, count)[:3] - np.sin(1.3)).max() for count in counts]
    assert np.polyfit(np.log(counts), -np.log(errors), 1)[0] > method.order - 0.1


@pytest.mark.parametrize("method", STEPPERS)
def test_the_first_step_keeps_the_order(method):
    """Errors of one step fall with order + 1."""
    steps = [0.02, 0.01, 0.005]
    errors = [np.abs(states(method, 1, 0.2 * LINEAR, h)[:3] - np.sin(0.3 + h)).max() for h in steps]
    assert np.polyfit(np.log(steps), np.log(errors), 1)[0] > method.order + 0.9


@pytest.mark.parametrize("method", STEPPERS)
def test_torch_and_numpy_agree(method):
    found = states(method, 7, torch.from_numpy(LINEAR))
    np.testing.assert_allclose(found.numpy(), states(method, 7), rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize("method", STEPPERS)
def test_steps_are_differentiable_in_the_linear_part(method):
    linear = torch.tensor([-2.0, -0.5, 0.1], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: states(method, 3, x), (linear,))


@pytest.mark.parametrize("method", STEPPERS)
def test_growth_is_that_of_repeated_steps(method):
    """Amplification after many steps of v' = (l + n) v from the steps themselves."""
    linear, explicit = np.array([-0.3]), np.array([-0.2 + 0.9j])
    stepper, state = method.of(linear, 1.0), (np.array([1.0 + 0j]),)
    sizes = []
    for _ in range(120):
        state = stepper.move(state, lambda v: explicit * v)
        sizes.append(abs(state[0][0]))
    rate = (sizes[-1] / sizes[-41]) ** (1.0 / 40.0)
    np.testing.assert_allclose(method.growth(linear, explicit)[0], rate, rtol=1e-6)
