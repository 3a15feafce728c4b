"""Time steps of the hierarchy of modes. Memory is a dictionary of arrays, all that a step needs."""

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np

from kernels.closures.kinetic import _loops
from kernels.closures.kinetic._tridiagonal import implicit_solve
from kernels.closures.kinetic.equations import Hierarchy
from kernels.fields.exponential import IMAGINARY, Etdrk4

Array = np.ndarray
Memory = dict[str, Array]

ITERATIONS = 2
"""Iterations of the strain rate a step from its extrapolation, whose error they lower by (beta / 4)^2."""

PAD = 40
"""Numbers that nobody reads at the end of each line of points."""


class Stepper(ABC):
    """w -> w one step later. order: of convergence in the step, fitted in the tests."""

    order: ClassVar[int]
    turning: ClassVar[float]
    """Largest step times m_max |t|, the frequency of the angular stencil; inf where it is implicit. Runs at
    (alpha, zeta) = (-3, 1) were stable to 1.07 and not at 1.5 with `Sbdf2`, to 3.8 and not 5.1 with
    `ExponentialRungeKutta`."""
    carrying: ClassVar[float]
    """Largest step times k_max (|u| + |v|); with `Sbdf2Implicit` stable to 1.5, not at 2."""

    def __init__(self, hierarchy: Hierarchy, step: float) -> None:
        self.hierarchy, self.dt = hierarchy, step

    @abstractmethod
    def start(self, w: Array) -> Memory:
        """The memory after the first step from w; holds "waves"."""

    @abstractmethod
    def step(self, memory: Memory) -> Memory:
        """The memory one step later; arrays of the one given may be written over."""


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
    turning = 1.0
    carrying = 1.0

    def __init__(self, hierarchy: Hierarchy, step: float) -> None:
        super().__init__(hierarchy, step)
        self._spreading, self._spare = hierarchy.spreading(), hierarchy.empty()

    def start(self, w: Array) -> Memory:
        """Euler's step, extrapolated from one step and two halves."""
        h = self.hierarchy
        carried, strain = h.carried(w, None)
        rate = h.rates(w, carried)[0]
        decay = h.damping() + h.spreading()

        def euler(w: Array, rate: Array, dt: float) -> Array:
            return np.asarray((w + dt * rate) / (1.0 + dt * decay))

        half = euler(w, rate, self.dt / 2.0)
        second = h.rates(half, h.carried(half, strain)[0])[0]
        waves = 2.0 * euler(half, second, self.dt / 2.0) - euler(w, rate, self.dt)
        return {"waves": waves, "waves_previous": w.copy(), "rate": rate, "strains": strain[None]}

    def step(self, memory: Memory) -> Memory:
        """As the class says."""
        h, w, before = self.hierarchy, memory["waves"], memory["waves_previous"]
        carried, strain = h.carried(w, *_guess(memory))
        rate = h.rates(w, carried, out=self._spare)[0]
        _loops.explicit_update(w, before, rate, memory["rate"], self._spreading, h.physics.rotary, self.dt)
        self._spare = memory["rate"]
        strains = np.stack([strain, memory["strains"][0]])
        return {"waves": before, "waves_previous": w, "rate": rate, "strains": strains}


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
    carrying = 1.0

    def __init__(self, hierarchy: Hierarchy, step: float) -> None:
        super().__init__(hierarchy, step)
        # lines of modes that lie a power of two apart would fall on the same places of the cache
        self._right = np.empty((hierarchy.modes, 2, hierarchy.waves.points**2 + PAD))
        self._spreading = hierarchy.spreading()

    def start(self, w: Array) -> Memory:
        """Euler's step, extrapolated from one step and two halves."""
        h = self.hierarchy
        carried, strain = h.carried(w, None)
        kept, fields = h.rates(w, carried, h.physics.rotary, fields=True)
        rate = np.zeros_like(self._right)
        rate[..., : fields.shape[-1]] = fields

        def euler(w: Array, b: float, rate: Array, kept: Array) -> Memory:
            first = {"waves": w, "waves_previous": w.copy(), "strains": strain[None]}
            return self._solve({**first, "rate": rate.copy(), "rate_kept": kept.copy()}, b, 0.0, 0.0)

        whole = euler(w, self.dt, rate, kept)
        half = euler(w, self.dt / 2.0, rate, kept)
        fine = euler(half["waves"], self.dt / 2.0, half["rate"], half["rate_kept"])
        waves = 2.0 * fine["waves"] - whole["waves"]
        last = {"carried": carried, "strains": strain[None]}
        return {**fine, **last, "waves": waves, "waves_previous": w.copy()}

    def step(self, memory: Memory) -> Memory:
        """As the class says."""
        return self._solve(memory, 2.0 * self.dt / 3.0, 1.0 / 3.0, 1.0)

    def _solve(self, memory: Memory, b: float, known: float, ahead: float) -> Memory:
        """(1 - b A) (1 - b L) (new - w) = known d + b (A + L) w - b u.grad (w + ahead d), d = w - previous;
        A and u extrapolated from those now and, where there are such, before."""
        h, right, spreading = self.hierarchy, self._right, self._spreading
        plan = h.waves.plan
        w, before, kept, rate = (memory[k] for k in ("waves", "waves_previous", "rate_kept", "rate"))
        now, strain = h.carried(w, *_guess(memory))
        by = 2.0 * now - memory["carried"] if "carried" in memory else now
        _loops.implicit_sources(
            w, before, kept, spreading, b, known, ahead, by, h.waves.wave, rate, right, *plan
        )  # fmt: skip
        implicit_solve(right, by, b, h.physics.rotary, rate)
        _loops.implicit_update(w, before, kept, spreading, b, known, right, *plan)
        strains = np.stack([strain, memory["strains"][0]])
        return {
            "waves": before, "waves_previous": w, "carried": now, "rate": rate, "rate_kept": kept,
            "strains": strains,
        }  # fmt: skip


class ExponentialRungeKutta(Stepper):
    """`Etdrk4` with both diffusions as the linear part; the strain rate is self-consistent in each stage."""

    order = 4
    turning = IMAGINARY
    carrying = IMAGINARY / 2.0

    def __init__(self, hierarchy: Hierarchy, step: float) -> None:
        super().__init__(hierarchy, step)
        self.method = Etdrk4.of(-(hierarchy.damping() + hierarchy.spreading()), step)

    def start(self, w: Array) -> Memory:
        """A step as any other."""
        return self.step({"waves": w, "strains": self.hierarchy.carried(w, None)[1][None]})

    def step(self, memory: Memory) -> Memory:
        """As the class says."""
        strain = memory["strains"][0]

        def nonlinear(w: Array) -> Array:
            nonlocal strain
            carried, strain = self.hierarchy.carried(w, strain)
            return self.hierarchy.rates(w, carried)[0]

        return {"waves": self.method.advance(memory["waves"], nonlinear), "strains": strain[None]}


STEPPERS: dict[str, type[Stepper]] = {
    "sbdf2_implicit": Sbdf2Implicit,
    "sbdf2": Sbdf2,
    "etdrk4": ExponentialRungeKutta,
}
