"""The hierarchy of even angular modes on waves: what every stepper is built from."""

from dataclasses import dataclass

import numpy as np

from kernels.closures import harmonics
from kernels.closures.kinetic import _loops
from kernels.closures.kinetic.stokes import Driven
from kernels.closures.kinetic.waves import Waves
from kernels.closures.physics import Physics
from kernels.fields.periodic import Flow

Array = np.ndarray


@dataclass(frozen=True)
class Carried:
    """What carries and turns particles, (n, n): u, v, vorticity omega, and t = e + zeta z_2."""

    u: Array
    v: Array
    omega: Array
    t: Array

    def beyond(self, before: "Carried") -> "Carried":
        """Extrapolated by one step, 2 x^n - x^{n-1}."""
        return Carried(*(2.0 * getattr(self, k) - getattr(before, k) for k in ("u", "v", "omega", "t")))

    def packed(self) -> Array:
        """As one complex array (3, n, n)."""
        return np.stack([self.u + 1j * self.v, self.omega + 0j, self.t])

    @classmethod
    def unpacked(cls, packed: Array) -> "Carried":
        """Of `packed`."""
        u, v, omega = packed[0].real, packed[0].imag, packed[1].real
        u, v, omega = (np.ascontiguousarray(x) for x in (u, v, omega))
        return cls(u, v, omega, packed[2])


@dataclass(frozen=True)
class Hierarchy:
    """d_t z_m + u.grad z_m = bracket_m(z) + (d_T Lap - d_R m^2) z_m for m = 0, 2, .., 2 (J - 1)."""

    physics: Physics
    modes: int
    waves: Waves
    driven: Driven

    @classmethod
    def of(cls, physics: Physics, points: int, modes: int) -> "Hierarchy":
        """On a grid of points x points with `modes` even modes."""
        waves = Waves(points, physics.length)
        return cls(physics, modes, waves, Driven.on(physics, waves))

    def damping(self) -> Array:
        """d_R m^2, (J, 1, 1)."""
        return np.asarray(self.physics.rotary * (2.0 * np.arange(self.modes)[:, None, None]) ** 2)

    def spreading(self) -> Array:
        """d_T k^2, (k, k)."""
        return np.asarray(self.physics.translational * self.waves.square)

    def moments(self, w: Array) -> tuple[Array, Array, Array]:
        """c, z_2, z_4 on the grid of coefficients (J, k, k)."""
        z = self.waves.backward(w[:3])
        return np.ascontiguousarray(z[0].real), z[1], z[2]

    def carried(self, flow: Flow, z2: Array) -> Carried:
        """With the driving t of the flow's strain rate."""
        t = harmonics.driving(flow.strain, z2, self.physics.zeta)
        return Carried(flow.u, flow.v, flow.vorticity, t)

    def rate(self, w: Array, strain: Array | None, iterations: int = 0) -> tuple[Array, Carried, Array]:
        """Coefficients of bracket - u.grad z, what carries, and the strain rate.

        strain: a guess; iterations 0: until it is self-consistent.
        """
        _, out, carried, strain = self._explicit(w, strain, iterations)
        change = self.waves.forward(out)
        change[0, 0, 0] = 0.0  # the flow moves c and makes none
        return change, carried, strain

    def full_rate(self, w: Array) -> tuple[Array, Carried, Array]:
        """bracket - u.grad z - d_R m^2 z on the grid, unfiltered; what carries, and the strain rate."""
        z, out, carried, strain = self._explicit(w, None, 0)
        return out - self.damping() * z, carried, strain

    def _explicit(
        self, w: Array, strain: Array | None, iterations: int
    ) -> tuple[Array, Array, Carried, Array]:
        z = self.waves.backward(w)
        zx, zy = (self.waves.backward(part) for part in self.waves.gradient(w))
        flow = self.flow(np.ascontiguousarray(z[0].real), z[1], z[2], strain, iterations)
        carried, flat, out = self.carried(flow, z[1]), (self.modes, -1), np.empty_like(z)
        _loops.explicit_rate(
            z.reshape(flat), zx.reshape(flat), zy.reshape(flat), carried.u.ravel(), carried.v.ravel(),
            carried.omega.ravel(), carried.t.ravel(), out.reshape(flat),
        )  # fmt: skip
        return z, out, carried, flow.strain

    def flow(self, c: Array, z2: Array, z4: Array, strain: Array | None, iterations: int = 0) -> Flow:
        """The flow of moments: a few iterations from a guess, or self-consistent with 0."""
        if iterations and strain is not None:
            return self.driven.steps(c, z2, z4, strain, iterations)
        return self.driven.solve(c, z2, z4, strain)
