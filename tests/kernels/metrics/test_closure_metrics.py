"""Metrics of closures against closed forms, planted fields and other programs."""

import numpy as np
import pytest
from scipy import stats

from kernels.errors import InputError
from kernels.metrics.defects import count_defects, windings
from kernels.metrics.distributions import similarity, wasserstein
from kernels.metrics.eigenframe import in_eigenframe, split_error
from kernels.metrics.flow_spectrum import (
    log_spectrum_error,
    resolved,
    spectral_rmse,
    velocity_spectrum,
    vorticity,
    wavenumbers,
)
from kernels.metrics.forecasts import correlation, decorrelation_time, nearly_constant, nmse, vrmse
from kernels.metrics.time_means import Mean, correlation_time, mean_over_runs, time_mean, z_score

RANDOM = np.random.default_rng(11)
LENGTH = 10.0


def points(n: int, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    s = (np.arange(n) + shift) * 2.0 * np.pi / n
    return np.meshgrid(s, s, indexing="ij")


def test_a_scaled_field_has_the_nmse_of_its_scale_and_a_shifted_one_the_vrmse_of_its_shift():
    x, y = points(16)
    truth = 3.0 + np.sin(x) * np.cos(2 * y)  # variance 1/4
    assert nmse(truth, 1.1 * truth) == pytest.approx(0.01, rel=1e-12)
    assert nmse(0.0 * truth, truth) != nmse(0.0 * truth, truth)  # nothing to be relative to: NaN
    np.testing.assert_allclose(vrmse(truth, truth + 0.1), 0.1 / np.sqrt(0.25 + 1e-7), rtol=1e-12)
    np.testing.assert_allclose(vrmse(truth, np.full_like(truth, 3.0)), 1.0, rtol=1e-6)


def test_vrmse_of_a_nearly_constant_field_is_marked():
    x, y = points(16)
    assert nearly_constant(1.0 + 1e-4 * np.sin(x + y))
    assert not nearly_constant(1.0 + 1e-2 * np.sin(x + y))


def test_correlation_of_waves_out_of_phase_is_the_cosine_of_the_phase():
    x, _ = points(16)
    phases = np.linspace(0.0, 3.0, 7)
    guess = np.stack([2.0 * np.sin(x + p) for p in phases])
    np.testing.assert_allclose(correlation(np.sin(x), guess), np.cos(phases), atol=1e-14)
    assert np.isnan(correlation(0.0 * x, x))


def test_decorrelation_time_is_where_the_line_between_frames_crosses():
    times = np.array([0.0, 1.0, 3.0, 4.0])
    assert decorrelation_time(times, np.array([1.0, 0.97, 0.93, 0.99])) == pytest.approx((2.0, True))
    assert decorrelation_time(times, np.array([1.0, 0.99, 0.98, 0.95])) == (4.0, False)
    assert decorrelation_time(times, np.array([1.0, 0.99, np.nan, np.nan])) == (1.0, True)
    assert decorrelation_time(times, np.array([0.9, 0.8, 0.7, 0.6])) == (0.0, True)
    with pytest.raises(InputError, match="0 times and 0 correlations: expected as many"):
        decorrelation_time(np.empty(0), np.empty(0))


@pytest.mark.parametrize(("n", "m"), [(40, 40), (40, 25), (7, 300), (1, 5)])
def test_the_distance_of_distributions_is_scipys(n, m):
    x, y = RANDOM.normal(0.0, 1.0, n), RANDOM.normal(0.3, 2.0, m)
    assert wasserstein(x, y) == pytest.approx(stats.wasserstein_distance(x, y), rel=1e-12)
    assert wasserstein(x, x + 0.25) == pytest.approx(0.25, rel=1e-12)
    assert wasserstein(np.repeat(x, 3), x) == pytest.approx(0.0, abs=1e-13)


def test_values_of_a_dead_run_have_no_distribution():
    with pytest.raises(InputError, match=r"2 and 3 values, not all finite.*leave runs out that have died"):
        wasserstein(np.array([1.0, np.nan]), np.ones(3))


def test_similarity_is_one_at_the_target_and_zero_at_the_baseline():
    assert similarity(0.0, 2.0) == 1.0
    assert similarity(2.0, 2.0) == 0.0
    assert similarity(3.0, 2.0) == -0.5
    assert similarity(0.0, 0.0) == 1.0
    assert similarity(1e-9, 0.0) == -np.inf


@pytest.mark.parametrize("n", [12, 15])
def test_the_spectrum_keeps_energy_and_puts_a_wave_into_its_shell(n):
    u, v = RANDOM.normal(size=(2, 3, n, n))
    spectrum = velocity_spectrum(u, v)
    np.testing.assert_allclose(spectrum.sum(axis=-1), 0.5 * (u**2 + v**2).mean(axis=(-2, -1)), rtol=1e-13)
    x, y = points(n)
    wave = velocity_spectrum(4.0 * np.sin(3 * x + 4 * y), -3.0 * np.sin(3 * x + 4 * y))
    expected = np.zeros(len(wave))
    expected[5] = 25.0 / 4.0
    np.testing.assert_allclose(wave, expected, atol=1e-13)
    assert len(wavenumbers(n, LENGTH)) == len(wave)
    assert wavenumbers(n, LENGTH)[5] == pytest.approx(np.pi)


def test_distances_of_spectra_stop_below_two_thirds_of_nyquist():
    assert [resolved(n) for n in (12, 64, 65)] == [3, 21, 21]
    truth = np.array([7.0, 4.0, 2.0, 1.0, 0.5, 0.1])
    other = 10.0 * truth
    other[4:] = 77.0
    other[0] = -5.0  # the mean flow, which is zero by definition of the model, does not count
    assert log_spectrum_error(truth, other, resolved(12)) == pytest.approx(1.0)
    assert spectral_rmse(truth, truth + np.array([9, 1, 2, 2, 9, 9]), 3) == pytest.approx(np.sqrt(3.0))
    assert np.isnan(log_spectrum_error(0.0 * truth, truth, 3))
    with pytest.raises(InputError, match="spectra of 6 and 3 shells compared up to shell 3"):
        spectral_rmse(truth, truth[:3], 3)


def test_vorticity_of_a_cellular_flow_in_a_box_of_any_side():
    x, y = points(12)
    k = 2.0 * np.pi / LENGTH
    u, v = np.sin(x) * np.cos(2 * y), np.cos(3 * x) * np.sin(y)
    expected = k * (-3.0 * np.sin(3 * x) * np.sin(y) + 2.0 * np.sin(x) * np.sin(2 * y))
    np.testing.assert_allclose(vorticity(u, v, LENGTH), expected, atol=1e-13)


@pytest.mark.parametrize("waves", [(1, 1), (2, 1), (3, 2)])
@pytest.mark.parametrize("shift", [0.3, 0.5])
def test_planted_defects_are_counted_each_once(waves, shift):
    a, b = waves
    x, y = points(60, shift)
    z2 = np.sin(a * x) + 1j * np.sin(b * y)  # 4 a b zeros, half of them of each sign
    plus, minus = count_defects(np.stack([z2, z2.conj(), z2 * np.exp(0.7j), np.exp(0j * x)]))
    np.testing.assert_array_equal(plus, [2 * a * b] * 3 + [0])
    np.testing.assert_array_equal(minus, plus)


def test_the_sign_of_a_defect_is_that_of_its_charge():
    x, y = points(40, 0.37)
    charge = windings(np.sin(x) + 1j * np.sin(y))
    found = {tuple(at): int(charge[tuple(at)]) for at in np.argwhere(charge)}
    # positive at (0, 0), which lies across the seam, and at (pi, pi)
    assert found == {(39, 39): 1, (19, 19): 1, (39, 19): -1, (19, 39): -1}
    mirrored = windings((np.sin(x) + 1j * np.sin(y)).conj())
    np.testing.assert_array_equal(mirrored, -charge)


@pytest.mark.parametrize("at", [(5, 6), (0, 0), (15, 15), (0, 15)])
def test_a_sharp_bend_of_two_points_is_no_pair_of_defects(at):
    z2 = np.ones((16, 16), dtype=complex)
    i, j = at
    z2[i, j], z2[i, (j + 1) % 16] = np.exp(2.5j), np.exp(-2.5j)
    assert np.abs(windings(z2)).sum() == 2
    assert count_defects(z2) == (0, 0)


def test_charges_of_any_field_add_up_to_zero():
    fields = RANDOM.normal(size=(4, 20, 20)) + 1j * RANDOM.normal(size=(4, 20, 20))
    assert (windings(fields).sum(axis=(-2, -1)) == 0).all()
    plus, minus = count_defects(fields)
    np.testing.assert_array_equal(plus, minus)


@pytest.mark.parametrize("memory", [0.0, 0.5, 0.9])
def test_the_error_of_a_time_mean_knows_the_memory_of_the_run(memory):
    random = np.random.default_rng(5)
    n = 200_000
    noise = random.normal(size=n)
    series = np.empty(n)
    last = noise[0] / np.sqrt(1.0 - memory**2)
    for i in range(n):  # an autoregressive process, whose tau is (1 + m) / (1 - m) / 2
        series[i] = last
        last = memory * last + noise[i]
    tau = 0.5 * (1.0 + memory) / (1.0 - memory)
    # seed fixed; the estimate scatters by sqrt(2 (2 window + 1) / n) = 3 % at the worst
    assert correlation_time(series) == pytest.approx(tau, rel=0.1)
    mean = time_mean(series + 7.0)
    exact = np.sqrt(2.0 * tau / n / (1.0 - memory**2))
    assert mean.error == pytest.approx(exact, rel=0.06)
    assert abs(mean.value - 7.0) < 4.0 * exact


def test_a_constant_run_has_no_error_and_a_ruined_one_no_mean():
    assert time_mean(np.full(50, 0.1)) == Mean(pytest.approx(0.1), pytest.approx(0.0, abs=1e-15), 50.0)
    assert np.isnan(time_mean(np.array([3.0])).error)
    with pytest.raises(InputError, match="end it where the run died"):
        time_mean(np.array([1.0, np.nan]))


def test_the_error_over_runs_is_the_larger_of_scatter_and_memory():
    scattered = [Mean(v, 0.01, 9.0) for v in (1.0, 2.0, 3.0)]
    assert mean_over_runs(scattered) == Mean(2.0, pytest.approx(1.0 / np.sqrt(3.0)), 3.0)
    alike = [Mean(2.0, 0.3, 9.0)] * 3
    assert mean_over_runs(alike).error == pytest.approx(0.3 / np.sqrt(3.0))
    assert mean_over_runs(alike[:1]).error == 0.3
    with pytest.raises(InputError, match="a mean over no runs"):
        mean_over_runs([])
    assert z_score(0.5, 0.3, 0.4) == pytest.approx(1.0)
    assert z_score(0.0, 0.0) == 0.0
    assert np.isnan(z_score(0.5, 0.0))


def test_an_error_planted_in_the_eigenframe_is_found_there():
    angle = RANDOM.uniform(0.0, np.pi, 50)
    z2 = 0.8 * np.exp(2j * angle)
    turn = np.exp(2j * angle)
    truth = np.full(50, 1.0), (0.3 + 0.2j) * turn
    np.testing.assert_allclose(in_eigenframe(z2, truth[1]), 0.3 + 0.2j, rtol=1e-13)
    split = split_error(z2, truth, (truth[0], truth[1] + 0.08 * turn))  # nn is 0.5 + 0.3
    assert (split.along, split.across, split.share) == pytest.approx((0.01, 0.0, 0.0), abs=1e-14)
    split = split_error(z2, truth, (truth[0], truth[1] + 0.02j * turn))
    assert (split.along, split.across, split.share) == pytest.approx((0.0, 0.01, 1.0), abs=1e-14)
    np.testing.assert_array_equal(in_eigenframe(0.0 * z2, truth[1]), truth[1])


def test_the_eigenframe_is_that_of_the_matrix():
    d = RANDOM.normal(size=(2, 2))
    d, s = d @ d.T, RANDOM.normal(size=(2, 2))
    s = s + s.T
    z2 = complex(d[0, 0] - d[1, 1], 2.0 * d[0, 1])
    turned = in_eigenframe(np.array(z2), np.array(complex((s[0, 0] - s[1, 1]) / 2.0, s[0, 1])))
    _, vectors = np.linalg.eigh(d)  # rising, so the director is the last
    n, m = vectors[:, 1], np.array([-vectors[1, 1], vectors[0, 1]])
    assert turned.real == pytest.approx((n @ s @ n - m @ s @ m) / 2.0, abs=1e-13)
    assert turned.imag == pytest.approx(n @ s @ m, abs=1e-13)
