"""The kinetic model of swimming particles: psi on points and angles, pseudo-spectral in both."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from kernels.closures import harmonics
from kernels.closures.kinetic.angular_waves import AngularWaves
from kernels.closures.kinetic.stokes import Driven
from kernels.closures.physics import Physics
from kernels.errors import InputError
from kernels.fields.periodic import Flow, PeriodicSquare
from kernels.torch_threads import torch_threads

Array = np.ndarray
Memory = dict[str, Array]

STABLE = 0.5
"""Largest step times frequency of what is explicit, see `Polar.limit`; instability was seen from 1 on."""

BLOCK = 10
"""Steps between two looks at whether the state is still one; the last good one is kept."""

LARGEST = 4.0
"""|z_1| or |z_2| over the largest c from which a state is taken for exploded; 1 for a nonnegative psi."""

RESOLVED = 1e-10
"""Relative amplitude of the last modes below which the angle counts as resolved."""

ITERATIONS = 2
"""Iterations of the strain rate a step from its extrapolation, whose error they lower by (beta / 4)^2."""


@dataclass(frozen=True)
class PolarSettings:
    """points along a side, angles 2 pi a / angles, and the time step."""

    points: int = 64
    angles: int = 64
    time_step: float = 0.005


@dataclass(frozen=True)
class PolarState:
    """psi (angles, n, n) at a time. memory: arrays of the stepper, with which it goes on with the same bits;
    without them (empty) it starts anew."""

    time: float
    psi: Array
    memory: Memory = field(default_factory=dict)


class PolarExploded(InputError):
    """The state stopped being one. state: the last good one."""

    def __init__(self, message: str, state: PolarState) -> None:
        super().__init__(message)
        self.state = state


def moments(psi: Array, orders: Sequence[int]) -> Array:
    """z_m = int e^{i m theta} psi d theta, (orders, ...) complex, of psi (angles, ...) at 2 pi a / angles."""
    count = len(psi)
    angle = 2.0 * np.pi * np.outer(orders, np.arange(count)) / count
    weights = 2.0 * np.pi / count * np.exp(1j * angle)
    return np.asarray(np.tensordot(weights.real, psi, 1) + 1j * np.tensordot(weights.imag, psi, 1))


def density(z: Array, angles: int) -> Array:
    """psi (angles, ...) of even modes z (J, ...), z[j] = z_{2j}: (z_0 + 2 sum Re(z_m e^{-i m theta})) / 2 pi.

    Raises InputError where the angles are too few to tell the modes apart.
    """
    if angles <= 4 * (len(z) - 1):
        raise InputError(
            f"{angles} angles were given for {len(z)} even modes, expected above {4 * (len(z) - 1)}: raise "
            "angles"
        )
    angle = 4.0 * np.pi * np.outer(np.arange(angles), np.arange(len(z))) / angles
    weights = np.exp(-1j * angle) / np.pi
    weights[:, 0] /= 2.0
    return np.asarray(np.tensordot(weights.real, z.real, 1) - np.tensordot(weights.imag, z.imag, 1))


class Polar:
    """psi_t + div((u + V0 p) psi) + d_theta(theta' psi) = d_T Lap psi + d_R d_theta^2 psi, p = (cos, sin)
    theta, theta' = omega / 2 + Im(t e^{-2 i theta}), u of the Stokes flow that the particles drive.

    Maddu, Weady, Shelley, J. Comput. Phys. 2024, section 2, with t as in `kernels.closures.harmonics`. All
    angular modes, even and odd: for V0 = `physics.speed` other than 0, where m is coupled with m +- 1.
    Pseudo-spectral, 2/3 filter in x, y and theta. Steps are semi-implicit backward differences (Ascher,
    Ruuth, Wetton, SIAM J. Numer. Anal. 32, 1995, eq. 2.8), diffusion implicit. Raises InputError for settings
    out of range. Not handled: a psi that its angles do not resolve, see `warning`; two threads in one object,
    which keeps its large arrays.
    """

    order: ClassVar[int] = 2

    def __init__(self, physics: Physics, settings: PolarSettings) -> None:
        _check(physics, settings)
        self.physics, self.settings = physics, settings
        self.square = PeriodicSquare(settings.points, physics.length)
        self.driven = Driven(physics, self.square)
        count = settings.angles
        theta = (2.0 * np.pi / count * np.arange(count))[:, None, None]
        self._swim = physics.speed * np.cos(theta), physics.speed * np.sin(theta)
        self._double = np.cos(2.0 * theta), np.sin(2.0 * theta)
        self.waves = AngularWaves(count, settings.points, physics.length)
        m, kx, ky = self.waves.orders, self.waves.kx, self.waves.ky
        self._decay = physics.rotary * m**2 + physics.translational * (kx**2 + ky**2)
        self._slopes = -1j * kx, -1j * ky, -1j * m
        self._shape = (count, settings.points, settings.points)
        self._psi, self._product = np.empty(self._shape), np.empty(self._shape)

    def begin(self, psi: Array, time: float = 0.0) -> PolarState:
        """A state of psi (angles, n, n), without the waves and modes that the filter drops."""
        if psi.shape != self._shape or np.iscomplexobj(psi):
            raise InputError(
                f"psi has shape {psi.shape} and type {psi.dtype}, expected real {self._shape}: change angles "
                "or points"
            )
        if not np.isfinite(psi).all():
            bad = int(np.count_nonzero(~np.isfinite(psi)))
            raise InputError(f"{bad} of psi's {psi.size} values are not finite: correct the initial state")
        with torch_threads(1):
            return PolarState(
                time, self.waves.backward(self.waves.forward(np.ascontiguousarray(psi, dtype=np.float64)))
            )

    def advance(self, state: PolarState, until: float) -> PolarState:
        """The state at a later time, by equal steps of at most the time step.

        Intervals of the same length continue with the same bits as one long one that is a multiple of them.
        Raises InputError where the interval is not positive or the step is beyond `limit`, and
        `PolarExploded` with the last good state where the solution grows out of bounds.
        """
        interval = until - state.time
        if not (np.isfinite(until) and interval > 0.0):
            raise InputError(f"until is {until!r}, expected a time after the state's, {state.time!r}")
        count = max(1, int(np.ceil(interval / self.settings.time_step * (1.0 - 1e-9))))
        step = interval / count
        limit = self.limit(state.psi)
        if not step <= limit:
            raise InputError(
                f"the time step {step:.6g} is not stable at time {state.time:.6g}, expected at most "
                f"{limit:.6g}: lower time_step"
            )
        memory = state.memory
        if memory and abs(float(memory["step"][0]) - step) <= 1e-9 * step:  # intervals differ by rounding
            step = float(memory["step"][0])
        else:
            memory = {}
        with torch_threads(1), np.errstate(all="ignore"):  # an explosion is told by its own error
            return self._run(state, memory, step, count, until)

    def _run(self, state: PolarState, memory: Memory, step: float, count: int, until: float) -> PolarState:
        good = state
        for done in range(1, count + 1):
            memory = self._step(memory, step) if memory else self._start(self.waves.forward(state.psi), step)
            memory["step"] = np.array([step])
            if done % BLOCK == 0 or done == count:
                time = until if done == count else state.time + done * step
                now = PolarState(time, self.waves.backward(memory["waves"]), memory)
                if not self._sound(now.psi):
                    raise PolarExploded(
                        f"the solution grew out of bounds between time {good.time:.6g} and {time:.6g} with "
                        f"steps of {step:.3g}, estimated limit {self.limit(good.psi):.3g}: lower time_step, "
                        "or, where it is far below the limit, raise points or angles",
                        good,
                    )
                good = now
        return good

    def flow(self, psi: Array) -> Flow:
        """The flow that psi drives, with a self-consistent strain rate."""
        z = moments(psi, (0, 2, 4))
        return self.driven.solve(np.ascontiguousarray(z[0].real), z[1], z[2])

    def limit(self, psi: Array) -> float:
        """Largest stable step at psi, `STABLE` over the largest frequency
        k_max (|u| + |v| + sqrt 2 V0) + m_max (|omega| / 2 + |t|) of what is explicit."""
        flow = self.flow(psi)
        t = harmonics.driving(flow.strain, moments(psi, (2,))[0], self.physics.zeta)
        swim = np.sqrt(2.0) * abs(self.physics.speed)
        carried = self.waves.fastest * (np.abs(flow.u) + np.abs(flow.v) + swim)
        turned = self.waves.top * (np.abs(flow.vorticity) / 2.0 + np.abs(t))
        return float(STABLE / max(float((carried + turned).max()), np.finfo(np.float64).tiny))

    def tail(self, psi: Array) -> float:
        """Largest |z_m| of the last kept m over the largest c: how well the angle is resolved."""
        z = np.abs(moments(psi, (0, self.waves.top - 1, self.waves.top)))
        return float(z[1:].max() / z[0].max())

    def warning(self, psi: Array, tolerance: float = RESOLVED) -> str | None:
        """What to tell where the last modes are above `tolerance`: the tail, and the angles needed if modes
        go on to fall as those of the upper half do."""
        tail = self.tail(psi)
        if tail <= tolerance:
            return None
        middle = self.waves.top // 2
        z = np.abs(moments(psi, (0, middle - 1, middle)))
        fall = np.log(max(float(z[1:].max() / z[0].max()), tail) / tail) / (self.waves.top - middle)
        needed = self.waves.top + np.log(tail / tolerance) / max(fall, 1e-2)
        return (
            f"the angle is not resolved: the last of the modes up to {self.waves.top} holds {tail:.1e} of "
            f"the concentration, expected at most {tolerance:.0e}, which needs about "
            f"{6 * int(np.ceil(needed / 2))} angles"
        )

    def rate(self, waves: Array, strain: Array | None = None, iterations: int = 0) -> tuple[Array, Array]:
        """Coefficients of -div((u + V0 p) psi) - d_theta(theta' psi), and the strain rate.

        waves: kept coefficients (m, k_x, k_y). strain: a guess that is iterated
        `iterations` times; 0: until it is self-consistent.
        """
        psi, product = self.waves.backward(waves, self._psi), self._product
        z = moments(psi, (0, 2, 4))
        c = np.ascontiguousarray(z[0].real)
        if iterations and strain is not None:
            flow = self.driven.steps(c, z[1], z[2], strain, iterations)
        else:
            flow = self.driven.solve(c, z[1], z[2], strain)
        t = harmonics.driving(flow.strain, z[1], self.physics.zeta)
        change = np.zeros_like(waves)
        for slope, speed, swim in zip(self._slopes, (flow.u, flow.v), self._swim, strict=False):
            np.add(speed, swim, out=product)
            product *= psi
            change += slope * self.waves.forward(product)
        np.multiply(psi, self._turn(flow.vorticity, t), out=product)
        change += self._slopes[2] * self.waves.forward(product)
        return change, flow.strain

    def _turn(self, vorticity: Array, t: Array) -> Array:
        """theta' = omega / 2 + Im(t e^{-2 i theta}), (angles, n, n)."""
        np.multiply(t.imag, self._double[0], out=self._product)
        self._product -= t.real * self._double[1]
        self._product += 0.5 * vorticity
        return self._product

    def _start(self, w: Array, dt: float) -> Memory:
        """Euler's step, extrapolated from one step and two halves."""
        rate, strain = self.rate(w)
        half = (w + 0.5 * dt * rate) / (1.0 + 0.5 * dt * self._decay)
        second, _ = self.rate(half, strain)
        fine = (half + 0.5 * dt * second) / (1.0 + 0.5 * dt * self._decay)
        waves = 2.0 * fine - (w + dt * rate) / (1.0 + dt * self._decay)
        return {"waves": waves, "previous": w, "rate": rate, "strains": strain[None]}

    def _step(self, memory: Memory, dt: float) -> Memory:
        """(3 w^{n+1} - 4 w^n + w^{n-1}) / (2 dt) = 2 N^n - N^{n-1} - decay w^{n+1}."""
        w, strains = memory["waves"], memory["strains"]
        if len(strains) == 1:
            rate, strain = self.rate(w, strains[0])
        else:
            rate, strain = self.rate(w, 2.0 * strains[0] - strains[1], ITERATIONS)
        new = 2.0 * w - 0.5 * memory["previous"] + dt * (2.0 * rate - memory["rate"])
        new /= 1.5 + dt * self._decay
        return {"waves": new, "previous": w, "rate": rate, "strains": np.stack([strain, strains[0]])}

    def _sound(self, psi: Array) -> bool:
        """Whether c is not far below 0, which swimming may concentrate, and z_1, z_2 not beyond `LARGEST`."""
        z = moments(psi, (0, 1, 2))
        c = z[0].real
        return bool(np.abs(z[1:]).max() <= LARGEST * c.max() and c.min() >= -c.mean())


def _check(physics: Physics, settings: PolarSettings) -> None:
    """Raise InputError for numbers out of range; points and length are looked at by `PeriodicSquare`."""
    for name in ("alpha", "zeta", "beta", "rotary", "translational", "speed", "length"):
        value = getattr(physics, name)
        signed = name in ("alpha", "zeta", "speed")
        if np.ndim(value) != 0 or not np.isfinite(value) or (value < 0.0 and not signed):
            raise InputError(f"{name} is {value!r}, expected one finite number of the right sign for a run")
    if settings.angles < 16 or settings.angles % 2:
        raise InputError(f"angles is {settings.angles}, expected an even number of at least 16: raise it")
    if not 0.0 < settings.time_step < np.inf:
        raise InputError(f"time_step is {settings.time_step!r}, expected a positive number")
