"""Exact balances of the kinetic solver: nematic states, power, mass, entropy, realizable moments."""

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.special import i0e, i1e

from kernels.closures import harmonics
from kernels.closures.kinetic.initial import plane_waves
from kernels.closures.kinetic.solver import Kinetic, KineticSettings
from kernels.closures.kinetic.steppers import STEPPERS
from kernels.closures.physics import Physics
from kernels.errors import InputError
from kernels.fields.periodic import PeriodicSquare


def density(z, angles):
    """psi, its derivative by theta (angles, n, n), of even modes."""
    theta = 2.0 * np.pi * np.arange(angles) / angles
    m = 2.0 * np.arange(1, len(z))
    phases = np.exp(-1j * np.outer(theta, m))
    psi = z[0].real + 2.0 * np.tensordot(phases, z[1:], axes=1).real
    turned = 2.0 * np.tensordot(-1j * m * phases, z[1:], axes=1).real
    return psi / (2.0 * np.pi), turned / (2.0 * np.pi)


@pytest.mark.parametrize(
    ("zeta", "modes", "known"), [(0.5, 16, 0.87682342), (1.0, 24, 0.94554219), (3.0, 40, 0.98289436)]
)
def test_the_nematic_state_without_flow(zeta, modes, known):
    rotary = 0.05
    exact = brentq(
        lambda r: i1e(zeta * r / (2 * rotary)) / i0e(zeta * r / (2 * rotary)) - r, 0.1, 1.0, xtol=1e-14
    )
    assert abs(exact - known) < 1e-8
    solver = Kinetic(Physics(-3.0, zeta, rotary=rotary), KineticSettings(4, modes, 0.25))
    z = np.zeros((modes, 4, 4), dtype=np.complex128)
    z[0], z[1] = 1.0, 0.3 * np.exp(0.7j)  # the same everywhere, so nothing flows
    state = solver.advance(solver.begin(z), 100.0)
    found = harmonics.order(state.z[0].real, state.z[1])
    assert np.abs(found - exact).max() < 1e-8
    assert np.abs(np.angle(state.z[1]) - 0.7).max() < 1e-12


@pytest.mark.parametrize("beta", [0.0, 0.8, 2.0])
def test_power_balance_and_the_flow_of_the_stress(beta):
    physics = Physics(-3.0, 1.5, beta=beta)
    z = plane_waves(16, 6, 2)
    flow = Kinetic(physics, KineticSettings(16, 6)).flow(z)
    sigma = harmonics.stress(physics, z[0].real, z[1], z[2], flow.strain)
    viscous = 4.0 * np.mean(np.abs(flow.strain) ** 2)
    driven = 2.0 * np.mean((sigma.conj() * flow.strain).real)
    assert abs(viscous + driven) < 1e-10 * viscous
    square = PeriodicSquare(16, physics.length)
    again = square.stokes(sigma, square.kept)
    for name in ("u", "v", "vorticity", "strain"):
        there, here = getattr(again, name), getattr(flow, name)
        assert np.abs(there - here).max() < 1e-11 * np.abs(here).max()


@pytest.mark.parametrize("stepper", STEPPERS)
def test_mass_is_kept_and_an_even_concentration_stays(stepper):
    solver = Kinetic(Physics(-3.0, 1.0), KineticSettings(12, 8, 0.01, stepper))
    z = plane_waves(12, 8, 5)
    state = solver.advance(solver.begin(z), 0.3)
    assert abs(state.z[0].real.mean() - 1.0) < 1e-13
    assert np.abs(state.z[0].imag).max() == 0.0
    assert np.abs(state.z[0].real - z[0].real).max() > 1e-3
    z[0] = 1.0
    state = solver.advance(solver.begin(z), 0.3)
    assert np.abs(state.z[0].real - 1.0).max() < 1e-13
    assert np.abs(state.z[1] - z[1]).max() > 1e-3


def _entropy_rate(solver, z):
    """d/dt <int psi ln psi> = 2 <E:D> + 2 zeta <2 D:D - c^2> - d_T <int |grad psi|^2 / psi> - d_R <int
    |d_theta psi|^2 / psi>, and the entropy."""
    physics, n = solver.physics, z.shape[1]
    wave = 1j * 2.0 * np.pi / physics.length * np.fft.fftfreq(n, 1.0 / n)
    hat = np.fft.fft2(z)
    zx, zy = np.fft.ifft2(wave[:, None] * hat), np.fft.ifft2(wave * hat)
    psi, turned = density(z, 48)
    dx, dy = density(zx, 48)[0], density(zy, 48)[0]
    weight = 2.0 * np.pi / 48
    strain = solver.flow(z).strain
    made = 2.0 * np.mean((strain.conj() * z[1]).real) + 2.0 * physics.zeta * np.mean(np.abs(z[1]) ** 2)
    lost = physics.translational * (dx**2 + dy**2) / psi + physics.rotary * turned**2 / psi
    entropy = np.mean(weight * np.sum(psi * np.log(psi), axis=0))
    return made - np.mean(weight * np.sum(lost, axis=0)), entropy


def _smooth(modes, points):
    """Long waves alone, so that what the filter drops does not matter."""
    z = np.zeros((modes, points, points), dtype=np.complex128)
    x = 2.0 * np.pi * np.arange(points) / points
    z[0] = 1.0 + 0.1 * np.cos(x)[:, None]
    z[1] = 0.15 * np.exp(0.4j) * np.sin(x)[:, None] + 0.1j * np.cos(x - 0.3) + 0.1
    return z


def test_the_entropy_identity_holds_to_the_order_of_the_differences():
    physics = Physics(-3.0, 1.0)
    z = _smooth(10, 24)
    errors, steps = [], [0.1, 0.05, 0.025]
    for h in steps:
        solver = Kinetic(physics, KineticSettings(24, 10, 0.025, "etdrk4"))
        states, start = [], solver.begin(z)
        for time in (0.2 - h, 0.2, 0.2 + h):
            start = solver.advance(start, time)
            states.append(start)
        rate = _entropy_rate(solver, states[1].z)[0]
        before, after = (_entropy_rate(solver, s.z)[1] for s in (states[0], states[2]))
        errors.append(abs((after - before) / (2.0 * h) - rate))
    assert np.polyfit(np.log(steps), np.log(errors), 1)[0] >= 1.9, errors
    assert errors[-1] < 1e-3 * abs(rate)


def test_moments_stay_those_of_a_nonnegative_psi():
    solver = Kinetic(Physics(-3.0, 1.0), KineticSettings(24, 16, 0.02))
    state = solver.begin(_smooth(16, 24))
    for time in (0.5, 1.0, 1.5):
        state = solver.advance(state, time)
        assert density(state.z, 64)[0].min() > 0.0
        assert harmonics.excess(state.z[0].real, state.z[1], state.z[2]).max() <= 0.0


def test_a_stress_that_outgrows_the_viscosity_is_refused():
    with pytest.raises(InputError, match="needs beta c below about 4"):
        Kinetic(Physics(-3.0, 1.0, beta=40.0), KineticSettings(16, 6)).flow(plane_waves(16, 6, 0))
