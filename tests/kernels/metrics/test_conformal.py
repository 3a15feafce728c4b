import math

import numpy as np
import pytest

from kernels.errors import InputError
from kernels.metrics.conformal import (
    floor_of_spread,
    least_samples,
    pointwise_factor,
    simultaneous_factor,
)

LEVELS = (0.5, 0.8, 0.9, 0.95)


def fields(random, samples: int, points: int) -> np.ndarray:
    """|error| / std of correlated fields whose size differs from sample to sample, as real ones do."""
    size = np.exp(random.normal(size=(samples, 1)))
    common = random.normal(size=(samples, 1))
    return np.abs(size * (common + random.normal(size=(samples, points))))


def test_a_new_sample_is_covered_as_often_as_promised():
    random = np.random.default_rng(0)
    repeats, n = 400, 39
    inside = np.zeros((2, len(LEVELS)))
    for _ in range(repeats):
        ratios = fields(random, n + 20, 12)
        known, new = ratios[:n], ratios[n:]
        for i, level in enumerate(LEVELS):
            inside[0, i] += (new <= pointwise_factor(list(known), level)).mean()
            inside[1, i] += (new.max(axis=1) <= simultaneous_factor(known.max(axis=1), level)).mean()
    inside /= repeats
    # (n + 1) level is whole, so simultaneous coverage is exact; one of n + 1 losses is unknown for pointwise
    np.testing.assert_allclose(inside[1], LEVELS, atol=0.015)
    assert (inside[0] > np.array(LEVELS) - 0.01).all()
    assert (inside[0] < np.array(LEVELS) + 1.0 / (n + 1) + 0.01).all()


@pytest.mark.parametrize("bound", ["possible", "seen"])
def test_the_pointwise_factor_is_the_smallest_that_keeps_the_bound(bound):
    random = np.random.default_rng(1)
    ratios = [np.abs(random.normal(size=size)) for size in random.integers(3, 40, 25)]

    def risk(at):
        losses = [(one > at).mean() for one in ratios]
        return (sum(losses) + (1.0 if bound == "possible" else max(losses))) / (len(ratios) + 1)

    for level in LEVELS:
        factor = pointwise_factor(ratios, level, bound)
        assert risk(factor) <= 1.0 - level + 1e-12
        assert risk(factor * (1.0 - 1e-9)) > 1.0 - level


@pytest.mark.parametrize("n", [10, 30])
def test_the_largest_loss_seen_comes_close_to_the_level(n):
    random = np.random.default_rng(4)
    inside = np.zeros(len(LEVELS))
    for _ in range(300):
        ratios = fields(random, n + 20, 40)
        inside += [(ratios[n:] <= pointwise_factor(list(ratios[:n]), k, "seen")).mean() for k in LEVELS]
    np.testing.assert_allclose(inside / 300, LEVELS, atol=0.5 / (n + 1) + 0.02)
    assert (inside / 300 > np.array(LEVELS) - 0.01).all()


def test_equal_errors_are_inside_together():
    assert pointwise_factor([np.full(5, 2.0)] * 30, 0.9) == 2.0
    assert simultaneous_factor(np.full(30, 2.0), 0.9) == 2.0
    assert pointwise_factor([np.zeros(5)] * 30, 0.9) == 0.0


def test_order_statistic():
    for n, expected in ((19, [10.0, 16.0, 18.0, 19.0]), (20, [11.0, 17.0, 19.0, 20.0])):
        largest = np.random.default_rng(2).permutation(np.arange(1.0, n + 1.0))
        assert [simultaneous_factor(largest, level) for level in LEVELS] == expected


@pytest.mark.parametrize(("level", "needed"), [(0.5, 1), (0.8, 4), (0.9, 9), (0.95, 19), (0.99, 99)])
def test_a_level_needs_samples(level, needed):
    assert least_samples(level) == needed
    ratios = np.ones((needed, 3))
    assert pointwise_factor(list(ratios), level) == simultaneous_factor(ratios[:, 0], level) == 1.0
    assert math.isinf(pointwise_factor(list(ratios[1:]), level))
    assert math.isinf(simultaneous_factor(ratios[1:, 0], level))


def test_the_floor_makes_up_for_what_the_members_miss_alike():
    random = np.random.default_rng(3)
    members = 0.3 * random.normal(size=(5, 400, 50))
    truth = 0.4 * random.normal(size=(400, 50))
    error, variance = truth - members.mean(axis=0), members.var(axis=0)
    floor = floor_of_spread(float((error**2).mean()), float(variance.mean()))
    assert np.mean(error**2) / np.mean(variance + floor**2) == pytest.approx(1.0)
    assert floor_of_spread(4.0, 0.0) == 2.0
    assert floor_of_spread(4.0, 100.0) == 0.2
    assert floor_of_spread(0.0, 0.0) > 0.0


def test_refusals():
    with pytest.raises(InputError, match=r"level is 1.5, expected a number between 0 and 1"):
        pointwise_factor([np.ones(2)], 1.5)
    with pytest.raises(InputError, match="has no points"):
        pointwise_factor([np.ones(0)] * 9, 0.5)
    with pytest.raises(InputError, match="expected both >= 0"):
        floor_of_spread(float("nan"), 0.0)
