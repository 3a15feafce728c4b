"""Control points of a morphing: matching points on the boundary curves of two meshes by arc length."""

from collections.abc import Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment

from kernels.errors import InputError
from kernels.mesh.boundary import (
    PinRule,
    Walk,
    arc_coordinate,
    extremal,
    positions_at,
    signed_area,
    walk_loop,
)

_AT_EDGE = 1e-3
"""A loop starts at its trailing edge where it starts within this share of the chord from it."""


def counter_clockwise(points: np.ndarray, loop: np.ndarray) -> np.ndarray:
    """The loop (n,), turned around where it runs clockwise in the plane."""
    return loop if signed_area(points[loop]) > 0.0 else loop[::-1].copy()


def order_airfoil(
    points: np.ndarray, loop: np.ndarray, downstream: tuple[float, float] = (1.0, 0.0)
) -> np.ndarray:
    """The loop (n,) counter-clockwise from its trailing edge, the node farthest downstream: upper side
    first."""
    turned = counter_clockwise(points, loop)
    return np.roll(turned, -extremal(points[turned], downstream))


def match_airfoil(
    source: np.ndarray, target: np.ndarray, downstream: tuple[float, float] = (1.0, 0.0), name: str = "target"
) -> np.ndarray:
    """Points (n, 2) on the closed polygon `target` (m, 2) that belong to the nodes `source` (n, 2) of
    another airfoil.

    Both run from the trailing edge around the nose; the leading edge is the node farthest from the
    trailing edge. On each of the two sides equal shares of arc length correspond. Lengths in one unit.
    Raises InputError naming `name` where either polygon does not start at its trailing edge or the two
    run in opposite directions: such an order turns cells over.
    """
    for points, what in ((source, "the source of " + name), (target, name)):
        _check_trailing_edge(points, downstream, what)
    if signed_area(source) * signed_area(target) <= 0.0:
        raise InputError(
            f"{name}: the airfoil runs the other way round than its source: turn its order around "
            "(order_airfoil does)"
        )
    return positions_at(target, _sides(target), arc_coordinate(source, _sides(source)))


def match_far_field(
    source: np.ndarray, target: np.ndarray, downstream: tuple[float, float] = (1.0, 0.0), name: str = "target"
) -> np.ndarray:
    """Points (n, 2) on the closed polygon `target` that belong to `source`, by arc length from the
    farthest point downstream.

    Raises InputError naming `name` where the two run in opposite directions.
    """
    if signed_area(source) * signed_area(target) <= 0.0:
        raise InputError(
            f"{name}: the far field runs the other way round than its source: turn its order around"
        )
    rule = PinRule("none", direction=downstream)
    walks = [walk_loop(points, np.arange(len(points)), rule, name) for points in (source, target)]
    matched = np.empty_like(source)
    matched[walks[0].nodes] = positions_at(target, walks[1], arc_coordinate(source, walks[0]))
    return matched


def _sides(points: np.ndarray) -> Walk:
    nose = int(np.argmax(np.linalg.norm(points - points[0], axis=1)))
    return Walk(np.arange(len(points)), np.array([0, nose]), np.array([-1, -1]))


def _check_trailing_edge(points: np.ndarray, downstream: tuple[float, float], name: str) -> None:
    edge = points[extremal(points, downstream)]
    chord = float(np.linalg.norm(points - edge, axis=1).max())
    distance = float(np.linalg.norm(points[0] - edge))
    if distance > _AT_EDGE * chord:
        raise InputError(
            f"{name}: the airfoil starts at {points[0].tolist()}, {distance / chord:.3g} chords from its "
            "trailing edge "
            f"{edge.tolist()}: start it there (order_airfoil does)"
        )


def pair_loops(
    points: np.ndarray, loops: Sequence[np.ndarray], reference: Sequence[np.ndarray], name: str
) -> list[int]:
    """For each reference loop (polygons (m, 2)) the number of the mesh's loop that belongs to it.

    The outer loops, those of the largest area, belong together; the others by the least sum of squared
    distances of their centroids, in shares of the outer loop's bounding box. Raises InputError naming
    the sample where the counts of loops differ.
    """
    if len(loops) != len(reference):
        raise InputError(
            f"{name}: the mesh has {len(loops)} boundary loops, the reference {len(reference)}: leave out "
            "the sample, or "
            "morph only meshes of one topology"
        )
    own = [points[loop] for loop in loops]
    places = []
    for group in (own, reference):
        outer = max(group, key=lambda polygon: abs(signed_area(polygon)))
        low, size = outer.min(axis=0), np.ptp(outer, axis=0)
        # The outer loop is set apart by a third coordinate.
        places.append([[*((p.mean(axis=0) - low) / size), 1e3 * float(p is outer)] for p in group])
    cost = ((np.array(places[1])[:, None] - np.array(places[0])[None]) ** 2).sum(axis=2)
    return [int(k) for k in linear_sum_assignment(cost)[1]]
