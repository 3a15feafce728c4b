"""Time steps of the hierarchy of modes. Memory is a dictionary of arrays, all that a step needs."""

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np

from kernels.closures.kinetic import _loops
from kernels.closures.kinetic.equations import Carried, Hierarchy
from kernels.fields.exponential import IMAGINARY, Etdrk4

Array = np.ndarray
Memory = dict[str, Array]

ITERATIONS = 2
"""Iterations of the strain rate a step from its extrapolation, whose error they lower by (beta / 4)^2."""


class Stepper(ABC):
    """w -> w one step later. order: of convergence in the step, fitted in the tests."""

    order: ClassVar[int]
    turning: ClassVar[float]
    """Largest step times m_max |t|, the frequency of the angular stencil; inf where it is implicit."""
    carrying: ClassVar[float]
    """Largest step times k_max (|u| + |v|)."""

    def __init__(self, hierarchy: Hierarchy, step: float) -> None:
        self.hierarchy, self.dt = hierarchy, step

    @abstractmethod
    def start(self, w: Array) -> Memory:
        """The memory after the first step from w; holds "waves"."""

    @abstractmethod
    def step(self, memory: Memory) -> Memory:
        """The memory one step later."""


def _guess(memory: Memory) -> tuple[Array, int]:
    """Strain rate extrapolated from those of the last steps, and iterations that it needs; 0 for all."""
    strains = memory["strains"]
    if len(strains) == 1:
        return strains[0], 0
    return 2.0 * strains[0] - strains[1], ITERATIONS


class Sbdf2(Stepper):
    """Semi-implicit backward differentiation (Ascher, Ruuth, Wetton, SIAM J. Numer. Anal. 32, 1995, eq. 2.8):
    (3 w^{n+1} - 4 w^n + w^{n-1}) / (2 dt) = 2 N^n - N^{n-1} + L w^{n+1}, L the diffusion in x and theta.

    The first step is Euler's, extrapolated from one step and two halves.
    """

    order = 2
    turning = 0.5
    carrying = 0.5

    def __init__(self, hierarchy: Hierarchy, step: float) -> None:
        super().__init__(hierarchy, step)
        self.decay = hierarchy.damping() + hierarchy.spreading()
        self.divisor = 1.0 / (1.5 + step * self.decay)

    def start(self, w: Array) -> Memory:
        """Euler's step, extrapolated from one step and two halves."""
        rate, _, strain = self.hierarchy.rate(w, None)
        half = self._euler(w, rate, self.dt / 2.0)
        second, _, _ = self.hierarchy.rate(half, strain)
        fine = self._euler(half, second, self.dt / 2.0)
        waves = 2.0 * fine - self._euler(w, rate, self.dt)
        return {"waves": waves, "waves_previous": w, "rate": rate, "strains": strain[None]}

    def _euler(self, w: Array, rate: Array, dt: float) -> Array:
        return np.asarray((w + dt * rate) / (1.0 + dt * self.decay))

    def step(self, memory: Memory) -> Memory:
        """As the class says."""
        w = memory["waves"]
        rate, _, strain = self.hierarchy.rate(w, *_guess(memory))
        new = 2.0 * w - 0.5 * memory["waves_previous"] + self.dt * (2.0 * rate - memory["rate"])
        strains = np.stack([strain, memory["strains"][0]])
        return {"waves": new * self.divisor, "waves_previous": w, "rate": rate, "strains": strains}


class Sbdf2Implicit(Stepper):
    """As `Sbdf2` with the angular part A (stencil, rotation, d_R m^2) implicit too, point by point, with t
    and omega extrapolated: no limit on zeta m_max dt. With b = 2 dt / 3 and L = d_T Lap, factorised,

        (1 - b A) (1 - b L) (w^{n+1} - w^n) = (w^n - w^{n-1}) / 3 + b (A + L) w^n - b u*.grad w*,

    * extrapolated to the new time. What the factors add, b^2 A L (w^{n+1} - w^n), is of the order of the
    method's own error. The system is solved for q = (1 - b A)^{-1} [w^n + (w^n - w^{n-1}) / 3 + b L w^n - b
    u*.grad w*], less what was there a step before: with rate = A q - u.grad w of that step, unfiltered, and
    p = w^n + .. + b F[rate] (F the filter), q - p is of order dt^2 also in the waves that F drops. Solved for
    q itself, A would act on waves that F drops, an error of first order times what lies there.
    """

    order = 2
    turning = np.inf
    carrying = 0.5

    def __init__(self, hierarchy: Hierarchy, step: float) -> None:
        super().__init__(hierarchy, step)
        self.spreading = hierarchy.spreading()

    def start(self, w: Array) -> Memory:
        """Euler's step, extrapolated from one step and two halves."""
        rate, carried, strain = self.hierarchy.full_rate(w)
        kept = self.hierarchy.waves.forward(rate)
        whole = self._solve(w, w, w, carried, self.dt, rate.copy(), kept)[0]
        half, rate, kept = self._solve(w, w, w, carried, self.dt / 2.0, rate, kept)
        c, z2, z4 = self.hierarchy.moments(half)
        second = self.hierarchy.carried(self.hierarchy.flow(c, z2, z4, strain), z2)
        fine, rate, kept = self._solve(half, half, half, second, self.dt / 2.0, rate, kept)
        return {
            "waves": 2.0 * fine - whole, "waves_previous": w, "carried": carried.packed(),
            "strains": strain[None], "rate": rate, "rate_kept": kept,
        }  # fmt: skip

    def _solve(
        self, w: Array, known: Array, ahead: Array, carried: Carried, b: float, rate: Array, kept: Array
    ) -> tuple[Array, Array, Array]:
        """w + change for (1 - b A) (1 - b L) change = known - w + b (A + L) w - b u.grad ahead, and the new
        rates (`rate` in place)."""
        waves, flat = self.hierarchy.waves, (self.hierarchy.modes, -1)
        guess = known - b * self.spreading * w + b * kept
        p = waves.backward(guess)
        px, py = (waves.backward(part) for part in waves.gradient(ahead))
        beyond = np.empty_like(p)
        _loops.implicit_solve(
            p.reshape(flat), px.reshape(flat), py.reshape(flat), carried.u.ravel(), carried.v.ravel(),
            carried.omega.ravel(), carried.t.ravel(), b, self.hierarchy.physics.rotary, rate.reshape(flat),
            beyond.reshape(flat),
        )  # fmt: skip
        correction = waves.forward(beyond)
        change = (guess + correction - w) / (1.0 + b * self.spreading)
        change[0, 0, 0] = 0.0  # the flow moves c and makes none
        return w + change, rate, kept + correction / b

    def step(self, memory: Memory) -> Memory:
        """As the class says."""
        w, before = memory["waves"], memory["waves_previous"]
        c, z2, z4 = self.hierarchy.moments(w)
        flow = self.hierarchy.flow(c, z2, z4, *_guess(memory))
        now = self.hierarchy.carried(flow, z2)
        ahead = now.beyond(Carried.unpacked(memory["carried"]))
        difference = w - before
        new, rate, kept = self._solve(
            w, w + difference / 3.0, w + difference, ahead, 2.0 * self.dt / 3.0, memory["rate"].copy(),
            memory["rate_kept"],
        )  # fmt: skip
        return {
            "waves": new, "waves_previous": w, "carried": now.packed(),
            "strains": np.stack([flow.strain, memory["strains"][0]]), "rate": rate, "rate_kept": kept,
        }  # fmt: skip


class ExponentialRungeKutta(Stepper):
    """`Etdrk4` with both diffusions as the linear part; the strain rate is self-consistent in each stage."""

    order = 4
    turning = IMAGINARY / 2.0
    carrying = IMAGINARY / 2.0

    def __init__(self, hierarchy: Hierarchy, step: float) -> None:
        super().__init__(hierarchy, step)
        self.method = Etdrk4.of(-(hierarchy.damping() + hierarchy.spreading()), step)

    def start(self, w: Array) -> Memory:
        """A step as any other."""
        c, z2, z4 = self.hierarchy.moments(w)
        return self.step({"waves": w, "strains": self.hierarchy.flow(c, z2, z4, None).strain[None]})

    def step(self, memory: Memory) -> Memory:
        """As the class says."""
        strain = memory["strains"][0]

        def nonlinear(w: Array) -> Array:
            nonlocal strain
            rate, _, strain = self.hierarchy.rate(w, strain)
            return rate

        return {"waves": self.method.advance(memory["waves"], nonlinear), "strains": strain[None]}


STEPPERS: dict[str, type[Stepper]] = {
    "sbdf2_implicit": Sbdf2Implicit,
    "sbdf2": Sbdf2,
    "etdrk4": ExponentialRungeKutta,
}
