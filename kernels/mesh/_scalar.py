"""Closest points and the tree walk as scalar functions: one source, compiled for the CPU and for CUDA.

Points are three scalars (z = 0 in the plane). Barycentric coordinates come as four scalars, unused ones zero.
The loop over targets stands here too: numba keeps compiled code until the outermost function's file changes.
"""

import math

import numpy as np
from numba import njit

PLANE_TRIANGLE, SURFACE_TRIANGLE, TETRAHEDRON = 0, 1, 2
"""Cell kinds of the structure that `nearest` walks."""

STACK = 64
"""Entries of the walk's stack: one more than the depth of the tree, which halves the cells at every level."""


@njit(cache=True)
def box_distance(boxes, node, px, py, pz):
    """Squared distance of a point to the box `boxes[node] = (low x, y, z, high x, y, z)`; 0 inside."""
    dx = max(boxes[node, 0] - px, 0.0, px - boxes[node, 3])
    dy = max(boxes[node, 1] - py, 0.0, py - boxes[node, 4])
    dz = max(boxes[node, 2] - pz, 0.0, pz - boxes[node, 5])
    return dx * dx + dy * dy + dz * dz


@njit(cache=True)
def determinant(ax, ay, az, bx, by, bz, cx, cy, cz):
    """Determinant of three vectors, a . (b x c)."""
    return ax * (by * cz - bz * cy) + ay * (bz * cx - bx * cz) + az * (bx * cy - by * cx)


@njit(cache=True)
def closest_on_segment(ax, ay, az, bx, by, bz):
    """Point of the segment a b closest to the origin: (squared distance, weight of b in [0, 1])."""
    ex, ey, ez = bx - ax, by - ay, bz - az
    length = ex * ex + ey * ey + ez * ez
    t = 0.0
    if length > 0.0:
        t = min(max(-(ax * ex + ay * ey + az * ez) / length, 0.0), 1.0)
    # measured from the nearer end, so that t = 1 gives b itself
    if t <= 0.5:
        x, y, z = ax + t * ex, ay + t * ey, az + t * ez
    else:
        x, y, z = bx - (1.0 - t) * ex, by - (1.0 - t) * ey, bz - (1.0 - t) * ez
    return x * x + y * y + z * z, t


@njit(cache=True)
def closest_on_edges(ax, ay, az, bx, by, bz, cx, cy, cz, use_a, use_b, use_c):
    """Closest point to the origin on the wanted edges of a triangle, `use_a` naming the edge opposite a."""
    best, wa, wb, wc = math.inf, 0.0, 0.0, 0.0
    if use_a:
        d, t = closest_on_segment(bx, by, bz, cx, cy, cz)
        best, wa, wb, wc = d, 0.0, 1.0 - t, t
    if use_b:
        d, t = closest_on_segment(cx, cy, cz, ax, ay, az)
        if d < best:
            best, wa, wb, wc = d, t, 0.0, 1.0 - t
    if use_c:
        d, t = closest_on_segment(ax, ay, az, bx, by, bz)
        if d < best:
            best, wa, wb, wc = d, 1.0 - t, t, 0.0
    return best, wa, wb, wc


@njit(cache=True)
def closest_in_plane_triangle(ax, ay, bx, by, cx, cy):
    """Closest point of a triangle in the plane to the origin: (squared distance, three barycentrics).

    The barycentrics are the signed areas of the origin with each edge. Neighbours compute the area of a
    shared edge with exactly opposite signs, so no point falls between two cells.
    """
    wa = bx * cy - by * cx
    wb = cx * ay - cy * ax
    wc = ax * by - ay * bx
    total = wa + wb + wc
    if total < 0.0:
        wa, wb, wc, total = -wa, -wb, -wc, -total
    if wa >= 0.0 and wb >= 0.0 and wc >= 0.0 and total > 0.0:
        return 0.0, wa / total, wb / total, wc / total
    every = total <= 0.0
    # the closest point lies on an edge that the origin is outside of
    return closest_on_edges(
        ax, ay, 0.0, bx, by, 0.0, cx, cy, 0.0, every or wa < 0.0, every or wb < 0.0, every or wc < 0.0
    )


@njit(cache=True)
def closest_in_space_triangle(ax, ay, az, bx, by, bz, cx, cy, cz):
    """Closest point of a triangle in space to the origin: (squared distance, three barycentrics)."""
    ux, uy, uz = bx - ax, by - ay, bz - az
    vx, vy, vz = cx - ax, cy - ay, cz - az
    nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
    square = nx * nx + ny * ny + nz * nz
    wa = determinant(nx, ny, nz, bx, by, bz, cx, cy, cz)
    wb = determinant(nx, ny, nz, cx, cy, cz, ax, ay, az)
    wc = determinant(nx, ny, nz, ax, ay, az, bx, by, bz)
    total = wa + wb + wc
    if square > 0.0 and total > 0.0 and wa >= 0.0 and wb >= 0.0 and wc >= 0.0:
        offset = ax * nx + ay * ny + az * nz
        return offset * offset / square, wa / total, wb / total, wc / total
    every = not (square > 0.0 and total > 0.0)
    return closest_on_edges(
        ax, ay, az, bx, by, bz, cx, cy, cz, every or wa < 0.0, every or wb < 0.0, every or wc < 0.0
    )


@njit(cache=True)
def closest_in_tetrahedron(ax, ay, az, bx, by, bz, cx, cy, cz, dx, dy, dz):
    """Closest point of a tetrahedron to the origin: (squared distance, four barycentrics)."""
    wa = determinant(bx, by, bz, cx, cy, cz, dx, dy, dz)
    wb = -determinant(ax, ay, az, cx, cy, cz, dx, dy, dz)
    wc = determinant(ax, ay, az, bx, by, bz, dx, dy, dz)
    wd = -determinant(ax, ay, az, bx, by, bz, cx, cy, cz)
    total = wa + wb + wc + wd
    if total < 0.0:
        wa, wb, wc, wd, total = -wa, -wb, -wc, -wd, -total
    if wa >= 0.0 and wb >= 0.0 and wc >= 0.0 and wd >= 0.0 and total > 0.0:
        return 0.0, wa / total, wb / total, wc / total, wd / total
    every = total <= 0.0
    best, qa, qb, qc, qd = math.inf, 0.0, 0.0, 0.0, 0.0
    if every or wa < 0.0:
        s, u, v, w = closest_in_space_triangle(bx, by, bz, cx, cy, cz, dx, dy, dz)
        best, qa, qb, qc, qd = s, 0.0, u, v, w
    if every or wb < 0.0:
        s, u, v, w = closest_in_space_triangle(ax, ay, az, cx, cy, cz, dx, dy, dz)
        if s < best:
            best, qa, qb, qc, qd = s, u, 0.0, v, w
    if every or wc < 0.0:
        s, u, v, w = closest_in_space_triangle(ax, ay, az, bx, by, bz, dx, dy, dz)
        if s < best:
            best, qa, qb, qc, qd = s, u, v, 0.0, w
    if every or wd < 0.0:
        s, u, v, w = closest_in_space_triangle(ax, ay, az, bx, by, bz, cx, cy, cz)
        if s < best:
            best, qa, qb, qc, qd = s, u, v, w, 0.0
    return best, qa, qb, qc, qd


@njit(cache=True)
def closest_in_cell(kind, corners, i, px, py, pz):
    """Closest point of cell i to p: (squared distance, four barycentrics); `corners` has shape (m, k, 3)."""
    ax, ay, az = corners[i, 0, 0] - px, corners[i, 0, 1] - py, corners[i, 0, 2] - pz
    bx, by, bz = corners[i, 1, 0] - px, corners[i, 1, 1] - py, corners[i, 1, 2] - pz
    cx, cy, cz = corners[i, 2, 0] - px, corners[i, 2, 1] - py, corners[i, 2, 2] - pz
    if kind == PLANE_TRIANGLE:
        s, u, v, w = closest_in_plane_triangle(ax, ay, bx, by, cx, cy)
        return s, u, v, w, 0.0
    if kind == SURFACE_TRIANGLE:
        s, u, v, w = closest_in_space_triangle(ax, ay, az, bx, by, bz, cx, cy, cz)
        return s, u, v, w, 0.0
    dx, dy, dz = corners[i, 3, 0] - px, corners[i, 3, 1] - py, corners[i, 3, 2] - pz
    return closest_in_tetrahedron(ax, ay, az, bx, by, bz, cx, cy, cz, dx, dy, dz)


@njit(cache=True)
def in_cell(kind, corners, i, px, py, pz):
    """Whether p lies in cell i, a plane triangle or a tetrahedron: the signs of `closest_in_cell` alone."""
    ax, ay, az = corners[i, 0, 0] - px, corners[i, 0, 1] - py, corners[i, 0, 2] - pz
    bx, by, bz = corners[i, 1, 0] - px, corners[i, 1, 1] - py, corners[i, 1, 2] - pz
    cx, cy, cz = corners[i, 2, 0] - px, corners[i, 2, 1] - py, corners[i, 2, 2] - pz
    if kind == PLANE_TRIANGLE:
        wa = bx * cy - by * cx
        wb = cx * ay - cy * ax
        wc = ax * by - ay * bx
        total = wa + wb + wc
        if total < 0.0:
            wa, wb, wc = -wa, -wb, -wc
        return (wa >= 0.0) & (wb >= 0.0) & (wc >= 0.0) & (total != 0.0)
    dx, dy, dz = corners[i, 3, 0] - px, corners[i, 3, 1] - py, corners[i, 3, 2] - pz
    wa = determinant(bx, by, bz, cx, cy, cz, dx, dy, dz)
    wb = -determinant(ax, ay, az, cx, cy, cz, dx, dy, dz)
    wc = determinant(ax, ay, az, bx, by, bz, dx, dy, dz)
    wd = -determinant(ax, ay, az, bx, by, bz, cx, cy, cz)
    total = wa + wb + wc + wd
    if total < 0.0:
        wa, wb, wc, wd = -wa, -wb, -wc, -wd
    return (wa >= 0.0) & (wb >= 0.0) & (wc >= 0.0) & (wd >= 0.0) & (total != 0.0)


@njit(cache=True)
def in_box(boxes, node, px, py, pz):
    """Whether p lies in the box of a node, its faces included."""
    # one branch for all faces: which of them fails cannot be predicted
    return (
        (boxes[node, 0] <= px)
        & (px <= boxes[node, 3])
        & (boxes[node, 1] <= py)
        & (py <= boxes[node, 4])
        & (boxes[node, 2] <= pz)
        & (pz <= boxes[node, 5])
    )


@njit(cache=True)
def containing(kind, corners, boxes, links, px, py, pz, stack):
    """Place of the first cell that holds p, or -1: the walk over the boxes that hold p alone."""
    if not in_box(boxes, 0, px, py, pz):
        return -1
    stack[0] = 0
    top = 1
    while top > 0:
        top -= 1
        node = stack[top]
        left = links[node, 0]
        if left < 0:
            for i in range(links[node, 1], links[node, 2]):
                if in_cell(kind, corners, i, px, py, pz):
                    return i
            continue
        if in_box(boxes, left + 1, px, py, pz):
            stack[top] = left + 1
            top += 1
        if in_box(boxes, left, px, py, pz):
            stack[top] = left
            top += 1
    return -1


@njit(cache=True)
def nearest(kind, corners, boxes, links, px, py, pz, stack, reach):
    """Cell nearest to p by branch and bound: (place in `corners`, squared distance, four barycentrics).

    `links[node] = (left child or -1, first cell, end of cells)`, the right child follows the left one.
    Most points lie inside: but for surfaces, the cheap search for the containing cell goes first.
    `stack` (int) and `reach` (float), of STACK entries, are work space. The nearer child is visited first,
    and a box is left out only when it is at least as far as the best cell so far: the distance is exact.
    """
    if kind != SURFACE_TRIANGLE:
        place = containing(kind, corners, boxes, links, px, py, pz, stack)
        if place >= 0:
            best, w0, w1, w2, w3 = closest_in_cell(kind, corners, place, px, py, pz)
            return place, best, w0, w1, w2, w3
    best, place, w0, w1, w2, w3 = math.inf, -1, 0.0, 0.0, 0.0, 0.0
    stack[0] = 0
    reach[0] = box_distance(boxes, 0, px, py, pz)
    top = 1
    while top > 0 and best > 0.0:
        top -= 1
        if reach[top] >= best:
            continue
        node = stack[top]
        left = links[node, 0]
        if left < 0:
            for i in range(links[node, 1], links[node, 2]):
                s, q0, q1, q2, q3 = closest_in_cell(kind, corners, i, px, py, pz)
                if s < best:
                    best, place, w0, w1, w2, w3 = s, i, q0, q1, q2, q3
            continue
        near, far = left, left + 1
        near_reach = box_distance(boxes, near, px, py, pz)
        far_reach = box_distance(boxes, far, px, py, pz)
        if far_reach < near_reach:
            near, far, near_reach, far_reach = far, near, far_reach, near_reach
        if far_reach < best:
            stack[top], reach[top] = far, far_reach
            top += 1
        if near_reach < best:
            stack[top], reach[top] = near, near_reach
            top += 1
    return place, best, w0, w1, w2, w3


# Serial on purpose: samples run side by side, and the GIL is released.
@njit(cache=True, nogil=True)
def locate_all(kind, order, corners, boxes, links, targets):
    """Walk for every target (q, d): cell (q,) int32, barycentric (q, k), distance (q,)."""
    count, dim = targets.shape
    size = corners.shape[1]
    cell = np.empty(count, np.int32)
    barycentric = np.empty((count, size))
    distance = np.empty(count)
    stack = np.empty(STACK, np.int32)
    reach = np.empty(STACK)
    for i in range(count):
        z = targets[i, 2] if dim == 3 else 0.0
        place, square, w0, w1, w2, w3 = nearest(
            kind, corners, boxes, links, targets[i, 0], targets[i, 1], z, stack, reach
        )
        cell[i] = order[place]
        distance[i] = math.sqrt(square)
        barycentric[i, 0], barycentric[i, 1], barycentric[i, 2] = w0, w1, w2
        if size == 4:
            barycentric[i, 3] = w3
    return cell, barycentric, distance
