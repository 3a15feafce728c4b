"""What every closure in the plane must do, whatever its weights; the cases are the list of families."""

import numpy as np
import pytest
import torch

from kernels.closures import harmonics
from kernels.closures.base import Moments
from kernels.closures.families import build, family, names
from kernels.closures.neural.settings import FnoSettings
from kernels.closures.physics import Physics
from kernels.errors import InputError
from kernels.fields.periodic import PeriodicSquare

_PHYSICS = Physics(alpha=-3.0, zeta=1.0)
_POINTS = 8
_ROUNDING = 4e-15  # of sums and products of numbers of order 1
_SETTINGS = {"fno": FnoSettings(modes=4, width=4, layers=1)}  # others take their defaults on this grid
_REALIZABLE = [name for name in names() if family(name).realizable]


def _built(name):
    """Weights are all drawn, since some families begin as another closure."""
    closure = build(name, _SETTINGS.get(name), seed=3)
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for values in closure.parameters():
            inputs = values[0].numel() if values.dim() > 1 else 1
            values.copy_(torch.randn(values.shape, generator=generator, dtype=values.dtype) / inputs**0.5)
    return closure


def _moments(seed, largest=1.0):
    """Fields on a grid, which every closure takes: |z_2| / c <= largest, = at a quarter of points."""
    draw = np.random.default_rng(seed)
    shape = (3, _POINTS, _POINTS)
    c = draw.uniform(0.5, 2.0, shape)
    q = np.minimum(draw.uniform(0.0, 4.0 / 3.0, shape), 1.0) * largest
    z2 = c * q * np.exp(2j * np.pi * draw.uniform(size=shape))
    strain = draw.normal(size=shape) + 1j * draw.normal(size=shape)
    return _as_moments(c, z2, strain)


def _as_moments(c, z2, strain):
    grid = PeriodicSquare(_POINTS, _PHYSICS.length, "torch")
    return Moments(*(torch.as_tensor(np.ascontiguousarray(x)) for x in (c, z2, strain)), grid)


def _closed(name, moments):
    with torch.no_grad():
        return _built(name)(moments, _PHYSICS).numpy()


@pytest.mark.parametrize("name", names())
def test_shape_and_type(name):
    moments = _moments(1)
    found = _built(name)(moments, _PHYSICS)
    assert found.shape == moments.z2.shape
    assert found.dtype == torch.complex128
    assert torch.isfinite(torch.view_as_real(found)).all()


@pytest.mark.parametrize("name", [name for name in names() if family(name).local])
def test_frame_indifferent_at_a_point(name):
    given = _moments(2)
    plain = _closed(name, given)
    angles = torch.as_tensor(np.random.default_rng(5).uniform(0.0, 2.0 * np.pi, given.c.shape))
    turn = torch.polar(torch.ones_like(angles), 2.0 * angles)
    turned = _closed(name, Moments(given.c, given.z2 * turn, given.strain * turn, given.grid))
    np.testing.assert_allclose(turned, plain * turn.numpy() ** 2, rtol=0.0, atol=1e-12)


@pytest.mark.parametrize("name", names())
def test_commutes_with_a_quarter_turn_and_a_mirror_of_the_box(name):
    given = _moments(2)
    fields = [x.numpy() for x in (given.c, given.z2, given.strain)]
    back = (-np.arange(_POINTS)) % _POINTS
    plain = _closed(name, given)
    close = 1e-6 if name == "fno" else 1e-12  # the library's transforms are of single precision

    def turned(field):  # value at (x, y) from that at (y, -x)
        return np.swapaxes(field, -1, -2)[..., back, :]

    quarter = _closed(
        name, _as_moments(*(sign * turned(x) for sign, x in zip((1, -1, -1), fields, strict=True)))
    )
    np.testing.assert_allclose(quarter, turned(plain), rtol=0.0, atol=close)
    mirrored = _closed(name, _as_moments(*(np.conj(x)[..., :, back] for x in fields)))
    np.testing.assert_allclose(mirrored, np.conj(plain)[..., :, back], rtol=0.0, atol=close)


@pytest.mark.parametrize("name", _REALIZABLE)
def test_realizable_over_the_whole_disc(name):
    for seed in range(5):
        given = _moments(seed)
        found = _closed(name, given)
        c, z2 = given.c.numpy(), given.z2.numpy()
        assert harmonics.excess(c, z2, found).max() <= _ROUNDING
        d1111, _, d1122, _, d2222 = harmonics.fourth_moment(
            c, np.abs(z2), found * (np.conj(z2) / np.abs(z2)) ** 2
        )
        assert min(d1111.min(), d1122.min(), d2222.min()) >= -_ROUNDING


@pytest.mark.parametrize("name", [*_REALIZABLE, "quadratic"])
def test_isotropic_and_aligned_limits(name):
    given = _moments(4)
    still = np.zeros_like(given.strain.numpy())
    isotropic = _closed(name, _as_moments(given.c.numpy(), still, still))
    np.testing.assert_allclose(isotropic, 0.0, atol=1e-15)
    c, z2 = given.c.numpy(), given.z2.numpy()
    z2 = c * z2 / np.abs(z2)
    aligned = _closed(name, _as_moments(c, z2, given.strain.numpy()))
    np.testing.assert_allclose(aligned, z2**2 / c, rtol=0.0, atol=_ROUNDING)


@pytest.mark.parametrize("name", names())
def test_gradients(name):
    given = _moments(6, largest=0.98)
    c, z2, strain = (x[:1].clone().requires_grad_() for x in (given.c, given.z2, given.strain))
    closure = _built(name).requires_grad_(False)

    def rule(c, z2, strain):
        return closure(Moments(c, z2, strain, given.grid), _PHYSICS)

    assert torch.autograd.gradcheck(rule, (c, z2, strain), fast_mode=True)


@pytest.mark.parametrize("name", names())
def test_gradients_are_finite_at_both_ends(name):
    given = _moments(7)
    c = given.c.clone().requires_grad_()
    ends = [torch.zeros_like(given.z2), given.c * given.z2 / given.z2.abs()]
    for end in ends:
        z2 = end.clone().requires_grad_()
        closed = _built(name)(Moments(c, z2, given.strain, given.grid), _PHYSICS)
        slopes = torch.autograd.grad(closed.abs().square().sum(), (c, z2))
        assert all(torch.isfinite(torch.view_as_real(x + 0j)).all() for x in slopes)


@pytest.mark.parametrize("name", names())
def test_contraction_has_the_harmonics_of_the_closure(name):
    given = _moments(8)
    trace = given.c * 0.3
    closure = _built(name)
    with torch.no_grad():
        found = closure.contract(given, _PHYSICS, trace, given.strain)
        expected = harmonics.contraction(
            given.c, given.z2, closure(given, _PHYSICS), given.strain, trace, closure.isotropic(given)
        )[1]
    np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=0.0, atol=1e-14)
    if name != "quadratic":
        assert torch.equal(closure.isotropic(given), given.c)


@pytest.mark.parametrize("name", names())
def test_weights_follow_the_seed_alone(name):
    state = torch.random.get_rng_state()
    first, again = (build(name, _SETTINGS.get(name), seed=3) for _ in range(2))
    assert torch.equal(state, torch.random.get_rng_state())
    for one, other in zip(first.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)


def test_refusal():
    with pytest.raises(InputError, match="there is no closure 'binham': choose one of bingham"):
        build("binham")
