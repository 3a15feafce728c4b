"""CPU loops of the angular stencil and of its adjoint over the scalar functions; arrays are (J, points)."""

import numba
import numpy as np

from kernels.closures.kinetic._scalar import bracket
from kernels.closures.kinetic._scalar_adjoint import carried, to_drive, to_state, to_velocity

TILE = 512
"""Points that are gone through for all modes before the next: their rows stay in the cache."""


@numba.njit(cache=True, nogil=True)
def forward(z, t, omega, out):
    """out (J, P) = bracket of z (J, P), t (P,), omega (P,)."""
    modes, points = z.shape
    none = np.zeros(points, np.complex128)
    for start in range(0, points, TILE):
        for j in range(modes):
            low = z[j - 1] if j > 0 else none
            high = z[j + 1] if j + 1 < modes else none
            here, row = z[j], out[j]
            for p in range(start, min(start + TILE, points)):
                real, imag = bracket(
                    2.0 * j, omega[p], t[p].real, t[p].imag,
                    low[p].real, low[p].imag, here[p].real, here[p].imag, high[p].real, high[p].imag,
                )  # fmt: skip
                row[p] = complex(real, imag)


@numba.njit(cache=True, nogil=True)
def transported(z, t, omega, u, v, x, y, out):
    """out (J, P) = bracket - u x - v y."""
    forward(z, t, omega, out)
    for j in range(z.shape[0]):
        along, across, row = x[j], y[j], out[j]
        for p in range(z.shape[1]):
            real, imag = carried(u[p], v[p], along[p].real, along[p].imag, across[p].real, across[p].imag)
            row[p] -= complex(real, imag)


@numba.njit(cache=True, nogil=True)
def adjoint(z, t, omega, g, to_z, to_t, to_omega):
    """Gradients to_z (J, P), to_t (P,), to_omega (P,) for g (J, P)."""
    modes, points = z.shape
    none = np.zeros(points, np.complex128)
    to_t[:] = 0.0
    to_omega[:] = 0.0
    for start in range(0, points, TILE):
        for j in range(modes):
            low, g_low = (z[j - 1], g[j - 1]) if j > 0 else (none, none)
            high, g_high = (z[j + 1], g[j + 1]) if j + 1 < modes else (none, none)
            here, g_here, row = z[j], g[j], to_z[j]
            for p in range(start, min(start + TILE, points)):
                real, imag = to_state(
                    2.0 * j, omega[p], t[p].real, t[p].imag, g_low[p].real, g_low[p].imag,
                    g_here[p].real, g_here[p].imag, g_high[p].real, g_high[p].imag,
                )  # fmt: skip
                row[p] = complex(real, imag)
                real, imag, turn = to_drive(
                    2.0 * j, g_here[p].real, g_here[p].imag, low[p].real, low[p].imag,
                    here[p].real, here[p].imag, high[p].real, high[p].imag,
                )  # fmt: skip
                to_t[p] += complex(real, imag)
                to_omega[p] += turn


@numba.njit(cache=True, nogil=True)
def transport_adjoint(u, v, x, y, g, to_u, to_v, to_x, to_y):
    """Gradients to_u, to_v (P,), to_x, to_y (J, P) of Re <g, -u x - v y>."""
    to_u[:] = 0.0
    to_v[:] = 0.0
    for j in range(g.shape[0]):
        for p in range(g.shape[1]):
            here = g[j, p]
            to_u[p] += to_velocity(here.real, here.imag, x[j, p].real, x[j, p].imag)
            to_v[p] += to_velocity(here.real, here.imag, y[j, p].real, y[j, p].imag)
            to_x[j, p] = -u[p] * here
            to_y[j, p] = -v[p] * here
