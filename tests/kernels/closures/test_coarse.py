import numpy as np
import pytest
import torch

from kernels.closures.base import Closure
from kernels.closures.coarse import STEPPERS, Coarse
from kernels.closures.physics import Physics
from kernels.closures.quadratic import Quadratic

LENGTH = 10.0


class Narrow(Closure):
    """z_4 = z_2^2 |z_2|^2 / c^3: smooth and in the disc, cheap to check."""

    def forward(self, moments, physics):
        square = moments.z2 * moments.z2
        return square * (moments.z2.real**2 + moments.z2.imag**2) / moments.c**3


class Strained(Closure):
    """The same with a part along the strain rate."""

    strain_aware = True

    def forward(self, moments, physics):
        z2, e, c = moments.z2, moments.strain, moments.c
        r2, size = (z2.real**2 + z2.imag**2) / c**2, e.real**2 + e.imag**2
        return z2 * z2 * r2 / c + 0.3 * (1.0 - r2) * e * e / (1.0 + size)


def waves(points, amplitude, seeds=(0,), alike=True):
    """c and z_2 of some plane waves, for each seed: c = 1 or with waves of a tenth of the amplitude."""
    x = 2.0 * np.pi * np.arange(points) / points
    c, z2 = np.ones((len(seeds), points, points)), np.zeros((len(seeds), points, points), complex)
    for i, seed in enumerate(seeds):
        random = np.random.default_rng(seed)
        for _ in range(6):
            k1, k2 = random.integers(-2, 3, 2)
            wave = np.cos(k1 * x[:, None] + k2 * x[None, :] + 2.0 * np.pi * random.random())
            z2[i] += amplitude * wave * np.exp(2j * np.pi * random.random())
            c[i] += 0.0 if alike else 0.1 * amplitude * wave
    return torch.from_numpy(c), torch.from_numpy(z2)


def test_growth_about_isotropy():
    """Notes, check A: a transverse wave of small z_2."""
    n, step = 16, 0.002
    x = 2.0 * np.pi * np.arange(n) / n
    z2 = torch.from_numpy(1e-6j * np.cos(x)[:, None] * np.ones(n))[None]
    c = torch.ones(1, n, n, dtype=torch.float64)
    for alpha, beta, zeta, rate in (
        (-1.0, 0.8, 1.0, 1.098443),
        (-5.0, 0.8, 0.5, 1.462079),
        (-1.0, 0, 0, 0.030261),
    ):
        run = Coarse(Narrow(), n, LENGTH, step).run(c, z2, Physics(alpha, zeta, beta), [0.5, 1.0])
        grown = float((run.z2[0, 1].abs().max() / run.z2[0, 0].abs().max()).log()) / 0.5
        assert abs(grown - rate) < 1e-4


@pytest.mark.parametrize("closure", [Narrow, Strained, Quadratic])
def test_power_balances_and_mass_is_kept(closure):
    c, z2 = waves(32, 0.2, (0, 1), alike=False)
    run = Coarse(closure(), 32, LENGTH, 0.01, iterations=5).run(c, z2, Physics(-3.0, 1.0), [0.5, 1.0])
    assert float(run.power_residual.max()) < 1e-9
    assert float((run.c.mean(dim=(2, 3)) - c.mean(dim=(1, 2))[:, None]).abs().max()) < 1e-13


@pytest.mark.parametrize("segment", [None, 0, 3])
def test_forward_steps_are_those_of_run_in_any_segments(segment):
    c, z2 = waves(16, 0.2)
    model = Coarse(Narrow(), 16, LENGTH, 0.02, compiled=False)
    run = model.run(c, z2, Physics(-2.0, 1.0), [0.1, 0.2])
    found = model(c, z2, Physics(-2.0, 1.0), 10, every=5, segment=segment)
    assert torch.equal(found[0], run.c)
    assert torch.equal(found[1], run.z2)


@pytest.mark.parametrize("alike", [True, False])
@pytest.mark.parametrize("closure", [Narrow, Strained, Quadratic])
def test_compiled_steps_are_those_of_torch(closure, alike):
    c, z2 = waves(16, 0.2, (0, 1), alike)
    alpha = torch.tensor([-3.0, -1.0], dtype=torch.float64).reshape(2, 1, 1)
    physics = Physics(alpha, 1.0, torch.full_like(alpha, 0.8))
    runs = [
        Coarse(closure(), 16, LENGTH, 0.02, compiled=compiled).run(c, z2, physics, [0.4, 1.0])
        for compiled in (True, False)
    ]
    torch.testing.assert_close(runs[0].c, runs[1].c, rtol=0, atol=1e-12)  # rounding that grew for 50 steps
    torch.testing.assert_close(runs[0].z2, runs[1].z2, rtol=0, atol=1e-12)


def after(name, step, time=0.64):
    c, z2 = waves(16, 0.2, alike=False)
    model = Coarse(Strained(), 16, LENGTH, step, name, iterations=8)
    return model.run(c, z2, Physics(-2.0, 0.5), [time]).z2


@pytest.fixture(scope="module")
def best():
    return after("etdrk4", 0.01)


@pytest.mark.parametrize("name", STEPPERS)
def test_fitted_order_is_the_declared_one(name, best):
    order = STEPPERS[name].order
    steps = [0.04, 0.02, 0.01] if order == 2 else [0.16, 0.08, 0.04]
    errors = [float((after(name, step) - best).abs().max()) for step in steps]
    assert np.polyfit(np.log(steps), np.log(errors), 1)[0] > order - 0.1
