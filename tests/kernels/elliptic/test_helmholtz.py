import numpy as np
import pytest

from kernels.elliptic.finite_volumes import cell_centres
from kernels.elliptic.helmholtz import ORDER, check_resolved, opening, solve_helmholtz
from kernels.errors import InputError

LOSS = 0.1
PI = np.pi


def manufactured(n: int, m: int) -> tuple[np.ndarray, ...]:
    """k, f, g and u = cos(pi x) (cos(2 pi y) + i y^2), whose flux is 2 i cos(pi x) where y = 1, else 0."""
    x, y = np.meshgrid(cell_centres(n), cell_centres(m), indexing="ij")
    k = 6.0 + np.sin(3.0 * x) * y
    u = np.cos(PI * x) * (np.cos(2 * PI * y) + 1j * y**2)
    laplace = -(PI**2) * u + np.cos(PI * x) * (-4.0 * PI**2 * np.cos(2 * PI * y) + 2j)
    ends = np.arange(n + 1) / n
    g = 2j * np.diff(np.sin(PI * ends)) * n / PI  # means over faces
    return k, -laplace - k**2 * (1.0 + 1j * LOSS) * u, g, u


def test_fitted_order_is_the_declared_one():
    sizes, errors = [30, 60, 120], []
    for n in sizes:
        k, f, g, u = manufactured(n, 4 * n // 3)
        errors.append(np.abs(solve_helmholtz(k, LOSS, g, f) - u).max())
    assert -np.polyfit(np.log(sizes), np.log(errors), 1)[0] > ORDER - 0.1
    assert errors[-1] < 5e-3


@pytest.mark.parametrize("wave_number", [2.0, 2.0 * PI, 9.0])
def test_a_moving_wall_sends_a_plane_wave(wave_number):
    """u = -cos(q y) / (q sin q), q = k sqrt(1 + i loss), at and off a resonance."""
    n, q = 90, wave_number * np.sqrt(1.0 + 1j * LOSS)
    u = solve_helmholtz(np.full((n, n), wave_number), LOSS, np.ones(n))
    exact = -np.cos(q * cell_centres(n)) / (q * np.sin(q))
    np.testing.assert_allclose(u, np.tile(exact, (n, 1)), atol=2e-2 * np.abs(exact).max())


def test_energy_that_enters_is_absorbed():
    n = 48
    k = 8.0 + np.random.default_rng(0).random((n, n))
    g = opening(n)
    u = solve_helmholtz(k, LOSS, g)
    near_wall = (g * np.conj(u[:, -1])).sum() / n
    np.testing.assert_allclose(-LOSS * (k**2 * np.abs(u) ** 2).mean(), near_wall.imag, rtol=1e-10)


def test_receiver_and_source_may_be_exchanged():
    n, random = 32, np.random.default_rng(1)
    k = 5.0 + random.random((n, n))
    first, second = random.random((2, n, n))
    a, b = (solve_helmholtz(k, LOSS, np.zeros(n), f) for f in (first, second))
    np.testing.assert_allclose((a * second).mean(), (b * first).mean(), rtol=1e-10)


def test_the_opening_has_its_width_on_any_grid():
    for n in (8, 20, 33):
        np.testing.assert_allclose(opening(n).mean(), 0.3, rtol=1e-12)
    np.testing.assert_allclose(opening(20)[6:14], [0, 1, 1, 1, 1, 1, 1, 0], atol=1e-12)


def test_a_grid_that_would_choose_the_resonance_is_refused():
    with pytest.raises(InputError, match=r"40 cells .* expected at least 41, .*raise refine or loss"):
        check_resolved(40, 10.0, LOSS)
    check_resolved(41, 10.0, LOSS)
    with pytest.raises(InputError, match="expected at least 12910"):
        solve_helmholtz(np.full((64, 64), 10.0), 1e-6, np.ones(64))


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"wave_number": np.ones((1, 8))}, r"shape \(1, 8\), expected at least 2 x 2"),
        ({"wave_number": np.zeros((8, 8))}, "wave number reaches 0, expected positive"),
        ({"loss": 0.0}, "loss is 0.0, expected a positive number"),
        ({"flux": np.ones(3)}, r"shapes \(3,\) and \(\), expected \(8,\)"),
        ({"f": np.ones((4, 4))}, r"shapes \(8,\) and \(4, 4\)"),
    ],
)
def test_bad_input_is_refused(change, match):
    with pytest.raises(InputError, match=match):
        solve_helmholtz(**{"wave_number": np.ones((8, 8)), "loss": 0.1, "flux": np.ones(8), **change})
