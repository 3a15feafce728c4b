"""Boundary loops walked reproducibly: oriented, started and pinned the same way on every mesh."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kernels.errors import InputError
from kernels.mesh.topology import boundary_loops

PIN_KINDS = ("none", "corners", "tags")
_TIE = 1e-6
"""Positions nearer than this share of the loop's bounding box diagonal tie."""
_NO_CORNER = -2
"""Tag of the one pin of a loop that starts at an extremal node instead of a corner (-1) or a tagged arc."""
_FEW_NODES = 8
"""A loop of at most this many nodes cannot show which turns belong to an arc."""


@dataclass(frozen=True)
class PinRule:
    """Which boundary nodes are pinned, and where the walk starts.

    kind: "none" (only the start), "corners" or "tags"; corner_angle in degrees; direction: the start is
    the pin (or node) that lies farthest in it, all axes negative (lower left) where it is empty.
    """

    kind: str = "corners"
    corner_angle: float = 30.0
    direction: tuple[float, ...] = ()


@dataclass(frozen=True)
class Walk:
    """A closed boundary loop: nodes (n,), positions of the pins in it (m,) beginning with 0, tag of the
    arc after each pin."""

    nodes: np.ndarray
    pins: np.ndarray
    tags: np.ndarray


def segment_lengths(points: np.ndarray, nodes: np.ndarray) -> np.ndarray:
    """Lengths |x_{j+1} - x_j| of a closed loop's segments, (n,), the last one back to the first node."""
    loop = points[nodes]
    return np.linalg.norm(np.roll(loop, -1, axis=0) - loop, axis=1)


def signed_area(loop: np.ndarray) -> float:
    """Area inside a closed plane polygon (n, 2), positive where it runs counter-clockwise (shoelace
    formula)."""
    centred = loop - loop.mean(axis=0)
    after = np.roll(centred, -1, axis=0)
    return 0.5 * float(np.sum(centred[:, 0] * after[:, 1] - after[:, 0] * centred[:, 1]))


def corner_excess(points: np.ndarray, nodes: np.ndarray) -> np.ndarray:
    """Turning of a closed loop at each node beyond what its neighbourhood's curvature explains, degrees (n,).

    excess_j = min(|theta_j|, |theta_j - h_j median(kappa_{j-2}, kappa_{j-1}, kappa_{j+1},
    kappa_{j+2})|) with the turning angle theta, the mean length h of the two segments at a node, and
    kappa = theta / h. A smooth arc has an excess near zero however coarse its segments, and a corner
    keeps its full angle however fine they are. Signed angles in the plane, unsigned ones in space. A
    loop of at most 8 nodes is taken to have straight sides. An arc resolved by a single segment is not
    recognised as an arc.
    """
    loop = points[nodes]
    ahead = np.roll(loop, -1, axis=0) - loop
    behind = np.roll(ahead, 1, axis=0)
    cosine = np.sum(behind * ahead, axis=1)
    if points.shape[1] == 2:
        sine = behind[:, 0] * ahead[:, 1] - behind[:, 1] * ahead[:, 0]
    else:
        sine = np.linalg.norm(np.cross(behind, ahead), axis=1)
    turn = np.degrees(np.arctan2(sine, cosine))
    if nodes.size <= _FEW_NODES:
        return np.abs(turn)
    length = 0.5 * (np.linalg.norm(ahead, axis=1) + np.linalg.norm(behind, axis=1))
    curvature = turn / length
    around = np.stack([np.roll(curvature, shift) for shift in (-2, -1, 1, 2)])
    # A node that does not turn is no corner, though its neighbours on a short side are.
    return np.minimum(np.abs(turn - length * np.median(around, axis=0)), np.abs(turn))


def mesh_loops(cells: np.ndarray, name: str = "mesh") -> list[np.ndarray]:
    """Boundary loops of a triangle mesh, see `boundary_loops`, with errors that name the sample."""
    try:
        return [np.asarray(loop, dtype=np.int64) for loop in boundary_loops(cells)]
    except InputError as error:
        raise InputError(f"{name}: {error}") from None


def walk_loop(
    points: np.ndarray,
    nodes: np.ndarray,
    rule: PinRule,
    name: str = "mesh",
    facet_node: np.ndarray | None = None,
    facet_tag: np.ndarray | None = None,
    pattern: np.ndarray | None = None,
) -> Walk:
    """Pin a closed loop by `rule` and start it at the pin farthest in the stated direction.

    points (n, d), nodes: the loop in order; facets (f, 2) with tags (f,) for rule "tags". `pattern`:
    tags (m,) of the reference's walk; the walk then has the same number of pins, and for "tags" the
    same tags in the same order. Positions that tie within 1e-6 of the loop's size are decided by the
    lowest x, then y, then z, so the start does not jump by round-off. Raises InputError naming the
    sample where the pins cannot be found or differ in number.
    """
    count = None if pattern is None else int(pattern.size)
    if rule.kind == "none":
        pins = np.array([extremal(points[nodes], rule.direction)], dtype=np.int64)
        return _rotated(nodes, pins, np.full(1, _NO_CORNER), 0)
    if rule.kind == "corners":
        smooth = pattern is not None and pattern.tolist() == [_NO_CORNER]
        excess = corner_excess(points, nodes)
        pins = excess[:0] if smooth else _corner_pins(excess, rule.corner_angle, count, name)
        if pins.size == 0:
            pins = np.array([extremal(points[nodes], rule.direction)], dtype=np.int64)
            return _rotated(nodes, pins, np.full(1, _NO_CORNER), 0)
        return _rotated(nodes, pins, np.full(pins.size, -1), extremal(points[nodes[pins]], rule.direction))
    if rule.kind != "tags":
        raise InputError(f"pins {rule.kind!r} are not known: choose one of {PIN_KINDS}")
    pins, tags = _tag_pins(nodes, facet_node, facet_tag, name)
    return _rotated(nodes, pins, tags, _tag_start(points[nodes[pins]], tags, pattern, rule.direction, name))


def extremal(points: np.ndarray, direction: Sequence[float] = ()) -> int:
    """Index of the point (n, d) farthest in `direction`; ties within 1e-6 of the extent go to the
    lowest x, y, z."""
    dimension = points.shape[1]
    along = np.asarray(direction, dtype=float) if len(direction) else -np.ones(dimension)
    if along.shape != (dimension,) or not np.any(along):
        raise InputError(
            f"start direction {tuple(direction)} was given for {dimension} axes: give {dimension} "
            "numbers, not all zero"
        )
    tolerance = _TIE * float(np.linalg.norm(np.ptp(points, axis=0)))
    left = np.arange(len(points))
    for key in (points @ (along / np.linalg.norm(along)), *(-points.T)):
        left = left[key[left] >= key[left].max() - tolerance]
    return int(left[0])


def _rotated(nodes: np.ndarray, pins: np.ndarray, tags: np.ndarray, start: int) -> Walk:
    first = int(pins[start])
    shifted = np.roll(pins, -start)
    return Walk(
        np.roll(nodes, -first), (shifted - first) % nodes.size, np.roll(tags, -start).astype(np.int64)
    )


def _corner_pins(excess: np.ndarray, angle: float, count: int | None, name: str) -> np.ndarray:
    found = np.flatnonzero(excess > angle)
    wanted = found.size if count is None else count
    if found.size == wanted:
        return found
    order = np.argsort(-excess, kind="stable")
    last = excess[order[wanted - 1]] if wanted <= excess.size else 0.0
    beyond = excess[order[wanted]] if wanted < excess.size else 0.0
    # The threshold alone would let a corner near it come and go; a clear gap decides instead.
    if last >= 0.5 * angle and last >= 1.25 * beyond:
        return np.sort(order[:wanted])
    raise InputError(
        f"{name}: {found.size} boundary corners turn more than {angle:g} degrees, the reference has {wanted} "
        f"(corner {wanted} here turns {last:.1f} degrees, the next {beyond:.1f}): change corner_angle, or "
        "pin by "
        "boundary tags (pins = 'tags'), or leave out the sample"
    )


def _tag_pins(
    nodes: np.ndarray, facet_node: np.ndarray | None, facet_tag: np.ndarray | None, name: str
) -> tuple[np.ndarray, np.ndarray]:
    if facet_node is None or facet_tag is None or len(facet_node) == 0:
        raise InputError(
            f"{name}: pins = 'tags' needs tagged boundary facets, the mesh has none: use pins = 'corners'"
        )
    facet_node = np.asarray(facet_node, dtype=np.int64)
    if facet_node.shape[1] != 2:
        raise InputError(
            f"{name}: pins = 'tags' needs facets of 2 nodes along a boundary loop, got "
            f"{facet_node.shape[1]} nodes a facet"
        )
    base = int(max(nodes.max(), facet_node.max())) + 1
    keys = facet_node.min(axis=1) * base + facet_node.max(axis=1)
    order = np.argsort(keys, kind="stable")
    after = np.roll(nodes, -1).astype(np.int64)
    wanted = np.minimum(nodes, after) * base + np.maximum(nodes, after)
    place = np.minimum(np.searchsorted(keys[order], wanted), len(keys) - 1)
    hit = keys[order][place] == wanted
    tags = np.where(hit, np.asarray(facet_tag, dtype=np.int64)[order][place], -1)
    pins = np.flatnonzero(tags != np.roll(tags, 1))
    if pins.size == 0:
        raise InputError(
            f"{name}: pins = 'tags' needs a boundary tag that changes along the loop; all {nodes.size} "
            "facets of it "
            f"carry {'no tag' if tags[0] < 0 else f'tag {tags[0]}'}: use pins = 'corners' or 'none'"
        )
    return pins, tags[pins]


def _tag_start(
    at: np.ndarray, tags: np.ndarray, pattern: np.ndarray | None, direction: Sequence[float], name: str
) -> int:
    if pattern is None:
        return extremal(at, direction)
    fits = [s for s in range(tags.size) if np.array_equal(np.roll(tags, -s), pattern)]
    if not fits:
        raise InputError(
            f"{name}: the boundary tags follow one another as {tags.tolist()}, in the reference as "
            f"{pattern.tolist()}: "
            "tag all meshes alike, or use pins = 'corners'"
        )
    return fits[extremal(at[fits], direction)]


def arc_shares(points: np.ndarray, walk: Walk) -> np.ndarray:
    """Length of the arc after each pin over the length of the loop, (m,), summing to one."""
    start = np.concatenate(([0.0], np.cumsum(segment_lengths(points, walk.nodes))))
    bounds = start[np.append(walk.pins, walk.nodes.size)]
    return np.diff(bounds) / start[-1]


def arc_coordinate(points: np.ndarray, walk: Walk, shares: np.ndarray | None = None) -> np.ndarray:
    """Position of each node along the loop in [0, 1): by arc length between pins, each arc filling its share.

    c_j = S_k + sigma_k (s_j - s_k) / (s_{k+1} - s_k) for node j on the arc after pin k, with the arc
    length s, the shares sigma (m,) and their running sum S; equal shares where None.
    """
    count = walk.pins.size
    sigma = np.full(count, 1.0 / count) if shares is None else np.asarray(shares, dtype=float)
    if sigma.shape != (count,) or not np.all(sigma > 0.0):
        raise InputError(
            f"{sigma.size} arc shares were given for {count} pins: give one positive share for each pin"
        )
    start = np.concatenate(([0.0], np.cumsum(segment_lengths(points, walk.nodes))))
    bounds = start[np.append(walk.pins, walk.nodes.size)]
    arc = np.searchsorted(walk.pins, np.arange(walk.nodes.size), side="right") - 1
    along = (start[:-1] - bounds[arc]) / (bounds[arc + 1] - bounds[arc])
    return np.concatenate(([0.0], np.cumsum(sigma)))[arc] + sigma[arc] * along


def positions_at(points: np.ndarray, walk: Walk, coordinate: np.ndarray) -> np.ndarray:
    """Points (k, d) of the loop's polygon at the arc coordinates (k,) in [0, 1) of equal shares, linear
    between nodes."""
    own = np.append(arc_coordinate(points, walk), 1.0)
    closed = points[np.append(walk.nodes, walk.nodes[0])]
    return np.stack([np.interp(coordinate, own, column) for column in closed.T], axis=1)
