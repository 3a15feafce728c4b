"""Loops over points and modes for the CPU; SIMD across points, fields are (modes, points)."""

import numpy as np
from numba import njit

from kernels.closures.kinetic._scalar import bracket

BLOCK = 64
"""Points that are solved side by side; their eliminated rows stay in the first cache."""


@njit(cache=True, nogil=True, error_model="numpy")
def explicit_rate(z, zx, zy, u, v, omega, t, out):
    """out = bracket_m(z) - u z_x - v z_y for modes (J, p), m = 2 j, z_{2 J} = 0; z_0 has no bracket."""
    modes, points = z.shape
    for p in range(points):
        out[0, p] = -u[p] * zx[0, p].real - v[p] * zy[0, p].real
    for j in range(1, modes):
        top = 1.0 if j + 1 < modes else 0.0
        high = min(j + 1, modes - 1)
        for p in range(points):
            a, b, c, d = z[j - 1, p], z[j, p], z[high, p], t[p]
            re, im = bracket(
                2.0 * j, omega[p], d.real, d.imag, a.real, a.imag, b.real, b.imag, top * c.real, top * c.imag
            )
            re -= u[p] * zx[j, p].real + v[p] * zy[j, p].real
            im -= u[p] * zx[j, p].imag + v[p] * zy[j, p].imag
            out[j, p] = complex(re, im)


@njit(cache=True, nogil=True, error_model="numpy")
def implicit_solve(p, zx, zy, u, v, omega, t, weight, rotary, rate, change):
    """change = q - p of (1 - weight A) q = p - weight rate - weight (u z_x + v z_y), and rate += change /
    weight, point by point; A q_m = bracket_m(q) - d_R m^2 q_m, fields are (J, points).

    A tridiagonal system over m = 2, 4, .. after q_0, which the others do not change. Elimination without
    pivots is stable: an eliminated pivot is a diagonal with real part >= 1 plus weight^2 m (m - 2) |t|^2 / 4
    over the pivot before it, whose real part is positive.
    """
    modes, points = p.shape
    inv = np.empty((2, modes, BLOCK))
    row = np.empty((2, modes, BLOCK))
    back = 1.0 / weight
    for start in range(0, points, BLOCK):
        count = min(BLOCK, points - start)
        for i in range(count):
            k = start + i
            carry = u[k] * zx[0, k].real + v[k] * zy[0, k].real + rate[0, k].real
            row[0, 0, i] = p[0, k].real - weight * carry
            row[1, 0, i] = 0.0
            inv[0, 0, i] = 0.0
            inv[1, 0, i] = 0.0
        for j in range(1, modes):
            m = 2.0 * j
            below = 0.5 * weight * m
            product = below * 0.5 * weight * (m - 2.0)
            fixed = 1.0 + weight * rotary * m * m
            for i in range(count):
                k = start + i
                tr, ti = t[k].real, t[k].imag
                # inv holds 1 / pivot, pivot = diagonal + product |t|^2 / the pivot before
                size = product * (tr * tr + ti * ti)
                dr = fixed + size * inv[0, j - 1, i]
                di = -below * omega[k] + size * inv[1, j - 1, i]
                scale = 1.0 / (dr * dr + di * di)
                ir, ii = dr * scale, -di * scale
                inv[0, j, i] = ir
                inv[1, j, i] = ii
                lr, li = row[0, j - 1, i], row[1, j - 1, i]
                rr = p[j, k].real - weight * (u[k] * zx[j, k].real + v[k] * zy[j, k].real + rate[j, k].real)
                ri = p[j, k].imag - weight * (u[k] * zx[j, k].imag + v[k] * zy[j, k].imag + rate[j, k].imag)
                rr += below * (tr * lr - ti * li)
                ri += below * (tr * li + ti * lr)
                row[0, j, i] = rr * ir - ri * ii
                row[1, j, i] = rr * ii + ri * ir
        for j in range(modes - 1, -1, -1):
            above = weight * j if j + 1 < modes else 0.0
            nxt = min(j + 1, modes - 1)
            for i in range(count):
                k = start + i
                tr, ti = t[k].real, t[k].imag
                # q_j = row_j - weight (m / 2) conj(t) q_{j+1} / pivot_j; zero weight for j = 0
                hr, hi = row[0, nxt, i], row[1, nxt, i]
                xr = above * (tr * hr + ti * hi)
                xi = above * (tr * hi - ti * hr)
                qr = row[0, j, i] - (xr * inv[0, j, i] - xi * inv[1, j, i])
                qi = row[1, j, i] - (xr * inv[1, j, i] + xi * inv[0, j, i])
                row[0, j, i] = qr
                row[1, j, i] = qi
                qr -= p[j, k].real
                qi -= p[j, k].imag
                change[j, k] = complex(qr, qi)
                rate[j, k] = complex(rate[j, k].real + back * qr, rate[j, k].imag + back * qi)
