"""One iteration of the flow that particles drive, on planes of waves and fields with x last (`_planes`)."""

import numpy as np
from numba import njit

from kernels.closures.kinetic._planes import backward, forward
from kernels.closures.kinetic._scalar import HOW, stress


@njit(**HOW)
def stress_field(alpha, zeta, beta, moments, strain, out):
    """`harmonics.stress` (2, points) of moments (3, 2, points) and a strain rate (2, points)."""
    c, z2r, z2i, z4r, z4i = moments[0, 0], moments[1, 0], moments[1, 1], moments[2, 0], moments[2, 1]
    er, ei, to_r, to_i = strain[0], strain[1], out[0], out[1]
    quarter = 0.25 * beta
    for p in range(to_r.size):
        t_re, t_im = er[p] + zeta * z2r[p], ei[p] + zeta * z2i[p]
        active = 0.5 * (alpha - beta * zeta * c[p])
        re, im = stress(active, quarter, c[p], t_re, t_im, z2r[p], z2i[p], z4r[p], z4i[p])
        to_r[p] = re
        to_i[p] = im


@njit(**HOW)
def stokes_planes(sigma, wave, out):
    """Planes (3, 2, k k) of the strain rate e, u + i v, and the vorticity, of a plane (2, k k) of stress.

    For s = s_r + i s_i the coefficients of both parts are [s(k) + conj s(-k)] / 2 and [s(k) - conj s(-k)]
    / (2 i); omega = [2 k_x k_y s_r + (k_y^2 - k_x^2) s_i] / k^2, u = i k_y omega / k^2, v = -i k_x omega
    / k^2, and e = i k_x u + i (i k_y u + i k_x v) / 2.
    """
    k = wave.size
    last = k * k - 1
    for a in range(k):
        for b in range(k):
            here = a * k + b
            other = last - here
            x, y = wave[a], wave[b]
            square = x * x + y * y
            inverse = 1.0 / square if square > 0.0 else 0.0
            cross, along = 2.0 * x * y * inverse, (y * y - x * x) * inverse
            pr, pi = sigma[0, here], sigma[1, here]
            qr, qi = sigma[0, other], -sigma[1, other]
            wr = 0.5 * (cross * (pr + qr) + along * (pi - qi))
            wi = 0.5 * (cross * (pi + qi) - along * (pr - qr))
            ur, ui = -y * inverse * wi, y * inverse * wr
            vr, vi = x * inverse * wi, -x * inverse * wr
            sr, si = 0.5 * (y * ur + x * vr), 0.5 * (y * ui + x * vi)  # shear = i s
            out[0, 0, here] = -x * ui - sr
            out[0, 1, here] = x * ur - si
            out[1, 0, here] = ur - vi
            out[1, 1, here] = ui + vr
            out[2, 0, here] = wr
            out[2, 1, here] = wi


@njit(**HOW)
def iterate(alpha, zeta, beta, moments, strain, wave, most, tolerance, out, radices, roots):
    """Fields out (3, 2, points) of strain rate, u + i v and vorticity, by at most so many iterations from a
    strain rate (2, points), fewer where it changes by less than the tolerance; the last relative change."""
    points, kk = strain.shape[1], wave.size * wave.size
    sigma, plane, planes = np.empty((1, 2, points)), np.empty((1, 2, kk)), np.empty((3, 2, kk))
    out[0] = strain
    change = np.inf
    for _ in range(most):
        stress_field(alpha, zeta, beta, moments, out[0], sigma[0])
        before = out[0].copy()
        forward(sigma, plane, radices, roots)
        stokes_planes(plane[0], wave, planes)
        backward(planes[:1], out[:1], radices, roots)
        if tolerance > 0.0:
            # a stress whose flow is zero leaves rounding, which does not converge
            size = max(np.abs(out[0]).max(), 0.1 * np.abs(sigma).max())
            change = np.abs(out[0] - before).max() / size if size > 0.0 else 0.0
            if not change > tolerance:
                break
    backward(planes[1:], out[1:], radices, roots)
    return change
