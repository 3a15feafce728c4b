"""The hierarchy of even angular modes on waves: what every stepper is built from."""

from dataclasses import dataclass

import numpy as np

from kernels.closures.kinetic import _loops
from kernels.closures.kinetic.driven import DrivenWaves
from kernels.closures.kinetic.waves import Waves
from kernels.closures.physics import Physics

Array = np.ndarray

Carried = Array
"""What carries and turns particles, (5, n n), x last: u, v, vorticity, Re t, Im t of t = e + zeta z_2."""


@dataclass(frozen=True)
class Hierarchy:
    """d_t z_m + u.grad z_m = bracket_m(z) + (d_T Lap - d_R m^2) z_m for m = 0, 2, .., 2 (J - 1).

    Modes are coefficients w (J, 2, k k) of `Waves`, fields (.., 2, n n), x last.
    """

    physics: Physics
    modes: int
    waves: Waves
    driven: DrivenWaves

    @classmethod
    def of(cls, physics: Physics, points: int, modes: int) -> "Hierarchy":
        """On a grid of points x points with `modes` even modes."""
        waves = Waves(points, physics.length)
        return cls(physics, modes, waves, DrivenWaves(physics, waves))

    def damping(self) -> Array:
        """d_R m^2, (J, 1, 1)."""
        return np.asarray(self.physics.rotary * (2.0 * np.arange(self.modes)[:, None, None]) ** 2)

    def spreading(self) -> Array:
        """d_T k^2, (k k,)."""
        return np.asarray(self.physics.translational * self.waves.square)

    def carried(self, w: Array, strain: Array | None, iterations: int = 0) -> tuple[Carried, Array]:
        """What the flow of modes carries and turns with, and its strain rate (2, n n).

        strain: a guess of it; iterations from there, 0: until it is self-consistent.
        """
        moments = self.waves.to_grid(w[:3])
        if iterations and strain is not None:
            flow = self.driven.steps(moments, strain, iterations)
        else:
            flow = self.driven.solve(moments, strain)
        t = flow[0] + self.physics.zeta * moments[1]
        return np.concatenate([flow[1], flow[2, :1], t]), flow[0]

    def empty(self) -> Array:
        """Room for coefficients of all modes."""
        return np.empty((self.modes, 2, len(self.waves.square)))

    def rates(
        self, w: Array, carried: Carried, rotary: float = 0.0, fields: bool = False, out: Array | None = None
    ) -> tuple[Array, Array]:
        """Coefficients of bracket - u.grad z - rotary m^2 z; with `fields` also on the grid, unfiltered."""
        rates = self.empty() if out is None else out
        on_grid = np.empty((self.modes if fields else 0, 2, self.waves.points**2))
        _loops.explicit_rate(w, carried, self.waves.wave, rotary, rates, on_grid, *self.waves.plan)
        return rates, on_grid
