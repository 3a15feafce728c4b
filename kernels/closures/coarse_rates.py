"""Rates of change of the coarse model of an active suspension, from the coefficients of its fields."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from kernels.closures import harmonics
from kernels.closures.base import Closure, Moments
from kernels.closures.physics import Physics
from kernels.fields.periodic import Flow, PeriodicSquare

FULL = 12
"""Stokes solves to rounding where beta c = 0.8; the error falls by 20 with each."""
ROUGH = 6
"""Stokes solves of the first steps, and where the flow is looked at for its size."""
_MOST = 0.2
"""Largest factor by which an error of the strain rate grows or falls from step to step by extrapolation."""


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
        # complex, since a product of a real and a complex tensor copies the real one
        self._planes = [
            part.expand(square.shape) for part in (kx, ky, ky * inverse, -kx * inverse, cross, along)
        ]
        self.curl = torch.stack((cross, along)) * self.kept + 0j
        self.slopes = torch.stack([torch.ones_like(square) + 0j, 1j * kx + 0.0 * ky, 1j * ky + 0.0 * kx])[
            :, None
        ]
        one = torch.ones_like(square) + 0j
        self.flow = torch.stack(
            [-0.5 * cross + 0j, -0.5 * along + 0j, 1j * ky * inverse, -1j * kx * inverse, one]
        )
        self.strain = self.flow[:2].contiguous()
        self.rates = self.kept.repeat(3, 1, 1) + 0j
        self.rates[0, 0, 0] = 0.0  # the mean of c does not change

    def planes(self) -> list[Tensor]:
        """kx, ky, ky / k^2, -kx / k^2, cross and along, real; all but the derivatives filtered."""
        return [*self._planes[:2], *(part * self.kept for part in self._planes[2:])]


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
    spectrum in [1, 1 + beta max c / 4] where z_4 is realizable. It starts from three strain rates of steps
    before, extrapolated to second order, closures that look at the strain rate from two to first; until there
    are three, or for one-step methods, from the last. iterations None: see `_enough`.
    uniform: c (B, 1, 1) where it is constant in space; v is then (B, 2, ...), of z_2 alone.
    """

    def __init__(
        self,
        closure: Closure,
        grid: PeriodicSquare,
        multipliers: Multipliers,
        physics: Physics,
        largest: Tensor,
        iterations: int | None,
        uniform: Tensor | None = None,
        extrapolate: bool = True,
    ) -> None:
        self.closure, self.grid, self.m, self.physics = closure, grid, multipliers, physics
        width = _value(physics.beta) * largest / 4.0
        counts = [iterations or (_enough(w) if extrapolate else 7) for w in width.reshape(-1).tolist()]
        self.iterations = max(counts, default=1)
        self.uniform, self.extrapolate, self._largest = uniform, extrapolate, largest
        self.history: list[Tensor] = []
        self._frozen: Callable[[Moments], Tensor] | None = None
        self.chebyshev = _coefficients(width, FULL)
        # runs that need fewer solves than others of the batch keep what they have: none depends on another
        own = width.new_tensor(counts).reshape(width.shape)
        self.stepping = [(p * (own > k + 1), q * (own > k + 1)) for k, (p, q) in enumerate(self.chebyshev)]
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
        return torch.stack([part.expand(shape) for part in parts], dim=1) + 0j

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
        known = self._next(c, z2)
        self.history = [*self.history, known.flow.strain][-3 if self.extrapolate else -1 :]
        return known

    def _next(self, c: Tensor, z2: Tensor) -> Known:
        if len(self.history) == 3:
            e1, e2, e3 = self.history[::-1]
            seen = 2.0 * e1 - e2
            return self.solve(c, z2, 3.0 * (e1 - e2) + e3, self.iterations, seen)
        if not self.history:
            return self.exact(c, z2)
        return self.solve(c, z2, self.history[-1], ROUGH if self.extrapolate else self.iterations)

    def exact(self, c: Tensor, z2: Tensor) -> Known:
        """The flow of c and z_2 solved to rounding."""
        return self.solve(c, z2, self.history[-1] if self.history else torch.zeros_like(z2))

    def solve(self, c: Tensor, z2: Tensor, e: Tensor, count: int = FULL, seen: Tensor | None = None) -> Known:
        """The flow of c and z_2 by `count` Stokes solves from the strain rate e. Closures that look at the
        strain rate are shown `seen`, or the latest before every solve where it is None."""
        change, weights = None, self.chebyshev if seen is None else self.stepping
        kept: dict[str, Tensor] = {}
        for k in range(count):
            if k == 0 or (seen is None and self.closure.strain_aware):
                z4, g, known, conjugate, along = self._stress(c, z2, e if seen is None else seen, kept)
            sigma = known + e.conj() * conjugate + e * along
            w = self._vorticity(sigma)
            if k == count - 1:
                break
            r = _joined(torch.fft.irfft2(w[:, None] * self.m.strain, s=self._shape)) - e
            p, q = weights[k]
            change = q * r if change is None else p * change + q * r
            e = e + change
        parts = torch.fft.irfft2(w[:, None] * self.m.flow, s=self._shape)
        flow = Flow(parts[:, 2], parts[:, 3], parts[:, 4], _joined(parts))
        return Known(c, z2, z4, g, flow)

    def _stress(self, c: Tensor, z2: Tensor, e: Tensor, kept: dict[str, Tensor]) -> tuple[Tensor, ...]:
        """z_4, g, and sigma = known + conj(e) conjugate + e along."""
        p, (z4, g) = self.physics, self.close(c, z2, e, kept)
        turned = (p.alpha - p.beta * p.zeta * c) * 0.5 + (p.beta * p.zeta / 4.0) * g
        known = turned * z2 + (p.beta * p.zeta / 4.0) * (z2.conj() * z4)
        return z4, g, known, (p.beta / 4.0) * z4, (p.beta / 4.0) * g

    def close(
        self, c: Tensor, z2: Tensor, e: Tensor, kept: dict[str, Tensor] | None = None
    ) -> tuple[Tensor, Tensor]:
        """z_4 and g of the closure; kept: see `Moments`, of this c and z_2."""
        moments = Moments(c, z2, e, self.grid, kept)
        if torch.is_grad_enabled():
            return self.closure(moments, self.physics), self.closure.isotropic(moments)
        if self._frozen is None:
            self._frozen = self.closure.frozen(self.physics)
        return self._frozen(moments), self.closure.isotropic(moments)

    def _vorticity(self, sigma: Tensor) -> Tensor:
        planes = torch.fft.rfft2(torch.stack((sigma.real, sigma.imag), dim=1))
        return (planes * self.m.curl).sum(dim=1)


def _value(number: Any) -> Any:
    return number.detach() if isinstance(number, Tensor) else number


def _joined(parts: Tensor) -> Tensor:
    return torch.complex(parts[:, 0], parts[:, 1])


def _enough(width: float) -> int:
    """Solves after which an error of three strain rates e, amplified by at most 7 in 3 e_1 - 3 e_2 + e_3, has
    fallen to `_MOST`: the polynomial's 1 / T(1 + 2 / width), and the last solve's width."""
    rate, count = math.acosh(1.0 + 2.0 / max(width, 1e-12)), 1
    while 7.0 * width / math.cosh((count - 1) * rate) > _MOST and count < FULL:
        count += 1
    return max(count, 2)


def _coefficients(width: Any, count: int) -> list[tuple[Any, Any]]:
    """(p, q) of x' = x + d', d' = p d + q r for a spectrum in [1, 1 + width]."""
    middle, half = 1.0 + width / 2.0, width / 2.0
    rho, found = half / middle, [(0.0, 1.0 / middle)]
    for _ in range(count):
        q = 1.0 / (middle - half * rho / 2.0)
        found.append((q * half * rho / 2.0, q))
        rho = half * q / 2.0
    return found
