"""Moments of kinetic runs: integrals over the angle, a flow that is in balance, the contraction S:T."""

import numpy as np
import pytest
import xarray as xr

from kernels.closures import harmonics
from kernels.errors import InputError
from stages.base import variable
from stages.closure_fields import fields_of, physics_of
from stages.moments import STAGE, MomentsConfig
from stages.simulate_kinetic import coordinates
from stages.variables import MOMENTS, TEST, TRAIN


def simulations(points: int = 12, length: float = 5.0) -> xr.Dataset:
    """Harmonics of smooth positive densities exp(...), five frames of two runs."""
    random = np.random.default_rng(0)
    theta = np.arange(32) * 2.0 * np.pi / 32
    x = 2.0 * np.pi * np.arange(points) / points
    z = np.empty((2, 5, 3, points, points), np.complex128)
    for i, t in np.ndindex(2, 5):
        a, b, k = random.uniform(0.0, 2.0 * np.pi, 3)
        waves = np.cos(x[:, None] + a), np.sin(x + b), np.cos(x[:, None] - x + k)
        angles = np.cos(2.0 * theta), np.sin(2.0 * theta), np.cos(4.0 * theta + t)
        psi = np.exp(0.4 * sum(w[..., None] * f for w, f in zip(waves, angles, strict=True))) / (2.0 * np.pi)
        for j, m in enumerate((0, 2, 4)):
            z[i, t, j] = psi @ np.exp(1j * m * theta) * (2.0 * np.pi / 32)
    numbers = {"alpha": (-3.0, -1.0), "zeta": (1.0, 2.5), "beta": (0.8, 0.3), "rotary": (0.05,) * 2}
    data = {name: variable(name, values) for name, values in numbers.items()}
    data |= {
        "translational": variable("translational", (0.05, 0.05)),
        "split": variable("split", (TRAIN, TEST)),
    }
    data |= {"sample_name": variable("sample_name", ["one", "two"]), "run_seed": variable("run_seed", (3, 4))}
    data |= {"harmonic_re": variable("harmonic_re", z.real), "harmonic_im": variable("harmonic_im", z.imag)}
    coords = {**coordinates(np.arange(5) * 0.5, points, length), "harmonic": ("harmonic", [0, 2, 4])}
    return xr.Dataset(data, coords, {"length": length})


GIVEN = simulations()


def made(given=GIVEN, **changes):
    return STAGE(MomentsConfig(**changes), simulations=given)


def test_the_flow_is_in_balance_with_the_full_stress():
    found = made()
    for i in range(2):
        fields, physics = fields_of(found.isel(sample=i)), physics_of(found, i)
        sigma = harmonics.stress(physics, fields.c, fields.z2, fields.z4, fields.strain)
        done = 4.0 * np.mean(abs(fields.strain) ** 2, axis=(1, 2))
        driven = 2.0 * np.mean((sigma.conj() * fields.strain).real, axis=(1, 2))
        np.testing.assert_allclose(driven, -done, rtol=1e-11)
        x = 2.0 * np.pi * np.fft.fftfreq(12) * 12 / 5.0
        u, v = np.fft.fft2(fields.u), np.fft.fft2(fields.v)
        divergence = x[:, None] * u + x * v
        assert abs(divergence).max() < 1e-11 * abs(x[:, None] * u).max()
        stretch = np.fft.ifft2(1j * x[:, None] * u).real
        np.testing.assert_allclose(stretch, fields.strain.real, atol=1e-12)


def test_the_target_is_the_contraction_of_the_fourth_moments():
    found = made()
    for i in range(2):
        one, zeta = found.isel(sample=i), float(found["zeta"][i])
        z = GIVEN.isel(sample=i)["harmonic_re"].values + 1j * GIVEN.isel(sample=i)["harmonic_im"].values
        c = one["concentration"].values
        np.testing.assert_allclose(c, z[:, 0].real, atol=1e-14)
        d = np.stack([one["D_xx"], one["D_xy"], c - one["D_xx"].values])
        t = np.stack([one["E_xx"], one["E_xy"], -one["E_xx"]]) + 2.0 * zeta * d
        s1111, s1112 = one["S_xxxx"].values, one["S_xxxy"].values
        s1122, s1222 = d[0] - s1111, d[1] - s1112  # contracted over a pair of indices S is D
        np.testing.assert_allclose(one["ST_xx"], s1111 * t[0] + 2 * s1112 * t[1] + s1122 * t[2], atol=1e-13)
        np.testing.assert_allclose(one["ST_xy"], s1112 * t[0] + 2 * s1122 * t[1] + s1222 * t[2], atol=1e-13)
        np.testing.assert_allclose(d[0] - d[2], z[:, 1].real, atol=1e-14)
        np.testing.assert_allclose(8.0 * s1112 - 4.0 * d[1], z[:, 2].imag, atol=1e-13)


def test_frames_and_points_are_chosen_and_what_is_chosen_is_the_same(tmp_path):
    whole = made()
    some = made(start=0.4, stride=2, thin=3)
    assert some["time"].values.tolist() == [0.5, 1.5]
    wanted = whole.isel(time=[1, 3], x=slice(None, None, 3), y=slice(None, None, 3))
    xr.testing.assert_identical(some, wanted)
    lazy = STAGE.resuming_in(tmp_path)(MomentsConfig(), simulations=GIVEN.chunk())
    assert lazy["ST_xx"].chunks is not None
    for name in whole.variables:
        np.testing.assert_array_equal(lazy[name].values, whole[name].values, err_msg=str(name))


def test_frames_that_a_failed_run_lacks_are_gaps():
    broken = GIVEN.copy(deep=True)
    broken["harmonic_re"][1, 3:] = np.nan
    broken["harmonic_im"][1, 3:] = np.nan
    found = made(broken)
    for name in MOMENTS:
        good = np.isfinite(found[name].values).all(axis=(2, 3))
        assert good.tolist() == [[True] * 5, [True] * 3 + [False] * 2], name


@pytest.mark.parametrize(
    ("change", "given", "message"),
    [
        (lambda d: d.sel(harmonic=[0, 2]), {}, r"hold the harmonics \[0, 2\], expected 0, 2 and 4"),
        (
            lambda d: d.isel(x=slice(6)),
            {},
            "the grid has 6 x 12 points and the length 5.0, expected a square",
        ),
        (lambda d: d.drop_attrs(), {}, "the length None, expected a square with the attribute length"),
        (lambda d: d, {"thin": 5}, "thin is 5 for 12 points a side, expected a divisor"),
        (
            lambda d: d,
            {"thin": 4},
            "thin is 4 for 12 points a side, expected a divisor that leaves at least 4",
        ),
        (lambda d: d, {"start": 2.1}, "start is 2.1 and the runs end at 2, expected a frame after it"),
    ],
)
def test_what_does_not_fit_is_refused(change, given, message):
    with pytest.raises(InputError, match=message):
        made(change(GIVEN), **given)
