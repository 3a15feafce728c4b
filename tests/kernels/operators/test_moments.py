"""Moments of samples: against exact arithmetic, far from zero, and in any order."""

from fractions import Fraction

import numpy as np
import pytest

from kernels.operators.moments import joined, moments


def exact(values: np.ndarray) -> tuple[float, float]:
    numbers = [Fraction(float(v)) for v in values.ravel()]
    mean = sum(numbers) / len(numbers)
    return float(mean), float(sum((v - mean) ** 2 for v in numbers) / len(numbers)) ** 0.5


@pytest.mark.parametrize(("offset", "accuracy"), [(0.0, 1e-13), (1e7, 1e-9)])
def test_mean_and_deviation_are_those_of_exact_arithmetic(offset, accuracy):
    random = np.random.default_rng(0)
    parts = [offset + random.standard_normal((3, n)) + n for n in (4, 1, 7)]
    found = joined([moments(part) for part in parts])
    mean, std = exact(np.concatenate([part.ravel() for part in parts]))
    assert found.count == 36
    np.testing.assert_allclose((found.mean, found.std), (mean, std), rtol=accuracy)


def test_neither_layout_nor_order_of_samples_changes_a_bit():
    values = np.random.default_rng(1).standard_normal((9, 40, 33))
    whole = joined([moments(v) for v in values])
    laid_out = joined([moments(np.asfortranarray(v)) for v in values[::-1]])
    assert laid_out == whole


def test_values_that_do_not_change_have_no_spread():
    found = joined([moments(np.full(7, 0.1)), moments(np.full(3, 0.1))])
    assert found.low == found.high == 0.1
    assert found.std < 1e-16
