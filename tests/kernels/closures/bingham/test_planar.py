import numpy as np
import pytest
import torch

from kernels.closures.bingham import planar
from kernels.closures.bingham.build_tables import planar_coefficients
from kernels.closures.bingham.chebyshev import truncated
from kernels.errors import InputError

# mu1, S_1111: adaptive quadrature of exp(xi cos 2 theta) cos^4 theta and cos^2 theta with 30 digits (mpmath
# 1.3.0, mp.quad over [0, pi / 4, pi / 2]) and the root xi by mp.findroot; no Bessel function
_REFERENCE = """
0.5001 0.375100002500000033
0.55 0.425627096452178154
0.6 0.477534192384643885
0.65 0.530803930024427552
0.7 0.585593985156653424
0.75 0.642178166041416155
0.8 0.701038388767743003
0.85 0.763092181483920671
0.9 0.830344817360308887
0.95 0.907584695855001252
0.97 0.942707238753172694
0.99 0.980300066792130981
0.999 0.998003000006060693
0.9999 0.999800030000000601
"""


def _quadrature(xi):
    """r and |z_4| / c by the trapezoidal rule in the angle, which is exact to rounding here."""
    angle = np.pi * np.arange(max(64, int(40.0 * np.sqrt(xi)))) / max(64, int(40.0 * np.sqrt(xi)))
    weight = np.exp(-2.0 * xi * np.sin(angle) ** 2)
    weight /= weight.sum()
    return weight @ np.cos(2.0 * angle), weight @ np.cos(4.0 * angle)


@pytest.mark.parametrize("tolerance", [1e-3, 1e-6, 1e-9, 1e-12, planar.TOLERANCE])
def test_whole_range_against_the_angular_integrals(tolerance):
    r, q4 = np.array([_quadrature(xi) for xi in np.r_[0.0, np.logspace(-8.0, 7.0, 300)]]).T
    found = planar.fourth_harmonic(np.ones(r.size), r + 0j, tolerance).real
    assert np.abs(found - q4).max() <= tolerance + 3e-15  # rounding of both
    s1111 = planar.fourth_moment((1.0 + r) / 2.0, tolerance)
    assert np.abs(s1111 - (3.0 + 4.0 * r + q4) / 8.0).max() <= tolerance / 8.0 + 3e-15


def test_reference_table():
    mu1, s1111 = np.array(_REFERENCE.split(), float).reshape(-1, 2).T
    np.testing.assert_allclose(planar.fourth_moment(mu1), s1111, rtol=0.0, atol=1e-15)
    found = planar.fourth_moment(torch.as_tensor(mu1))
    np.testing.assert_allclose(found.numpy(), s1111, rtol=0.0, atol=1e-15)


def test_ends():
    assert planar.fourth_moment(0.5) == pytest.approx(3.0 / 8.0, abs=1e-16)
    assert planar.fourth_moment(1.0) == 1.0
    small = 1e-6  # z_4 = z_2^2 / (2 c) + O(z_2^4)
    found = planar.fourth_harmonic(np.array(2.0), np.array(small * (1.0 + 1.0j)))
    assert found == pytest.approx(small**2 * 2j / 4.0, abs=1e-15 * small**2 + small**4)
    beyond = planar.fourth_harmonic(np.array(2.0), np.array(2.2j))
    assert beyond == pytest.approx(-2.0, abs=1e-15)


def test_stored_series_is_the_built_one():
    np.testing.assert_allclose(planar.series(1e-30).coefficients, planar_coefficients(), rtol=0.0, atol=2e-16)
    degrees = [len(planar.series(10.0**-p)) - 1 for p in (6, 8, 10, 12, 15)]
    assert degrees == sorted(degrees)
    assert degrees[-1] <= 56
    assert truncated(np.zeros(3), 1.0).size == 1


def test_gradients_to_second_order_with_torch_and_compiled():
    r = torch.linspace(0.0, 0.999, 7, dtype=torch.float64, requires_grad=True)
    angle = torch.linspace(0.0, 3.0, 7, dtype=torch.float64)
    c = torch.linspace(1.0, 2.0, 7, dtype=torch.float64, requires_grad=True)

    def rule(c, r):
        return torch.view_as_real(planar.fourth_harmonic(c, torch.polar(r, angle)))

    assert torch.autograd.gradcheck(rule, (c, r * 0.99))
    assert torch.autograd.gradgradcheck(rule, (c, r * 0.99))


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # torch, of itself
def test_series_elsewhere_than_on_the_processor():
    t = torch.linspace(-1.0, 1.0, 200, dtype=torch.float64)
    series = planar.series()
    plain = series(t.to(torch.float32))  # the way that a GPU takes
    assert plain.dtype == torch.float32
    np.testing.assert_allclose(plain.numpy(), series(t).numpy(), atol=1e-5)
    _, slope = torch.func.jvp(series, (t,), (torch.ones_like(t),))
    np.testing.assert_array_equal(slope.numpy(), series.derivative(t.numpy()))
    np.testing.assert_array_equal(torch.vmap(series)(t[:, None])[:, 0].numpy(), series(t).numpy())


def test_refusals():
    with pytest.raises(InputError, match=r"outside \[0.5, 1\]"):
        planar.fourth_moment([0.4, 0.7])
    with pytest.raises(InputError, match=r"tolerance is 0\.0, expected a positive"):
        planar.Bingham(planar.BinghamSettings(tolerance=0.0))
