"""Pseudo-spectral calculus on a periodic square, with numpy or torch arrays."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from scipy import fft

from kernels.errors import InputError

Field = Any
"""A numpy array or a torch tensor, as the backend says."""


@dataclass(frozen=True)
class Flow:
    """Velocity u, v, vorticity v_x - u_y (real) and strain-rate deviator u_x + i (u_y + v_x) / 2
    (complex)."""

    u: Field
    v: Field
    vorticity: Field
    strain: Field


class PeriodicSquare:
    """n x n points (i, j) L / n of a square of side L; fields are (..., n, n), x along the first of the two
    axes.

    Coefficients are those of `rfft2`, (..., n, n // 2 + 1). Derivatives of odd order are zero at the
    shortest wave of an even n, which has no sign. kept: waves below n / 3 along both axes, of which
    products do not alias. Raises InputError where n is below 4 or L is not positive.
    """

    def __init__(
        self, points: int, length: float, backend: Literal["numpy", "torch"] = "numpy", device: str = "cpu"
    ) -> None:
        if points < 4:
            raise InputError(f"the grid has {points} points along a side, expected at least 4: raise points")
        if not length > 0.0:
            raise InputError(f"the side of the square is {length!r}, expected a positive number")
        self.points, self.length, self.backend = points, float(length), backend
        first = np.rint(fft.fftfreq(points) * points)[:, None]
        second = np.arange(points // 2 + 1.0)[None, :]
        unit = 2.0 * np.pi / length
        self.kept = self._as((np.abs(first) < points / 3.0) & (second < points / 3.0), device)
        self.square = self._as(unit**2 * (first**2 + second**2), device)
        odd = [np.where(np.abs(k) * 2 == points, 0.0, k) * unit for k in (first, second)]
        self.kx, self.ky = (self._as(k, device) for k in odd)
        square = odd[0] ** 2 + odd[1] ** 2
        inverse = np.where(square > 0.0, 1.0 / np.where(square > 0.0, square, 1.0), 0.0)
        self._cross = self._as(2.0 * odd[0] * odd[1] * inverse, device)
        self._along = self._as((odd[1] ** 2 - odd[0] ** 2) * inverse, device)
        self._to_u = self._as(1j * odd[1] * inverse, device)
        self._to_v = self._as(-1j * odd[0] * inverse, device)

    def _as(self, values: np.ndarray, device: str) -> Field:
        return torch.as_tensor(values, device=device) if self.backend == "torch" else values

    def forward(self, field: Field) -> Field:
        """Coefficients of a real field."""
        return torch.fft.rfft2(field) if self.backend == "torch" else fft.rfft2(field)

    def backward(self, coefficients: Field) -> Field:
        """The real field of coefficients."""
        shape = (self.points, self.points)
        if self.backend == "torch":
            return torch.fft.irfft2(coefficients, s=shape)
        return fft.irfft2(coefficients, shape)

    def gradient(self, coefficients: Field) -> tuple[Field, Field]:
        """Coefficients of both first derivatives."""
        return 1j * self.kx * coefficients, 1j * self.ky * coefficients

    def laplacian(self, coefficients: Field) -> Field:
        """Coefficients of the Laplacian."""
        return -self.square * coefficients

    def stokes(self, stress: Field, mask: Field | None = None) -> Flow:
        """Flow of -Lap u + grad q = div Sigma, div u = 0, mean 0, viscosity 1, for the complex deviator of
        Sigma.

        The vorticity solves -Lap omega = curl div Sigma: omega_hat = [2 k_x k_y s_r + (k_y^2 - k_x^2) s_i]
        / k^2 for s_r + i s_i the deviator. mask: waves of the stress that are used.
        """
        real, imag = self.forward(stress.real), self.forward(stress.imag)
        omega = self._cross * real + self._along * imag
        if mask is not None:
            omega = omega * mask
        u, v = self._to_u * omega, self._to_v * omega
        parts = (u, v, omega, 1j * self.kx * u, 0.5j * (self.ky * u + self.kx * v))
        u, v, vorticity, stretch, shear = (self.backward(part) for part in parts)
        return Flow(u, v, vorticity, stretch + 1j * shear)
