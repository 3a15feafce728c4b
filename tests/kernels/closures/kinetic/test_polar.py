"""Swimming particles: the full angular grid beside the even modes, exact plane waves, invariants."""

import dataclasses
import itertools
import re

import numpy as np
import pytest
from scipy.linalg import expm

from kernels.closures import harmonics
from kernels.closures.kinetic import polar
from kernels.closures.kinetic.equations import Hierarchy
from kernels.closures.kinetic.initial import plane_waves
from kernels.closures.kinetic.polar import Polar, PolarExploded, PolarSettings, density, moments
from kernels.closures.kinetic.solver import Kinetic, KineticSettings
from kernels.closures.physics import Physics
from kernels.errors import InputError

ACTIVE = Physics(-3.0, 1.0)
SWIMMING = Physics(-2.0, 0.5, speed=0.7)
FREE = Physics(0.0, 0.0, beta=0.0, rotary=0.1, translational=0.02, speed=1.0)
ANGLES = 48  # keeps |m| <= 15, as 8 even modes do


def swimmers(points=16, angles=ANGLES, seed=0) -> np.ndarray:
    """A smooth positive psi with odd modes, mean c 1, its waves below points / 3."""
    random = np.random.default_rng(seed)
    theta = 2.0 * np.pi * np.arange(angles)[:, None, None] / angles
    x = 2.0 * np.pi * np.arange(points)[:, None] / points
    y = 2.0 * np.pi * np.arange(points)[None, :] / points
    psi = np.ones((angles, points, points))
    for m in (0, 1, 2, 3):
        k, a, b = random.integers(-2, 3, 2), *random.uniform(0.0, 2.0 * np.pi, 2)
        k[0] += 3 * (k == 0).all()
        psi += 0.2 * np.cos(m * theta + a) * np.cos(k[0] * x + k[1] * y + b)
    return psi / (2.0 * np.pi)


def run(physics, psi, time_step, until, angles=ANGLES):
    model = Polar(physics, PolarSettings(psi.shape[1], angles, time_step))
    return model, model.advance(model.begin(psi), until)


@pytest.mark.parametrize("physics", [ACTIVE, Physics(2.0, 3.0, beta=0.3, rotary=0.2, length=4.0)])
def test_apolar_rates_are_those_of_the_even_modes(physics):
    z = plane_waves(16, 8, seed=3, amplitude=0.12)
    hierarchy = Hierarchy.of(physics, 16, 8)
    waves = hierarchy.waves.forward(z)
    carried, fields = hierarchy.carried(waves, None)
    expected, strain = hierarchy.rates(waves, carried)[0], hierarchy.waves.across(fields[None])[0]
    model = Polar(physics, PolarSettings(16, ANGLES))
    rate, same = model.rate(model.waves.forward(density(hierarchy.waves.backward(waves), ANGLES)))
    found = moments(model.waves.backward(rate), range(0, 16, 2))
    np.testing.assert_allclose(found, hierarchy.waves.backward(expected), atol=1e-13)
    np.testing.assert_allclose(same, strain, atol=1e-13)


def test_apolar_runs_are_those_of_the_even_modes():
    """The same steps of the same equations: equal to rounding, and no odd mode appears."""
    z = plane_waves(16, 8, seed=0)
    even = Kinetic(ACTIVE, KineticSettings(16, 8, 0.02, "sbdf2"))
    z = even.advance(even.begin(z), 1.0).z
    _, end = run(ACTIVE, density(plane_waves(16, 8, seed=0), ANGLES), 0.02, 1.0)
    np.testing.assert_allclose(moments(end.psi, range(0, 16, 2)), z, atol=1e-12)
    assert np.abs(moments(end.psi, (1, 3, 5))).max() < 1e-13
    assert np.abs(z[1]).max() > 0.3


def free_wave(k: tuple[float, float], psi: np.ndarray, time: float) -> np.ndarray:
    """psi of one wave exp(i k.x) without interaction, from its coefficients (angles,) at time 0.

    d_t z_m = -V0 [i k_x (z_{m+1} + z_{m-1}) / 2 + k_y (z_{m+1} - z_{m-1}) / 2] - (d_R m^2 + d_T k^2) z_m.
    """
    top = -(-len(psi) // 3) - 1
    m = np.arange(-top, top + 1)
    theta = 2.0 * np.pi * np.arange(len(psi)) / len(psi)
    z = np.exp(1j * np.outer(m, theta)) @ psi / len(psi)
    up, down = np.eye(len(m), k=1), np.eye(len(m), k=-1)
    swim = 0.5j * k[0] * (up + down) + 0.5 * k[1] * (up - down)
    loss = FREE.rotary * m**2 + FREE.translational * (k[0] ** 2 + k[1] ** 2)
    z = expm(-time * (FREE.speed * swim + np.diag(loss))) @ z
    return np.exp(-1j * np.outer(theta, m)) @ z


def test_free_swimmers_follow_the_matrix_exponential_at_the_declared_order():
    points, angles, until = 12, 32, 1.2
    theta = 2.0 * np.pi * np.arange(angles) / angles
    unit = 2.0 * np.pi / FREE.length
    wave = 0.3 + 0.2 * np.exp(1j * theta) + 0.1j * np.cos(2.0 * theta)
    x = np.arange(points) * FREE.length / points
    k = (2.0 * unit, -1.0 * unit)
    plane = np.exp(1j * (k[0] * x[:, None] + k[1] * x[None, :]))

    def psi(coefficients):
        return 1.0 / (2.0 * np.pi) + (coefficients[:, None, None] * plane).real / 10.0

    exact = psi(free_wave(k, wave, until))
    steps = [0.06, 0.03, 0.015, 0.0075]
    errors = [np.abs(run(FREE, psi(wave), step, until, angles)[1].psi - exact).max() for step in steps]
    assert np.polyfit(np.log(steps), np.log(errors), 1)[0] >= Polar.order - 0.1
    assert errors[-1] < 1e-5 < 1e-2 * np.abs(exact - psi(wave)).max()


def test_rates_near_isotropy_are_those_of_the_linear_hierarchy():
    """One wave along x: z_{+-2} are turned by t = zeta z_2 + e, e = i g Im z_2 of the Stokes flow that
    psi drives, g = (-alpha + beta zeta / 2) / (4 + beta / 2), and all m swim."""
    model = Polar(SWIMMING, PolarSettings(12, 32))
    p, small, m = SWIMMING, 1e-6, np.arange(-10, 11)
    random = np.random.default_rng(5)
    field = (
        small * random.standard_normal((32, 1, 1)) * np.cos(2.0 * np.pi * np.arange(12) / 12)[None, :, None]
    )
    psi = model.begin(1.0 / (2.0 * np.pi) + np.broadcast_to(field, (32, 12, 12))).psi
    found = moments(model.waves.backward(model.rate(model.waves.forward(psi))[0]), m)
    z = moments(psi, m)
    z[10] -= 1.0
    waves = np.fft.fft(z, axis=1)
    up, down = (np.roll(waves, shift, axis=0) for shift in (-1, 1))
    up[-1], down[0] = 0.0, 0.0
    number = 2.0 * np.pi / p.length * np.fft.fftfreq(12, 1.0 / 12)[:, None]
    expected = np.fft.ifft(-0.5j * p.speed * number * (up + down), axis=1)
    gain = (-p.alpha + p.beta * p.zeta / 2.0) / (4.0 + p.beta / 2.0)
    t = p.zeta * z[12] + 1j * gain * z[12].imag
    expected[12] += t
    expected[8] += t.conj()
    np.testing.assert_allclose(found, expected, atol=1e-4 * small)  # quadratic terms: about 10 small^2


def test_the_mean_concentration_is_kept():
    psi = swimmers()
    _, end = run(SWIMMING, psi, 0.02, 1.0)
    c = moments(end.psi, (0,))[0].real
    assert abs(c.mean() - 1.0) < 1e-13
    assert np.ptp(c) > 0.05  # swimming concentrates, but makes none


def test_fitted_order_with_interaction():
    psi = swimmers()
    steps = [0.01, 0.005, 0.0025, 0.00125]
    ends = [run(SWIMMING, psi, step, 0.16)[1].psi for step in steps]
    changes = [np.abs(one - other).max() for one, other in itertools.pairwise(ends)]
    assert np.polyfit(np.log(steps[1:]), np.log(changes), 1)[0] >= Polar.order - 0.1


def turned(psi: np.ndarray) -> np.ndarray:
    """psi of the box turned by 90 degrees: (x, y) -> (-y, x), theta -> theta + 90 degrees."""
    moved = np.roll(psi, len(psi) // 4, axis=0).transpose(0, 2, 1)
    return np.roll(moved[:, ::-1], 1, axis=1)


def test_a_turned_box_gives_the_turned_solution():
    psi = swimmers()
    _, end = run(SWIMMING, psi, 0.02, 0.2)
    _, other = run(SWIMMING, turned(psi), 0.02, 0.2)
    np.testing.assert_allclose(other.psi, turned(end.psi), atol=1e-14)
    assert np.abs(end.psi - psi).max() > 0.01


def test_the_power_of_the_particles_is_dissipated():
    """2 <E:E> + <Sigma:E> = 0, in the deviators 4 <|e|^2> + 2 <Re(conj(sigma) e)> = 0."""
    model, end = run(SWIMMING, swimmers(), 0.02, 0.2)
    e = model.flow(end.psi).strain
    z = moments(end.psi, (0, 2, 4))
    sigma = harmonics.stress(SWIMMING, z[0].real, z[1], z[2], e)
    power = 4.0 * np.mean(np.abs(e) ** 2)
    assert abs(power + 2.0 * np.mean((sigma.conj() * e).real)) < 1e-10 * power


def test_a_run_in_pieces_has_the_same_bits():
    model, whole = run(SWIMMING, swimmers(), 0.02, 0.4)
    half = model.advance(model.begin(swimmers()), 0.2)
    assert half.time == 0.2
    np.testing.assert_array_equal(model.advance(half, 0.4).psi, whole.psi)


def test_even_modes_and_densities_are_one_another():
    z = plane_waves(10, 6, seed=1)
    psi = density(z, 22)
    np.testing.assert_allclose(moments(psi, range(0, 12, 2)), z, atol=1e-14)
    assert psi.min() >= -1e-14
    with pytest.raises(InputError, match="20 angles were given for 6 even modes, expected above 20"):
        density(z, 20)


@pytest.mark.parametrize("physics", [SWIMMING, FREE])
def test_a_step_beyond_the_limit_is_refused_in_advance(physics):
    psi = swimmers()
    model = Polar(physics, PolarSettings(16, ANGLES, 1.0))
    limit = model.limit(model.begin(psi).psi)
    with pytest.raises(InputError, match=f"time step 1 is not stable.*expected at most {limit:.6g}"):
        model.advance(model.begin(psi), 1.0)
    run(physics, psi, 0.99 * limit, 2.0 * 0.99 * limit)
    if physics is FREE:  # the frequency of what swims alone is known
        fastest = 2.0 * np.pi / 10.0 * 5 * np.sqrt(2.0)
        assert limit == pytest.approx(polar.STABLE / fastest)


def test_what_grows_out_of_bounds_is_caught_with_the_last_good_state(monkeypatch):
    monkeypatch.setattr(polar, "STABLE", 1e9)
    model = Polar(SWIMMING, PolarSettings(16, ANGLES, 0.3))
    with pytest.raises(PolarExploded, match=r"grew out of bounds between .* steps of 0.3.*lower") as caught:
        model.advance(model.begin(swimmers()), 60.0)
    assert np.isfinite(caught.value.state.psi).all()
    assert caught.value.state.time < 60.0


def test_unresolved_angles_are_told_with_those_that_are_needed():
    """psi = exp(xi cos 2 (theta - a)) has moments that fall about as r^(m / 2)."""
    for angles, enough in ((ANGLES, False), (192, True)):
        theta = 2.0 * np.pi * np.arange(angles)[:, None, None] / angles
        psi = np.broadcast_to(np.exp(6.0 * np.cos(2.0 * theta - 0.3)), (angles, 16, 16)).copy()
        model = Polar(ACTIVE, PolarSettings(16, angles))
        told = model.warning(model.begin(psi).psi)
        assert (told is None) == enough
        if told is not None:
            tail = model.tail(psi)
            match = re.fullmatch(
                r"the angle is not resolved: .* up to 15 holds (\S+) of .* about (\d+) angles", told
            )
            assert float(match[1]) == pytest.approx(tail, rel=0.06)
            assert 100 <= int(match[2]) <= 192


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (
            {"psi": np.full((ANGLES, 16, 16), np.nan)},
            f"{ANGLES * 256} of psi's {ANGLES * 256} values are not",
        ),
        ({"psi": np.ones((ANGLES, 16, 15))}, r"psi has shape \(48, 16, 15\).*expected real \(48, 16, 16\)"),
        ({"psi": np.ones((ANGLES, 16, 16), complex)}, "type complex128, expected real"),
        ({"until": 0.0}, "until is 0.0, expected a time after the state's"),
        ({"until": np.nan}, "until is nan, expected a time after"),
        ({"settings": PolarSettings(16, 14)}, "angles is 14, expected an even number of at least 16"),
        ({"settings": PolarSettings(16, 49)}, "angles is 49, expected an even number"),
        ({"settings": PolarSettings(3, ANGLES)}, "the grid has 3 points"),
        ({"settings": PolarSettings(16, ANGLES, 0.0)}, "time_step is 0.0, expected a positive"),
        ({"physics": dataclasses.replace(ACTIVE, rotary=-1.0)}, "rotary is -1.0, expected one finite number"),
        ({"physics": dataclasses.replace(ACTIVE, zeta=np.nan)}, "zeta is nan, expected one finite number"),
        ({"physics": dataclasses.replace(ACTIVE, alpha=np.ones(2))}, "alpha is .* expected one finite"),
    ],
)
def test_bad_input_is_refused(change, match):
    settings = PolarSettings(16, ANGLES, 0.01)
    given = {"physics": SWIMMING, "settings": settings, "psi": swimmers(), "until": 0.01} | change

    def attempt():
        model = Polar(given["physics"], given["settings"])
        model.advance(model.begin(given["psi"]), given["until"])

    with pytest.raises(InputError, match=match):
        attempt()
