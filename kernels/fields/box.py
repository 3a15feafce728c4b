"""Pseudo-spectral calculus on a periodic square or cube, with numpy or torch arrays."""

from typing import Any, Literal

import numpy as np
import torch
from scipy import fft

from kernels.errors import InputError

Field = Any
"""A numpy array or a torch tensor, as the backend says."""


class PeriodicBox:
    """n points a side of a periodic square or cube of side L at (i, j, ..) L / n; fields are (..., n, .., n).

    Coefficients are those of `rfftn` over the last `dims` axes, (..., n, .., n // 2 + 1). waves: k along each
    axis, shaped to broadcast; derivatives of odd order are zero at the shortest wave of an even n, which has
    no sign. square: |k|^2. kept: waves below n / 3 along all axes, of which products do not alias (Orszag,
    J. Atmos. Sci. 28, 1971). Raises InputError where n is below 4, L not positive or dims not 2 or 3.
    """

    def __init__(
        self,
        points: int,
        length: float,
        dims: int = 2,
        backend: Literal["numpy", "torch"] = "numpy",
        device: str = "cpu",
    ) -> None:
        if points < 4:
            raise InputError(f"the grid has {points} points along a side, expected at least 4: raise points")
        if not length > 0.0:
            raise InputError(f"the side of the box is {length!r}, expected a positive number")
        if dims not in (2, 3):
            raise InputError(f"dims is {dims}, expected 2 for a square or 3 for a cube")
        self.points, self.length, self.dims, self.backend = points, float(length), dims, backend
        self._axes = tuple(range(-dims, 0))
        numbers = [np.rint(fft.fftfreq(points) * points)] * (dims - 1) + [np.arange(points // 2 + 1.0)]
        shaped = [k.reshape([-1 if i == axis else 1 for i in range(dims)]) for axis, k in enumerate(numbers)]
        unit = 2.0 * np.pi / length
        odd = [np.where(np.abs(k) * 2 == points, 0.0, k) * unit for k in shaped]
        self.kept = self._as(
            np.logical_and.reduce([*np.broadcast_arrays(*(np.abs(k) < points / 3.0 for k in shaped))]), device
        )
        self.square = self._as(unit**2 * sum(k**2 for k in shaped), device)
        self.waves = tuple(self._as(k, device) for k in odd)
        signed = sum(k**2 for k in odd)
        self._inverse = self._as(
            np.where(signed > 0.0, 1.0 / np.where(signed > 0.0, signed, 1.0), 0.0), device
        )

    def _as(self, values: Any, device: str) -> Field:
        return torch.as_tensor(values, device=device) if self.backend == "torch" else values

    def _stack(self, parts: list[Field], axis: int) -> Field:
        return torch.stack(parts, dim=axis) if self.backend == "torch" else np.stack(parts, axis)

    def forward(self, field: Field) -> Field:
        """Coefficients of a real field."""
        return (
            torch.fft.rfftn(field, dim=self._axes)
            if self.backend == "torch"
            else fft.rfftn(field, axes=self._axes)
        )

    def backward(self, coefficients: Field) -> Field:
        """The real field of coefficients."""
        shape = (self.points,) * self.dims
        if self.backend == "torch":
            return torch.fft.irfftn(coefficients, s=shape, dim=self._axes)
        return fft.irfftn(coefficients, shape, axes=self._axes)

    def derivative(self, coefficients: Field, axis: int) -> Field:
        """Coefficients of the first derivative along an axis, 0 to dims - 1."""
        return 1j * self.waves[axis] * coefficients

    def laplacian(self, coefficients: Field) -> Field:
        """Coefficients of the Laplacian."""
        return -self.square * coefficients

    def filtered(self, coefficients: Field) -> Field:
        """Coefficients without the waves from n / 3 on along any axis."""
        return self.kept * coefficients

    def integral(self, a: Field, b: Field) -> Field:
        """Mean of the product of two real fields over the box, from their coefficients (Parseval)."""
        product = (a * b.conj()).real
        whole = 2.0 * product.sum(axis=self._axes) - product[..., 0].sum(axis=self._axes[1:])
        if self.points % 2 == 0:
            whole = whole - product[..., -1].sum(axis=self._axes[1:])
        return whole / self.points ** (2 * self.dims)

    def stokes_flow(self, stress: Field, mask: Field | None = None) -> tuple[Field, Field]:
        """Velocity u (..., d, n, .., n) and (grad u)_ij = d_j u_i (..., d, d, n, .., n) of

            -Lap u + grad q = div Sigma,    div u = 0,    mean u = 0,    viscosity 1

        for a symmetric Sigma (..., d, d, n, .., n): u_hat = (I - k k / k^2) (i Sigma_hat k) / k^2. Its power
        balances, 2 <E:E> + <Sigma:E> = 0, E = sym grad u. mask: waves of the stress that are used.
        """
        where, d = (slice(None),) * self.dims, range(self.dims)
        sigma = self.forward(stress)
        if mask is not None:
            sigma = sigma * mask
        force = [sum(1j * self.waves[j] * sigma[(..., i, j, *where)] for j in d) for i in d]
        along = sum(self.waves[i] * force[i] for i in d) * self._inverse
        u = [(force[i] - self.waves[i] * along) * self._inverse for i in d]
        gradient = [self._stack([self.derivative(u[i], j) for j in d], self._axes[0] - 1) for i in d]
        return (
            self.backward(self._stack(u, self._axes[0] - 1)),
            self.backward(self._stack(gradient, self._axes[0] - 2)),
        )
