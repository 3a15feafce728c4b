"""One step of the kinetic solver beside the same step in plain numpy, and beside a full angular grid.

python benchmarks/kinetic_step.py [repeats] [scaling]   15 1: medians; 0 leaves out the fits

Times are processor time of one thread, taken in turn: some steps of each kind after the other, so that
what else the machine does falls on all. The numpy steps transform all modes with numpy.fft, on all waves, and
work with whole arrays; the full grid has 256 angles and the 2/3 filter along all three axes.
"""

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import sys  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable  # noqa: E402
from typing import Any  # noqa: E402

import numpy as np  # noqa: E402

from kernels.closures import harmonics  # noqa: E402
from kernels.closures.kinetic.initial import plane_waves  # noqa: E402
from kernels.closures.kinetic.solver import Kinetic, KineticSettings  # noqa: E402
from kernels.closures.kinetic.steppers import ITERATIONS, STEPPERS  # noqa: E402
from kernels.closures.physics import Physics  # noqa: E402
from kernels.fields.periodic import PeriodicSquare  # noqa: E402

PHYSICS = Physics(-3.0, 1.0)
ANGLES = 256
STEP = 0.002
STEPS = 4
Array = np.ndarray


class Spectral:
    """What both references share: wave numbers and a flow from moments with an extrapolated strain rate."""

    def __init__(self, points: int) -> None:
        self.square = PeriodicSquare(points, PHYSICS.length)
        self.strains: list[Array] = []

    def flow(self, c: Array, z2: Array, z4: Array) -> Any:
        known = self.strains or [np.zeros_like(z2)]
        strain = 2.0 * known[0] - known[-1]
        for _ in range(ITERATIONS if self.strains else 20):
            flow = self.square.stokes(harmonics.stress(PHYSICS, c, z2, z4, strain), self.square.kept)
            strain = flow.strain
        self.strains = [strain, known[0] if self.strains else strain]
        return flow


class PlainModes(Spectral):
    """SBDF2 of the even modes with numpy alone: (J, n, n) complex arrays, four transforms of all modes."""

    def __init__(self, z: Array) -> None:
        modes, n = z.shape[:2]
        super().__init__(n)
        number = np.rint(np.fft.fftfreq(n) * n)
        kept = np.abs(number) < n / 3.0
        wave = 2.0 * np.pi / PHYSICS.length * number
        self.ikx, self.iky = 1j * wave[:, None], 1j * wave[None, :]
        self.kept = kept[:, None] & kept[None, :]
        self.m = 2.0 * np.arange(modes)[:, None, None]
        square = wave[:, None] ** 2 + wave[None, :] ** 2
        decay = PHYSICS.translational * square + PHYSICS.rotary * self.m**2
        self.divisor = 1.0 / (1.5 + STEP * decay)
        self.decay, self.square_of_k = decay, square
        self.before = self.w = np.fft.fft2(z) * self.kept
        self.begin()

    def begin(self) -> None:
        """Euler's step, extrapolated from one step and two halves."""
        w, rate = self.w, self.rate()
        self.w = (w + STEP / 2.0 * rate) / (1.0 + STEP / 2.0 * self.decay)
        fine = (self.w + STEP / 2.0 * self.rate()) / (1.0 + STEP / 2.0 * self.decay)
        self.w, self.rate_before = 2.0 * fine - (w + STEP * rate) / (1.0 + STEP * self.decay), rate

    def rate(self) -> Array:
        z = np.fft.ifft2(self.w)
        flow = self.flow(z[0].real, z[1], z[2])
        t = harmonics.driving(flow.strain, z[1], PHYSICS.zeta)
        out = 0.5j * self.m * flow.vorticity * z
        out[1:] += 0.5 * self.m[1:] * t * z[:-1]
        out[:-1] -= 0.5 * self.m[:-1] * t.conj() * z[1:]
        out -= flow.u * np.fft.ifft2(self.ikx * self.w) + flow.v * np.fft.ifft2(self.iky * self.w)
        return np.fft.fft2(out) * self.kept

    def step(self) -> None:
        rate = self.rate()
        new = (2.0 * self.w - 0.5 * self.before + STEP * (2.0 * rate - self.rate_before)) * self.divisor
        self.w, self.before, self.rate_before = new, self.w, rate


class PlainImplicit(PlainModes):
    """The scheme of `Sbdf2Implicit` with numpy alone: elimination over the modes with whole grids."""

    def begin(self) -> None:
        first, self.carried = self.w, self.now()
        super().begin()
        self.kept_rate = self.rate_before - PHYSICS.rotary * self.m**2 * first
        self.full_rate = np.fft.ifft2(self.kept_rate)

    def now(self) -> Array:
        z = np.fft.ifft2(self.w[:3])
        flow = self.flow(z[0].real, z[1], z[2])
        t = harmonics.driving(flow.strain, z[1], PHYSICS.zeta)
        return np.stack([flow.u + 0j, flow.v + 0j, flow.vorticity + 0j, t])

    def step(self) -> None:
        b, w, modes = 2.0 * STEP / 3.0, self.w, len(self.w)
        carried = self.now()
        u, v, omega, t = 2.0 * carried - self.carried
        u, v, omega, size = u.real, v.real, omega.real, np.abs(t) ** 2
        difference = w - self.before
        p_hat = w + difference / 3.0 + b * (self.kept_rate - PHYSICS.translational * self.square_of_k * w)
        ahead = w + difference
        p = np.fft.ifft2(p_hat)
        q = p - b * (self.full_rate + u * np.fft.ifft2(self.ikx * ahead) + v * np.fft.ifft2(self.iky * ahead))
        pivot, lower, upper = np.empty_like(q), t, t.conj()
        for j in range(1, modes):
            pivot[j] = 1.0 + b * PHYSICS.rotary * (2.0 * j) ** 2 - 1j * b * j * omega
            if j > 1:
                pivot[j] += b * b * j * (j - 1) * size / pivot[j - 1]
            below = q[0] if j == 1 else q[j - 1] / pivot[j - 1]
            q[j] += b * j * lower * below
        q[-1] /= pivot[-1]
        for j in range(modes - 2, 0, -1):
            q[j] = (q[j] - b * j * upper * q[j + 1]) / pivot[j]
        change = q - p
        correction = np.fft.fft2(change) * self.kept
        self.full_rate = self.full_rate + change / b
        self.kept_rate = self.kept_rate + correction / b
        damped = (p_hat + correction - w) / (1.0 + b * PHYSICS.translational * self.square_of_k)
        self.w, self.before, self.carried = w + damped, w, carried


class FullGrid(Spectral):
    """SBDF2 of psi (angles, n, n) in flux form: one transform back and three forth, numpy's rfftn."""

    def __init__(self, z: Array) -> None:
        n = z.shape[1]
        super().__init__(n)
        theta = 2.0 * np.pi * np.arange(ANGLES)[:, None, None] / ANGLES
        self.theta, self.weight = theta, 2.0 * np.pi / ANGLES
        self.cos, self.sin = np.cos(2.0 * theta), np.sin(2.0 * theta)
        psi = np.broadcast_to(z[0].real / (2.0 * np.pi), (ANGLES, n, n)).copy()
        for j in range(1, len(z)):
            psi += (z[j] * np.exp(-2j * j * theta)).real / np.pi
        number = np.rint(np.fft.fftfreq(n) * n)
        half = np.arange(n // 2 + 1.0)
        turn = np.rint(np.fft.fftfreq(ANGLES) * ANGLES)
        scale = 2.0 * np.pi / PHYSICS.length
        self.il = 1j * turn[:, None, None]
        self.ikx, self.iky = 1j * scale * number[None, :, None], 1j * scale * half[None, None, :]
        self.kept = (
            (np.abs(turn) < ANGLES / 3.0)[:, None, None]
            & (np.abs(number) < n / 3.0)[None, :, None]
            & (half < n / 3.0)[None, None, :]
        )
        square = scale**2 * (number[:, None] ** 2 + half[None, :] ** 2)
        decay = PHYSICS.translational * square + PHYSICS.rotary * turn[:, None, None] ** 2
        self.divisor = 1.0 / (1.5 + STEP * decay)
        self.w = np.fft.rfftn(psi) * self.kept
        self.before = self.w
        rate = self.rate()
        self.w = (self.w + STEP / 2.0 * rate) / (1.0 + STEP / 2.0 * decay)
        fine = (self.w + STEP / 2.0 * self.rate()) / (1.0 + STEP / 2.0 * decay)
        self.w, self.rate_before = 2.0 * fine - (self.before + STEP * rate) / (1.0 + STEP * decay), rate

    def rate(self) -> Array:
        psi = np.fft.irfftn(self.w, (ANGLES, *(self.square.points,) * 2), axes=(0, 1, 2))
        c = self.weight * psi.sum(axis=0)
        z2, z4 = (
            self.weight * np.tensordot(np.exp(1j * m * self.theta[:, 0, 0]), psi, axes=1) for m in (2, 4)
        )
        flow = self.flow(c, z2, z4)
        t = harmonics.driving(flow.strain, z2, PHYSICS.zeta)
        turning = 0.5 * flow.vorticity + t.imag * self.cos - t.real * self.sin
        out = self.ikx * np.fft.rfftn(flow.u * psi)
        out += self.iky * np.fft.rfftn(flow.v * psi)
        out += self.il * np.fft.rfftn(turning * psi)
        return -out * self.kept

    def step(self) -> None:
        rate = self.rate()
        new = (2.0 * self.w - 0.5 * self.before + STEP * (2.0 * rate - self.rate_before)) * self.divisor
        self.w, self.before, self.rate_before = new, self.w, rate


class Ours:
    """The solver's own step, in the middle of a run."""

    def __init__(self, z: Array, stepper: str) -> None:
        self.solver = Kinetic(PHYSICS, KineticSettings(z.shape[1], len(z), STEP, stepper))
        self.state = self.solver.advance(self.solver.begin(z), 2.0 * STEP)
        self.stepper = self.solver.kind(self.solver.hierarchy, STEP)
        self.memory = {name: values.copy() for name, values in self.state.memory.items()}

    def step(self) -> None:
        self.memory = self.stepper.step(self.memory)


def seconds(step: Callable[[], None]) -> float:
    """A step in the middle of a run: the first warms the caches, which the other kinds have filled."""
    step()
    start = time.thread_time()
    for _ in range(STEPS):
        step()
    return (time.thread_time() - start) / STEPS


def medians(kinds: dict[Any, Any], repeats: int) -> dict[Any, tuple[float, float]]:
    """Median and smallest milliseconds of a step of each kind."""
    for kind in kinds.values():
        kind.step()
    taken: dict[Any, list[float]] = {name: [] for name in kinds}
    for _ in range(repeats):
        for name, kind in kinds.items():
            taken[name].append(1e3 * seconds(kind.step))
    return {name: (float(np.median(t)), float(np.min(t))) for name, t in taken.items()}


def agreement(z: Array) -> None:
    """All must solve the same equations."""
    plain, implicit, full = PlainModes(z), PlainImplicit(z), FullGrid(z)
    for done in range(20):
        if done:  # their start has made the first step
            implicit.step()
            plain.step()
            full.step()
    psi = np.fft.irfftn(full.w, (ANGLES, *z.shape[1:]), axes=(0, 1, 2))
    found = {
        "numpy modes, implicit": np.fft.ifft2(implicit.w)[1],
        "full grid": full.weight * np.tensordot(np.exp(2j * full.theta[:, 0, 0]), psi, axes=1),
    }
    for stepper in STEPPERS:
        solver = Kinetic(PHYSICS, KineticSettings(z.shape[1], len(z), STEP, stepper))
        found[f"ours, {stepper}"] = solver.advance(solver.begin(z), 20 * STEP).z[1]
    own = np.fft.ifft2(plain.w)[1]
    gaps = {name: np.abs(other - own).max() / np.abs(own).max() for name, other in found.items()}
    print("z_2 after 20 steps against numpy modes, sbdf2:", {k: f"{gap:.1e}" for k, gap in gaps.items()})


def fitted(sizes: list[int], times: list[float], cost: Callable[[float], float]) -> float:
    """Exponent of the time in the cost that is expected: 1 where it holds."""
    return float(np.polyfit(np.log([cost(size) for size in sizes]), np.log(times), 1)[0])


def main() -> None:
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    points, modes = 64, 25
    agreement(plane_waves(16, 8, 0))
    z = plane_waves(points, modes, 0)
    kinds = {
        "numpy modes, sbdf2": PlainModes(z), "ours, sbdf2": Ours(z, "sbdf2"),
        "numpy modes, sbdf2_implicit": PlainImplicit(z), "ours, sbdf2_implicit": Ours(z, "sbdf2_implicit"),
        f"numpy, {ANGLES} angles, sbdf2": FullGrid(z),
    }  # fmt: skip
    found = medians(kinds, repeats)
    print(f"{points}^2 points, {modes} modes, {repeats} rounds; ms of one thread a step")
    for name, (median, least) in found.items():
        print(f"{name:28s} median {median:8.2f}  least {least:8.2f}")
    for name in ("sbdf2", "sbdf2_implicit"):
        slow, fast = found[f"numpy modes, {name}"], found[f"ours, {name}"]
        print(f"{name}: numpy / ours {slow[0] / fast[0]:.1f} of medians, {slow[1] / fast[1]:.1f} of least")
    if len(sys.argv) > 2 and sys.argv[2] == "0":
        return
    for stepper in ("sbdf2", "sbdf2_implicit"):
        sizes = [13, 25, 49, 97]
        runs = {j: Ours(plane_waves(64, j, 0), stepper) for j in sizes}
        times = [least for _, least in medians(runs, repeats).values()]
        print(
            stepper, "modes", sizes, "ms", np.round(times, 2), f"exponent {fitted(sizes, times, float):.2f}"
        )
        sizes = [32, 64, 128, 256]
        runs = {n: Ours(plane_waves(n, 25, 0), stepper) for n in sizes}
        times = [least for _, least in medians(runs, repeats).values()]
        cost = fitted(sizes, times, lambda n: n * n * np.log(n * n))
        print(stepper, "points", sizes, "ms", np.round(times, 2), f"exponent of n^2 log n^2 {cost:.2f}")


if __name__ == "__main__":
    main()
