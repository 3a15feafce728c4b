import numpy as np
import torch

from kernels.closures import harmonics
from kernels.closures.base import Moments
from kernels.closures.families import build
from kernels.closures.physics import Physics

_PHYSICS = Physics(alpha=-1.0, zeta=1.0)


def _states(seed=0, count=200):
    draw = np.random.default_rng(seed)
    c = draw.uniform(0.5, 2.0, count)
    z2 = c * draw.uniform(0.0, 1.0, count) * np.exp(2j * np.pi * draw.uniform(size=count))
    a = draw.normal(size=count) + 1j * draw.normal(size=count)
    return c, z2, a, draw.normal(size=count)


def _moments(c, z2, a):
    return Moments(*(torch.as_tensor(x) for x in (c, z2, a)))


def test_quadratic_is_d_times_d_contracted():
    c, z2, a, trace = _states()
    d = harmonics.second_moment(c, z2)
    t = harmonics.tensor(trace, a)
    inner = d[0] * t[0] + 2.0 * d[1] * t[1] + d[2] * t[2]
    moments = _moments(c, z2, a)
    closure = build("quadratic")
    found = closure.contract(moments, _PHYSICS, torch.as_tensor(trace), torch.as_tensor(a)).numpy()
    expected = harmonics.deviator(*(x * inner / c for x in d))
    np.testing.assert_allclose(found, expected, atol=1e-13)
    whole = harmonics.contraction(
        c, z2, closure(moments, _PHYSICS).numpy(), a, trace, closure.isotropic(moments).numpy()
    )
    np.testing.assert_allclose(whole[0], inner, atol=1e-13)
    np.testing.assert_allclose(whole[1], expected, atol=1e-13)


def test_natural_contracts_the_tensor_of_its_harmonics():
    c, z2, a, trace = _states()
    closure = build("natural")
    moments = _moments(c, z2, a)
    s1111, s1112, s1122, s1222, s2222 = harmonics.fourth_moment(c, z2, closure(moments, _PHYSICS).numpy())
    t11, t12, t22 = harmonics.tensor(trace, a)
    expected = harmonics.deviator(
        s1111 * t11 + 2.0 * s1112 * t12 + s1122 * t22,
        s1112 * t11 + 2.0 * s1122 * t12 + s1222 * t22,
        s1122 * t11 + 2.0 * s1222 * t12 + s2222 * t22,
    )
    found = closure.contract(moments, _PHYSICS, torch.as_tensor(trace), torch.as_tensor(a)).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-13)


def _growth(name, physics, transverse):
    """Rate of a small disturbance without diffusion, of the moment equation and Stokes' 2 e + sigma = 0."""
    closure, small = build(name), 1e-7
    c, z2, e = np.ones(1), np.full(1, small + 0j), np.zeros(1, complex)
    for _ in range(60 * transverse):
        moments = _moments(c, z2, e)
        z4, g = closure(moments, physics).numpy(), closure.isotropic(moments).numpy()
        e = -harmonics.stress(physics, c, z2, z4, e, g) / 2.0
    moments = _moments(c, z2, e)
    z4, g = closure(moments, physics).numpy(), closure.isotropic(moments).numpy()
    t = harmonics.driving(e, z2, physics.zeta)
    return ((2.0 * c - g) * t - t.conj() * z4)[0].real / small


def test_growth_about_isotropy():
    physics = Physics(alpha=-5.0, zeta=0.5)
    a, b, zeta = physics.alpha, physics.beta, physics.zeta
    assert abs(_growth("natural", physics, False) - zeta) < 1e-9
    kinetic = (-a + zeta * b / 2.0) / (4.0 + b / 2.0) + zeta
    assert abs(_growth("natural", physics, True) - kinetic) < 1e-9
    assert abs(_growth("quadratic", physics, False) - 2.0 * zeta) < 1e-9
    assert abs(_growth("quadratic", physics, True) - (2.0 * zeta + (zeta * b - a) / 2.0)) < 1e-9
