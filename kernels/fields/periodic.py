"""Pseudo-spectral calculus on a periodic square, with numpy or torch arrays."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from kernels.fields.box import PeriodicBox

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


class PeriodicSquare(PeriodicBox):
    """n x n points (i, j) L / n of a square of side L; fields are (..., n, n), x along the first of the two
    axes. See `PeriodicBox` for coefficients, derivatives, `square` and `kept`, and what it raises."""

    def __init__(
        self, points: int, length: float, backend: Literal["numpy", "torch"] = "numpy", device: str = "cpu"
    ) -> None:
        super().__init__(points, length, 2, backend, device)
        self.kx, self.ky = self.waves
        self._cross = 2.0 * self.kx * self.ky * self._inverse
        self._along = (self.ky**2 - self.kx**2) * self._inverse
        self._to_u, self._to_v = 1j * self.ky * self._inverse, -1j * self.kx * self._inverse

    def gradient(self, coefficients: Field) -> tuple[Field, Field]:
        """Coefficients of both first derivatives."""
        return 1j * self.kx * coefficients, 1j * self.ky * coefficients

    @cached_property
    def curvatures(self) -> Field:
        """What coefficients are multiplied with for d_x, d_y, d_xx - d_yy, 2 d_xy and the Laplacian of first
        derivatives, (5, n, n // 2 + 1)."""
        x, y = 1j * self.kx + 0.0 * self.ky, 1j * self.ky + 0.0 * self.kx
        return self._stack([x, y, x * x - y * y, 2.0 * x * y, x * x + y * y], 0)

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
