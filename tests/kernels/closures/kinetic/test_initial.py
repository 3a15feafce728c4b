"""Initial states: one function on every grid, nowhere negative, moments that such a function can have."""

import numpy as np
import pytest

from kernels.closures import harmonics
from kernels.closures.kinetic.initial import plane_waves
from kernels.errors import InputError


def density(z, angles=64):
    """psi (angles, n, n) of even modes."""
    theta = 2.0 * np.pi * np.arange(angles) / angles
    phases = np.exp(-2j * np.outer(theta, np.arange(1, len(z))))
    return (z[0].real + 2.0 * np.tensordot(phases, z[1:], axes=1).real) / (2.0 * np.pi)


def test_any_grid_and_number_of_modes_see_one_function():
    coarse, fine = plane_waves(12, 6, 4), plane_waves(36, 9, 4)
    assert np.abs(fine[:6, ::3, ::3] - coarse).max() < 1e-15
    assert not np.abs(fine[6:]).any()


@pytest.mark.parametrize("seed", range(5))
def test_psi_is_nowhere_negative_and_c_has_mean_one(seed):
    z = plane_waves(12, 6, seed, amplitude=0.125)
    assert density(z).min() >= 0.0
    assert abs(z[0].real.mean() - 1.0) < 1e-15
    assert harmonics.excess(z[0].real, z[1], z[2]).max() <= 0.0
    assert np.abs(z[1]).max() > 1e-3


def test_seeds_differ():
    assert np.abs(plane_waves(12, 6, 0) - plane_waves(12, 6, 1)).max() > 0.01


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((9, 8, 0), "9 points along a side, expected above 9"),
        ((16, 4, 0), "4 modes were given, expected above 4"),
        ((16, 8, 0, 0.2), "amplitude is 0.2, expected 0 to 0.125"),
    ],
)
def test_what_cannot_hold_it_is_refused(arguments, text):
    with pytest.raises(InputError, match=text):
        plane_waves(*arguments)
