"""Exponential time differencing for v_t = L v + N(v) with a diagonal L, and time steps that stay stable."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from kernels.errors import InputError

Array = np.ndarray
Field = Any
"""A numpy array or a torch tensor; steps are differentiable in L, N and v."""
IMAGINARY = 2.82
"""Steps of N with eigenvalues i s are stable up to s * step = 2 sqrt(2), as for the Runge-Kutta method."""
SAFETY = 0.5
"""Part of the stable step that is taken where none is asked for."""
_BLOCK = 16
_FINEST = 40


def _exp(z: Field) -> Field:
    # torch is not imported where numpy is enough
    return np.exp(z) if isinstance(z, np.ndarray) else z.exp()


def _means(scaled: Field, points: int, *functions: Callable[[Field, Field], Field]) -> list[Field]:
    """f(z, e^z) for every f at real z, which cancels for small z, as its mean over a circle round z (Kassam
    and Trefethen, SIAM J. Sci. Comput. 26, 2005, section 3)."""
    sums = [0.0 * scaled for _ in functions]
    for angle in np.pi * (np.arange(points) + 0.5) / points:  # the lower half of the circle is conjugate
        z = scaled + complex(np.exp(1j * angle))
        e = _exp(z)
        sums = [total + f(z, e).real for total, f in zip(sums, functions, strict=True)]
    return [total / points for total in sums]


class _OneStep:
    """What steps that need v alone share."""

    def move(self, state: tuple[Field, ...], nonlinear: Callable[[Field], Field]) -> tuple[Field, ...]:
        """The state one step later; the first is (v,)."""
        return (self.advance(state[0], nonlinear),)  # type: ignore[attr-defined]

    @classmethod
    def growth(cls, linear: Array, explicit: Array) -> Array:
        """Largest amplification of a step of size 1 on v_t = (linear + explicit) v."""
        method = cls.of(linear, 1.0)  # type: ignore[attr-defined]
        return np.asarray(abs(method.advance(np.ones_like(explicit), lambda v: explicit * v)))


@dataclass(frozen=True)
class Etdrk2(_OneStep):
    """Second-order exponential Runge-Kutta step (Cox and Matthews, J. Comput. Phys. 176, 2002, eq. 22).

    a = e^{hL} v + h p1 N(v),  v' = a + h p2 [N(a) - N(v)],  p1 = (e^z - 1) / z,  p2 = (e^z - 1 - z) / z^2 at
    z = h L, which is integrated exactly, so its stiffness limits no step.
    """

    order: ClassVar[int] = 2
    evaluations: ClassVar[int] = 2
    full: Field
    first: Field
    second: Field

    @classmethod
    def of(cls, linear: Field, step: float, points: int = 16) -> "Etdrk2":
        """Coefficients for a real diagonal L (any shape) and a time step."""
        scaled = linear * step
        first, second = _means(scaled, points, lambda z, e: (e - 1.0) / z, lambda z, e: (e - 1.0 - z) / z**2)
        return cls(_exp(scaled), step * first, step * second)

    def advance(self, v: Field, nonlinear: Callable[[Field], Field]) -> Field:
        """v one step later."""
        n0 = nonlinear(v)
        a = self.full * v + self.first * n0
        return a + self.second * (nonlinear(a) - n0)


@dataclass(frozen=True)
class Etdrk4(_OneStep):
    """Fourth-order exponential Runge-Kutta step of Cox and Matthews (J. Comput. Phys. 176, 2002, eq. 26-29).

    L is integrated exactly, so its stiffness limits no step.
    """

    order: ClassVar[int] = 4
    evaluations: ClassVar[int] = 4
    full: Field
    half: Field
    middle: Field
    first: Field
    second: Field
    last: Field

    @classmethod
    def of(cls, linear: Field, step: float, points: int = 16) -> "Etdrk4":
        """Coefficients for a real diagonal L (any shape) and a time step."""
        scaled = linear * step
        middle, first, second, last = _means(
            scaled,
            points,
            lambda z, e: (_exp(z / 2.0) - 1.0) / z,
            lambda z, e: (-4.0 - z + e * (4.0 - 3.0 * z + z**2)) / z**3,
            lambda z, e: (2.0 + z + e * (z - 2.0)) / z**3,
            lambda z, e: (-4.0 - 3.0 * z - z**2 + e * (4.0 - z)) / z**3,
        )
        return cls(
            _exp(scaled), _exp(scaled / 2.0), step * middle, step * first, step * 2.0 * second, step * last
        )

    def advance(self, v: Field, nonlinear: Callable[[Field], Field]) -> Field:
        """v one step later."""
        n0 = nonlinear(v)
        a = self.half * v + self.middle * n0
        n1 = nonlinear(a)
        b = self.half * v + self.middle * n1
        n2 = nonlinear(b)
        c = self.half * a + self.middle * (2.0 * n2 - n0)
        n3 = nonlinear(c)
        return self.full * v + self.first * n0 + self.second * (n1 + n2) + self.last * n3


@dataclass(frozen=True)
class Evolution:
    """v_t = L v + N(v): linear, nonlinear, and the largest frequency of N at a state, 1/time."""

    linear: Array
    nonlinear: Callable[[Array], Array]
    frequency: Callable[[Array], float]


def integrate(
    evolution: Evolution, v: Array, times: Sequence[float], time_step: float | None = None
) -> list[Array]:
    """States at the given times, rising and after 0, from v at time 0.

    time_step None: the interval between two times halved until a step is `SAFETY` of what is stable, looked
    at again every few steps. Given: used, shortened to divide the interval. Raises InputError where times do
    not rise, a given step is not stable, or the state stops being finite.
    """
    check_times(times)
    made: dict[float, Etdrk4] = {}
    states, now = [], 0.0
    for end in times:
        v = _over(evolution, v, float(end - now), time_step, made)
        now = float(end)
        states.append(v)
    return states


def check_times(times: Sequence[float]) -> None:
    """Raise InputError unless the times rise and come after 0."""
    ends = np.asarray(times, dtype=np.float64)
    if ends.size == 0 or not np.isfinite(ends).all() or ends[0] <= 0.0 or (np.diff(ends) <= 0.0).any():
        raise InputError(f"times are {list(times)}, expected rising numbers after 0: sort them, drop repeats")


def _over(
    evolution: Evolution, v: Array, interval: float, time_step: float | None, made: dict[float, Etdrk4]
) -> Array:
    parts = 1 if time_step is None else int(np.ceil(interval / time_step * (1.0 - 1e-12)))
    done, level = 0, 0  # of parts * 2^level steps
    while done < parts << level:
        while time_step is None and done % 2 == 0 and level > 0:  # as coarse as the place allows
            done, level = done // 2, level - 1
        frequency = evolution.frequency(v)
        if not np.isfinite(frequency):
            raise InputError("the solution is not finite any more: lower time_step, or raise refine")
        while time_step is None and interval / (parts << level) * frequency > SAFETY * IMAGINARY:
            done, level = done * 2, level + 1
            if level > _FINEST:
                raise InputError("the solution needs steps below 1e-12 of the interval: lower times")
        step = interval / (parts << level)
        if step * frequency > IMAGINARY:
            raise InputError(
                f"time_step is {step:.6g}, expected at most {IMAGINARY / frequency:.6g}, where steps are "
                "stable: lower it or leave it out"
            )
        if step not in made:
            made[step] = Etdrk4.of(evolution.linear, step)
        count = min(_BLOCK, (parts << level) - done)
        for _ in range(count):
            v = made[step].advance(v, evolution.nonlinear)
        done += count
    return v


def check_resolved(v: Array, outer: Array, limit: float) -> None:
    """Raise InputError where the largest coefficient of the outermost waves is above `limit` of all."""
    share = float(np.abs(v[outer]).max() / max(np.abs(v).max(), np.finfo(float).tiny))
    if not share <= limit:
        raise InputError(
            f"the shortest waves of the solver's grid hold {share:.1e} of the largest, expected at most "
            f"{limit:.0e}: raise refine or the viscosity"
        )
