"""What a morphing did to the cells: how many turned over, and how unevenly they grew."""

import math
from dataclasses import dataclass

import numpy as np

from kernels.errors import InputError


@dataclass(frozen=True)
class Quality:
    """inverted: cells turned over; smallest_ratio: least growth of a cell over the median growth."""

    inverted: int
    smallest_ratio: float


def signed_measures(points: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """Signed area (c,) of triangles in the plane, signed volume of tetrahedra, positive area of
    triangles in space.

    |det [x_1 - x_0, ...]| / d! with the determinant's sign where the cells fill the space (d = axes).
    """
    first = points[cells[:, 0]]
    edges = [points[cells[:, k]] - first for k in range(1, cells.shape[1])]
    shape = (len(edges), points.shape[1])
    if shape == (2, 2):
        return 0.5 * (edges[0][:, 0] * edges[1][:, 1] - edges[0][:, 1] * edges[1][:, 0])
    if shape == (2, 3):
        return 0.5 * np.linalg.norm(np.cross(edges[0], edges[1]), axis=1)
    if shape == (3, 3):
        return np.sum(edges[0] * np.cross(edges[1], edges[2]), axis=1) / math.factorial(3)
    raise InputError(
        f"cells of {cells.shape[1]} nodes on {points.shape[1]} axes have no measure here: give triangles "
        "in the plane or "
        "in space, or tetrahedra"
    )


def morph_quality(points: np.ndarray, cells: np.ndarray, mapped: np.ndarray) -> Quality:
    """Count cells that a map x -> mapped turns over, and measure its least growth.

    A cell is inverted where its mapped measure is zero to rounding (`_rounding`) or has the opposite sign of
    its own measure; a triangle in space counts as positive, so one that is mapped to the plane must come
    out counter-clockwise. smallest_ratio is min_c r_c / median_c r_c with r = mapped measure / own measure,
    signed like the inversion test: 1 for every affine map, and below zero where a cell turned over.
    points (n, d), cells (c, k), mapped (n, e); no units.
    """
    own = signed_measures(points, cells)
    new = signed_measures(mapped, cells)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = new / own
    flat = np.abs(new) <= _rounding(mapped, cells)
    bad = ~(ratio > 0.0) | ~np.isfinite(ratio) | flat
    middle = float(np.median(np.abs(ratio)))
    smallest = float(np.min(ratio)) / middle if middle > 0.0 and np.all(np.isfinite(ratio)) else 0.0
    return Quality(int(np.count_nonzero(bad)), smallest)


def _rounding(points: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """Measure (c,) below which the sign of a cell says nothing: 4 eps |x|_max h^(k - 2), h its longest edge.

    That is what coordinates rounded to 4 eps move the measure by. Without it a cell that was squeezed flat
    counts as inverted on one processor and not on the next.
    """
    corners = points[cells]
    longest = np.zeros(len(cells))
    for a in range(cells.shape[1]):
        for b in range(a):
            longest = np.maximum(longest, np.linalg.norm(corners[:, a] - corners[:, b], axis=1))
    size = float(np.abs(points).max(initial=0.0))
    return 4.0 * float(np.finfo(np.float64).eps) * size * longest ** (cells.shape[1] - 2)


def refuse_inverted(quality: Quality, cells: int, name: str, limit: int = 0) -> None:
    """Raise InputError naming the sample where more than `limit` cells turned over."""
    if quality.inverted > limit:
        raise InputError(
            f"{name}: the morphing turns over {quality.inverted} of {cells} cells, at most {limit} "
            "allowed: check the "
            "order and the start of the control points, or use another method"
        )
