"""Rates of change of the coarse model of an active suspension, from the coefficients of its fields."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from kernels.closures import harmonics
from kernels.closures.base import Closure, Moments
from kernels.closures.physics import Physics
from kernels.fields.periodic import Flow, PeriodicSquare

FULL = 12
"""Stokes solves where no strain rate is at hand to start from; the error falls by 20 with each."""
_EXTRAPOLATION = ((1.0,), (2.0, -1.0), (3.0, -3.0, 1.0))


class Multipliers:
    """What coefficients (..., n, n // 2 + 1) are multiplied with, on one device.

    w = cross Re_hat + along Im_hat of a stress is the vorticity; the strain rate is -(cross, along) w / 2,
    so stress to strain rate is -1/2 of an orthogonal projection.
    """

    def __init__(self, grid: PeriodicSquare, device: torch.device) -> None:
        def put(values: Tensor) -> Tensor:
            return values.to(device)

        kx, ky, square = put(grid.kx), put(grid.ky), put(grid.square)
        inverse = torch.where(square > 0.0, 1.0 / square.clamp(min=1e-300), 0.0)
        self.kept, self.square = put(grid.kept), square
        cross, along = 2.0 * kx * ky * inverse, (ky**2 - kx**2) * inverse
        self.curl = torch.stack((cross, along)) * self.kept
        self.slopes = torch.stack([torch.ones_like(square) + 0j, 1j * kx + 0.0 * ky, 1j * ky + 0.0 * kx])[
            :, None
        ]
        one = torch.ones_like(square) + 0j
        self.flow = torch.stack(
            [-0.5 * cross + 0j, -0.5 * along + 0j, 1j * ky * inverse, -1j * kx * inverse, one]
        )
        self.strain = self.flow[:2].real.contiguous()
        self.rates = self.kept.to(torch.float64).repeat(3, 1, 1)
        self.rates[0, 0, 0] = 0.0  # the mean of c does not change


@dataclass(frozen=True)
class Known:
    """Fields of a state: c, z_2, z_4 and g of the closure, the stress they drive and the flow."""

    c: Tensor
    z2: Tensor
    z4: Tensor
    isotropic: Tensor
    flow: Flow

    def driving(self, zeta: Any) -> Tensor:
        """t, the deviator of T = E + 2 zeta D."""
        t: Tensor = harmonics.driving(self.flow.strain, self.z2, zeta)
        return t

    def stress(self, physics: Physics) -> Tensor:
        """Deviator of the stress of the fields and the flow that is handed out."""
        sigma: Tensor = harmonics.stress(physics, self.c, self.z2, self.z4, self.flow.strain, self.isotropic)
        return sigma

    def power_residual(self, physics: Physics) -> Tensor:
        """|4 <|e|^2> + 2 <Re(conj(sigma) e)>| over 4 <|e|^2>, (B,): 0 in every exact state."""
        e, sigma = self.flow.strain, self.stress(physics)
        dissipated = 4.0 * (e.real**2 + e.imag**2).mean(dim=(-2, -1))
        done = 2.0 * (sigma.real * e.real + sigma.imag * e.imag).mean(dim=(-2, -1))
        return (dissipated + done).abs() / dissipated.clamp(min=1e-300)


class Rates:
    """d_t v - L v for the coefficients v (B, 3, n, n // 2 + 1) of c, Re z_2, Im z_2:

    c: -u.grad c;   z_2: -u.grad z_2 + i omega z_2 + (2 c - g) t - conj(t) z_4,   t = e + zeta z_2.

    The strain rate is in the stress itself, sigma = sigma_0 + beta / 4 (conj(e) z_4 + g e): e = P sigma(e) is
    solved by Chebyshev iteration (Golub and Varga, Numer. Math. 3, 1961), since I - P beta / 4 (...) has its
    spectrum in [1, 1 + beta max c / 4] where z_4 is realizable. It starts from strain rates of steps before,
    extrapolated. uniform: c (B, 1, 1) where it is constant in space; v is then (B, 2, ...), of z_2 alone.
    """

    def __init__(
        self,
        closure: Closure,
        grid: PeriodicSquare,
        multipliers: Multipliers,
        physics: Physics,
        largest: Tensor,
        iterations: int,
        uniform: Tensor | None = None,
        extrapolate: bool = True,
    ) -> None:
        self.closure, self.grid, self.m, self.physics = closure, grid, multipliers, physics
        self.iterations, self.uniform, self.extrapolate = iterations, uniform, extrapolate
        self.history: list[Tensor] = []
        self._largest = largest
        self._chebyshev = _coefficients(_value(physics.beta) * largest / 4.0, FULL)
        self._shape, self._half = (grid.points, grid.points), multipliers.square.shape

    def taken(self, keep: Tensor, physics: Physics) -> "Rates":
        """The rates of some runs, whose numbers are `physics`."""
        uniform = None if self.uniform is None else self.uniform[keep]
        rates = Rates(
            self.closure,
            self.grid,
            self.m,
            physics,
            self._largest[keep],
            self.iterations,
            uniform,
            self.extrapolate,
        )
        rates.history = [e[keep] for e in self.history]
        return rates

    def linear(self) -> Tensor:
        """L, (1 or B, 2 or 3, n, n // 2 + 1): translational and rotary diffusion."""
        space = self.m.square * -self.physics.translational
        second = space - 4.0 * self.physics.rotary
        parts = [second, second] if self.uniform is not None else [space, second, second]
        shape = torch.broadcast_shapes((1, *self._half), *(part.shape for part in parts))
        return torch.stack([part.expand(shape) for part in parts], dim=1)

    def __call__(self, v: Tensor) -> Tensor:
        """The rates without those of `linear`."""
        fields = torch.fft.irfft2(v[:, None] * self.m.slopes, s=self._shape)
        known = self._known(*self.split(fields[:, 0]))
        flow = known.flow
        transport = fields[:, 1] * flow.u[:, None] + fields[:, 2] * flow.v[:, None]
        t = known.driving(self.physics.zeta)
        source = (2.0 * known.c - known.isotropic) * t - t.conj() * known.z4
        source = source + torch.complex(-flow.vorticity * known.z2.imag, flow.vorticity * known.z2.real)
        parts: tuple[Tensor, ...] = (source.real, source.imag)
        if self.uniform is None:
            parts = (torch.zeros_like(known.c), *parts)
        return torch.fft.rfft2(torch.stack(parts, dim=1) - transport) * self.m.rates[-len(parts) :]

    def split(self, fields: Tensor) -> tuple[Tensor, Tensor]:
        """c and z_2 of fields (B, 2 or 3, n, n)."""
        z2 = torch.complex(fields[:, -2], fields[:, -1])
        return (fields[:, 0] if self.uniform is None else self.uniform.expand(z2.shape)), z2

    def joined(self, c: Tensor, z2: Tensor) -> Tensor:
        """Coefficients of fields."""
        parts = (z2.real, z2.imag) if self.uniform is not None else (c, z2.real, z2.imag)
        return torch.fft.rfft2(torch.stack(parts, dim=1))

    def fields(self, v: Tensor) -> tuple[Tensor, Tensor]:
        """c and z_2 of coefficients."""
        return self.split(torch.fft.irfft2(v, s=self._shape))

    def _known(self, c: Tensor, z2: Tensor) -> Known:
        known = self.look(c, z2)
        self.history = [*self.history, known.flow.strain][-3:]
        return known

    def look(self, c: Tensor, z2: Tensor) -> Known:
        """The flow of c and z_2 as the next step will find it."""
        if not self.history:
            return self.solve(c, z2, torch.zeros_like(z2))
        if not self.extrapolate:
            return self.solve(c, z2, self.history[-1], self.iterations)
        weights = _EXTRAPOLATION[len(self.history) - 1]
        guess = weights[0] * self.history[-1]
        for weight, e in zip(weights[1:], self.history[-2::-1], strict=True):
            guess = guess + weight * e
        ready = len(self.history) == 3
        return self.solve(c, z2, guess, self.iterations if ready else FULL, not ready)

    def solve(self, c: Tensor, z2: Tensor, e: Tensor, count: int = FULL, refresh: bool = True) -> Known:
        """The flow of c and z_2 by `count` Stokes solves from the strain rate e; z_4 of closures that look at
        the strain rate is computed with each where refresh is set, else once."""
        change = None
        for k in range(count):
            if k == 0 or (refresh and self.closure.strain_aware):
                z4, g, known, conjugate, along = self._stress(c, z2, e)
            sigma = known + e.conj() * conjugate + e * along
            w = self._vorticity(sigma)
            if k == count - 1:
                break
            r = _joined(torch.fft.irfft2(w[:, None] * self.m.strain, s=self._shape)) - e
            p, q = self._chebyshev[k]
            change = q * r if change is None else p * change + q * r
            e = e + change
        parts = torch.fft.irfft2(w[:, None] * self.m.flow, s=self._shape)
        flow = Flow(parts[:, 2], parts[:, 3], parts[:, 4], _joined(parts))
        return Known(c, z2, z4, g, flow)

    def _stress(self, c: Tensor, z2: Tensor, e: Tensor) -> tuple[Tensor, ...]:
        """z_4, g, and sigma = known + conj(e) conjugate + e along."""
        p, moments = self.physics, Moments(c, z2, e, self.grid)
        z4 = self.closure(moments, p)
        g = self.closure.isotropic(moments)
        turned = (p.alpha - p.beta * p.zeta * c) * 0.5 + (p.beta * p.zeta / 4.0) * g
        known = turned * z2 + (p.beta * p.zeta / 4.0) * (z2.conj() * z4)
        return z4, g, known, (p.beta / 4.0) * z4, (p.beta / 4.0) * g

    def _vorticity(self, sigma: Tensor) -> Tensor:
        planes = torch.fft.rfft2(torch.stack((sigma.real, sigma.imag), dim=1))
        return (planes * self.m.curl).sum(dim=1)


def _value(number: Any) -> Any:
    return number.detach() if isinstance(number, Tensor) else number


def _joined(parts: Tensor) -> Tensor:
    return torch.complex(parts[:, 0], parts[:, 1])


def _coefficients(width: Any, count: int) -> list[tuple[Any, Any]]:
    """(p, q) of x' = x + d', d' = p d + q r for a spectrum in [1, 1 + width]."""
    middle, half = 1.0 + width / 2.0, width / 2.0
    rho, found = half / middle, [(0.0, 1.0 / middle)]
    for _ in range(count):
        q = 1.0 / (middle - half * rho / 2.0)
        found.append((q * half * rho / 2.0, q))
        rho = half * q / 2.0
    return found
