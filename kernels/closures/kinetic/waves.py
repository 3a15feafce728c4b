"""Fields on a periodic square as the waves that the 2/3 filter keeps, and back."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from kernels.errors import InputError

Array = np.ndarray


@contextmanager
def one_thread() -> Iterator[None]:
    """torch with one thread meanwhile: results do not depend on the machine's number of cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class Waves:
    """Complex fields (..., n, n) at points (i, j) L / n as coefficients (..., k, k) of the waves below n / 3.

    index: where a kept wave lies in the order of the FFT; wave (k,): 2 pi / L times its number; square (k,
    k): the wave vector squared. Coefficients are those of numpy's fft2, sums over all points.
    """

    def __init__(self, points: int, length: float) -> None:
        if points < 4:
            raise InputError(f"the grid has {points} points along a side, expected at least 4: raise points")
        top = -(-points // 3) - 1
        self.points, self.length = points, float(length)
        numbers = np.concatenate([np.arange(top + 1), np.arange(-top, 0)])
        self.index = numbers % points
        self.wave = 2.0 * np.pi / self.length * numbers
        self.square = self.wave[:, None] ** 2 + self.wave[None, :] ** 2
        self.fastest = 2.0 * np.pi / self.length * top

    def forward(self, field: Array) -> Array:
        """Coefficients (..., k, k) of complex fields (..., n, n)."""
        full = torch.fft.fft2(torch.from_numpy(np.ascontiguousarray(field, dtype=np.complex128))).numpy()
        return np.ascontiguousarray(full[..., self.index[:, None], self.index[None, :]])

    def backward(self, coefficients: Array) -> Array:
        """Fields (..., n, n) of coefficients (..., k, k)."""
        n = self.points
        full = np.zeros((*coefficients.shape[:-2], n, n), dtype=np.complex128)
        full[..., self.index[:, None], self.index[None, :]] = coefficients
        return torch.fft.ifft2(torch.from_numpy(full)).numpy()

    def gradient(self, coefficients: Array) -> tuple[Array, Array]:
        """Coefficients of both first derivatives."""
        return 1j * self.wave[:, None] * coefficients, 1j * self.wave * coefficients
