"""The flow that particles drive, whose strain rate is part of the stress that drives it."""

from dataclasses import dataclass

import numpy as np

from kernels.closures import harmonics
from kernels.closures.physics import Physics
from kernels.errors import InputError
from kernels.fields.periodic import Flow, PeriodicSquare

Array = np.ndarray

TOLERANCE = 1e-12
"""Largest change of the strain rate in the last iteration, over the largest strain rate."""

_MOST = 200


@dataclass(frozen=True)
class Driven:
    """The Stokes flow of moments (n, n): e = K[sigma(c, z_2, z_4, e)] with sigma = `harmonics.stress`.

    The map contracts by about beta c / 4, since the stress of immersed rods opposes the strain.
    """

    physics: Physics
    square: PeriodicSquare

    def step(self, c: Array, z2: Array, z4: Array, strain: Array) -> Flow:
        """One iteration: the flow of the stress with the given strain rate."""
        sigma = harmonics.stress(self.physics, c, z2, z4, strain)
        return self.square.stokes(sigma, self.square.kept)

    def steps(self, c: Array, z2: Array, z4: Array, strain: Array, count: int) -> Flow:
        """As many iterations from a strain rate that is close."""
        flow = self.step(c, z2, z4, strain)
        for _ in range(count - 1):
            flow = self.step(c, z2, z4, flow.strain)
        return flow

    def solve(self, c: Array, z2: Array, z4: Array, strain: Array | None = None) -> Flow:
        """The self-consistent flow, to `TOLERANCE`. Raises InputError where the iteration does not end."""
        flow = self.step(c, z2, z4, np.zeros(c.shape, dtype=np.complex128) if strain is None else strain)
        if self.physics.beta == 0.0:
            return flow
        before = 0.0 if strain is None else strain
        for _ in range(_MOST):
            size = float(np.abs(flow.strain).max())
            if not np.isfinite(size) or float(np.abs(flow.strain - before).max()) <= TOLERANCE * size:
                return flow
            before = flow.strain
            flow = self.step(c, z2, z4, before)
        raise InputError(
            f"the strain rate did not converge in {_MOST} iterations with beta = {self.physics.beta!r}, "
            f"which needs beta c below about 4 (largest c: {float(c.max()):.3g}): lower beta"
        )
