"""Small learned closures in one pass over the points: no field in between is written to memory.

Points are taken in blocks that stay in the first cache, and every loop runs along a block, so that all of it
vectorises; on 4096 points this takes a tenth of the time of torch, whose operators write each layer out.
"""

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from numba import njit
from torch import Tensor

from kernels.closures.base import Moments
from kernels.closures.bingham import planar
from kernels.closures.neural import disc
from kernels.closures.physics import Physics

if TYPE_CHECKING:
    from kernels.closures.neural.pointwise import Neural

BLOCK = 64
MAP = planar.MAP
_FAST = {"contract", "reassoc", "nsz", "arcp"}
_LARGE = 1e15
"""Beyond it x / sqrt(1 + x^2) is 1 to rounding, and squares would leave the range of single precision."""


FAMILIES = ("local", "strain", "gradient")
"""Families that the kernel knows: perceptrons of what a point sees."""


class Frozen:
    """z_4 as `closure.forward` gives it, to rounding, while neither weights nor physics change."""

    def __init__(self, closure: "Neural", physics: Physics) -> None:
        self._seen = closure
        names = closure.settings.parameters
        numbers = [torch.as_tensor(getattr(physics, n), dtype=torch.float64).detach() for n in names]
        numbers = list(torch.broadcast_tensors(*numbers)) if numbers else []
        self._shape = tuple(numbers[0].shape) if numbers else ()
        self._runs = numbers[0].numel() if numbers else 1
        given = torch.stack([one.reshape(-1) for one in numbers], dim=1) if numbers else torch.empty(1, 0)
        scaled = (
            (given.double() - closure.mean[-len(names) :]) / closure.scale[-len(names) :] if names else given
        )
        weights = [w.detach() for w in closure.network.weights]
        biases = [b.detach() for b in closure.network.biases]
        fields = closure.invariants
        first = weights[0][:, :fields] / closure.scale[:fields]
        start = biases[0] - first @ closure.mean[:fields] + scaled.double() @ weights[0][:, fields:].T
        width, depth = start.shape[1], len(weights) - 1
        inner = torch.stack(weights[1:-1]) if depth > 1 else torch.empty(0, width, width, dtype=torch.float64)
        bias = torch.stack(biases[1:-1]) if depth > 1 else torch.empty(0, width, dtype=torch.float64)
        last = weights[-1] / closure.term_scale[:, None], biases[-1] / closure.term_scale
        made = (first.contiguous(), start.contiguous(), inner, bias, *last)
        series = _series() if closure.settings.base == "bingham" else np.empty(0)
        self._made = (*(part.numpy() for part in made), series)

    def serves(self, moments: Moments) -> bool:
        """Whether the kernel does these: float64 on a processor, one physics for all points or one for each
        of the leading fields."""
        z2, shape = moments.z2, self._shape
        if z2.dtype != torch.complex128 or z2.device.type != "cpu" or moments.c.dtype != torch.float64:
            return False
        return all(n == 1 for n in shape) or (
            len(shape) == z2.dim() >= 3 and shape[-2:] == (1, 1) and shape[:-2] == z2.shape[:-2]
        )

    def __call__(self, moments: Moments) -> Tensor:
        """z_4 of moments that it serves."""
        from kernels.closures.neural.gradient import Gradient  # which imports what imports this

        z2, runs, closure = moments.z2.detach(), self._runs, self._seen
        first, start, inner, bias, last, last_bias, series = self._made
        out = torch.empty(runs, z2.numel() // runs, 2, dtype=torch.float64)
        slopes = np.empty((10, 1, 1))
        if isinstance(closure, Gradient):
            found = closure.slopes(moments.z2 / moments.c, moments).detach()
            slopes = found.expand(5, 2, *z2.shape).contiguous().reshape(10, runs, -1).numpy()
        _closed(
            _flat(moments.c.detach().expand(z2.shape), runs), _pairs(z2, runs),
            _pairs(moments.strain.detach().expand(z2.shape), runs) if closure.invariants > 1 else out.numpy(),
            slopes, first, start, inner, bias, last, last_bias, series, out.numpy(),
        )  # fmt: skip
        return torch.view_as_complex(out).reshape(z2.shape)


@lru_cache(maxsize=1)
def _series() -> np.ndarray:
    """Coefficients of the Bingham closure, an odd number of them."""
    found = planar.series(disc.TOLERANCE).coefficients
    return np.append(found, np.zeros(1 - len(found) % 2))


def _flat(values: Tensor, runs: int) -> np.ndarray:
    found: np.ndarray = values.contiguous().reshape(runs, -1).numpy()
    return found


def _pairs(values: Tensor, runs: int) -> np.ndarray:
    plain = values.resolve_conj().resolve_neg().contiguous()
    found: np.ndarray = torch.view_as_real(plain).reshape(runs, -1, 2).numpy()
    return found


@njit(cache=True, nogil=True, error_model="numpy", fastmath=_FAST)
def _closed(c, z2, e, slopes, first, start, inner, inner_bias, last, last_bias, series, out):
    width, depth = first.shape[0], inner.shape[0]
    strain, wide = first.shape[1] > 1, first.shape[1] == 8
    x, d = np.empty((8, BLOCK)), np.zeros((10, BLOCK))
    frame = np.empty((4, BLOCK))
    a, b = np.empty((width, BLOCK)), np.empty((width, BLOCK))
    y = np.zeros((8, BLOCK))
    for run in range(c.shape[0]):
        for begin in range(0, c.shape[1], BLOCK):
            count = min(BLOCK, c.shape[1] - begin)
            for i in range(count):
                at = 1.0 / c[run, begin + i]
                frame[0, i], frame[1, i] = z2[run, begin + i, 0] * at, z2[run, begin + i, 1] * at
                frame[2, i] = e[run, begin + i, 0] if strain else 0.0
                frame[3, i] = e[run, begin + i, 1] if strain else 0.0
            for i in range(count, BLOCK):
                frame[0, i], frame[1, i], frame[2, i], frame[3, i] = 0.0, 0.0, 0.0, 0.0
            for i in range(BLOCK):
                x[0, i] = frame[0, i] ** 2 + frame[1, i] ** 2
                x[1, i] = frame[2, i] ** 2 + frame[3, i] ** 2
                x[2, i] = frame[0, i] * frame[2, i] + frame[1, i] * frame[3, i]
            if wide:
                _slopes(slopes, run, begin, count, frame, d, x)
            _layer(x, first.shape[1], first, start[run], a)
            _activate(a)
            for k in range(depth):
                _layer(a, width, inner[k], inner_bias[k], b)
                _activate(b)
                a, b = b, a
            _layer(a, width, last, last_bias, y)
            _placed(frame, x, y, d, wide, series, out[run], c[run], begin, count)


@njit(cache=True, nogil=True, error_model="numpy", fastmath=_FAST)
def _slopes(slopes, run, begin, count, frame, d, x):
    """dq, d*q, ddq, Lap q as pairs of rows of d, and the invariants from them, of a block of points."""
    for i in range(count):
        rx, sx = slopes[0, run, begin + i], slopes[1, run, begin + i]
        ry, sy = slopes[2, run, begin + i], slopes[3, run, begin + i]
        rd, sd = slopes[4, run, begin + i], slopes[5, run, begin + i]
        rm, sm = slopes[6, run, begin + i], slopes[7, run, begin + i]
        d[0, i], d[1, i], d[2, i], d[3, i] = rx - sy, ry + sx, rx + sy, sx - ry
        d[4, i], d[5, i] = rd - sm, rm + sd
        d[6, i], d[7, i], x[7, i] = slopes[8, run, begin + i], slopes[9, run, begin + i], rd + sm
    for i in range(BLOCK):
        x[3, i] = d[0, i] ** 2 + d[1, i] ** 2
        x[4, i] = d[2, i] ** 2 + d[3, i] ** 2
        x[5, i] = frame[0, i] * d[6, i] + frame[1, i] * d[7, i]
        x[6, i] = frame[2, i] * d[6, i] + frame[3, i] * d[7, i]


@njit(cache=True, nogil=True, error_model="numpy", fastmath=_FAST)
def _layer(x, inputs, weight, bias, y):
    for j in range(weight.shape[0]):
        for i in range(BLOCK):
            y[j, i] = bias[j]
        whole = inputs - inputs % 4
        for k in range(0, whole, 4):  # four at a time: the sums are read and written a quarter as often
            p, q, r, s = weight[j, k], weight[j, k + 1], weight[j, k + 2], weight[j, k + 3]
            for i in range(BLOCK):
                y[j, i] += p * x[k, i] + q * x[k + 1, i] + r * x[k + 2, i] + s * x[k + 3, i]
        for k in range(whole, inputs):
            w = weight[j, k]
            for i in range(BLOCK):
                y[j, i] += w * x[k, i]


@njit(cache=True, nogil=True, error_model="numpy", fastmath=_FAST)
def _inverse_root(s):
    """1 / sqrt(s) to 1e-14, s >= 1: single precision and a step of Newton's method, which take a third of the
    time of a division and a square root in double precision."""
    r = np.float64(np.float32(1.0) / np.sqrt(np.float32(s)))
    return r * (1.5 - 0.5 * s * r * r)


@njit(cache=True, nogil=True, error_model="numpy", fastmath=_FAST)
def _activate(y):
    for j in range(y.shape[0]):
        for i in range(BLOCK):
            x = min(max(y[j, i], -_LARGE), _LARGE)
            y[j, i] = x * _inverse_root(1.0 + x * x)


@njit(cache=True, nogil=True, error_model="numpy", fastmath=_FAST)
def _placed(frame, x, y, d, wide, series, out, c, begin, count):
    """Terms, disc and moment of a block of points."""
    h, before, v = np.zeros(BLOCK), np.zeros(BLOCK), np.empty((2, BLOCK))
    t, rest = np.empty(BLOCK), np.empty(BLOCK)
    for i in range(BLOCK):
        rest[i] = max(1.0 - x[0, i], 0.0)
        t[i] = 1.0 - (2.0 + 2.0 * MAP) * rest[i] / (MAP + rest[i])
    for k in range(len(series) - 1, 0, -2):  # Clenshaw, two terms at a time: nothing moves from h to before
        for i in range(BLOCK):
            first = series[k] - before[i] + 2.0 * t[i] * h[i]
            before[i] = first
            h[i] = series[k - 1] - h[i] + 2.0 * t[i] * first
    if len(series) > 0:
        for i in range(BLOCK):
            h[i] = (series[0] - before[i] + t[i] * h[i]) * rest[i] - 1.0
    for i in range(BLOCK):
        qr, qi, er, ei = frame[0, i], frame[1, i], frame[2, i], frame[3, i]
        sr, si = qr * qr - qi * qi, 2.0 * qr * qi
        vr = y[0, i] * sr + y[1, i] * (qr * er - qi * ei) + y[2, i] * (er * er - ei * ei)
        vi = y[0, i] * si + y[1, i] * (qr * ei + qi * er) + y[2, i] * 2.0 * er * ei
        if wide:
            pr, pi = y[3, i] * qr + y[4, i] * er, y[3, i] * qi + y[4, i] * ei
            g = y[6, i] * x[0, i] + y[7, i] * x[1, i]
            ur, ui, wr, wi = d[0, i], d[1, i], d[2, i], d[3, i]
            vr += pr * d[6, i] - pi * d[7, i] + y[5, i] * (ur * wr - ui * wi) + g * d[4, i]
            vi += pr * d[7, i] + pi * d[6, i] + y[5, i] * (ur * wi + ui * wr) + g * d[5, i]
        vr, vi = min(max(vr, -_LARGE), _LARGE), min(max(vi, -_LARGE), _LARGE)
        size = _inverse_root(1.0 + vr * vr + vi * vi)
        vr, vi = vr * size, vi * size
        ar, ai = h[i] * sr, h[i] * si
        dr, di = 1.0 + ar * vr + ai * vi, ar * vi - ai * vr
        nr, ni, scale = ar + vr, ai + vi, 1.0 / (dr * dr + di * di)
        wr, wi = (nr * dr + ni * di) * scale, (ni * dr - nr * di) * scale
        v[0, i] = sr / max(1.0, x[0, i]) + rest[i] * wr
        v[1, i] = si / max(1.0, x[0, i]) + rest[i] * wi
    for i in range(count):
        out[begin + i, 0] = c[begin + i] * v[0, i]
        out[begin + i, 1] = c[begin + i] * v[1, i]
