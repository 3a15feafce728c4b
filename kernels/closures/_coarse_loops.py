"""Loops over points and waves of the coarse model for the CPU: (runs, ..., points or waves)."""

from numba import njit


@njit(cache=True, nogil=True, error_model="numpy")
def slopes(v, kx, ky, out):
    """out (b, 3, fields, waves) = v, d_x v, d_y v."""
    runs, fields, waves = v.shape
    for b in range(runs):
        for f in range(fields):
            for k in range(waves):
                re, im = v[b, f, k].real, v[b, f, k].imag
                out[b, 0, f, k] = v[b, f, k]
                out[b, 1, f, k] = complex(-kx[k] * im, kx[k] * re)
                out[b, 2, f, k] = complex(-ky[k] * im, ky[k] * re)


@njit(cache=True, nogil=True, error_model="numpy")
def prepare(values, e1, e2, e3, z2, linear, e, c):
    """z_2, and c where it is one of the fields, of the planes of `slopes`, and strain rates from the last
    three, latest first: 2 e_1 - e_2 and 3 e_1 - 3 e_2 + e_3."""
    runs, _, fields, points = values.shape
    for b in range(runs):
        for i in range(points):
            z2[b, i] = complex(values[b, 0, fields - 2, i], values[b, 0, fields - 1, i])
            linear[b, i] = 2.0 * e1[b, i] - e2[b, i]
            e[b, i] = 3.0 * (e1[b, i] - e2[b, i]) + e3[b, i]
            if fields == 3:
                c[b, i] = values[b, 0, 0, i]


@njit(cache=True, nogil=True, inline="always", error_model="numpy")
def _stress(c, z2, z4, g, e, alpha, beta, zeta):
    tr, ti = e.real + zeta * z2.real, e.imag + zeta * z2.imag
    front, back = 0.5 * (alpha - beta * zeta * c), 0.25 * beta
    re = front * z2.real + back * (tr * z4.real + ti * z4.imag + tr * g)
    im = front * z2.imag + back * (tr * z4.imag - ti * z4.real + ti * g)
    return re, im


@njit(cache=True, nogil=True, error_model="numpy")
def stress(c, z2, z4, g, e, alpha, beta, zeta, sigma):
    """Planes sigma (b, 2, points) of the stress deviator."""
    runs, points = z2.shape
    for b in range(runs):
        for i in range(points):
            re, im = _stress(c[b, i], z2[b, i], z4[b, i], g[b, i], e[b, i], alpha[b], beta[b], zeta[b])
            sigma[b, 0, i] = re
            sigma[b, 1, i] = im


@njit(cache=True, nogil=True, error_model="numpy")
def corrected(found, p, q, change, c, z2, z4, g, e, alpha, beta, zeta, sigma):
    """change' = p change + q (found - e), e' = e + change', and the stress there."""
    runs, points = z2.shape
    for b in range(runs):
        for i in range(points):
            re = p[b] * change[b, i].real + q[b] * (found[b, 0, i] - e[b, i].real)
            im = p[b] * change[b, i].imag + q[b] * (found[b, 1, i] - e[b, i].imag)
            change[b, i] = complex(re, im)
            e[b, i] = complex(e[b, i].real + re, e[b, i].imag + im)
            re, im = _stress(c[b, i], z2[b, i], z4[b, i], g[b, i], e[b, i], alpha[b], beta[b], zeta[b])
            sigma[b, 0, i] = re
            sigma[b, 1, i] = im


@njit(cache=True, nogil=True, error_model="numpy")
def strained(sigma, cross, along, out):
    """Strain rate out (b, 2, waves) that a stress (b, 2, waves) drives; cross and along are filtered."""
    runs, _, waves = sigma.shape
    for b in range(runs):
        for k in range(waves):
            half = -0.5 * (cross[k] * sigma[b, 0, k] + along[k] * sigma[b, 1, k])
            out[b, 0, k] = cross[k] * half
            out[b, 1, k] = along[k] * half


@njit(cache=True, nogil=True, error_model="numpy")
def flowing(sigma, cross, along, to_u, to_v, out):
    """Strain rate, u, v, vorticity out (b, 5, waves) that a stress (b, 2, waves) drives."""
    runs, _, waves = sigma.shape
    for b in range(runs):
        for k in range(waves):
            w = cross[k] * sigma[b, 0, k] + along[k] * sigma[b, 1, k]
            out[b, 0, k] = -0.5 * cross[k] * w
            out[b, 1, k] = -0.5 * along[k] * w
            out[b, 2, k] = complex(-to_u[k] * w.imag, to_u[k] * w.real)
            out[b, 3, k] = complex(-to_v[k] * w.imag, to_v[k] * w.real)
            out[b, 4, k] = w


@njit(cache=True, nogil=True, error_model="numpy")
def rates(values, flow, c, z2, z4, g, zeta, e, out):
    """Planes of -u.grad c (where c is one of the fields) and of -u.grad z_2 + i omega z_2 + (2 c - g) t -
    conj(t) z_4; the strain rate of the flow goes to e."""
    runs, _, fields, points = values.shape
    last = fields - 1
    for b in range(runs):
        for i in range(points):
            er, ei, u, v, w = flow[b, 0, i], flow[b, 1, i], flow[b, 2, i], flow[b, 3, i], flow[b, 4, i]
            e[b, i] = complex(er, ei)
            x, y, s = z2[b, i].real, z2[b, i].imag, z4[b, i]
            tr, ti = er + zeta[b] * x, ei + zeta[b] * y
            h = 2.0 * c[b, i] - g[b, i]
            if fields == 3:
                out[b, 0, i] = -u * values[b, 1, 0, i] - v * values[b, 2, 0, i]
            re = h * tr - tr * s.real - ti * s.imag - w * y
            im = h * ti - tr * s.imag + ti * s.real + w * x
            out[b, last - 1, i] = re - u * values[b, 1, last - 1, i] - v * values[b, 2, last - 1, i]
            out[b, last, i] = im - u * values[b, 1, last, i] - v * values[b, 2, last, i]


@njit(cache=True, nogil=True, error_model="numpy")
def sbdf2(v, before, rate, rate_before, mask, solve, step, out):
    """The rate filtered in place, and out = solve (2 v - before / 2 + step (2 rate - rate_before))."""
    runs, fields, waves = v.shape
    for b in range(runs):
        for f in range(fields):
            for k in range(waves):
                n = mask[f, k] * rate[b, f, k]
                rate[b, f, k] = n
                known = 2.0 * v[b, f, k] - 0.5 * before[b, f, k]
                out[b, f, k] = solve[b, f, k] * (known + step * (2.0 * n - rate_before[b, f, k]))
