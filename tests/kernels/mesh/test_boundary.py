"""Pins and walks of boundary loops."""

import numpy as np
import pytest

from kernels.errors import InputError
from kernels.mesh.boundary import (
    PinRule,
    Walk,
    arc_coordinate,
    arc_shares,
    corner_excess,
    extremal,
    positions_at,
    walk_loop,
)  # fmt: skip


def d_shape(arc: int, straight: int) -> np.ndarray:
    """Unit square whose right side is replaced by a half circle: two sharp corners, two smooth junctions."""
    t = np.linspace(-np.pi / 2, np.pi / 2, arc + 1)
    half = np.stack([1.0 + 0.5 * np.cos(t), 0.5 + 0.5 * np.sin(t)], axis=1)
    s = np.linspace(0.0, 1.0, straight, endpoint=False)
    return np.concatenate(
        [
            np.stack([s, 0 * s], axis=1),
            half[:-1],
            np.stack([1 - s, 1 + 0 * s], axis=1),
            np.stack([0 * s, 1 - s], axis=1),
        ]
    )


@pytest.mark.parametrize("arc", [5, 8, 24, 300])
@pytest.mark.parametrize("straight", [3, 10, 100])
def test_corners_do_not_depend_on_the_resolution_of_arcs(arc, straight):
    loop = d_shape(arc, straight)
    walk = walk_loop(loop, np.arange(len(loop)), PinRule("corners", 30.0))
    np.testing.assert_allclose(loop[walk.nodes[walk.pins]], [[0, 0], [0, 1]], atol=1e-14)


def test_excess_of_a_polygon_is_its_turning_angle():
    square = np.array([[0, 0], [1, 0], [1, 1], [0, 1.0]])
    np.testing.assert_allclose(corner_excess(square, np.arange(4)), 90.0)
    circle = np.stack([np.cos(np.arange(9) * 2 * np.pi / 9), np.sin(np.arange(9) * 2 * np.pi / 9)], axis=1)
    np.testing.assert_allclose(corner_excess(circle, np.arange(9)), 0.0, atol=1e-10)
    in_space = np.column_stack([d_shape(8, 10), np.zeros(len(d_shape(8, 10)))])
    assert np.count_nonzero(corner_excess(in_space, np.arange(len(in_space))) > 30) == 2


def ramp(angle: float) -> np.ndarray:
    """Channel whose lower wall turns by `angle` degrees half way."""
    tip = np.tan(np.radians(angle))
    corners = np.array([[0, 0], [2, 0], [4, 2 * tip], [4, 5], [0, 5.0]])
    s = np.linspace(0, 1, 8, endpoint=False)[:, None]
    return np.concatenate(
        [a + s * (b - a) for a, b in zip(corners, np.roll(corners, -1, axis=0), strict=True)]
    )


def test_number_of_pins_follows_the_reference_near_the_threshold():
    above, below = ramp(31.0), ramp(29.0)
    nodes = np.arange(len(above))
    reference = walk_loop(above, nodes, PinRule("corners", 30.0))
    assert reference.pins.size == 5
    assert walk_loop(below, nodes, PinRule("corners", 30.0)).pins.size == 4
    walk = walk_loop(below, nodes, PinRule("corners", 30.0), pattern=reference.tags)
    np.testing.assert_array_equal(walk.pins, reference.pins)


def test_missing_corner_is_refused_by_name():
    with pytest.raises(
        InputError, match=r"plate_7: 4 boundary corners turn more than 30 degrees, the reference has 5"
    ):
        walk_loop(ramp(0.0), np.arange(40), PinRule("corners", 30.0), "plate_7", pattern=np.full(5, -1))


@pytest.mark.parametrize("kind", ["none", "corners"])
def test_start_does_not_jump_when_nodes_tie(kind):
    square = ramp(0.0)
    rng = np.random.default_rng(0)
    for _ in range(20):
        moved = square + 1e-9 * rng.standard_normal(square.shape)
        walk = walk_loop(np.roll(moved, 11, axis=0), np.arange(40), PinRule(kind, direction=(-1.0, 0.0)))
        np.testing.assert_allclose(np.roll(moved, 11, axis=0)[walk.nodes[0]], [0, 0], atol=1e-7)


def test_loop_without_corners_starts_at_the_extremal_node():
    t = np.arange(40) * 2 * np.pi / 40
    circle = np.stack([np.cos(t), np.sin(t)], axis=1)
    walk = walk_loop(circle, np.arange(40), PinRule("corners"))
    np.testing.assert_allclose(circle[walk.nodes[0]], [-np.sqrt(0.5)] * 2, atol=1e-12)
    assert walk.pins.tolist() == [0]
    assert walk.tags.tolist() == [-2]


def test_a_smooth_loop_and_one_with_a_corner_do_not_mix():
    t = np.arange(40) * 2 * np.pi / 40
    circle = np.stack([np.cos(t), np.sin(t)], axis=1)
    drop = np.stack([np.cos(t), np.sin(t) * np.sin(t / 2)], axis=1)
    rule = PinRule("corners")
    smooth, pointed = (walk_loop(loop, np.arange(40), rule) for loop in (circle, drop))
    assert (smooth.tags.tolist(), pointed.tags.tolist()) == ([-2], [-1])
    assert pointed.nodes[0] == 0
    with pytest.raises(
        InputError, match="m: 0 boundary corners turn more than 30 degrees, the reference has 1"
    ):
        walk_loop(circle, np.arange(40), rule, "m", pattern=pointed.tags)
    assert walk_loop(drop, np.arange(40), rule, "m", pattern=smooth.tags).tags.tolist() == [-2]


def tagged() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    loop = ramp(0.0)
    facets = np.stack([np.arange(40), np.roll(np.arange(40), -1)], axis=1)[::-1]
    return loop, facets, np.repeat([0, 0, 1, 2, 3], 8)[::-1]


def test_tags_pin_where_the_tag_changes():
    loop, facets, tags = tagged()
    nodes = np.roll(np.arange(40), 13)
    walk = walk_loop(loop, nodes, PinRule("tags"), "m", facets, tags)
    np.testing.assert_allclose(loop[walk.nodes[walk.pins]], [[0, 0], [4, 0], [4, 5], [0, 5]])
    assert walk.tags.tolist() == [0, 1, 2, 3]
    turned = walk_loop(loop, nodes, PinRule("tags"), "m", facets, tags, pattern=np.array([2, 3, 0, 1]))
    assert turned.tags.tolist() == [2, 3, 0, 1]
    np.testing.assert_allclose(loop[turned.nodes[0]], [4, 5])


def test_tags_are_refused_by_name_where_they_cannot_pin():
    loop, facets, tags = tagged()
    nodes = np.arange(40)
    with pytest.raises(InputError, match="m9: pins = 'tags' needs tagged boundary facets"):
        walk_loop(loop, nodes, PinRule("tags"), "m9")
    with pytest.raises(InputError, match="m9: pins = 'tags' needs a boundary tag that changes"):
        walk_loop(loop, nodes, PinRule("tags"), "m9", facets, 0 * tags)
    with pytest.raises(InputError, match="m9: the boundary tags follow one another as"):
        walk_loop(loop, nodes, PinRule("tags"), "m9", facets, tags, pattern=np.array([0, 2, 1, 3]))
    with pytest.raises(InputError, match="m9: pins = 'tags' needs facets of 2 nodes"):
        walk_loop(loop, nodes, PinRule("tags"), "m9", np.zeros((1, 3), int), np.zeros(1, int))
    with pytest.raises(InputError, match="pins 'all' are not known"):
        walk_loop(loop, nodes, PinRule("all"))


def test_arcs_fill_their_shares():
    loop = ramp(0.0)
    walk = Walk(np.arange(40), np.array([0, 16, 24, 32]), np.full(4, -1))
    np.testing.assert_allclose(arc_shares(loop, walk), np.array([4, 5, 4, 5]) / 18)
    equal = arc_coordinate(loop, walk)
    np.testing.assert_allclose(equal[walk.pins], [0, 0.25, 0.5, 0.75])
    np.testing.assert_allclose(equal[8], 0.125)
    np.testing.assert_allclose(
        arc_coordinate(loop, walk, np.array([0.4, 0.1, 0.4, 0.1]))[[8, 24]], [0.2, 0.5]
    )
    np.testing.assert_array_equal(positions_at(loop, walk, equal), loop)
    np.testing.assert_allclose(positions_at(loop, walk, np.array([0.3])), [[4, 1]])
    with pytest.raises(InputError, match="3 arc shares were given for 4 pins"):
        arc_coordinate(loop, walk, np.full(3, 1 / 3))
    with pytest.raises(InputError, match=r"start direction .* was given for 2 axes"):
        extremal(loop, (1.0, 0.0, 0.0))
