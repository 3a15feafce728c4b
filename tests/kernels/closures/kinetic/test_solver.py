"""The kinetic solver against exact rates, states and balances, and the order that every stepper declares."""

import numpy as np
import pytest

from kernels.closures.kinetic.initial import plane_waves
from kernels.closures.kinetic.solver import Kinetic, KineticSettings
from kernels.closures.kinetic.steppers import STEPPERS
from kernels.closures.physics import Physics

STEPS = {"sbdf2": 0.0125, "sbdf2_implicit": 0.0125, "etdrk4": 0.05}


def _run(physics, stepper, time_step, until, points=12, modes=8, seed=0):
    solver = Kinetic(physics, KineticSettings(points, modes, time_step, stepper))
    return solver.advance(solver.begin(plane_waves(points, modes, seed)), until)


@pytest.fixture(scope="module")
def reference():
    return _run(Physics(-3.0, 1.0), "etdrk4", 0.01, 0.8).z


@pytest.mark.parametrize("stepper", STEPPERS)
def test_the_fitted_order_is_the_declared_one(stepper, reference):
    steps = [STEPS[stepper] / 2**k for k in range(3)]
    errors = [np.abs(_run(Physics(-3.0, 1.0), stepper, dt, 0.8).z - reference).max() for dt in steps]
    fitted = np.polyfit(np.log(steps), np.log(errors), 1)[0]
    assert fitted >= STEPPERS[stepper].order - 0.1, errors


def _pair(physics, longitudinal, points=16, modes=8):
    """Isotropy with 1e-6 of a nematic wave along x: aligned with it or at 45 degrees to it."""
    x = np.arange(points) / points * 2.0 * np.pi
    z = np.zeros((modes, points, points), dtype=np.complex128)
    z[0] = 1.0
    z[1] = 1e-6 * (1.0 if longitudinal else 1j) * np.cos(x)[:, None]
    return z


CASES = [
    (-1.0, 0.8, 1.0, 1.098443), (-5.0, 0.8, 0.5, 1.462079), (-1.0, 0.0, 0.0, 0.030261),
    (-2.0, 0.8, 0.5, None), (-3.0, 0.4, 1.0, None), (-4.0, 0.0, 0.8, None), (-0.5, 1.6, 1.5, None),
    (1.0, 0.8, 0.7, None), (-3.0, 0.8, 0.0, None), (-5.0, 0.8, 2.0, None),
]  # fmt: skip


@pytest.mark.parametrize(("alpha", "beta", "zeta", "known"), CASES)
def test_growth_about_isotropy(alpha, beta, zeta, known):
    physics = Physics(alpha, zeta, beta=beta)
    square = (2.0 * np.pi / 10.0) ** 2
    along = zeta - 4.0 * 0.05 - 0.05 * square
    across = along + (-alpha + zeta * beta / 2.0) / (4.0 + beta / 2.0)
    assert known is None or abs(across - known) < 1e-6
    solver = Kinetic(physics, KineticSettings(16, 8, 0.002))
    for longitudinal, expected in ((True, along), (False, across)):
        early = solver.advance(solver.begin(_pair(physics, longitudinal)), 0.04)
        late = solver.advance(early, 0.08)
        rate = np.log(np.abs(late.z[1]).max() / np.abs(early.z[1]).max()) / 0.04
        assert abs(rate - expected) < 1e-4
