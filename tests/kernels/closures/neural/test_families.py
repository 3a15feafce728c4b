"""What every learned closure must be, whatever its weights are."""

import cmath
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import ive

from kernels.closures import harmonics
from kernels.closures.base import Moments
from kernels.closures.families import build, family
from kernels.closures.neural import disc, fused
from kernels.closures.neural.settings import SETTINGS, CnnSettings, FnoSettings, LocalSettings, StrainSettings
from kernels.closures.physics import Physics
from kernels.errors import InputError
from tests.kernels.closures.neural.learned import (
    ALL,
    NONLOCAL,
    PHYSICS,
    POINTWISE,
    REALIZABLE,
    complex_noise,
    drawn,
    fields,
    with_and_without_gradients,
)  # fmt: skip

SINGLE = 1e-6
"""The library of the Fourier neural operator sums modes in single precision."""


def close(given, wanted, tolerance=1e-12):
    assert float((given - wanted).abs().max()) < tolerance * (1.0 + float(wanted.abs().max()))


@pytest.mark.parametrize("name", [*POINTWISE, "paper"])
@pytest.mark.parametrize("phi", [0.3, 1.0, math.pi / 2])
def test_a_turned_frame_turns_the_moment_at_every_point(name, phi):
    closure, m = drawn(name), fields()
    turn = cmath.exp(2j * phi)
    turned = Moments(m.c, m.z2 * turn, m.strain * turn)
    for given, wanted in zip(
        with_and_without_gradients(closure, turned), with_and_without_gradients(closure, m), strict=True
    ):
        close(given, wanted * turn**2)


def turned_box(values, charge):
    """A field of this charge after a turn of the box by 90 degrees: (x, y) -> (-y, x)."""
    moved = torch.roll(torch.flip(values.transpose(-1, -2), (-2,)), 1, -2)
    return moved * 1j**charge if charge else moved


def mirrored_box(values, charge):
    """A field after y -> -y."""
    moved = torch.roll(torch.flip(values, (-1,)), 1, -1)
    return moved.conj() if charge else moved


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("change", [turned_box, mirrored_box])
def test_a_turn_by_90_degrees_and_a_mirror_of_the_box_commute_with_the_closure(name, change):
    closure, m = drawn(name), fields()
    moved = Moments(change(m.c, 0), change(m.z2, 2), change(m.strain, 2), m.grid)
    for given, wanted in zip(
        with_and_without_gradients(closure, moved), with_and_without_gradients(closure, m), strict=True
    ):
        close(given, change(wanted, 4), SINGLE if name == "fno" else 1e-11)


def test_the_turn_of_the_box_is_one():
    """The flow of a stress turns with it, so the test above turns what it says it does."""
    m = fields(batch=())
    flow, turned = m.grid.stokes(m.z2), m.grid.stokes(turned_box(m.z2, 2))
    close(turned.strain, turned_box(flow.strain, 2))
    close(turned.u + 1j * turned.v, turned_box(flow.u + 1j * flow.v, 1))


@pytest.mark.parametrize("base", ["bingham", "none"])
@pytest.mark.parametrize("name", REALIZABLE)
def test_no_weights_leave_the_moments_that_a_density_can_have(name, base):
    closure = drawn(name, scale=10.0, base=base)
    for seed, most in ((0, 0.5), (1, 1.0), (2, 1.0 - 1e-9)):
        m = fields(seed=seed, most=most, points=16)
        m = replace(m, strain=m.strain * 10.0**seed)
        if seed == 2:
            q = m.z2 / m.c
            m = replace(m, z2=m.c * q / q.abs() * (1.0 - 1e-9 * torch.rand(q.shape, dtype=torch.float64)))
        for z4 in with_and_without_gradients(closure, m):
            # the excess is a difference of numbers of the size of c
            assert float((harmonics.excess(m.c, m.z2, z4) / m.c).max()) < 4e-15


@pytest.mark.parametrize("name", [*POINTWISE, "gradient"])
def test_beyond_full_alignment_the_moment_is_that_of_alignment(name):
    closure, m = drawn(name), fields()
    q = m.z2 / m.z2.abs()
    for z4 in with_and_without_gradients(closure, replace(m, z2=1.3 * m.c * q)):
        close(z4, m.c * q * q)


@pytest.mark.parametrize("name", REALIZABLE)
def test_the_moment_is_of_second_order_about_isotropy(name):
    closure, m = drawn(name), fields()
    sizes = []
    for small in (1e-2, 1e-3, 1e-4):
        near = Moments(m.c, small * m.z2, small * m.strain, m.grid)
        sizes += [float(closure(near, PHYSICS).detach().abs().max())]
    assert math.log10(sizes[1] / sizes[2]) > 1.99
    assert math.log10(sizes[0] / sizes[1]) > 1.9


@pytest.mark.parametrize("name", REALIZABLE)
def test_the_moment_is_smooth_at_isotropy(name):
    closure, m = drawn(name), fields()
    zero = Moments(m.c, 0.0 * m.z2, 0.0 * m.strain, m.grid)
    z2 = zero.z2.clone().requires_grad_()
    z4 = closure(replace(zero, z2=z2), PHYSICS)
    assert float(z4.detach().abs().max()) == 0.0
    (gradient,) = torch.autograd.grad(z4.abs().square().sum() + z4.real.sum(), z2)
    assert float(gradient.abs().max()) == 0.0


@pytest.mark.parametrize("name", ALL)
def test_gradients_are_those_of_finite_differences(name):
    closure, m = drawn(name), fields(points=4, batch=())
    alpha, zeta = (torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in (-3.0, 1.3))
    z2, strain = m.z2.clone().requires_grad_(), m.strain.clone().requires_grad_()

    def rule(z2, strain, alpha, zeta):
        return closure(replace(m, z2=z2, strain=strain), replace(PHYSICS, alpha=alpha, zeta=zeta))

    steps = {"eps": 1e-3, "rtol": 1e-2, "atol": 1e-3} if name == "fno" else {"rtol": 1e-4}
    assert torch.autograd.gradcheck(rule, (z2, strain, alpha, zeta), fast_mode=True, **steps)


@pytest.mark.parametrize("name", REALIZABLE)
def test_an_untrained_network_is_the_bingham_closure(name):
    m = fields(points=8, batch=())
    closure = build(name, None if name not in ("fno",) else FnoSettings(modes=4, width=4, layers=1))
    q = (m.z2 / m.c).numpy()
    wanted = np.empty_like(q)
    xi = np.logspace(-3, 4, 4000)
    for at, value in np.ndenumerate(q):
        x = np.interp(abs(value), ive(1, xi) / ive(0, xi), xi)
        for _ in range(6):  # Newton's method with r' = 1 - r / xi - r^2
            r = ive(1, x) / ive(0, x)
            x -= (r - abs(value)) / (1.0 - r / x - r * r)
        wanted[at] = ive(2, x) / ive(0, x) * (value / abs(value)) ** 2
    for given in with_and_without_gradients(closure, m):
        close(given, m.c * torch.from_numpy(wanted), 1e-12)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("number", ["alpha", "zeta"])
def test_numbers_of_the_physics_are_connected(name, number):
    closure, m = drawn(name), fields()
    other = replace(PHYSICS, **{number: getattr(PHYSICS, number) + 0.5})
    for one, two in zip(
        with_and_without_gradients(closure, m), with_and_without_gradients(closure, m, other), strict=True
    ):
        assert float((one - two).abs().max()) > 1e-5
    for one in POINTWISE:
        free = build(one, SETTINGS[one](parameters=()), 3)
        assert torch.equal(free(m, PHYSICS), free(m, other))


@pytest.mark.parametrize("base", ["bingham", "none"])
@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize("name", [*POINTWISE, "gradient"])
def test_the_fused_pass_gives_the_numbers_of_the_graph(name, depth, base):
    settings = SETTINGS[name](width=7, depth=depth, base=base)
    closure = build(name, settings)
    with torch.no_grad():
        last = closure.network.weights[-1]
        last.copy_(torch.linspace(-1.0, 1.5, last.numel(), dtype=torch.float64).reshape(last.shape))
    m = fields(points=9, batch=(3,))
    column = torch.tensor([-1.0, -3.0, -5.0], dtype=torch.float64)[:, None, None]
    for physics in (PHYSICS, replace(PHYSICS, alpha=column), Physics(alpha=column, zeta=-column, beta=0.1)):
        assert fused.Frozen(closure, physics).serves(m)
        graph, quick = with_and_without_gradients(closure, m, physics)
        assert not torch.equal(graph, torch.zeros_like(graph))
        close(quick, graph, 1e-13)
    conjugate = replace(m, z2=m.z2.conj(), strain=m.strain.transpose(-1, -2))
    graph, quick = with_and_without_gradients(closure, conjugate)
    close(quick, graph, 1e-13)
    points = replace(PHYSICS, alpha=torch.linspace(-5, -1, 9, dtype=torch.float64).expand(3, 9, 9))
    assert not fused.Frozen(closure, points).serves(m)


def test_the_paper_contracts_to_its_tensor_basis():
    closure, m = drawn("paper"), fields()
    trace, t = 2.0 * PHYSICS.zeta * m.c, harmonics.driving(m.strain, m.z2, PHYSICS.zeta)
    given = closure.contract(m, PHYSICS, trace, t).detach()
    scalars, _ = closure.seen(m.z2 / m.c, m)
    a = (closure.coefficients(closure.inputs(scalars, PHYSICS)) / closure.term_scale).detach()
    d, e = m.z2 / 2.0, m.strain
    close(given, (a[..., 0] + 2.0 * PHYSICS.zeta * a[..., 1]) * d + a[..., 2] * e, 1e-9)


def test_joining_in_the_disc():
    a, b = (0.99 * torch.exp(1j * torch.arange(5.0, dtype=torch.float64)), complex_noise((5,), 1))
    b = disc.squash(b)
    both = disc.joined(a, b)
    assert float(both.abs().max()) < 1.0
    size = (1 - a.abs() ** 2) * (1 - b.abs() ** 2) / (1 + a.conj() * b).abs() ** 2
    close(1 - both.abs() ** 2, size)
    close(disc.joined(-a, both), b)


@pytest.mark.parametrize("name", NONLOCAL)
def test_neighbours_need_a_grid(name):
    m = fields()
    with pytest.raises(InputError, match=rf"'{name}' looks at neighbours .* without a grid: give it fields"):
        drawn(name)(replace(m, grid=None), PHYSICS)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("strain", LocalSettings(), r"'strain' takes StrainSettings, got LocalSettings: pass those"),
        (
            "strain",
            StrainSettings(parameters=("speed",)),
            r"no number \['speed'\], expected some of \['alpha'",
        ),
        ("strain", StrainSettings(depth=0), r"'strain' was given a depth of 0, expected at least 1"),
        ("local", LocalSettings(width=0), r"'local' was given a width of 0, expected at least 1"),
        ("cnn", CnnSettings(points=4), r"expected an odd number of points"),
        ("fno", FnoSettings(modes=0), r"expected positive numbers"),
    ],
)
def test_settings_that_make_no_network_are_refused(name, settings, message):
    with pytest.raises(InputError, match=message):
        build(name, settings)


def test_grids_coarser_than_a_network_needs_are_refused():
    m = fields(points=4)
    with pytest.raises(InputError, match=r"fno has 6 modes, the grid \(4, 4\) points: use a finer grid"):
        build("fno", FnoSettings(modes=6, width=2, layers=1))(m, PHYSICS)
    with pytest.raises(InputError, match=r"stencils of 11 points do not fit a grid of \(4, 4\): use a finer"):
        build("cnn", CnnSettings(width=2, points=11))(m, PHYSICS)


def test_every_learned_family_is_in_the_list_of_closures():
    for name in SETTINGS:
        assert family(name).family == name


def test_derivatives_are_taken_again_for_other_moments():
    """They are kept between calls with the very same tensors alone."""
    closure, m = drawn("gradient"), fields()
    with torch.no_grad():
        first, again = closure(m, PHYSICS), closure(replace(m, strain=2.0 * m.strain), PHYSICS)
        other = closure(replace(m, z2=m.z2.roll(1, -1)), PHYSICS)
        assert torch.equal(drawn("gradient")(replace(m, strain=2.0 * m.strain), PHYSICS), again)
        assert torch.equal(drawn("gradient")(replace(m, z2=m.z2.roll(1, -1)), PHYSICS), other)
        assert not torch.equal(first, other)
