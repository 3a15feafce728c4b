"""The kinetic model of apolar active particles in the plane: even angular modes coupled to Stokes flow."""

from dataclasses import dataclass, field

import numpy as np

from kernels.closures import harmonics
from kernels.closures.kinetic.equations import Hierarchy
from kernels.closures.kinetic.steppers import STEPPERS, Memory, Stepper
from kernels.closures.physics import Physics
from kernels.errors import InputError
from kernels.fields.periodic import Flow

Array = np.ndarray

BLOCK = 10
"""Steps between two looks at whether the state is still one; the last good one is kept."""

LARGEST = 4.0
"""|z_m| over the largest c from which a state is taken for exploded; a nonnegative psi has at most 1."""

ACCURATE, COARSEST = 0.05, 0.02
"""See `Kinetic.automatic`."""

GRACE = 1.4
"""What a run under way may exceed the limit by: it is of the peak speed, steps grow from 1.5 times of it
on, and growth is caught."""

RESOLVED = 1e-10
"""Relative amplitude of the last mode below which the angle counts as resolved."""


@dataclass(frozen=True)
class KineticSettings:
    """points along a side, even modes (m = 0, 2, .., 2 (modes - 1)), time_step (None: `Kinetic.automatic`),
    and the stepper, a name of `steppers.STEPPERS`."""

    points: int = 64
    modes: int = 25
    time_step: float | None = None
    stepper: str = "sbdf2_implicit"


@dataclass(frozen=True)
class KineticState:
    """z (modes, n, n) complex at a time. memory: arrays of the stepper; with them a stored state goes on with
    the same bits, without them (empty) the stepper starts anew."""

    time: float
    z: Array
    memory: Memory = field(default_factory=dict)


class Exploded(InputError):
    """The state stopped being one. state: the last good one."""

    def __init__(self, message: str, state: KineticState) -> None:
        super().__init__(message)
        self.state = state


class Kinetic:
    """d_t z_m + u.grad z_m = i m (omega / 2) z_m + (m / 2) [t z_{m-2} - conj(t) z_{m+2}]
                           + (d_T Lap - d_R m^2) z_m
    for even m, z_m = 0 from 2 `modes` on, u of the Stokes flow that the particles drive.

    z_m = int e^{i m theta} psi d theta on n x n points of a periodic square (`kernels.closures.harmonics`;
    Maddu, Weady, Shelley, J. Comput. Phys. 2024, section 2). Pseudo-spectral with the 2/3 filter in space,
    exact in the angle but for the truncation. Raises InputError for settings that are out of range, swimming
    particles, and numbers that are not single floats.
    """

    def __init__(self, physics: Physics, settings: KineticSettings) -> None:
        _check(physics, settings)
        self.physics, self.settings = physics, settings
        self.hierarchy = Hierarchy.of(physics, settings.points, settings.modes)
        self.kind = STEPPERS[settings.stepper]
        self._made: tuple[float, Stepper] | None = None

    def begin(self, z0: Array, time: float = 0.0) -> KineticState:
        """A state of modes z0 (modes, n, n), without the waves that the filter drops."""
        expected = (self.settings.modes, self.settings.points, self.settings.points)
        if z0.shape != expected:
            raise InputError(f"the modes have shape {z0.shape}, expected {expected}: change points or modes")
        if not np.isfinite(z0).all():
            bad = int(np.count_nonzero(~np.isfinite(z0)))
            raise InputError(
                f"{bad} of the modes' {z0.size} values are not finite: correct the initial state"
            )
        if np.iscomplexobj(z0) and np.abs(z0[0].imag).max() > 1e-12 * np.abs(z0[0]).max():
            raise InputError("z_0 is the concentration and was given with an imaginary part: make it real")
        return self._state(time, {"waves": self.hierarchy.waves.forward(z0)}, remember=False)

    def advance(self, state: KineticState, until: float) -> KineticState:
        """The state at a later time, by equal steps of at most the time step.

        With a time_step, intervals of one length go on with the same bits as one long one that is a multiple
        of them; without, the step is chosen anew at the start of each. Raises InputError where the interval
        is not positive or the step is beyond `limit` (`GRACE` times it for a run under way), and `Exploded`
        with the last good state where the solution grows out of bounds.
        """
        interval = until - state.time
        if not (np.isfinite(until) and interval > 0.0):
            raise InputError(f"until is {until!r}, expected a time after the state's, {state.time!r}")
        given = self.settings.time_step
        asked = self.automatic(state.z) if given is None else given
        count = max(1, int(np.ceil(interval / asked * (1.0 - 1e-9))))
        step = interval / count
        self._refuse(state, step)
        memory = state.memory or {"waves": self.hierarchy.waves.forward(state.z)}
        last = float(memory["step"][0]) if "step" in memory else 0.0
        if abs(last - step) <= 1e-9 * step:  # intervals that differ by rounding
            step = last
        else:
            memory = {"waves": memory["waves"]}
        return self._run(state, memory, step, count, until)

    def _run(
        self, state: KineticState, memory: Memory, step: float, count: int, until: float
    ) -> KineticState:
        if self._made is None or self._made[0] != step:
            self._made = (step, self.kind(self.hierarchy, step))
        stepper = self._made[1]
        good, at, memory = memory, state.time, _copy(memory)  # steps write over what they are given
        for done in range(1, count + 1):
            now = state.time + done * step
            try:
                memory = stepper.step(memory) if "step" in memory else stepper.start(memory["waves"])
            except InputError as error:  # no self-consistent flow of a state that is none
                raise self._exploded(state, good, at, now, step) from error
            memory["step"] = np.array([step])
            if done % BLOCK == 0 or done == count:
                if not self._sound(memory["waves"]):
                    raise self._exploded(state, good, at, now, step)
                good, at = _copy(memory), now
        return self._state(until, memory)

    def _state(self, time: float, memory: Memory, remember: bool = True) -> KineticState:
        z = self.hierarchy.waves.backward(memory["waves"])
        z[0].imag = 0.0
        return KineticState(time, z, memory if remember else {})

    def _sound(self, w: Array) -> bool:
        """Whether no mode is beyond `LARGEST`, judged by c and z_2."""
        c, z2 = self.hierarchy.waves.to_grid(w[:2])
        return bool(np.abs(z2).max() <= LARGEST * np.abs(c).max())

    def _exploded(self, start: KineticState, good: Memory, at: float, now: float, step: float) -> Exploded:
        last = self._state(at, good, "step" in good) if at > start.time else start
        energy, limit = self.energy(last.z), self.limit(last.z)
        return Exploded(
            f"the solution grew out of bounds between time {at:.6g} (kinetic energy {energy:.3g} a unit of "
            f"area) and {now:.6g} with steps of {step:.3g}, estimated "
            f"limit {limit:.3g}: lower time_step, or, where it is far below the limit, raise points or modes",
            last,
        )

    def energy(self, z: Array) -> float:
        """Mean of |u|^2 / 2."""
        flow = self.flow(z)
        return float(0.5 * np.mean(flow.u**2 + flow.v**2))

    def flow(self, z: Array) -> Flow:
        """The flow of modes z (modes, n, n), or of the first three, with a self-consistent strain rate."""
        waves = self.hierarchy.waves
        fields = self.hierarchy.driven.solve(waves.parts(z[:3]))
        strain, velocity, vorticity = waves.across(fields)
        u, v, vorticity = (np.ascontiguousarray(x) for x in (velocity.real, velocity.imag, vorticity.real))
        return Flow(u, v, vorticity, strain)

    def limit(self, z: Array) -> float:
        """Largest stable step at z: of advection, k_max dt (|u| + |v|) <= C, and for steppers with an
        explicit stencil also m_max dt |t| <= C', constants `Stepper.carrying` and `Stepper.turning`."""
        flow = self.flow(z)
        t = harmonics.driving(flow.strain, z[1], self.physics.zeta)
        speed = float((np.abs(flow.u) + np.abs(flow.v)).max()) * self.hierarchy.waves.fastest
        turning = 2.0 * (self.settings.modes - 1) * float(np.abs(t).max())
        tiny = np.finfo(np.float64).tiny
        return float(min(self.kind.carrying / max(speed, tiny), self.kind.turning / max(turning, tiny)))

    def automatic(self, z: Array) -> float:
        """The step from z where none is asked for: `ACCURATE` over the rate zeta + |alpha| / 4 at which order
        and flow grow, at most `COARSEST`, halved until it is within nine tenths of `limit`.

        Measured with sbdf2_implicit, order <r> and u_rms against half the step: at (alpha, zeta) = (-3, 1), L
        = 10, 64^2 points, steps of 0.02 change them by 0.05 % and 0.4 %, 0.04 by 0.6 % and 5 %; at (-5, 5), L
        = 5, steps of 0.01 by 0.02 % and 0.2 %, of 0.02 by 0.4 % and 8 %.
        """
        step = min(COARSEST, ACCURATE / max(abs(self.physics.zeta) + abs(self.physics.alpha) / 4.0, 1e-3))
        limit = 0.9 * self.limit(z)
        while step > limit and step > 1e-9:
            step /= 2.0
        return step

    def _refuse(self, state: KineticState, step: float) -> None:
        limit = self.limit(state.z)
        if not step <= limit * (GRACE if "step" in state.memory else 1.0):
            raise InputError(
                f"the time step {step:.6g} is not stable at time {state.time:.6g}, expected at most "
                f"{limit:.6g} for {self.settings.stepper}: lower time_step, or leave it out"
            )

    def tail(self, z: Array) -> float:
        """Largest |z_m| of the last mode over the largest c: how well the angle is resolved."""
        return float(np.abs(z[-1]).max() / np.abs(z[0]).max())

    def modes_needed(self, z: Array, tolerance: float = RESOLVED) -> int:
        """Even modes of which the last would be `tolerance`, by the geometric decay of the upper half.

        At least 4; with a decay that cannot be seen, ten times the modes that there are.
        """
        size = np.abs(z).max(axis=(1, 2)) / np.abs(z[0]).max()
        used = np.arange(len(size) // 2, len(size))
        seen = np.log(np.maximum(size[used], np.finfo(np.float64).tiny))
        if np.exp(seen[-1]) <= tolerance:
            return max(4, int(np.argmax(size <= tolerance * (1.0 + 1e-9))) + 1)
        slope = float(np.polyfit(used, seen, 1)[0])
        most = 10 * len(size)
        if slope >= -1e-12:
            return most
        return int(min(most, np.ceil(len(size) + (np.log(tolerance) - seen[-1]) / slope - 1e-6)))

    def warning(self, z: Array, tolerance: float = RESOLVED) -> str | None:
        """What to tell where the last mode is above `tolerance`: the tail and the modes needed."""
        tail = self.tail(z)
        if tail <= tolerance:
            return None
        return (
            f"the angle is not resolved: the last of {len(z)} even modes holds {tail:.1e} of the "
            f"concentration, expected at most {tolerance:.0e}, which needs about "
            f"{self.modes_needed(z, tolerance)} modes"
        )


def _copy(memory: Memory) -> Memory:
    return {name: values.copy() for name, values in memory.items()}


def _check(physics: Physics, settings: KineticSettings) -> None:
    """Raise InputError for numbers out of range."""
    for name in ("alpha", "zeta", "beta", "rotary", "translational", "length"):
        value = getattr(physics, name)
        good = np.ndim(value) == 0 and np.isfinite(value)
        if not good or (name not in ("alpha", "zeta") and value < 0.0) or (name == "length" and value == 0.0):
            raise InputError(f"{name} is {value!r}, expected one finite number of the right sign for a run")
    if physics.speed != 0.0:
        raise InputError(f"speed is {physics.speed!r}, expected 0: even modes hold apolar particles alone")
    if settings.stepper not in STEPPERS:
        raise InputError(f"stepper is {settings.stepper!r}, expected one of {', '.join(STEPPERS)}")
    if settings.modes < 4:
        raise InputError(f"modes is {settings.modes}, expected at least 4: raise it")
    if settings.time_step is not None and not 0.0 < settings.time_step < np.inf:
        raise InputError(f"time_step is {settings.time_step!r}, expected a positive number or nothing")
