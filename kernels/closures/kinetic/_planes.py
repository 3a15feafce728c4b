"""Fields on a square grid as their kept waves and back, by sweeps along each axis over kept lines alone.

Coefficients of a field are a plane (2, k, k), real and imaginary parts of the waves -top .. top along x and y;
a field on the grid is (2, n n) with x as the LAST axis, since a sweep leaves its lines across: what was along
x comes out beside. Two thirds of the lines are kept, so eight sweeps cost as much as six and two thirds.
"""

import numpy as np
from numba import njit

from kernels.closures.kinetic._fft import transform

CACHE = 1 << 17
"""Bytes of the four buffers of a sweep, which should stay in the second cache."""


@njit(cache=True, nogil=True, error_model="numpy")
def scratch(n, k):
    """Buffers of a sweep (4, n lanes), and what is between two sweeps (2, k n)."""
    return np.empty((4, n * max(8, CACHE // (32 * n)))), np.empty((2, k * n))


@njit(cache=True, nogil=True, error_model="numpy")
def _load(source, shape, first, lanes, size, wave, scale, xr, xi):
    """Rows of `size` numbers, times i wave[row] where `wave` has entries, into the places of their waves."""
    k, n = shape
    top = k // 2
    for row in range(top + 1, n - top):
        xr[row * lanes : (row + 1) * lanes] = 0.0
        xi[row * lanes : (row + 1) * lanes] = 0.0
    for a in range(k):
        to, at = ((a - top) % n) * lanes, a * size + first
        sr, si = source[0, at : at + lanes], source[1, at : at + lanes]
        tr, ti = xr[to : to + lanes], xi[to : to + lanes]
        if wave.size:
            factor = scale * wave[a]
            for l in range(lanes):
                tr[l] = -factor * si[l]
                ti[l] = factor * sr[l]
        else:
            for l in range(lanes):
                tr[l] = scale * sr[l]
                ti[l] = scale * si[l]


@njit(cache=True, nogil=True, error_model="numpy")
def along_x(plane, middle, wave, scale, buffers, radices, roots):
    """middle (2, k n), x last, of a plane (2, k k); of its x derivative where the waves are given."""
    n = roots.shape[1]
    k = middle.shape[1] // n
    xr, xi, yr, yi = buffers[0], buffers[1], buffers[2], buffers[3]
    most = buffers.shape[1] // n
    for first in range(0, k, most):
        lanes = min(most, k - first)
        _load(plane, (k, n), first, lanes, k, wave, scale, xr, xi)
        swapped = transform(xi, xr, yi, yr, lanes, radices, roots)  # parts exchanged: the inverse
        zr, zi = (yr, yi) if swapped else (xr, xi)
        for l in range(lanes):
            to = (first + l) * n
            tr, ti = middle[0, to : to + n], middle[1, to : to + n]
            for row in range(n):
                tr[row] = zr[row * lanes + l]
                ti[row] = zi[row * lanes + l]


@njit(cache=True, nogil=True, error_model="numpy")
def along_y(middle, field, wave, scale, buffers, radices, roots):
    """A field (2, n n) of `along_x`; its y derivative where the waves are given."""
    n = roots.shape[1]
    k = middle.shape[1] // n
    xr, xi, yr, yi = buffers[0], buffers[1], buffers[2], buffers[3]
    most = buffers.shape[1] // n
    for first in range(0, n, most):
        lanes = min(most, n - first)
        _load(middle, (k, n), first, lanes, n, wave, scale, xr, xi)
        swapped = transform(xi, xr, yi, yr, lanes, radices, roots)
        zr, zi = (yr, yi) if swapped else (xr, xi)
        for row in range(n):
            to, at = row * n + first, row * lanes
            field[0, to : to + lanes] = zr[at : at + lanes]
            field[1, to : to + lanes] = zi[at : at + lanes]


@njit(cache=True, nogil=True, error_model="numpy")
def waves_of(field, plane, middle, buffers, radices, roots):
    """The plane (2, k k) of a field (2, n n)."""
    n = roots.shape[1]
    k = middle.shape[1] // n
    top = k // 2
    xr, xi, yr, yi = buffers[0], buffers[1], buffers[2], buffers[3]
    most = buffers.shape[1] // n
    for first in range(0, n, most):
        lanes = min(most, n - first)
        for row in range(n):
            to, at = row * lanes, row * n + first
            xr[to : to + lanes] = field[0, at : at + lanes]
            xi[to : to + lanes] = field[1, at : at + lanes]
        swapped = transform(xr, xi, yr, yi, lanes, radices, roots)
        zr, zi = (yr, yi) if swapped else (xr, xi)
        for l in range(lanes):
            to = (first + l) * k
            tr, ti = middle[0, to : to + k], middle[1, to : to + k]
            for b in range(top):
                at = (n - top + b) * lanes + l
                tr[b] = zr[at]
                ti[b] = zi[at]
            for b in range(top, k):
                at = (b - top) * lanes + l
                tr[b] = zr[at]
                ti[b] = zi[at]
    for first in range(0, k, most):
        lanes = min(most, k - first)
        for row in range(n):
            to, at = row * lanes, row * k + first
            xr[to : to + lanes] = middle[0, at : at + lanes]
            xi[to : to + lanes] = middle[1, at : at + lanes]
        swapped = transform(xr, xi, yr, yi, lanes, radices, roots)
        zr, zi = (yr, yi) if swapped else (xr, xi)
        for a in range(k):
            to, at = a * k + first, ((a - top) % n) * lanes
            plane[0, to : to + lanes] = zr[at : at + lanes]
            plane[1, to : to + lanes] = zi[at : at + lanes]


@njit(cache=True, nogil=True, error_model="numpy")
def backward(planes, fields, radices, roots):
    """Fields (s, 2, n n) of planes (s, 2, k k)."""
    n, kk = roots.shape[1], planes.shape[2]
    buffers, middle = scratch(n, int(np.sqrt(kk) + 0.5))
    for f in range(planes.shape[0]):
        along_x(planes[f], middle, roots[0, :0], 1.0 / (n * n), buffers, radices, roots)
        along_y(middle, fields[f], roots[0, :0], 1.0, buffers, radices, roots)


@njit(cache=True, nogil=True, error_model="numpy")
def forward(fields, planes, radices, roots):
    """Planes (s, 2, k k) of fields (s, 2, n n)."""
    buffers, middle = scratch(roots.shape[1], int(np.sqrt(planes.shape[2]) + 0.5))
    for f in range(planes.shape[0]):
        waves_of(fields[f], planes[f], middle, buffers, radices, roots)
