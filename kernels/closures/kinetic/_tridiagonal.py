"""The angular stencil solved point by point, SIMD across points."""

import numpy as np
from numba import njit

from kernels.closures.kinetic._scalar import HOW

BLOCK = 64
"""Points that are solved side by side; their eliminated rows stay in the first caches."""


@njit(**HOW)
def _eliminate(below, product, fixed, omega, tr, ti, right_r, right_i, before, here):
    """One row of the elimination: here = (1 / pivot, right-hand side / pivot), parts apart."""
    br, bi, lr, li = before[0], before[1], before[2], before[3]
    pr, pi, qr, qi = here[0], here[1], here[2], here[3]
    for i in range(omega.size):
        size = product * (tr[i] * tr[i] + ti[i] * ti[i])
        dr = fixed + size * br[i]
        di = size * bi[i] - below * omega[i]
        scale = 1.0 / (dr * dr + di * di)
        ir, ii = dr * scale, -di * scale
        rr = right_r[i] + below * (tr[i] * lr[i] - ti[i] * li[i])
        ri = right_i[i] + below * (tr[i] * li[i] + ti[i] * lr[i])
        pr[i] = ir
        pi[i] = ii
        qr[i] = rr * ir - ri * ii
        qi[i] = rr * ii + ri * ir


@njit(**HOW)
def _substitute(above, back, tr, ti, here, after, solved_r, solved_i, rate_r, rate_i):
    """One row of the back substitution, q_j = row_j - above conj(t) q_{j+1} / pivot_j; rate += q / weight."""
    ir, ii, qr, qi = here[0], here[1], here[2], here[3]
    hr, hi = after[2], after[3]
    for i in range(tr.size):
        xr = above * (tr[i] * hr[i] + ti[i] * hi[i])
        xi = above * (tr[i] * hi[i] - ti[i] * hr[i])
        re = qr[i] - (xr * ir[i] - xi * ii[i])
        im = qi[i] - (xr * ii[i] + xi * ir[i])
        qr[i] = re
        qi[i] = im
        solved_r[i] = re
        solved_i[i] = im
        rate_r[i] += back * re
        rate_i[i] += back * im


@njit(**HOW)
def implicit_solve(right, carried, weight, rotary, rate):
    """right (J, 2, points + pad) becomes q of (1 - weight A) q = right, and rate += q / weight, point by
    point; A q_m = bracket_m(q) - rotary m^2 q_m, m = 2 j; carried (5, points): u, v, omega, Re t, Im t.

    A tridiagonal system over m = 2, 4, .. after q_0, which the others do not change. Elimination without
    pivots is stable: an eliminated pivot is a diagonal with real part >= 1 plus weight^2 m (m - 2) |t|^2 / 4
    over the pivot before it, whose real part is positive.
    """
    modes, points = right.shape[0], carried.shape[1]
    rows = np.zeros((modes + 1, 4, BLOCK))
    for start in range(0, points, BLOCK):
        stop = min(start + BLOCK, points)
        omega, tr, ti = carried[2, start:stop], carried[3, start:stop], carried[4, start:stop]
        for j in range(modes):
            below = weight * j
            _eliminate(
                below, below * weight * max(j - 1, 0), 1.0 + 4.0 * weight * rotary * j * j, omega, tr, ti,
                right[j, 0, start:stop], right[j, 1, start:stop], rows[max(j - 1, 0)], rows[j],
            )  # fmt: skip
        for j in range(modes - 1, -1, -1):
            _substitute(
                weight * j if j + 1 < modes else 0.0, 1.0 / weight, tr, ti, rows[j], rows[j + 1],
                right[j, 0, start:stop], right[j, 1, start:stop],
                rate[j, 0, start:stop], rate[j, 1, start:stop],
            )  # fmt: skip
