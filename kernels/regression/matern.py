"""The Matern-5/2 correlation with one lengthscale an input, and the contraction for its gradient."""

import math

import numpy as np
from numba import njit

_ROOT_FIVE = math.sqrt(5.0)
_LOG2_E = 1.0 / math.log(2.0)
_LN2_HIGH = (
    6.93147180369123816490e-01  # ln 2 in two parts: the high one has trailing zeros, so k * high is exact
)
_LN2_LOW = 1.90821492927058770002e-10
_ROUND = 6755399441055744.0  # 1.5 * 2**52: adding it leaves the nearest integer in the low bits of the sum
_LARGEST = 700.0
_TAYLOR = tuple(1.0 / math.factorial(k) for k in range(14))


@njit(cache=True, nogil=True, inline="never")
def _exp_minus(argument, count, result, rounded, bits):
    """result = exp(-argument) for the first `count` values, >= 0; `bits` is the int64 view of `rounded`.

    exp(-a) = 2^k exp(f), |f| <= ln(2) / 2, exp(f) by its Taylor polynomial of degree 13: within 2 units in
    the last place. Free of branches, so that the compiler uses SIMD instructions, which it does not for
    math.exp.
    """
    c = _TAYLOR
    for j in range(count):
        a = -min(argument[j], _LARGEST)
        shifted = a * _LOG2_E + _ROUND
        rounded[j] = shifted
        k = shifted - _ROUND
        f = (a - k * _LN2_HIGH) - k * _LN2_LOW
        p = c[13]
        p = p * f + c[12]
        p = p * f + c[11]
        p = p * f + c[10]
        p = p * f + c[9]
        p = p * f + c[8]
        p = p * f + c[7]
        p = p * f + c[6]
        p = p * f + c[5]
        p = p * f + c[4]
        p = p * f + c[3]
        p = p * f + c[2]
        p = p * f + c[1]
        result[j] = p * f + c[0]
    for j in range(count):
        bits[j] = (bits[j] + 1023) << 52
    for j in range(count):
        result[j] *= rounded[j]


@njit(cache=True, nogil=True)
def _scaled_distances(scaled, point, count, out):
    """out_j = sqrt(5) |point - scaled_j| for the first `count` columns of `scaled` (d, n)."""
    for j in range(count):
        out[j] = 0.0
    for d in range(scaled.shape[0]):
        row, here = scaled[d], point[d]
        for j in range(count):
            difference = here - row[j]
            out[j] += difference * difference
    for j in range(count):
        out[j] = math.sqrt(5.0 * out[j])


@njit(cache=True, nogil=True)
def correlation_lower(scaled, nugget, correlation, slope):
    """Lower triangles of R + nugget I and of the slope S that its derivatives share.

    R_ij = (1 + a + a^2 / 3) exp(-a), a = sqrt(5) |z_i - z_j| (Rasmussen and Williams 2006, eq. 4.17), z = x
    / lengthscale; d R_ij / d log lengthscale_d = S_ij (z_id - z_jd)^2, S_ij = 5/3 (1 + a) exp(-a).

    scaled (d, n) holds z, one column a sample; correlation and slope (n, n) are written for j <= i; all
    float64, C order, no units. R is exact to about 3 units in the last place. Does not handle other
    smoothness; no n x n x d array is made.
    """
    n = scaled.shape[1]
    a, e, rounded = np.empty(n), np.empty(n), np.empty(n)
    bits = rounded.view(np.int64)
    for i in range(n):
        _scaled_distances(scaled, scaled[:, i], i, a)
        _exp_minus(a, i, e, rounded, bits)
        row, tilt = correlation[i], slope[i]
        for j in range(i):
            row[j] = (1.0 + a[j] * (1.0 + a[j] / 3.0)) * e[j]
            tilt[j] = (5.0 / 3.0) * (1.0 + a[j]) * e[j]
        row[i] = 1.0 + nugget
        tilt[i] = 5.0 / 3.0


@njit(cache=True, nogil=True)
def correlation_row(scaled, point, out):
    """out_j = R(point, z_j) as in `correlation_lower`; a scaled point (d,), scaled (d, n), out (n,)."""
    n = scaled.shape[1]
    a, rounded = np.empty(n), np.empty(n)
    _scaled_distances(scaled, point, n, a)
    _exp_minus(a, n, out, rounded, rounded.view(np.int64))
    for j in range(n):
        out[j] *= 1.0 + a[j] * (1.0 + a[j] / 3.0)


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract", "nsz"})
def gradient_contraction(scaled, weights, factor, inverse, slope):
    """g_d = 1/2 sum_ij (factor w_i w_j - C_ij) S_ij (z_id - z_jd)^2, the trace in the gradient of the log
    likelihood.

    Rasmussen and Williams 2006, eq. 5.9, with C the inverse (lower triangle, n x n), S from
    `correlation_lower`, weights w (n,), scaled z (d, n). Returns (d,). The sum runs over pairs j < i once, a
    row at a time: 3 d flops a pair, and differences, not products, of coordinates, so that nothing cancels
    for long lengthscales.
    """
    dimensions, n = scaled.shape
    gradient, pair = np.zeros(dimensions), np.empty(n)
    for i in range(n):
        here, inverse_row, slope_row = factor * weights[i], inverse[i], slope[i]
        for j in range(i):
            pair[j] = (here * weights[j] - inverse_row[j]) * slope_row[j]
        for d in range(dimensions):
            row, centre = scaled[d], scaled[d, i]
            total = 0.0
            for j in range(i):
                difference = centre - row[j]
                total += pair[j] * difference * difference
            gradient[d] += total
    return gradient


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract", "nsz"})
def slope_products(scaled, weights, slope, out):
    """out_di = sum_j S_ij (z_id - z_jd)^2 w_j: the derivative of R by log lengthscale_d, times weights.

    scaled z (d, n), weights w (n,), slope S (n, n; lower triangle) from `correlation_lower`, out (d, n). The
    loop runs over pairs j < i once: 6 d flops a pair.
    """
    out[:] = 0.0
    for i in range(scaled.shape[1]):
        slope_row, mine = slope[i], weights[i]
        for d in range(scaled.shape[0]):
            row, centre, sums = scaled[d], scaled[d, i], out[d]
            total = 0.0
            for j in range(i):
                difference = centre - row[j]
                entry = slope_row[j] * (difference * difference)
                total += entry * weights[j]
                sums[j] += entry * mine
            sums[i] += total
