import numpy as np
import pytest

from kernels.reduction.missed import KNOTS, Growth, GrowthTally


def gathered(size, squares, block=7):
    scale, variance = np.sqrt((size**2).mean(axis=0)), squares.mean(axis=0)
    tally = GrowthTally(scale, variance)
    for start in range(0, len(size), block):
        tally.add(size[start : start + block], squares[start : start + block])
    return scale, variance, tally.growth()


def test_a_residual_that_grows_with_the_field_is_found():
    """Squares are drawn with variance 0.1 + u^2 up to a factor of the node: g has that shape."""
    generator = np.random.default_rng(1)
    node = generator.uniform(1.0, 5.0, 200)
    ratio = generator.uniform(0.0, 2.0, (300, 200))
    size = node * ratio * generator.choice([-1.0, 1.0], ratio.shape)
    squares = (node * generator.standard_normal(ratio.shape)) ** 2 * (0.1 + ratio**2)
    scale, _, growth = gathered(size, squares)
    u = np.array([0.1, 0.5, 1.0, 1.6])
    root = np.sqrt(4.0 / 3.0)  # root mean square of a uniform ratio on (0, 2)
    expected = (0.1 + (root * u) ** 2) / (0.1 + 4.0 / 3.0)
    found = growth.at(u * scale[:1], scale[:1])
    np.testing.assert_allclose(found, expected, rtol=0.12)


def test_a_residual_that_does_not_grow_stays_as_it_is():
    generator = np.random.default_rng(2)
    size = generator.standard_normal((400, 100))
    _, _, growth = gathered(size, generator.standard_normal(size.shape) ** 2)
    np.testing.assert_allclose(growth.values, 1.0, atol=0.1)


def test_blocks_and_units_change_nothing():
    generator = np.random.default_rng(3)
    size, squares = generator.standard_normal((20, 30)), generator.uniform(0.0, 1.0, (20, 30))
    one, other = gathered(size, squares, 20)[2], gathered(size, squares, 3)[2]
    np.testing.assert_allclose(other.values, one.values, rtol=1e-12)
    units = gathered(1e6 * size, 1e12 * squares)[2]
    np.testing.assert_allclose(units.values, one.values, rtol=1e-9)
    np.testing.assert_allclose(units.knots, one.knots, rtol=1e-9)


def test_a_field_without_residual_has_no_growth():
    growth = gathered(np.ones((5, 4)), np.zeros((5, 4)))[2]
    np.testing.assert_array_equal(growth.values, np.ones(KNOTS))
    np.testing.assert_array_equal(growth.at(np.array([0.0, 3.0]), np.array([0.0, 1.0])), [1.0, 1.0])


def test_nodes_without_residual_do_not_count():
    """Half of the nodes miss nothing: the other half alone gives the curve."""
    generator = np.random.default_rng(4)
    size, squares = generator.standard_normal((50, 10)), generator.uniform(0.0, 1.0, (50, 10))
    dead = np.where(np.arange(10) < 5, squares, 0.0)
    np.testing.assert_allclose(
        gathered(size, dead)[2].values, gathered(size[:, :5], squares[:, :5])[2].values, rtol=1e-12
    )


def test_curve_is_constant_beyond_its_ends():
    growth = Growth(np.linspace(0.5, 2.0, KNOTS), np.linspace(0.2, 3.0, KNOTS))
    found = growth.at(np.array([0.0, -4.0, 1.25, 9.0]), np.array([2.0, 2.0, 1.0, 0.0]))
    assert found == pytest.approx([0.2, 3.0, 1.6, 0.2])
