import numpy as np
import pytest
from scipy import integrate, special, stats

from kernels.metrics.errors import Truth, describe, nrmse, q2, relative_errors, rrmse
from kernels.metrics.refusals import crosses_zero, vanishing
from kernels.metrics.uncertainty import crps_gaussian, interval_counts

RANDOM = np.random.default_rng(0)
TRUE = [RANDOM.standard_normal(n) + 0.3 for n in (7, 30, 11)]
GUESS = [t + 0.1 * RANDOM.standard_normal(t.size) for t in TRUE]
TRUTH = Truth(*np.array([describe(t) for t in TRUE]).T)
SQUARE = np.array([((t - g) ** 2).mean() for t, g in zip(TRUE, GUESS, strict=True)])
ALL = np.ones(3, dtype=bool)


def test_rrmse_is_the_published_formula():
    terms = [
        np.linalg.norm(t - g) ** 2 / t.size / np.linalg.norm(t, np.inf) ** 2
        for t, g in zip(TRUE, GUESS, strict=True)
    ]
    assert rrmse(SQUARE, TRUTH.peak, ALL) == pytest.approx(np.sqrt(np.mean(terms)), rel=1e-14)
    assert rrmse(SQUARE, TRUTH.peak, np.array([True, False, True])) == pytest.approx(
        np.sqrt((terms[0] + terms[2]) / 2), rel=1e-14
    )
    assert np.isnan(rrmse(SQUARE, TRUTH.peak, ~ALL))


def test_rrmse_of_scalars_is_the_formula_with_one_node():
    true, guess = np.array([2.0, -4.0]), np.array([2.2, -4.4])
    assert rrmse((true - guess) ** 2, np.abs(true), ALL[:2]) == pytest.approx(0.1, rel=1e-12)


def test_q2_pools_all_values_and_is_not_symmetric():
    true, guess = np.concatenate(TRUE), np.concatenate(GUESS)
    expected = 1.0 - ((true - guess) ** 2).sum() / ((true - true.mean()) ** 2).sum()
    assert q2(SQUARE, TRUTH) == pytest.approx(expected, rel=1e-12)
    swapped = Truth(*np.array([describe(g) for g in GUESS]).T)
    assert q2(SQUARE, swapped) != pytest.approx(expected, rel=1e-6)


def test_q2_of_a_constant_is_not_a_number():
    constant = Truth(*np.array([describe(np.full(4, 2.0))] * 2).T)
    assert np.isnan(q2(np.zeros(2), constant))
    assert np.isnan(nrmse(np.zeros(2), constant))


def test_nrmse():
    true = np.concatenate(TRUE)
    assert nrmse(SQUARE, TRUTH) == pytest.approx(np.sqrt(SQUARE.mean()) / np.ptp(true), rel=1e-13)


def test_relative_error_of_a_zero_sample_is_not_a_number():
    errors = relative_errors(np.array([[4.0, 1.0], [1.0, 1.0]]), np.array([2.0, 0.0]))
    np.testing.assert_array_equal(errors, [[1.0, 0.5], [np.nan, np.nan]])


def test_coverage_of_a_known_gaussian():
    levels = np.array([0.5, 0.9, 0.95])
    std = RANDOM.uniform(0.5, 2.0, 200_000)
    error = std * RANDOM.standard_normal(std.size)
    np.testing.assert_allclose(interval_counts(error, std, levels) / std.size, levels, atol=4e-3)
    bounds = stats.norm.ppf(0.5 + levels / 2)
    brute = [(np.abs(error) <= b * std).sum() for b in bounds]
    np.testing.assert_array_equal(interval_counts(error, std, levels), brute)


def test_coverage_without_spread():
    counts = interval_counts(np.array([0.0, 1e-9]), np.zeros(2), np.array([0.1, 0.99]))
    np.testing.assert_array_equal(counts, [1, 1])


def test_ends_of_an_interval_belong_to_it():
    level = np.array([0.5, 0.9])
    end = np.sqrt(2.0) * special.erfinv(level)
    np.testing.assert_array_equal(interval_counts(end[1:], np.ones(1), level), [0, 1])
    np.testing.assert_array_equal(interval_counts(end[:1], np.ones(1), level), [1, 1])


@pytest.mark.parametrize(("error", "std"), [(0.0, 1.0), (1.3, 0.4), (-2.0, 3.0), (5.0, 0.1)])
def test_crps_is_the_integral(error, std):
    def below(y):
        return stats.norm.cdf(y, 0.0, std) ** 2

    def above(y):
        return stats.norm.sf(y, 0.0, std) ** 2

    expected = (
        integrate.quad(below, -20.0, error, points=[0.0], limit=300, epsabs=1e-11)[0]
        + integrate.quad(above, error, 20.0, points=[0.0], limit=300, epsabs=1e-11)[0]
    )
    assert crps_gaussian(np.array([error]), np.array([std]))[0] == pytest.approx(expected, abs=1e-9)


def test_crps_without_spread_is_the_absolute_error():
    np.testing.assert_array_equal(crps_gaussian(np.array([-2.0, 0.0]), np.zeros(2)), [2.0, 0.0])


def test_samples_where_a_field_vanishes_are_left_out_with_a_reason():
    truth = Truth(*np.array([describe(s * np.linspace(0.1, 1.0, 5)) for s in (1.0, 1e-9, 0.0, 0.5)]).T)
    out, reason = vanishing(truth, 1e-3)
    np.testing.assert_array_equal(out, [False, True, True, False])
    assert "2 of 4 samples left out" in reason
    out, reason = vanishing(truth, 0.0)
    assert not out.any()
    assert reason == ""
    nothing = Truth(*np.array([describe(np.zeros(5))] * 3).T)
    out, reason = vanishing(nothing, 1e-3)
    assert out.all()
    assert reason == "zero in all 3 samples"


def test_scalars_that_cross_zero_are_refused():
    def of(values):
        return Truth(*np.array([describe(np.array([v])) for v in values]).T)

    assert "crosses zero (-1 to 2)" in crosses_zero(of([2.0, -1.0, 0.5]))
    assert crosses_zero(of([2.0, 1.0])) == ""
    assert crosses_zero(of([-2.0, 0.0])) == ""
    assert crosses_zero(of([0.0, 2.0])) == ""
