"""Estimated alpha and zeta from moments with 5 % noise: errors, and how often the intervals cover.

    python benchmarks/closures/estimation.py FOLDER [--cases 6] [--source own kinetic] [--observed D Du]
                                             [--conditions 4] [--points 32] [--window 1.0] [--windows 6]
                                             [--model MODEL.pickle]

own: data of the coarse model itself with the Bingham closure, so the closure is exact and 95 % intervals
must cover 95 %. kinetic: data of the kinetic model, estimated through the Bingham closure or that of MODEL
(as plane.py keeps them), whose error biases the estimate. Every case is another initial state and another
draw of the noise. Where a condition has five cases or more each is also calibrated by the others. Results are
kept in FOLDER, so a run that was stopped goes on.
"""

import argparse
import hashlib
import os
import pickle
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("NUMBA_NUM_THREADS", "1")

import numpy as np
import torch
import xarray as xr
from simulated import LATE, LENGTH, moments

from kernels.closures.coarse import Coarse
from kernels.closures.families import build
from kernels.closures.physics import Physics
from stages.base import variable
from stages.closure_fields import NUMBERS, Fields, variables_of
from stages.infer_parameters import STAGE, InferParametersConfig, _calibrated, _ratios, fewest
from stages.variables import OK

CONDITIONS = [(-3.0, 1.0), (-1.0, 2.0), (-5.0, 0.5), (-2.0, 3.0)]
EVERY, FRAMES, STEP = 0.25, 30, 0.05
NOISE = 0.05
CALIBRATED = ("estimate", "deviation", "interval_low", "interval_high", "covariance")


def own(alpha: float, zeta: float, seed: int, points: int) -> xr.Dataset:
    """A run of the coarse model with the Bingham closure, from t = LATE on, frames EVERY apart."""
    chance = torch.Generator().manual_seed(seed)
    coarse = Coarse(build("bingham"), points, LENGTH, STEP, "etdrk2", 4)
    grid, n = coarse.grid, points
    real, imag = torch.randn(2, 1, n, n, dtype=torch.float64, generator=chance)
    smooth = torch.exp(-0.05 * grid.square) * grid.kept
    z2 = torch.complex(*(0.5 * grid.backward(grid.forward(one) * smooth) for one in (real, imag)))
    c, physics = torch.ones(1, n, n, dtype=torch.float64), Physics(alpha, zeta, length=LENGTH)
    with torch.no_grad():
        run = coarse.run(c, z2 / max(1.0, float(z2.abs().max()) / 0.9), physics,
                         [LATE + EVERY * k for k in range(FRAMES)])  # fmt: skip
        assert run.c is not None
        assert run.z2 is not None
        known = coarse.look(run.c[0], run.z2[0], physics)
    flow = known.flow
    parts = (known.c, known.z2, known.z4, flow.strain, flow.u, flow.v)
    fields = Fields(*(part.numpy()[None] for part in parts))
    data = {name: variable(name, values) for name, values in variables_of(fields, physics).items()}
    data |= {name: variable(name, [getattr(physics, name)]) for name in NUMBERS}
    data["sample_name"] = variable("sample_name", [f"own_{seed}"])
    return xr.Dataset(data, {"time": LATE + EVERY * np.arange(FRAMES)}, {"length": LENGTH})


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cases", type=int, default=6, help="initial states at every condition")
    parser.add_argument("--source", nargs="+", default=["own", "kinetic"], choices=["own", "kinetic"])
    parser.add_argument("--observed", nargs="+", default=["D"], choices=["D", "Du"])
    parser.add_argument("--conditions", type=int, default=len(CONDITIONS), help="the first so many")
    parser.add_argument("--points", type=int, default=32)
    parser.add_argument("--window", type=float, default=1.0)
    parser.add_argument("--windows", type=int, default=6)
    parser.add_argument("--model", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    model = None if given.model is None else pickle.loads(given.model.read_bytes())
    for source in given.source:
        for observed in given.observed:
            results = []
            for seed in range(given.cases):  # all conditions before the next seed: a table soon
                for alpha, zeta in CONDITIONS[: given.conditions]:
                    results.append((alpha, zeta, one(given, source, observed, alpha, zeta, seed, model)))
                print(f"\n{source}, {observed}, {seed + 1} cases", flush=True)
                print(table(results), flush=True)


def one(
    given: argparse.Namespace, source: str, observed: str, alpha: float, zeta: float, seed: int,
    model: xr.Dataset | None,
) -> xr.Dataset:  # fmt: skip
    name = "bingham" if given.model is None else given.model.stem
    config = InferParametersConfig(
        observed=tuple(observed), noise=NOISE, noise_seed=seed, windows=given.windows, window=given.window,
        points=given.points, time_step=STEP, threads=1,
    )  # fmt: skip
    text = repr((source, alpha, zeta, seed, name, config.model_dump_json()))
    place = given.folder / "estimates" / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.pickle"
    if place.exists():
        return pickle.loads(place.read_bytes())
    if source == "own":
        data = own(alpha, zeta, seed, given.points)
    else:
        data = moments(given.folder / "runs", alpha, zeta, 200 + seed, test=True, every=EVERY)
    inputs = {"observations": data}
    if source == "kinetic" and model is not None:
        inputs["model"] = model
    found = STAGE(config, **inputs)
    rows = zip(found["estimate"].values[0], found["deviation"].values[0], strict=True)
    text = ", ".join(f"{value:.4g} +- {deviation:.2g}" for value, deviation in rows)
    print(
        f"  {source} {observed} alpha {alpha:g} zeta {zeta:g} seed {seed}: {text}, "
        f"chi {float(found['reduced_square'][0]):.3f}, {int(found['steps'][0])} steps "
        f"{found['reason'].values[0]}",
        flush=True,
    )
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(pickle.dumps(found))
    return found


def table(results: list[tuple[float, float, xr.Dataset]]) -> str:
    """Mean and largest relative error in %, mean deviation in %, and intervals that cover, by condition."""
    lines = [
        f"{'alpha':>6} {'zeta':>5} {'':>6} {'bias %':>8} {'worst %':>8} {'sd %':>6} {'cover':>7}  failed"
    ]
    total = np.zeros(2, dtype=int)
    for point in dict.fromkeys((a, z) for a, z, _ in results):
        found = [one for a, z, one in results if (a, z) == point]
        good = [one for one in found if int(one["status"].values[0]) == OK]
        for k, name in enumerate(("alpha", "zeta")):
            if not good:
                continue
            rows = [[float(one[key].values[0, k]) for one in good] for key in
                    ("estimate", "deviation", "interval_low", "interval_high")]  # fmt: skip
            estimate, deviation, low, high = np.array(rows)
            error = 100.0 * (estimate - point[k]) / abs(point[k])
            inside = (low <= point[k]) & (point[k] <= high)
            total += [int(inside.sum()), inside.size]
            lines.append(
                f"{point[0]:6g} {point[1]:5g} {name:>6} {error.mean():8.2f} {np.abs(error).max():8.2f} "
                f"{100.0 * deviation.mean() / abs(point[k]):6.2f} {inside.sum():4d}/{inside.size:<2d}  "
                f"{len(found) - len(good)}"
            )
    lines.append(f"intervals that cover: {total[0]} of {total[1]}")
    for point in dict.fromkeys((a, z) for a, z, _ in results):
        lines += calibrated(point, [one for a, z, one in results if (a, z) == point])
    return "\n".join(lines)


def calibrated(point: tuple[float, float], found: list[xr.Dataset]) -> list[str]:
    """Errors and coverage at a condition, every case calibrated by the others."""
    good, errors, inside = [one for one in found if int(one["status"].values[0]) == OK], [], []
    if len(good) <= fewest(("alpha", "zeta")):
        return []
    for i, one in enumerate(good):
        ratios = _ratios(InferParametersConfig(), xr.concat([*good[:i], *good[i + 1 :]], "sample"))
        assert ratios is not None
        own = _calibrated(InferParametersConfig(), {name: one[name].values[0] for name in CALIBRATED}, ratios)
        errors.append(100.0 * np.abs(own["estimate"] / point - 1.0))
        inside.append((own["interval_low"] <= point) & (point <= own["interval_high"]))
    worst, count = np.max(errors, axis=0), np.sum(inside, axis=0)
    return [
        f"{point[0]:6g} {point[1]:5g} {name:>6} calibrated by the others: worst {worst[k]:.2f} %, cover "
        f"{count[k]}/{len(good)}"
        for k, name in enumerate(("alpha", "zeta"))
    ]


if __name__ == "__main__":
    main()
