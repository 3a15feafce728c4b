"""Fields on a periodic square as the waves that the 2/3 filter keeps, and back."""

import numpy as np

from kernels.closures.kinetic import _planes
from kernels.closures.kinetic._fft import factors, roots
from kernels.errors import InputError

Array = np.ndarray


class Waves:
    """Complex fields (s, n, n) at points (i, j) L / n as coefficients (s, 2, k k) of the waves below n / 3.

    Coefficients are those of numpy's fft2, sums over all points, real and imaginary parts apart, kept waves
    in rising order -top .. top along both axes. wave (k,): 2 pi / L times their numbers; square (k k,): the
    wave vector squared; mean: where the mean lies. Loops see fields as (s, 2, n n), parts apart and x last.
    """

    def __init__(self, points: int, length: float) -> None:
        if points < 4:
            raise InputError(f"the grid has {points} points along a side, expected at least 4: raise points")
        top = -(-points // 3) - 1
        self.points, self.length, self.kept = points, float(length), 2 * top + 1
        self.wave = 2.0 * np.pi / self.length * np.arange(-top, top + 1.0)
        self.square = (self.wave[:, None] ** 2 + self.wave[None, :] ** 2).ravel()
        self.fastest, self.mean = float(self.wave[-1]), len(self.square) // 2
        self.plan = (factors(points), roots(points))

    def to_grid(self, planes: Array) -> Array:
        """Fields (s, 2, n n), x last, of coefficients."""
        out = np.empty((len(planes), 2, self.points**2))
        _planes.backward(planes, out, *self.plan)
        return out

    def from_grid(self, fields: Array) -> Array:
        """Coefficients of fields (s, 2, n n), x last."""
        out = np.empty((len(fields), 2, self.kept**2))
        _planes.forward(fields, out, *self.plan)
        return out

    def across(self, fields: Array) -> Array:
        """Complex fields (s, n, n) of (s, 2, n n), x last."""
        grid = fields.reshape(-1, 2, self.points, self.points)
        return np.ascontiguousarray(np.swapaxes(grid[:, 0] + 1j * grid[:, 1], -1, -2))

    def parts(self, field: Array) -> Array:
        """(s, 2, n n), x last, of fields (s, n, n)."""
        turned = np.swapaxes(field, -1, -2)
        parts = np.stack([turned.real, turned.imag], axis=1)
        return np.ascontiguousarray(parts, dtype=np.float64).reshape(len(field), 2, -1)

    def forward(self, field: Array) -> Array:
        """Coefficients of complex fields (s, n, n)."""
        return self.from_grid(self.parts(field))

    def backward(self, planes: Array) -> Array:
        """Complex fields (s, n, n) of coefficients."""
        return self.across(self.to_grid(planes))
