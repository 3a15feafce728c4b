"""Cost of the coarse model per unit of time beside the kinetic run and a full angular grid, in one run.

python benchmarks/coarse_cost.py [rounds]           15: cost of steps of each, in turn, at a developed state
python benchmarks/coarse_cost.py memory [steps]     1000: memory of a gradient through that many steps at 64^2

Times are processor time of one thread; a round takes a step of the full grid, five of the kinetic solver and
twenty of each coarse model, so that what else the machine does falls on all.
"""

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import resource  # noqa: E402
import subprocess  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable  # noqa: E402

import kinetic_step as reference  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402

from kernels.closures.coarse import Coarse  # noqa: E402
from kernels.closures.coarse_fast import FastSteps  # noqa: E402
from kernels.closures.coarse_run import advance  # noqa: E402
from kernels.closures.families import build  # noqa: E402
from kernels.closures.kinetic.initial import plane_waves  # noqa: E402
from kernels.closures.kinetic.solver import Kinetic, KineticSettings  # noqa: E402

POINTS, MODES, STEP, DEVELOPED = 64, 25, 0.01, 12.0
OWN = {"full": 0.01, "kinetic": 0.01, "coarse": 0.02}
"""Steps of runs: the kinetic solver's default, that of the stage `close`; the full grid with 256 angles would
need shorter ones."""
CLOSURES = ("quadratic", "natural", "bingham", "local", "strain", "gradient")


def coarse(name: str, z: np.ndarray, compiled: bool) -> Callable[[], None]:
    """A step of the coarse model with a closure (untrained networks cost what trained ones do)."""
    model = Coarse(build(name), POINTS, reference.PHYSICS.length, STEP)
    c, z2 = torch.from_numpy(np.ones_like(z[:1].real)), torch.from_numpy(z[1:2].copy())
    with torch.no_grad():
        rates = model.rates(c, z2, reference.PHYSICS)
        stepper = model.method.of(rates.linear(), STEP)
        state = [(rates.joined(c, z2),)]
        for _ in range(4):
            state[0] = advance(rates, stepper, state[0])
        fast = FastSteps(rates, stepper, 1)

    def step() -> None:
        with torch.no_grad():
            state[0] = fast.advance(state[0]) if compiled else advance(rates, stepper, state[0])

    return step


def cost(rounds: int) -> None:
    settings = KineticSettings(POINTS, MODES, STEP)
    solver = Kinetic(reference.PHYSICS, settings)
    z = solver.advance(solver.begin(plane_waves(POINTS, MODES, 0)), DEVELOPED).z
    kinds: dict[str, tuple[Callable[[], None], int]] = {
        f"full grid, {reference.ANGLES} angles": (reference.FullGrid(z).step, 1),
        f"kinetic, {MODES} modes": (reference.Ours(z, "sbdf2_implicit").step, 5),
    }
    for name in CLOSURES:
        kinds[f"coarse, {name}"] = coarse(name, z, True), 20
    kinds["coarse, bingham, torch"] = coarse("bingham", z, False), 20
    taken: dict[str, list[float]] = {name: [] for name in kinds}
    for turn in range(rounds + 1):
        for name, (step, count) in kinds.items():
            start = time.thread_time()
            for _ in range(count):
                step()
            if turn:
                taken[name].append((time.thread_time() - start) / count)
    median = {name: float(np.median(times)) for name, times in taken.items()}
    unit = {name: median[name] / OWN[name.split()[0].rstrip(",")] for name in kinds}
    full, kinetic = list(kinds)[:2]
    print(f"{POINTS}^2 points, {rounds} rounds, at equal steps, and a unit of time at own steps {OWN}")
    for name, times in taken.items():
        print(
            f"{name:24s} ms a step {1e3 * median[name]:7.2f} (least {1e3 * min(times):7.2f})"
            f"  kinetic / this {median[kinetic] / median[name]:5.1f}, {unit[kinetic] / unit[name]:5.1f}"
            f"  full / this {median[full] / median[name]:6.1f}, {unit[full] / unit[name]:6.1f}"
        )


def peak(steps: int, segment: int | None) -> None:
    """Peak of this process over what it had before, for a gradient through steps."""
    model = Coarse(build("natural"), POINTS, reference.PHYSICS.length, STEP)
    z = plane_waves(POINTS, 8, 0)
    c, z2 = torch.from_numpy(np.ones_like(z[:1].real)), torch.from_numpy(z[1:2].copy())
    for count in (2, steps):
        before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.thread_time()
        leaf = z2.clone().requires_grad_()
        out = model(c, leaf, reference.PHYSICS, count, every=count, segment=segment)[1]
        (out.real**2).mean().backward()
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024.0
    how = "one graph" if segment == 0 else "checkpoints"
    taken = 1e3 * (time.thread_time() - start) / steps
    print(f"{steps:5d} steps, {how:12s}: peak grew by {grown:6.0f} MiB, {taken:.1f} ms a step", flush=True)


def memory(steps: int) -> None:
    """Each case in a process of its own, whose peak is its own."""
    for count, segment in ((steps // 4, "none"), (steps, "none"), (steps // 10, "0")):
        subprocess.run([sys.executable, __file__, "peak", str(count), segment], check=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    arguments = sys.argv[1:]
    if arguments[:1] == ["peak"]:
        peak(int(arguments[1]), None if arguments[2] == "none" else int(arguments[2]))
    elif arguments[:1] == ["memory"]:
        memory(int(arguments[1]) if len(arguments) > 1 else 1000)
    else:
        cost(int(arguments[0]) if arguments else 15)
