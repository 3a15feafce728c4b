"""Transforms between kept waves and grids against numpy's, for lengths with and without own butterflies."""

import numpy as np
import pytest

from kernels.closures.kinetic._fft import factors, roots, transform
from kernels.closures.kinetic.waves import Waves
from kernels.errors import InputError


@pytest.mark.parametrize("length", [4, 8, 12, 15, 16, 22, 32, 49, 64])
def test_lines_transform_as_numpy_does(length):
    lanes = 5
    x = np.random.default_rng(length).standard_normal((2, length, lanes))
    y, scratch = np.empty((2, length * lanes)), np.empty((2, length * lanes))
    flat = x.reshape(2, -1).copy()
    transform(flat[0], flat[1], y[0], y[1], scratch[0], scratch[1], lanes, factors(length), roots(length))
    expected = np.fft.fft(x[0] + 1j * x[1], axis=0)
    assert np.abs((y[0] + 1j * y[1]).reshape(length, lanes) - expected).max() < 1e-13 * length
    assert (flat == x.reshape(2, -1)).all()


@pytest.mark.parametrize("points", [4, 9, 12, 16, 22, 70, 96])
def test_waves_are_those_of_numpy_below_two_thirds(points):
    rng = np.random.default_rng(points)
    field = rng.standard_normal((2, points, points)) + 1j * rng.standard_normal((2, points, points))
    waves = Waves(points, 3.0)
    number = np.rint(np.fft.fftfreq(points) * points)
    kept = (np.abs(number) < points / 3.0)[:, None] & (np.abs(number) < points / 3.0)
    full = np.fft.fft2(field) * kept
    found = waves.forward(field)
    back = waves.backward(found)
    assert np.abs(back - np.fft.ifft2(full)).max() < 1e-13
    order = np.argsort(number[np.abs(number) < points / 3.0])
    expected = full[:, kept].reshape(2, waves.kept, waves.kept)[:, order][:, :, order]
    found = (found[:, 0] + 1j * found[:, 1]).reshape(expected.shape)
    assert np.abs(found - expected).max() < 1e-14 * points**2


def test_too_few_points_are_refused():
    with pytest.raises(InputError, match="3 points along a side, expected at least 4"):
        Waves(3, 1.0)
