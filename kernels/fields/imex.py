"""Implicit-explicit time steps for v_t = L v + N(v) with a diagonal L: L implicit, N explicit."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

Field = Any
"""A numpy array or a torch tensor; steps are differentiable in L, N and v."""
State = tuple[Field, ...]
"""What a step needs: v, and for a multistep method what came before it."""

GAMMA = 1.0 - np.sqrt(0.5)
_DELTA = 1.0 - 0.5 / GAMMA


@dataclass(frozen=True)
class Ars222:
    """Implicit-explicit Runge-Kutta step of second order, L-stable in L (Ascher, Ruuth, Spiteri, Appl. Numer.
    Math. 25, 1997, section 2.6).

    With g = 1 - 1 / sqrt 2 and d = 1 - 1 / (2 g):
    (1 - g h L) a = v + g h N(v),  (1 - g h L) v' = v + h [d N(v) + (1 - d) N(a)] + (1 - g) h L a.
    """

    order: ClassVar[int] = 2
    evaluations: ClassVar[int] = 2
    linear: Field
    solve: Field
    step: float

    @classmethod
    def of(cls, linear: Field, step: float) -> "Ars222":
        """Coefficients for a diagonal L (any shape) and a time step."""
        return cls(linear, 1.0 / (1.0 - GAMMA * step * linear), step)

    def advance(self, v: Field, nonlinear: Callable[[Field], Field]) -> Field:
        """v one step later."""
        h, n0 = self.step, nonlinear(v)
        a = self.solve * (v + (GAMMA * h) * n0)
        n1 = nonlinear(a)
        explicit = (h * _DELTA) * n0 + (h * (1.0 - _DELTA)) * n1
        return self.solve * (v + explicit + ((1.0 - GAMMA) * h) * self.linear * a)

    def move(self, state: State, nonlinear: Callable[[Field], Field]) -> State:
        """The state one step later; the first is (v,)."""
        return (self.advance(state[0], nonlinear),)

    @classmethod
    def growth(cls, linear: np.ndarray, explicit: np.ndarray) -> np.ndarray:
        """Largest amplification of a step of size 1 on v_t = (linear + explicit) v."""
        return np.asarray(abs(cls.of(linear, 1.0).advance(np.ones_like(explicit), lambda v: explicit * v)))


@dataclass(frozen=True)
class Sbdf2:
    """Backward differences of second order, N extrapolated (Ascher, Ruuth, Wetton, SIAM J. Numer. Anal. 32,
    1995, eq. 10).

    (3/2 - h L) v'' = 2 v' - v / 2 + h [2 N(v') - N(v)], one N a step; the first step is that of `Ars222`.
    """

    order: ClassVar[int] = 2
    evaluations: ClassVar[int] = 1
    first: Ars222
    solve: Field
    step: float

    @classmethod
    def of(cls, linear: Field, step: float) -> "Sbdf2":
        """Coefficients for a diagonal L (any shape) and a time step."""
        return cls(Ars222.of(linear, step), 1.0 / (1.5 - step * linear), step)

    def move(self, state: State, nonlinear: Callable[[Field], Field]) -> State:
        """(v', v, N(v)) -> (v'', v', N(v')); the first state is (v,)."""
        v = state[0]
        if len(state) == 1:
            known: list[Field] = []

            def remembered(x: Field) -> Field:
                known.append(nonlinear(x))
                return known[-1]

            return self.first.advance(v, remembered), v, known[0]
        h, n = self.step, nonlinear(v)
        return self.solve * (2.0 * v - 0.5 * state[1] + (2.0 * h) * n - h * state[2]), v, n

    @classmethod
    def growth(cls, linear: np.ndarray, explicit: np.ndarray) -> np.ndarray:
        """Largest amplification of a step of size 1 on v_t = (linear + explicit) v: the larger root of
        (3/2 - l) r^2 - (2 + 2 n) r + 1/2 + n."""
        a, b, c = 1.5 - linear, 2.0 + 2.0 * explicit, 0.5 + explicit
        root = np.sqrt(b * b - 4.0 * a * c + 0j)
        return np.asarray(np.maximum(abs(b + root), abs(b - root)) / abs(2.0 * a))
