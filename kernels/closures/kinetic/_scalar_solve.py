"""One point and mode of (1 - w A) q = r, A q_m = bracket_m(q) - d_R m^2 q_m, and of its adjoint system.

Rows of the system are -w (m / 2) t q_{m-2} + (1 + w d_R m^2 - i w (m / 2) omega) q_m + w (m / 2) conj(t)
q_{m+2} = r_m, those of the adjoint one the same with -omega, -(m - 2) for the first m and -(m + 2) for the
last: `down` and `up` below. The product of neighbours is the same, so the pivots are conjugate. Elimination
without exchange of rows is stable: a pivot is a number with real part >= 1 plus a positive multiple of one
over the pivot before it, whose real part is positive.
"""

from numba import njit


@njit(cache=True, inline="always")
def down(m, weight, adjoint):
    """Factor of t q_{m-2} in row m, with its sign turned."""
    return -0.5 * weight * (m - 2.0) if adjoint else 0.5 * weight * m


@njit(cache=True, inline="always")
def up(m, weight, adjoint):
    """Factor of conj(t) q_{m+2} in row m."""
    return -0.5 * weight * (m + 2.0) if adjoint else 0.5 * weight * m


@njit(cache=True, inline="always")
def inverse_pivot(m, weight, rotary, omega, t_re, t_im, last_re, last_im):
    """1 / pivot of row m from that of row m - 2; omega with its sign turned for the adjoint system."""
    half = 0.5 * weight * m
    size = half * 0.5 * weight * (m - 2.0) * (t_re * t_re + t_im * t_im)
    real = 1.0 + weight * rotary * m * m + size * last_re
    imag = size * last_im - half * omega
    scale = 1.0 / (real * real + imag * imag)
    return real * scale, -imag * scale


@njit(cache=True, inline="always")
def eliminated(factor, t_re, t_im, low_re, low_im, r_re, r_im, inv_re, inv_im):
    """(r_m + down t y_{m-2}) / pivot, y the right side so far."""
    real = r_re + factor * (t_re * low_re - t_im * low_im)
    imag = r_im + factor * (t_re * low_im + t_im * low_re)
    return real * inv_re - imag * inv_im, real * inv_im + imag * inv_re


@njit(cache=True, inline="always")
def substituted(factor, t_re, t_im, high_re, high_im, y_re, y_im, inv_re, inv_im):
    """y_m - up conj(t) q_{m+2} / pivot."""
    real = factor * (t_re * high_re + t_im * high_im)
    imag = factor * (t_re * high_im - t_im * high_re)
    return y_re - (real * inv_re - imag * inv_im), y_im - (real * inv_im + imag * inv_re)
