"""A time step mode by mode: what belongs to one mode stays in the second cache.

Modes are planes (J, 2, k k) of coefficients, fields (2, n n) with x last (`_planes`); carried (5, n n): u, v,
omega, Re t, Im t. plan: radices and roots of the transforms.
"""

import numpy as np
from numba import njit

from kernels.closures.kinetic._planes import along_x, along_y, scratch, waves_of
from kernels.closures.kinetic._scalar import HOW, bracket


@njit(**HOW)
def _rate(m, carried, low, z, high, zx, zy, damping, out):
    u, v, omega, t_re, t_im = carried[0], carried[1], carried[2], carried[3], carried[4]
    lr, li, zr, zi, hr, hi = low[0], low[1], z[0], z[1], high[0], high[1]
    xr, xi, yr, yi, to_r, to_i = zx[0], zx[1], zy[0], zy[1], out[0], out[1]
    for p in range(u.size):
        re, im = bracket(m, omega[p], t_re[p], t_im[p], lr[p], li[p], zr[p], zi[p], hr[p], hi[p])
        to_r[p] = re - u[p] * xr[p] - v[p] * yr[p] - damping * zr[p]
        to_i[p] = im - u[p] * xi[p] - v[p] * yi[p] - damping * zi[p]


@njit(**HOW)
def explicit_rate(w, carried, wave, rotary, rates, on_grid, radices, roots):
    """rates (J, 2, k k) = bracket_m(z) - u.grad z - rotary m^2 z, m = 2 j, z_{2 J} = 0.

    on_grid: (J, 2, n n) for the same before the filter, or (0, 2, n n) where it is not wanted.
    """
    modes, n, k = w.shape[0], roots.shape[1], wave.size
    none, scale = wave[:0], 1.0 / (n * n)
    buffers, across = scratch(n)
    here, after = np.zeros_like(across), np.zeros_like(across)
    z = np.zeros((4, 2, n * n))
    zx, zy, out = np.empty((2, n * n)), np.empty((2, n * n)), np.empty((2, n * n))
    along_x(w[0], here, none, scale, buffers, radices, roots)
    along_y(here, z[0], none, buffers, radices, roots)
    for j in range(modes):
        if j + 1 < modes:
            along_x(w[j + 1], after, none, scale, buffers, radices, roots)
            along_y(after, z[(j + 1) % 3], none, buffers, radices, roots)
        along_x(w[j], across, wave, scale, buffers, radices, roots)
        along_y(across, zx, none, buffers, radices, roots)
        along_y(here, zy, wave, buffers, radices, roots)
        high = z[(j + 1) % 3] if j + 1 < modes else z[3]
        low = z[(j - 1) % 3] if j > 0 else z[3]
        m = 2.0 * j
        _rate(m, carried, low, z[j % 3], high, zx, zy, rotary * m * m, out)
        if on_grid.shape[0]:
            on_grid[j] = out
        waves_of(out, rates[j], buffers, radices, roots)
        here, after = after, here
    middle = (k * k) // 2
    rates[0, 0, middle] = 0.0  # the flow moves c and makes none
    rates[0, 1, middle] = 0.0


@njit(**HOW)
def explicit_update(w, before, rate, rate_before, spreading, rotary, step):
    """before = [2 w - before / 2 + step (2 rate - rate_before)] / [3/2 + step (d_T k^2 + d_R m^2)]."""
    for j in range(w.shape[0]):
        fixed = 1.5 + step * rotary * 4.0 * j * j
        for part in range(2):
            x, y, r, s = w[j, part], before[j, part], rate[j, part], rate_before[j, part]
            for q in range(spreading.size):
                new = 2.0 * x[q] - 0.5 * y[q] + step * (2.0 * r[q] - s[q])
                y[q] = new / (fixed + step * spreading[q])


@njit(**HOW)
def _ahead(w, before, kept, spreading, weight, known, ahead, p, fore):
    """p = w + known (w - before) - weight d_T k^2 w + weight kept and fore = w + ahead (w - before)."""
    for part in range(2):
        x, y, r, to, fo = w[part], before[part], kept[part], p[part], fore[part]
        for q in range(spreading.size):
            d = x[q] - y[q]
            to[q] = (1.0 - weight * spreading[q]) * x[q] + known * d + weight * r[q]
            fo[q] = x[q] + ahead * d


@njit(**HOW)
def _source(p, zx, zy, u, v, weight, rate, right):
    """right = p - weight (rate + u z_x + v z_y), and rate -= p / weight."""
    back = 1.0 / weight
    for part in range(2):
        f, x, y, r, to = p[part], zx[part], zy[part], rate[part], right[part]
        for i in range(u.size):
            to[i] = f[i] - weight * (r[i] + u[i] * x[i] + v[i] * y[i])
            r[i] -= back * f[i]


@njit(**HOW)
def implicit_sources(
    w, before, kept, spreading, weight, known, ahead, carried, wave, rate, right, radices, roots
):
    """right (J, 2, n n + pad) = p - weight (rate + u.grad z) and rate -= p / weight, p and z the fields of
    w + known (w - before) - weight d_T k^2 w + weight kept, and of w + ahead (w - before)."""
    modes, n, k = w.shape[0], roots.shape[1], wave.size
    none, scale, points = wave[:0], 1.0 / (n * n), n * n
    buffers, middle = scratch(n)
    p, fore = np.empty((2, k * k)), np.empty((2, k * k))
    f, zx, zy = np.empty((2, points)), np.empty((2, points)), np.empty((2, points))
    for j in range(modes):
        _ahead(w[j], before[j], kept[j], spreading, weight, known, ahead, p, fore)
        along_x(p, middle, none, scale, buffers, radices, roots)
        along_y(middle, f, none, buffers, radices, roots)
        along_x(fore, middle, wave, scale, buffers, radices, roots)
        along_y(middle, zx, none, buffers, radices, roots)
        along_x(fore, middle, none, scale, buffers, radices, roots)
        along_y(middle, zy, wave, buffers, radices, roots)
        _source(f, zx, zy, carried[0], carried[1], weight, rate[j], right[j])


@njit(**HOW)
def _correct(w, q, spreading, weight, known, before, kept):
    """kept = (q - p') / weight, p' = p without kept, and before = w + (q - w) / (1 + weight d_T k^2)."""
    back = 1.0 / weight
    for part in range(2):
        x, y, r, f = w[part], before[part], kept[part], q[part]
        for i in range(spreading.size):
            spread = weight * spreading[i]
            r[i] = back * (f[i] - (1.0 - spread) * x[i] - known * (x[i] - y[i]))
            y[i] = x[i] + (f[i] - x[i]) / (1.0 + spread)


@njit(**HOW)
def implicit_update(w, before, kept, spreading, weight, known, solved, radices, roots):
    """The new w, written over the one before, and the filtered rates, from q on the grid (`solved`)."""
    modes, buffers = w.shape[0], scratch(roots.shape[1])[0]
    q = np.empty(w.shape[1:])
    mean = w.shape[2] // 2
    for j in range(modes):
        waves_of(solved[j], q, buffers, radices, roots)
        _correct(w[j], q, spreading, weight, known, before[j], kept[j])
    before[0, 0, mean] = w[0, 0, mean]  # the flow moves c and makes none
    before[0, 1, mean] = 0.0
