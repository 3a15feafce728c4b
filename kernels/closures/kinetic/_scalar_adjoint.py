"""The adjoint of the angular stencil at one point and mode, and transport, as scalar functions for CPU and
CUDA.

g_m is the gradient with respect to the m-th row of the stencil's result, `low` and `high` the rows m - 2 and
m + 2, complex numbers as real and imaginary parts. Gradients are those of torch: d/d Re + i d/d Im.
"""

from numba import njit


@njit(cache=True, inline="always")
def to_state(m, omega, t_re, t_im, low_re, low_im, g_re, g_im, high_re, high_im):
    """-i m (omega / 2) g_m + ((m + 2) / 2) conj(t) g_{m+2} - ((m - 2) / 2) t g_{m-2}."""
    here, below, above = 0.5 * m * omega, 0.5 * (m - 2.0), 0.5 * (m + 2.0)
    real = above * (t_re * high_re + t_im * high_im) - below * (t_re * low_re - t_im * low_im) + here * g_im
    imag = above * (t_re * high_im - t_im * high_re) - below * (t_re * low_im + t_im * low_re) - here * g_re
    return real, imag


@njit(cache=True, inline="always")
def to_drive(m, g_re, g_im, low_re, low_im, z_re, z_im, high_re, high_im):
    """Share of one mode in the gradients with respect to t (two parts) and to omega:
    (m / 2) [conj(z_{m-2}) g_m - z_{m+2} conj(g_m)] and (m / 2) Im(conj(z_m) g_m)."""
    half = 0.5 * m
    real = (low_re - high_re) * g_re + (low_im - high_im) * g_im
    imag = (low_re + high_re) * g_im - (low_im + high_im) * g_re
    return half * real, half * imag, half * (z_re * g_im - z_im * g_re)


@njit(cache=True, inline="always")
def carried(u, v, x_re, x_im, y_re, y_im):
    """u z_x + v z_y."""
    return u * x_re + v * y_re, u * x_im + v * y_im


@njit(cache=True, inline="always")
def to_velocity(g_re, g_im, x_re, x_im):
    """Share of one mode in the gradient of -Re <g, u z_x> with respect to u: -Re(conj(z_x) g_m)."""
    return -(x_re * g_re + x_im * g_im)
