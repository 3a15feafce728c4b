import numpy as np
import pytest

from kernels.errors import InputError
from kernels.fields.burgers import solve_burgers
from kernels.fields.exponential import Etdrk4


def cole_hopf(n: int, t: float, viscosity: float = 0.05, c: float = 1.1) -> np.ndarray:
    """u = -2 viscosity phi_x / phi of phi = c + exp(-4 pi^2 viscosity t) cos 2 pi x, which diffuses."""
    x, e = np.arange(n) / n, np.exp(-4 * np.pi**2 * viscosity * t)
    return 4 * np.pi * viscosity * e * np.sin(2 * np.pi * x) / (c + e * np.cos(2 * np.pi * x))


def test_cole_hopf_at_several_times():
    u = solve_burgers(cole_hopf(192, 0.0), 0.05, [0.05, 0.1, 0.4])
    for k, t in enumerate((0.05, 0.1, 0.4)):
        np.testing.assert_allclose(u[k], cole_hopf(192, t), atol=1e-6)


def test_fitted_order_in_time_is_the_declared_one():
    steps = [0.005, 0.0025, 0.00125]
    exact, start = cole_hopf(192, 0.25), cole_hopf(192, 0.0)
    errors = [np.abs(solve_burgers(start, 0.05, [0.25], step)[0] - exact).max() for step in steps]
    assert np.polyfit(np.log(steps), np.log(errors), 1)[0] > Etdrk4.order - 0.25


def test_error_falls_exponentially_with_the_grid():
    errors = []
    for n in (60, 120):
        u = solve_burgers(cole_hopf(n, 0.0, c=1.3), 0.05, [0.05], 5e-4)[0]
        errors.append(np.abs(u - cole_hopf(n, 0.05, c=1.3)).max())
    assert errors[1] < 1e-3 * errors[0]


def test_mean_is_kept_and_a_shift_moves_the_solution():
    n, start = 128, cole_hopf(128, 0.0, c=2.0)
    u = solve_burgers(start, 0.05, [0.25])[0]
    shifted = solve_burgers(start + 1.0, 0.05, [0.25])[0]  # travels a quarter of the period
    np.testing.assert_allclose(shifted, np.roll(u, n // 4) + 1.0, atol=1e-6)
    np.testing.assert_allclose(shifted.mean(), 1.0, atol=1e-12)


def test_any_time_step_that_is_stable_is_used_and_others_are_refused():
    start = cole_hopf(192, 0.0)
    whole = solve_burgers(start, 0.05, [0.2], 0.003)[0]
    assert np.abs(whole - cole_hopf(192, 0.2)).max() > 1e-10
    with pytest.raises(InputError, match=r"time_step is 0.05, expected at most 0.00519.*stable"):
        solve_burgers(start, 0.05, [0.2], 0.05)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"u": np.zeros(4)}, r"shape \(4,\), expected at least 8"),
        ({"u": np.full(64, np.nan)}, "expected at least 8 finite values"),
        ({"viscosity": 0.0}, "viscosity is 0.0, expected a positive"),
        ({"times": [1.0, 1.0]}, "expected rising numbers after 0"),
        ({"times": [0.0]}, "expected rising numbers after 0"),
        ({"times": []}, "expected rising numbers after 0"),
        ({"viscosity": 1e-4}, "shortest waves .* raise refine or the viscosity"),
        ({"u": np.random.default_rng(0).standard_normal(64)}, "shortest waves"),
    ],
)
def test_bad_input_is_refused(change, match):
    given = {"u": np.sin(2 * np.pi * np.arange(64) / 64), "viscosity": 0.05, "times": [0.5]} | change
    with pytest.raises(InputError, match=match):
        solve_burgers(**given)
