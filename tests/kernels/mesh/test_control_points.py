"""Matching of control points along boundary curves, and what is refused."""

import numpy as np
import pytest

from kernels.errors import InputError
from kernels.mesh.control_points import match_airfoil, match_far_field, order_airfoil, pair_loops


def airfoil(thickness: float, camber: float, count: int) -> np.ndarray:
    """Counter-clockwise from the trailing edge (1, 0), upper side first."""
    t = np.linspace(0, 2 * np.pi, count, endpoint=False)
    x = 0.5 * (1 + np.cos(t))
    half = thickness * np.sqrt(x) * (1 - x)
    return np.stack([x, camber * x * (1 - x) + np.where(t < np.pi, half, -half)], axis=1)


def test_equal_airfoils_match_themselves():
    source = airfoil(0.3, 0.1, 80)
    np.testing.assert_array_equal(match_airfoil(source, source), source)


def test_sides_match_by_arc_length():
    source, target = airfoil(0.2, 0.0, 40), airfoil(0.3, 0.1, 60)
    matched = match_airfoil(source, target)
    np.testing.assert_allclose(matched[[0, 20]], [[1, 0], [0, 0]], atol=1e-12)
    assert np.all(matched[1:20, 1] > matched[:20:-1, 1])


def test_order_starts_at_the_trailing_edge():
    source = airfoil(0.3, 0.0, 50)
    loop = np.roll(np.arange(50)[::-1], 17)
    np.testing.assert_array_equal(order_airfoil(source, loop), np.arange(50))


@pytest.mark.parametrize("shift", [3, -3, 25])
def test_wrong_start_is_refused_by_name(shift):
    source = airfoil(0.3, 0.0, 50)
    with pytest.raises(InputError, match=r"RAE: the airfoil starts at .* chords from its trailing edge"):
        match_airfoil(source, np.roll(source, shift, axis=0), name="RAE")
    with pytest.raises(InputError, match="the source of RAE: the airfoil starts at"):
        match_airfoil(np.roll(source, shift, axis=0), source, name="RAE")


def test_reversed_order_is_refused_by_name():
    source = airfoil(0.3, 0.0, 50)
    turned = np.roll(source[::-1], 1, axis=0)
    with pytest.raises(InputError, match="RAE: the airfoil runs the other way round"):
        match_airfoil(source, turned, name="RAE")
    with pytest.raises(InputError, match="RAE: the far field runs the other way round"):
        match_far_field(source, turned, name="RAE")


def test_far_fields_match_by_arc_length():
    t = np.arange(40) * 2 * np.pi / 40
    circle = np.stack([np.cos(t), np.sin(t)], axis=1)
    source = np.roll(circle, 7, axis=0)
    np.testing.assert_allclose(match_far_field(source, 3 * circle), 3 * source, atol=1e-13)


def test_loops_pair_by_place():
    t = np.arange(20) * 2 * np.pi / 20
    circle = np.stack([np.cos(t), np.sin(t)], axis=1)
    aside = np.array([3.0, 0.0])
    loops = [circle + aside, 10 * circle, circle - aside]
    points = 2 * np.concatenate(loops) + 5
    nodes = [np.arange(20), np.arange(20, 40), np.arange(40, 60)]
    assert pair_loops(points, nodes, [loops[1], loops[2] + 0.5, loops[0]], "m") == [1, 2, 0]
    with pytest.raises(InputError, match="m: the mesh has 3 boundary loops, the reference 2"):
        pair_loops(points, nodes, loops[:2], "m")
