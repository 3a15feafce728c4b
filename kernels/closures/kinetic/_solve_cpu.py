"""CPU loops of the implicit angular part over the scalar functions; arrays are (J, points)."""

import numba

from kernels.closures.kinetic._scalar_adjoint import to_drive
from kernels.closures.kinetic._scalar_solve import down, eliminated, inverse_pivot, substituted, up

TILE = 128
"""Points that are solved side by side; their eliminated rows stay in the cache."""


@numba.njit(cache=True, nogil=True)
def _tile(r, t, omega, weight, rotary, adjoint, inverse, q, start, stop):
    modes = r.shape[0]
    sign = -1.0 if adjoint else 1.0
    for j in range(modes):
        factor, low = down(2.0 * j, weight, adjoint), max(j - 1, 0)
        if j == 0:
            factor = 0.0
        for p in range(start, stop):
            before = inverse[low, p] if j > 0 else 0j
            below = q[low, p] if j > 0 else 0j
            re, im = inverse_pivot(
                2.0 * j, weight, rotary, sign * omega[p], t[p].real, t[p].imag, before.real, before.imag
            )
            inverse[j, p] = complex(re, im)
            re, im = eliminated(
                factor, t[p].real, t[p].imag, below.real, below.imag, r[j, p].real, r[j, p].imag, re, im
            )
            q[j, p] = complex(re, im)
    for j in range(modes - 2, -1, -1):
        factor = up(2.0 * j, weight, adjoint)
        for p in range(start, stop):
            high, inv = q[j + 1, p], inverse[j, p]
            re, im = substituted(
                factor,
                t[p].real,
                t[p].imag,
                high.real,
                high.imag,
                q[j, p].real,
                q[j, p].imag,
                inv.real,
                inv.imag,
            )
            q[j, p] = complex(re, im)


@numba.njit(cache=True, nogil=True)
def solve(r, t, omega, weight, rotary, inverse, q):
    """q (J, P) for r (J, P), t (P,), omega (P,); inverse (J, P) receives one over the pivots."""
    for start in range(0, r.shape[1], TILE):
        _tile(r, t, omega, weight, rotary, False, inverse, q, start, min(start + TILE, r.shape[1]))


@numba.njit(cache=True, nogil=True)
def solve_adjoint(q, t, omega, g, weight, rotary, inverse, to_r, to_t, to_omega):
    """Gradients to_r (J, P), to_t (P,), to_omega (P,) for g (J, P), with the solution q."""
    modes, points = q.shape
    to_t[:] = 0.0
    to_omega[:] = 0.0
    for start in range(0, points, TILE):
        stop = min(start + TILE, points)
        _tile(g, t, omega, weight, rotary, True, inverse, to_r, start, stop)
        for j in range(1, modes):
            for p in range(start, stop):
                low, here, back = q[j - 1, p], q[j, p], to_r[j, p]
                high = q[j + 1, p] if j + 1 < modes else 0j
                re, im, turn = to_drive(
                    2.0 * j,
                    back.real,
                    back.imag,
                    low.real,
                    low.imag,
                    here.real,
                    here.imag,
                    high.real,
                    high.imag,
                )
                to_t[p] += weight * complex(re, im)
                to_omega[p] += weight * turn
