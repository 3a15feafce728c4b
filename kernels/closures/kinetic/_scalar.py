"""The angular stencil at one point and mode as scalar functions: one source for the CPU and for CUDA.

Complex numbers come as real and imaginary parts, z_{m-2} as `low`, z_{m+2} as `high`; t is the deviator of
T = E + 2 zeta D, omega the vorticity, see `kernels.closures.harmonics`.
"""

from typing import Any

from numba import njit

HOW: dict[str, Any] = {"cache": True, "nogil": True, "error_model": "numpy", "fastmath": {"contract"}}
"""How the loops are compiled: products and sums may fuse (one rounding less), nothing is reordered."""


@njit(cache=True, inline="always")
def bracket(m, omega, t_re, t_im, low_re, low_im, z_re, z_im, high_re, high_im):
    """Real and imaginary part of i m (omega / 2) z_m + (m / 2) [t z_{m-2} - conj(t) z_{m+2}]."""
    half = 0.5 * m
    real = t_re * (low_re - high_re) - t_im * (low_im + high_im) - omega * z_im
    imag = t_re * (low_im - high_im) + t_im * (low_re + high_re) + omega * z_re
    return half * real, half * imag


@njit(cache=True, inline="always")
def stress(active, quarter, c, t_re, t_im, z2_re, z2_im, z4_re, z4_im):
    """Deviator of the stress, `harmonics.stress`, with active = (alpha - beta zeta c) / 2 and
    quarter = beta / 4: active z_2 + quarter (conj(t) z_4 + t c)."""
    real = active * z2_re + quarter * (t_re * z4_re + t_im * z4_im + t_re * c)
    imag = active * z2_im + quarter * (t_re * z4_im - t_im * z4_re + t_im * c)
    return real, imag
