"""Learned closures side by side, a priori: NMSE of S:T at (alpha, zeta) = (-3, 1), late, held-out seeds.

The comparison of architectures of Maddu, Weady, Shelley (J. Comput. Phys. 2024, section 3): the network of
the paper, gradient-free, strain-aware, with gradients, convolutions, a Fourier neural operator, beside the
closures that are not learned. Kinetic runs of the training, validation and test seeds are simulated by the
stages and kept as FOLDER/<anything>_s<seed>.npz, or read where they are there. A family is trained on
t >= 0 of the training seeds; validation seeds choose the epoch; the test seeds are read once, in the end.

    OMP_NUM_THREADS=1 python benchmarks/closures/architectures.py FOLDER [family ...]

One line a family: NMSE of (S:T)_xx, (S:T)_xy and their mean over t >= 10 with the standard error over test
seeds, points where no density has the moments, parameters, seconds of training, milliseconds of one call on
64^2 points. Lines are also kept in FOLDER/architectures.json, weights in FOLDER/<family>.pt.
"""

import json
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from kernels.closures import harmonics
from kernels.closures.base import Closure
from kernels.closures.families import build
from kernels.closures.neural.settings import SETTINGS
from kernels.closures.training.apriori import Apriori, calibrated
from kernels.closures.training.data import NUMBERS, Runs, nmse
from kernels.closures.training.loop import train
from kernels.closures.training.options import Options

TRAIN, VALIDATION, TEST = (1, 2, 3), (10,), (101, 102, 103)
ALPHA, ZETA, LENGTH, POINTS, UNTIL, LATE = -3.0, 1.0, 10.0, 64, 60.0, 10.0
SHARED = {"beta": 0.8, "rotary": 0.05, "translational": 0.05}
SMALL = Options(epochs=40, steps=100, batch=8192, learning_rate=1e-2, threads=1)
FIELDS = Options(epochs=24, steps=50, batch=8192, learning_rate=5e-3, threads=1)
OPTIONS = {
    "local": replace(SMALL, epochs=20),
    "strain": SMALL,
    "paper": replace(SMALL, learning_rate=2e-3, epochs=8, steps=60),
    "gradient": replace(FIELDS, learning_rate=1e-2),
    "cnn": replace(FIELDS, learning_rate=1e-2, epochs=8, steps=30),
    "fno": replace(FIELDS, learning_rate=1e-2, epochs=6, steps=20, batch=4096),
}
"""What took a few minutes of one core each; paper, cnn and fno were not trained to the end by these."""
GIVEN = {"cnn": {"width": 12, "points": 3}, "fno": {"width": 8}}
UNTRAINED = ("bingham", "natural", "quadratic")


def simulated(seed: int) -> dict[str, np.ndarray]:
    from stages.closure_fields import fields_of
    from stages.registry import STAGES

    config = {"points": ((ALPHA, ZETA),), "train_seeds": (seed,), "validation_seeds": (), "test_seeds": ()}
    conditions = STAGES["conditions"](STAGES["conditions"].config(**config))
    kind = STAGES["simulate_kinetic"]
    numbers = {"points": POINTS, "length": LENGTH, "time": UNTIL, "every": 0.5, **SHARED}
    simulations = kind(kind.config(**numbers), conditions=conditions)
    found = STAGES["moments"](STAGES["moments"].config(), simulations=simulations).isel(sample=0)
    held = fields_of(found)
    plain = {"alpha": np.float64(ALPHA), "zeta": np.float64(ZETA), "length": np.float64(LENGTH)}
    fields = {"c": held.c, "z2": held.z2, "z4": held.z4, "e": held.strain, "time": found["time"].values}
    return {**fields, **plain}


def runs_of(folder: Path, seeds: tuple[int, ...], late: float) -> Runs:
    parts: dict[str, list] = {"c": [], "z2": [], "z4": [], "e": []}
    for seed in seeds:
        known = sorted(folder.glob(f"*_s{seed}.npz"))
        if not known:
            np.savez(folder / f"kinetic_s{seed}.npz", **simulated(seed))
            known = [folder / f"kinetic_s{seed}.npz"]
        with np.load(known[0]) as file:
            assert (float(file["alpha"]), float(file["zeta"]), float(file["length"])) == (ALPHA, ZETA, LENGTH)
            at = (file["time"] >= late - 1e-9) & (file["time"] <= UNTIL + 1e-9)
            times = file["time"][at]
            for name, kept in parts.items():
                kept.append(torch.from_numpy(file[name][at]))
    c, z2, z4, strain = (torch.stack(kept) for kept in parts.values())
    given = {"alpha": ALPHA, "zeta": ZETA, **SHARED}
    numbers = {name: torch.full((len(seeds),), given[name], dtype=torch.float64) for name in NUMBERS}
    return Runs(c, z2, z4, strain, numbers, torch.from_numpy(times), LENGTH, tuple(map(str, seeds)))


def trained(name: str, folder: Path) -> tuple[Closure, dict[str, float]]:
    closure = build(name, SETTINGS[name](parameters=(), **GIVEN.get(name, {})))  # they do not vary here
    runs = runs_of(folder, TRAIN, 0.0)
    watched = runs_of(folder, VALIDATION, LATE)
    calibrated(closure, runs)
    begin = time.perf_counter()
    state = train(closure, Apriori(closure, runs, watched, OPTIONS[name]), OPTIONS[name])
    seconds = time.perf_counter() - begin
    torch.save(closure.state_dict(), folder / f"{name}.pt")
    return closure, {"seconds": seconds, "validation": min(state.validation_error)}


def milliseconds(closure: Closure, test: Runs) -> float:
    moments, _, physics = test.at_frames(torch.tensor([0]))
    physics = replace(physics, alpha=ALPHA, zeta=ZETA)
    times = []
    with torch.no_grad():
        for _ in range(20):
            begin = time.perf_counter()
            closure(moments, physics)
            times.append(time.perf_counter() - begin)
    return 1e3 * min(times)


def violations(closure: Closure, test: Runs) -> float:
    count = 0
    with torch.no_grad():
        for frame in range(test.frames()):
            moments, _, physics = test.at_frames(torch.tensor([frame]))
            excess = harmonics.excess(moments.c, moments.z2, closure(moments, physics))
            count += int((excess > 1e-9 * moments.c).sum())
    return count / test.c.numel()


def main() -> None:
    torch.set_num_threads(1)
    folder = Path(sys.argv[1])
    wanted = sys.argv[2:] or [*UNTRAINED, *OPTIONS]
    file = folder / "architectures.json"
    print("family            xx        xy      mean    error  outside   size  train s      ms")
    for name in wanted:
        about = {"seconds": 0.0}
        if name in UNTRAINED:
            closure = build(name)
        else:
            closure, about = trained(name, folder)
        test = runs_of(folder, TEST, LATE)
        errors = nmse(closure, test).numpy()
        means = errors.mean(axis=1)
        line = {
            "xx": errors[:, 0].mean(), "xy": errors[:, 1].mean(), "mean": means.mean(),
            "error": means.std(ddof=1) / np.sqrt(len(means)), "outside": violations(closure, test),
            "size": sum(p.numel() for p in closure.parameters()), **about, "ms": milliseconds(closure, test),
        }  # fmt: skip
        print(
            f"{name:10} {line['xx']:9.2e} {line['xy']:9.2e} {line['mean']:9.2e} {line['error']:8.1e} "
            f"{line['outside']:8.1e} {line['size']:6d} {line['seconds']:8.0f} {line['ms']:7.2f}",
            flush=True,
        )
        known = json.loads(file.read_text()) if file.exists() else {}
        file.write_text(json.dumps({**known, name: {k: float(v) for k, v in line.items()}}, indent=1))


if __name__ == "__main__":
    main()
