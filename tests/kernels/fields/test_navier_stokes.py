import numpy as np
import pytest

from kernels.errors import InputError
from kernels.fields.exponential import Etdrk4
from kernels.fields.navier_stokes import diagonal_forcing, evolution, solve_navier_stokes
from kernels.fields.random_fields import Covariance, draw

N = 32
X, Y = np.meshgrid(np.arange(N) / N, np.arange(N) / N, indexing="ij")
PI2 = 2.0 * np.pi


def test_taylor_green_vortex_decays():
    w = np.cos(PI2 * X) * np.cos(PI2 * Y)
    found = solve_navier_stokes(w, 0.01, 0.0 * w, [0.5, 1.0])
    for k, t in enumerate((0.5, 1.0)):
        np.testing.assert_allclose(found[k], w * np.exp(-2.0 * PI2**2 * 0.01 * t), atol=1e-13)


def test_a_shear_flow_carries_a_wave():
    """The flow u = sin 2 pi y and a weak wave in x: the first change of w, linear in the wave, by hand."""
    w = -PI2 * np.cos(PI2 * Y)  # u = sin 2 pi y, v = 0
    weak = 1e-6 * np.cos(2 * PI2 * X)
    step = 1e-5
    found = solve_navier_stokes(w + weak, 1e-12, 0.0 * w, [step])[0]
    # psi' = weak / (4 pi)^2, v' = -psi'_x; w_t = -u weak_x - v' w_y
    v = 1e-6 * np.sin(2 * PI2 * X) / (2 * PI2)
    rate = np.sin(PI2 * Y) * 1e-6 * 2 * PI2 * np.sin(2 * PI2 * X) - v * PI2**2 * np.sin(PI2 * Y)
    np.testing.assert_allclose((found - w - weak) / step, rate, atol=2e-3 * np.abs(rate).max())


def steady() -> tuple[np.ndarray, np.ndarray]:
    """w of psi = cos 2 pi x + sin(4 pi y) / 4 and u . grad w by hand."""
    w = PI2**2 * (np.cos(PI2 * X) + np.sin(2 * PI2 * Y))
    u, v = 0.5 * PI2 * np.cos(2 * PI2 * Y), PI2 * np.sin(PI2 * X)
    return w, u * -(PI2**3) * np.sin(PI2 * X) + v * 2 * PI2**3 * np.cos(2 * PI2 * Y)


def test_a_manufactured_forcing_holds_a_steady_flow():
    w, transport = steady()
    viscosity = 0.5
    diffusion = viscosity * PI2**2 * (PI2**2 * (np.cos(PI2 * X) + 4 * np.sin(2 * PI2 * Y)))
    found = solve_navier_stokes(w, viscosity, transport + diffusion, [0.05])[0]
    np.testing.assert_allclose(found, w, atol=1e-8 * np.abs(w).max())


def test_products_are_free_of_aliasing():
    """Rates of all waves that 32 points keep are those that 96 points find for the same flow."""
    coarse, kept = evolution(N, 1e-3, np.zeros((N, N)))
    fine, _ = evolution(3 * N, 1e-3, np.zeros((3 * N, 3 * N)))
    v = np.where(kept, np.fft.rfft2(np.random.default_rng(2).standard_normal((N, N))), 0.0)
    same = np.ix_(np.rint(np.fft.fftfreq(N) * N).astype(int), np.arange(N // 2 + 1))
    embedded = np.zeros((3 * N, 3 * N // 2 + 1), complex)
    embedded[same] = 9.0 * v
    rate, exact = coarse.nonlinear(v), fine.nonlinear(embedded)[same] / 9.0
    np.testing.assert_allclose(rate[kept], exact[kept], atol=1e-12 * np.abs(exact).max())
    assert not rate[~kept].any()


def test_energy_and_enstrophy_are_kept_without_viscosity():
    w = draw(Covariance("periodic", 2, 7.0, 2.5, 50.0, 4), np.random.default_rng(0)).at(X[:, 0], Y[0])
    found = solve_navier_stokes(w, 1e-12, 0.0 * w, [0.3], 2e-3)[0]
    assert np.abs(found - w).max() > 0.1 * np.abs(w).max()
    assert abs((found**2).mean() / (w**2).mean() - 1.0) < 1e-6


def test_fitted_order_in_time_is_the_declared_one():
    w = draw(Covariance("periodic", 2, 7.0, 2.5, 50.0, 5), np.random.default_rng(1)).at(X[:, 0], Y[0])
    forcing = diagonal_forcing(N, 0.1)
    steps = [0.04, 0.02, 0.01]
    best = solve_navier_stokes(w, 1e-2, forcing, [0.4], 0.00125)[0]
    errors = [np.abs(solve_navier_stokes(w, 1e-2, forcing, [0.4], s)[0] - best).max() for s in steps]
    assert np.polyfit(np.log(steps), np.log(errors), 1)[0] > Etdrk4.order - 0.25


def test_chosen_steps_follow_the_flow_as_it_speeds_up():
    forcing = diagonal_forcing(N, 20.0)
    still = solve_navier_stokes(np.zeros((N, N)), 0.05, forcing, [2.0])[0]
    exact = forcing / (2.0 * PI2**2 * 0.05) * (1.0 - np.exp(-2.0 * PI2**2 * 0.05 * 2.0))
    np.testing.assert_allclose(still, exact, atol=1e-6 * np.abs(exact).max())


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"w": np.zeros((8, 9))}, r"shape \(8, 9\), expected finite values on n x n"),
        ({"forcing": np.zeros((8, 8))}, r"forcing has shape \(8, 8\), expected \(32, 32\)"),
        ({"viscosity": -1.0}, "viscosity is -1.0, expected a positive"),
        ({"w": np.ones((N, N))}, "vorticity has mean 1, expected 0"),
        ({"time_step": 10.0, "times": [20.0]}, "time_step is 10, expected at most"),
        ({"w": np.random.default_rng(0).standard_normal((N, N))}, "has mean|shortest waves"),
        ({"times": [2.0, 1.0]}, "expected rising numbers after 0"),
    ],
)
def test_bad_input_is_refused(change, match):
    w = np.cos(PI2 * X) * np.cos(PI2 * Y)
    given = {"w": w, "viscosity": 0.01, "forcing": 0.0 * w, "times": [0.5]} | change
    with pytest.raises(InputError, match=match):
        solve_navier_stokes(**given)
