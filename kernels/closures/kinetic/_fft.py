"""Fourier transforms of many lines side by side, SIMD across the lines.

A plane is (n, lanes), flat, parts apart; the transform runs along its first axis. Stockham's self-sorting
form of radices 4 and 2 (C. Van Loan, Computational Frameworks for the Fast Fourier
Transform, 1992, section 1.7), any other prime as a plain sum.
"""

import numpy as np
from numba import njit

from kernels.closures.kinetic._scalar import HOW

SMALL = (4, 2)


def factors(length: int) -> np.ndarray:
    """Radices whose product is the length, those with an own butterfly first."""
    found, rest, prime = [], length, 3
    for radix in SMALL:
        while rest % radix == 0:
            found.append(radix)
            rest //= radix
    while rest > 1:
        if rest % prime == 0:
            found.append(prime)
            rest //= prime
        else:
            prime += 2
    return np.array(found or [1], dtype=np.int64)


def roots(length: int) -> np.ndarray:
    """cos and -sin of 2 pi k / length, (2, length)."""
    angle = 2.0 * np.pi * np.arange(length) / length
    return np.stack([np.cos(angle), -np.sin(angle)])


@njit(**HOW)
def _two(xr, xi, yr, yi, step, m, s, roots):
    for p in range(m):
        cr, ci = roots[0, p * s], roots[1, p * s]
        base, out, gap = p * step, 2 * p * step, m * step
        ar, ai = xr[base : base + step], xi[base : base + step]
        br, bi = xr[base + gap : base + gap + step], xi[base + gap : base + gap + step]
        er, ei = yr[out : out + step], yi[out : out + step]
        fr, fi = yr[out + step : out + 2 * step], yi[out + step : out + 2 * step]
        for q in range(step):
            ur, ui = ar[q] - br[q], ai[q] - bi[q]
            er[q] = ar[q] + br[q]
            ei[q] = ai[q] + bi[q]
            fr[q] = ur * cr - ui * ci
            fi[q] = ur * ci + ui * cr


@njit(**HOW)
def _four(xr, xi, yr, yi, step, m, s, roots):
    gap = m * step
    for p in range(m):
        c1, s1 = roots[0, p * s], roots[1, p * s]
        c2, s2 = roots[0, 2 * p * s], roots[1, 2 * p * s]
        c3, s3 = roots[0, 3 * p * s], roots[1, 3 * p * s]
        i, o = p * step, 4 * p * step
        a0, b0 = xr[i : i + step], xi[i : i + step]
        a1, b1 = xr[i + gap : i + gap + step], xi[i + gap : i + gap + step]
        a2, b2 = xr[i + 2 * gap : i + 2 * gap + step], xi[i + 2 * gap : i + 2 * gap + step]
        a3, b3 = xr[i + 3 * gap : i + 3 * gap + step], xi[i + 3 * gap : i + 3 * gap + step]
        d0, e0 = yr[o : o + step], yi[o : o + step]
        d1, e1 = yr[o + step : o + 2 * step], yi[o + step : o + 2 * step]
        d2, e2 = yr[o + 2 * step : o + 3 * step], yi[o + 2 * step : o + 3 * step]
        d3, e3 = yr[o + 3 * step : o + 4 * step], yi[o + 3 * step : o + 4 * step]
        for q in range(step):
            pr, pi = a0[q] + a2[q], b0[q] + b2[q]
            mr, mi = a0[q] - a2[q], b0[q] - b2[q]
            rr, ri = a1[q] + a3[q], b1[q] + b3[q]
            nr, ni = b1[q] - b3[q], a3[q] - a1[q]  # -i (x_1 - x_3)
            d0[q] = pr + rr
            e0[q] = pi + ri
            ur, ui = mr + nr, mi + ni
            d1[q] = ur * c1 - ui * s1
            e1[q] = ur * s1 + ui * c1
            ur, ui = pr - rr, pi - ri
            d2[q] = ur * c2 - ui * s2
            e2[q] = ur * s2 + ui * c2
            ur, ui = mr - nr, mi - ni
            d3[q] = ur * c3 - ui * s3
            e3[q] = ur * s3 + ui * c3


@njit(**HOW)
def _any(xr, xi, yr, yi, step, m, s, radix, roots):
    length = m * s * radix
    for p in range(m):
        for k in range(radix):
            out = (radix * p + k) * step
            for q in range(step):
                yr[out + q] = 0.0
                yi[out + q] = 0.0
            for i in range(radix):
                # omega_radix^{i k} omega_n^{p k} with n = length / s
                turn = (i * k * (length // radix) + p * k * s) % length
                cr, ci = roots[0, turn], roots[1, turn]
                base = (p + m * i) * step
                for q in range(step):
                    yr[out + q] += xr[base + q] * cr - xi[base + q] * ci
                    yi[out + q] += xr[base + q] * ci + xi[base + q] * cr


@njit(**HOW)
def transform(xr, xi, yr, yi, tr, ti, lanes, radices, roots):
    """y = forward transform of the plane x, which stays as it is; t is scratch of the same size.

    The inverse times n: real and imaginary parts exchanged, of x, y and t.
    """
    n, s, left = roots.shape[1], 1, radices.size
    ar, ai = xr, xi
    for radix in radices:
        m = n // radix
        left -= 1
        br, bi = (tr, ti) if left % 2 else (yr, yi)  # the last pass writes y
        if radix == 4:
            _four(ar, ai, br, bi, s * lanes, m, s, roots)
        elif radix == 2:
            _two(ar, ai, br, bi, s * lanes, m, s, roots)
        else:
            _any(ar, ai, br, bi, s * lanes, m, s, radix, roots)
        ar, ai = br, bi
        n, s = m, s * radix
