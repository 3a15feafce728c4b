"""Moments of the Bingham distribution on the sphere by quadrature, and the distribution of given moments."""

import math

import numpy as np
from numba import njit

from kernels.errors import InputError

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(96)
_REACH = 6.5  # deviations: exp(-6.5^2) is below rounding


def moments(a2: float, a3: float) -> tuple[float, float, float, float, float, float]:
    """mu_1, mu_2, mu_3, S_1122, S_1133, S_2233 of exp(-a2 p_2^2 - a3 p_3^2) / Z, 0 <= a2 <= a3.

    Gauss-Legendre rules in z = p_3 and in the angle about that axis, cut where the exponential is below
    rounding: 96 x 96 terms, all positive, so that small moments are exact to rounding too.
    """
    found: tuple[float, float, float, float, float, float] = _moments(a2, a3, _NODES, _WEIGHTS)
    return found


def solve(mu2: float, mu3: float) -> tuple[float, float]:
    """a2 and a3 of the distribution of second moments mu_1 >= mu2 >= mu3 > 0, sum 1.

    Newton on 1 / mu, which is nearly linear in a: 2 a + const for large a. Raises InputError where the
    moments are not in this order or none is found.
    """
    if not (0.0 < mu3 <= mu2 + 1e-12 and 2.0 * mu2 + mu3 <= 1.0 + 1e-12):
        raise InputError(f"second moments mu2 = {mu2!r}, mu3 = {mu3!r}: expected mu1 >= mu2 >= mu3 > 0")
    mu1 = 1.0 - mu2 - mu3
    a2, a3 = (1.0 / mu2 - 1.0 / mu1) / 2.0, (1.0 / mu3 - 1.0 / mu1) / 2.0
    for _ in range(100):
        _, m2, m3, s12, s13, s23 = moments(a2, a3)
        j22, j23, j33 = m2 - s12 - s23 - m2 * m2, s23 - m2 * m3, m3 - s13 - s23 - m3 * m3
        r2, r3 = m2 * (m2 / mu2 - 1.0), m3 * (m3 / mu3 - 1.0)
        det = j22 * j33 - j23 * j23
        step2, step3 = (j33 * r2 - j23 * r3) / det, (j22 * r3 - j23 * r2) / det
        a3 = max(a3 + step3, 0.0)
        a2 = min(max(a2 + step2, 0.0), a3)
        if abs(step2) + abs(step3) < 1e-14 * (1.0 + a2) + 1e-14 * (1.0 + a3):
            return a2, a3
    if abs(step2) + abs(step3) < 1e-11 * (1.0 + a3):  # rounding of the moments
        return a2, a3
    raise InputError(f"no distribution found for mu2 = {mu2!r}, mu3 = {mu3!r}: is mu3 below 1e-7?")


@njit(cache=True, nogil=True)
def _moments(a2, a3, nodes, weights):
    height = min(1.0, _REACH / math.sqrt(max(a3, 1e-9)))
    turn = 0.5 * math.pi
    if a2 > 2.0 * _REACH**2:
        turn = math.asin(min(1.0, 1.1 * _REACH / math.sqrt(a2)))
    total = np.zeros(7)
    for i in range(nodes.size):
        p3 = (0.5 * height * (1.0 + nodes[i])) ** 2
        rest = 1.0 - p3
        row0 = row1 = row2 = row12 = 0.0  # sums of sums: rounding stays near that of one row
        for j in range(nodes.size):
            p2 = rest * math.sin(0.5 * turn * (1.0 + nodes[j])) ** 2
            p1 = rest - p2
            w = weights[j] * math.exp(-a2 * p2)
            row0 += w
            row1 += w * p1
            row2 += w * p2
            row12 += w * p1 * p2
        outer = weights[i] * math.exp(-a3 * p3)
        total[0] += outer * row0
        total[1] += outer * row1
        total[2] += outer * row2
        total[3] += outer * row0 * p3
        total[4] += outer * row12
        total[5] += outer * row1 * p3
        total[6] += outer * row2 * p3
    mu1, mu2, mu3, s12, s13, s23 = total[1:] / total[1:4].sum()
    return mu1, mu2, mu3, s12, s13, s23
