"""The self-consistent flow of `kernels.closures.kinetic.stokes` on kept waves, as compiled loops."""

from dataclasses import dataclass

import numpy as np

from kernels.closures.kinetic import _flow
from kernels.closures.kinetic.waves import Waves
from kernels.closures.physics import Physics
from kernels.errors import InputError

Array = np.ndarray

TOLERANCE = 1e-13
"""Largest change of the strain rate in the last iteration, over itself or a tenth of the stress."""

_MOST = 200


@dataclass(frozen=True)
class DrivenWaves:
    """The Stokes flow of moments: e = K[sigma(c, z_2, z_4, e)] with sigma = `harmonics.stress`.

    The map contracts by about beta c / 4, since the stress of immersed rods opposes the strain. Moments are
    (3, 2, n n), x last, of z_0, z_2, z_4; flows (3, 2, n n) of the strain rate e, u + i v, and the vorticity.
    """

    physics: Physics
    waves: Waves

    def steps(self, moments: Array, strain: Array, count: int) -> Array:
        """As many iterations from a strain rate (2, n n) that is close."""
        return self._iterate(moments, strain, count, 0.0)[0]

    def solve(self, moments: Array, strain: Array | None = None) -> Array:
        """The self-consistent flow, to `TOLERANCE`. Raises InputError where the iteration does not end."""
        guess = np.zeros(moments.shape[1:]) if strain is None else strain
        flow, change = self._iterate(moments, guess, _MOST, TOLERANCE)
        if change > TOLERANCE:
            raise InputError(
                f"the strain rate changes by {change:.1e} of itself after {_MOST} iterations with beta = "
                f"{self.physics.beta!r}, which needs beta c below about 4 (largest c: "
                f"{float(moments[0, 0].max()):.3g}): lower beta"
            )
        return flow

    def _iterate(self, moments: Array, strain: Array, most: int, tolerance: float) -> tuple[Array, float]:
        out, physics = np.empty(moments.shape), self.physics
        change = _flow.iterate(
            physics.alpha, physics.zeta, physics.beta, moments, strain, self.waves.wave, most, tolerance, out,
            *self.waves.plan,
        )  # fmt: skip
        return out, float(change)
