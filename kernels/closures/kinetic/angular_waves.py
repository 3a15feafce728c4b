"""Real fields on angles and points of a periodic square as the waves that the 2/3 filter keeps, and back."""

import numpy as np
import torch

Array = np.ndarray


class AngularWaves:
    """Fields (angles, n, n) at 2 pi a / angles and (i, j) L / n as coefficients (m, k_x, k_y), k_y >= 0, of
    |m| < angles / 3 and waves below n / 3 along both axes; those of numpy's `rfftn` over x, y, theta.

    orders: m (m, 1, 1); kx (k_x, 1), ky (k_y,): 2 pi / L times the wave number; top, fastest: the largest of
    each. Large arrays are kept from call to call, since fresh memory costs more than the transforms: one
    object is for one thread.
    """

    def __init__(self, angles: int, points: int, length: float) -> None:
        self.angles, self.points = angles, points
        self.top, most = -(-angles // 3) - 1, -(-points // 3) - 1
        self._orders, self._first = (np.r_[0 : last + 1, -last:0] for last in (self.top, most))
        unit = 2.0 * np.pi / length
        self.fastest = unit * most
        self.orders = self._orders[:, None, None]
        self.kx, self.ky = unit * self._first[:, None], unit * np.arange(most + 1)
        self._count = most + 1

        def empty(*shape: int) -> torch.Tensor:
            return torch.zeros(shape, dtype=torch.complex128)

        full, kept = (angles, points, points // 2 + 1), (angles, len(self._first), self._count)
        self._planes, self._padded = empty(*full), empty(*full)
        self._rows, self._turned, self._whole, self._unturned = (empty(*kept) for _ in range(4))

    def forward(self, field: Array) -> Array:
        """Coefficients of a contiguous float64 field; waves are dropped before theta is transformed."""
        torch.fft.rfft2(torch.from_numpy(field), out=self._planes)
        self._rows.numpy()[:] = self._planes.numpy()[:, self._first, : self._count]
        torch.fft.fft(self._rows, dim=0, out=self._turned)
        return np.asarray(self._turned.numpy()[self._orders])

    def backward(self, coefficients: Array, out: Array | None = None) -> Array:
        """The field of coefficients, in `out` where given."""
        self._whole.numpy()[self._orders] = coefficients
        torch.fft.ifft(self._whole, dim=0, out=self._unturned)
        self._padded.numpy()[:, self._first, : self._count] = self._unturned.numpy()
        field = np.empty((self.angles, self.points, self.points)) if out is None else out
        torch.fft.irfft2(self._padded, (self.points, self.points), out=torch.from_numpy(field))
        return field
