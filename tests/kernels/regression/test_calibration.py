import numpy as np
import pytest

from kernels.regression.calibration import SMALLEST, held_out_scores, rotation, scaled, variance_factors
from kernels.regression.gaussian_process import FitOptions, fit, predict

OPTIONS = FitOptions(restarts=1, max_iterations=20, threads=1)


def smooth(samples: int = 40) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(3)
    inputs = generator.uniform(-1.0, 1.0, (samples, 2))
    wave = np.sin(3.0 * inputs[:, 0]) + inputs[:, 1]
    noise = 0.1 * generator.standard_normal((samples, 2))
    return inputs, np.column_stack([wave, wave**2]) + noise


def test_lone_outputs_are_tested_in_every_fold_and_groups_take_turns():
    tested = rotation(np.array([0, 0, 0, 0, 0, 0, 0, 1, 2]), 3)
    assert tested[:, 7:].all()
    assert tested[:, :7].sum(axis=0).tolist() == [1] * 7
    assert tested[:, :7].sum(axis=1).tolist() == [3, 2, 2]


def test_scores_are_those_of_a_model_that_has_not_seen_the_samples():
    inputs, targets = smooth()
    tested = np.array([[True, False], [True, True], [True, False]])
    scores = held_out_scores(inputs, targets, tested, OPTIONS, ["a", "b"])
    assert np.isfinite(scores[:, 0]).all()
    mine = np.flatnonzero(np.isfinite(scores[:, 1]))
    assert 13 <= mine.size <= 14
    rest = np.setdiff1d(np.arange(40), mine)
    mean, std = predict(fit(inputs[rest], targets[rest], OPTIONS), inputs[mine], include_noise=True)
    np.testing.assert_allclose(scores[mine], (targets[mine] - mean) / std, rtol=1e-6, atol=1e-8)
    moved = targets.copy()
    moved[mine[0]] += 5.0  # a held-out value moves its own score by its own deviation, and no other one
    only = np.array([[False, False], [True, True], [False, False]])
    again = held_out_scores(inputs, moved, only, OPTIONS, ["a", "b"])
    np.testing.assert_allclose(again[mine[0]] - scores[mine[0]], 5.0 / std[0], rtol=1e-6)
    np.testing.assert_allclose(again[mine[1:]], scores[mine[1:]], rtol=1e-6)


def test_factor_makes_the_interval_hold_and_outliers_do_not_move_it():
    generator = np.random.default_rng(0)
    scores = np.column_stack([3.0 * generator.standard_normal(20_000), generator.standard_normal(20_000)])
    assert variance_factors(scores, np.array([0, 1]), 1.0) == pytest.approx([9.0, 1.0], rel=0.05)
    joined = variance_factors(scores, np.array([4, 4]), 1.0)
    assert joined[0] == joined[1]
    assert (np.abs(scores / np.sqrt(joined)) <= 1.6449).mean() == pytest.approx(0.9, abs=1e-3)
    wild = scores.copy()
    wild[:20, 1] = 1e6
    assert variance_factors(wild, np.array([0, 1]), 1.0)[1] == pytest.approx(1.0, rel=0.05)


def test_factor_of_few_scores_leans_to_the_wide_side_and_never_vanishes():
    few = np.arange(1.0, 10.0)[:, None]  # p (1 + 1 / 9) = 1: the largest
    assert variance_factors(few, np.zeros(1), 1.0)[0] == pytest.approx((9.0 / 1.6448536) ** 2, rel=1e-6)
    assert variance_factors(np.zeros((9, 1)), np.zeros(1), 1.0)[0] == SMALLEST
    assert variance_factors(np.full((9, 1), np.nan), np.zeros(1), 1.0)[0] == 1.0


def test_only_an_excess_is_shrunk_by_what_the_folds_had_seen():
    scores = np.random.default_rng(5).standard_normal((20_000, 2)) * [3.0, 0.1]
    found = variance_factors(scores, np.array([0, 1]), 0.8)
    assert found == pytest.approx([1.0 + 0.8 * 8.0, 0.01], rel=0.05)


def test_scaled_variances_keep_the_mean():
    inputs, targets = smooth(12)
    model = fit(inputs, targets, OPTIONS)
    mean, std = predict(model, inputs[:3] + 0.1, include_noise=True, threads=1)
    again, wider = predict(scaled(model, np.array([4.0, 0.25])), inputs[:3] + 0.1, True, 1)
    np.testing.assert_allclose(again, mean, rtol=1e-9)
    np.testing.assert_allclose(wider, std * [2.0, 0.5], rtol=1e-7)


def test_threads_change_no_score():
    inputs, targets = smooth(20)
    tested = rotation(np.arange(2), 2)
    one, two = (
        held_out_scores(inputs, targets, tested, FitOptions(1, 0, 10, threads=threads), "ab")
        for threads in (1, 2)
    )
    np.testing.assert_array_equal(one, two)
