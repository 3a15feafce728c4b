import numpy as np
import pytest

from kernels.elliptic.finite_volumes import ORDER, cell_centres, conductances, solve_darcy
from kernels.elliptic.multigrid import conjugate_gradients
from kernels.errors import InputError


def smooth(n: int, m: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """a, f and u = sin(pi x) sin(2 pi y) exp(x) with a = exp(sin(3 x) + y)."""
    x, y = np.meshgrid(cell_centres(n), cell_centres(m), indexing="ij")
    a, pi = np.exp(np.sin(3.0 * x) + y), np.pi
    s, t, e = np.sin(pi * x), np.sin(2 * pi * y), np.exp(x)
    u = s * t * e
    ux, uy = (pi * np.cos(pi * x) + s) * t * e, 2 * pi * s * np.cos(2 * pi * y) * e
    uxx = (2 * pi * np.cos(pi * x) + (1 - pi**2) * s) * t * e
    return a, -a * (uxx - 4 * pi**2 * u + 3.0 * np.cos(3.0 * x) * ux + uy), u


def jump(n: int, m: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """a is 1, then 50 from x = 1/2 on; u = sin(2 pi x) sin(pi y) / a has a continuous flux."""
    x, y = np.meshgrid(cell_centres(n), cell_centres(m), indexing="ij")
    a = np.where(x < 0.5, 1.0, 50.0)
    u = np.sin(2 * np.pi * x) * np.sin(np.pi * y) / a
    return a, 5.0 * np.pi**2 * u * a, u


def rate(sizes: list[int], errors: list[float]) -> float:
    return float(-np.polyfit(np.log(sizes), np.log(errors), 1)[0])


@pytest.mark.parametrize("solver", ["direct", "multigrid"])
@pytest.mark.parametrize("problem", [smooth, jump])
def test_fitted_order_is_the_declared_one(problem, solver):
    sizes, errors = [16, 32, 64, 128], []
    for n in sizes:
        a, f, u = problem(n, n + 2)
        errors.append(float(np.abs(solve_darcy(a, f, solver) - u).max()))
    assert rate(sizes, errors) > ORDER - 0.1
    assert errors[-1] < 2e-3


def test_torsion_of_a_square_bar():
    """-Laplace u = 1 has its largest value 0.0736713532814 in the middle (Timoshenko, Goodier 1970, 109)."""
    values = [float(solve_darcy(np.ones((n, n)), 1.0)[n // 2, n // 2]) for n in (45, 135)]
    np.testing.assert_allclose(values[1] + (values[1] - values[0]) / 8.0, 0.0736713532814, atol=2e-8)


@pytest.mark.parametrize("shape", [(5, 5), (24, 24), (37, 50), (64, 64), (85, 3)])
def test_both_solvers_agree_on_any_shape_and_with_jumps(shape):
    random = np.random.default_rng(shape[0])
    a = np.where(random.random(shape) < 0.5, 3.0, 12.0)
    f = random.standard_normal(shape)
    direct = solve_darcy(a, f, "direct")
    np.testing.assert_allclose(solve_darcy(a, f, "multigrid"), direct, atol=1e-9 * np.abs(direct).max())


def test_steps_of_multigrid_do_not_grow_with_the_grid():
    counts = []
    for n in (24, 96, 255):
        a, f, _ = smooth(n, n)
        counts.append(conjugate_gradients(*conductances(a), f / a.size)[1])
    assert max(counts) <= 16
    assert max(counts) - min(counts) <= 3


def test_a_contrast_beyond_multigrid_is_solved_directly():
    random = np.random.default_rng(0)
    a = np.where(random.random((48, 48)) < 0.5, 1.0, 1e9)
    assert conjugate_gradients(*conductances(a), np.full(a.shape, 1.0 / a.size))[1] == -1
    np.testing.assert_array_equal(solve_darcy(a, 1.0), solve_darcy(a, 1.0, "direct"))


def test_scaling_and_symmetry():
    a, f, _ = smooth(30, 30)
    u = solve_darcy(a, f)
    np.testing.assert_allclose(solve_darcy(7.0 * a, f), u / 7.0, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(solve_darcy(a.T.copy(), f.T.copy()).T, u, atol=1e-9)
    assert not solve_darcy(a, 0.0).any()


@pytest.mark.parametrize(
    ("a", "f", "match"),
    [
        (np.zeros((8, 8)), 1.0, "coefficient reaches 0, expected positive"),
        (np.full((8, 8), np.nan), 1.0, "expected positive finite"),
        (np.ones((1, 8)), 1.0, r"shape \(1, 8\), expected at least 2 x 2"),
        (np.ones((8, 8)), np.ones((4, 4)), r"f has shape \(4, 4\)"),
    ],
)
def test_bad_input_is_refused(a, f, match):
    with pytest.raises(InputError, match=match):
        solve_darcy(a, f)
