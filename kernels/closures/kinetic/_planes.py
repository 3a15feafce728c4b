"""Fields on a square grid as their kept waves and back, by sweeps along each axis over kept lines alone.

Coefficients of a field are a plane (2, k, k), real and imaginary parts of waves -top .. top along x and y; a
field on the grid is (2, n n) with x as the LAST axis, since a sweep leaves its lines across: what was along
x comes out beside. Two thirds of the lines are kept, so eight sweeps cost as much as six and two thirds.
"""

import numpy as np
from numba import njit

from kernels.closures.kinetic._fft import transform
from kernels.closures.kinetic._scalar import HOW

LANES = 64
"""Lines that are transformed side by side; their buffers stay in the second cache."""

ODD = 72
"""Numbers between buffers, which a power of two apart would fall on the same places of the cache."""


@njit(**HOW)
def scratch(n):
    """What sweeps need: six buffers of whole planes, and what is between two sweeps (2, n n)."""
    return np.empty((6, n * (n + LANES) + ODD)), np.zeros((2, n * n + ODD))


@njit(**HOW)
def along_x(plane, middle, wave, scale, buffers, radices, roots):
    """middle (2, n n): rows of a plane (2, k k) or, where the waves are given, of its x derivative, each line
    across in the place of its wave; places of dropped waves stay as they are, zero."""
    n = roots.shape[1]
    k = int(np.sqrt(plane.shape[1]) + 0.5)
    top = k // 2
    xr, xi = buffers[0, : n * k], buffers[1, : n * k]
    xr[(top + 1) * k : (n - top) * k] = 0.0
    xi[(top + 1) * k : (n - top) * k] = 0.0
    for a in range(k):
        to, at = ((a - top) % n) * k, a * k
        sr, si, dr, di = plane[0, at : at + k], plane[1, at : at + k], xr[to : to + k], xi[to : to + k]
        if wave.size:
            factor = scale * wave[a]
            for l in range(k):
                dr[l] = -factor * si[l]
                di[l] = factor * sr[l]
        else:
            for l in range(k):
                dr[l] = scale * sr[l]
                di[l] = scale * si[l]
    yr, yi = buffers[2], buffers[3]
    # parts exchanged: the inverse
    transform(xi, xr, yi, yr, buffers[5], buffers[4], k, radices, roots)
    for b in range(k):
        to = ((b - top) % n) * n
        for part in range(2):
            source, target = buffers[2 + part, b:], middle[part, to : to + n]
            for row in range(n):
                target[row] = source[row * k]


@njit(**HOW)
def along_y(middle, field, wave, buffers, radices, roots):
    """A field (2, n n) of `along_x`; its y derivative where the waves are given."""
    n = roots.shape[1]
    if n <= LANES and wave.size == 0:
        transform(middle[1], middle[0], field[1], field[0], buffers[5], buffers[4], n, radices, roots)
        return
    top = wave.size // 2
    xr, xi, yr, yi = buffers[0], buffers[1], buffers[2], buffers[3]
    for first in range(0, n, LANES):
        lanes = min(LANES, n - first)
        for row in range(n):
            at, to = row * n + first, row * lanes
            sr, si = middle[0, at : at + lanes], middle[1, at : at + lanes]
            dr, di = xr[to : to + lanes], xi[to : to + lanes]
            if wave.size:
                number = row if row <= top else row - n
                factor = wave[number + top] if abs(number) <= top else 0.0
                for l in range(lanes):
                    dr[l] = -factor * si[l]
                    di[l] = factor * sr[l]
            else:
                for l in range(lanes):
                    dr[l] = sr[l]
                    di[l] = si[l]
        if n <= LANES:
            transform(xi, xr, field[1], field[0], buffers[5], buffers[4], n, radices, roots)
            return
        transform(xi, xr, yi, yr, buffers[5], buffers[4], lanes, radices, roots)
        for row in range(n):
            to, at = row * n + first, row * lanes
            for part in range(2):
                source, target = buffers[2 + part, at : at + lanes], field[part, to : to + lanes]
                for l in range(lanes):
                    target[l] = source[l]


@njit(**HOW)
def waves_of(field, plane, buffers, radices, roots):
    """The plane (2, k k) of a field (2, n n ..)."""
    n = roots.shape[1]
    k = int(np.sqrt(plane.shape[1]) + 0.5)
    top = k // 2
    xr, xi, yr, yi = buffers[0], buffers[1], buffers[2], buffers[3]
    for first in range(0, n, LANES):
        lanes = min(LANES, n - first)
        if n <= LANES:
            transform(field[0], field[1], yr, yi, buffers[4], buffers[5], n, radices, roots)
        else:
            for row in range(n):
                to, at = row * lanes, row * n + first
                for part in range(2):
                    source, target = field[part, at : at + lanes], buffers[part, to : to + lanes]
                    for l in range(lanes):
                        target[l] = source[l]
            # results of the first sweep gather in buffers 4 and 5, so these are no scratch yet
            transform(xr, xi, yr, yi, xr[n * LANES :], xi[n * LANES :], lanes, radices, roots)
        for l in range(lanes):
            to = (first + l) * k
            for part in range(2):
                source, target = buffers[2 + part, l:], buffers[4 + part, to : to + k]
                for row in range(top):
                    target[row] = source[(n - top + row) * lanes]
                for row in range(top, k):
                    target[row] = source[(row - top) * lanes]
    transform(buffers[4], buffers[5], yr, yi, xr, xi, k, radices, roots)
    for a in range(k):
        to, at = a * k, ((a - top) % n) * k
        for part in range(2):
            source, target = buffers[2 + part, at : at + k], plane[part, to : to + k]
            for l in range(k):
                target[l] = source[l]


@njit(**HOW)
def backward(planes, fields, radices, roots):
    """Fields (s, 2, n n) of planes (s, 2, k k)."""
    n = roots.shape[1]
    buffers, middle = scratch(n)
    for f in range(planes.shape[0]):
        along_x(planes[f], middle, roots[0, :0], 1.0 / (n * n), buffers, radices, roots)
        along_y(middle, fields[f], roots[0, :0], buffers, radices, roots)


@njit(**HOW)
def forward(fields, planes, radices, roots):
    """Planes (s, 2, k k) of fields (s, 2, n n)."""
    buffers, _ = scratch(roots.shape[1])
    for f in range(planes.shape[0]):
        waves_of(fields[f], planes[f], buffers, radices, roots)
