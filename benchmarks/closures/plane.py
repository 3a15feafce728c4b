"""One closure over a plane of activity and alignment: designs by active learning, at random and as a grid.

    python benchmarks/closures/plane.py FOLDER [--seeds 3] [--epochs 40] [--family strain] [--coarse]
                                        [--ahead I N]

The uniform grid has 4 x 4 simulations; active learning, random designs and two of its rows have half of
them. Active learning begins with the corners and adds points in rounds, each by stage `acquire` with an
ensemble of three. Scores are a-priori NMSE of S:T on a held-out grid of other points and another initial
state, beside the Bingham closure's; no choice looks at them. Simulations and models are kept in FOLDER,
so nothing is computed twice and a run that was stopped goes on. The table is printed, and written to
FOLDER/plane_<family>.txt, after every seed. `--ahead I N` computes every N-th of the simulations that are
known beforehand, from the I-th on, and ends: several processes share the work so.
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
from simulated import LATE, moments

from kernels.closures.families import build
from kernels.closures.training.data import nmse
from stages._closure_training import runs_of
from stages.acquire import STAGE as ACQUIRE
from stages.acquire import AcquireConfig
from stages.closure_model import closure_of
from stages.conditions import AxisRange
from stages.train_closure import STAGE as TRAIN_CLOSURE
from stages.train_closure import TrainClosureConfig
from stages.variables import TEST

ALPHA = AxisRange(low=-5.0, high=-1.0, levels=9)
ZETA = AxisRange(low=0.5, high=5.0, scale="log", levels=9)
HELD_OUT = [(a, z) for a in (-4.6, -3.4, -2.1, -1.2) for z in (0.55, 1.4, 2.8, 4.7)]
RUN_SEED, HELD_OUT_SEED = 0, 200
HALF, ROUND, MEMBERS = 8, 2, 3
Point = tuple[float, float]


def grid(levels: int) -> list[Point]:
    unit = np.linspace(0.0, 1.0, levels)
    return [(float(a), float(z)) for a in ALPHA.at(unit) for z in ZETA.at(unit)]


def sides() -> list[Point]:
    """Half of the 4 x 4 grid: both ends of alpha at every zeta."""
    return [(a, z) for a, z in grid(4) if a in (ALPHA.low, ALPHA.high)]


def drawn(count: int, seed: int) -> list[Point]:
    unit = np.random.default_rng([seed, 7]).random((count, 2))
    return [(float(a), float(z)) for a, z in zip(ALPHA.at(unit[:, 0]), ZETA.at(unit[:, 1]), strict=True)]


class Plane:
    def __init__(self, folder: Path, family: str, epochs: int, states: str) -> None:
        self.folder, self.family, self.epochs, self.states = folder, family, epochs, states

    def runs(self, points: list[Point]) -> dict[str, xr.Dataset]:
        made = {f"a{a:g}_z{z:g}": moments(self.folder / "runs", a, z, RUN_SEED) for a, z in points}
        return {f"runs.{label}": data for label, data in made.items()}

    def model(self, points: list[Point], seed: int, epochs: int) -> xr.Dataset:
        """Trained on these points, or read where it was."""
        text = repr((self.family, sorted(points), seed, epochs))
        place = self.folder / "models" / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.pickle"
        if place.exists():
            return pickle.loads(place.read_bytes())
        config = TrainClosureConfig(
            family=self.family, seed=seed, epochs=epochs, begin=LATE, keep="last", threads=1
        )
        found = TRAIN_CLOSURE(config, **self.runs(points))
        place.parent.mkdir(parents=True, exist_ok=True)
        place.with_suffix(".tmp").write_bytes(pickle.dumps(found))
        place.with_suffix(".tmp").rename(place)
        return found

    def active(self, seed: int) -> list[Point]:
        """Points in the order in which they were chosen; corners first."""
        points = grid(2)
        while len(points) < HALF:
            members = {
                f"models.{k}": self.model(points, 1000 * seed + k, max(1, self.epochs // 4))
                for k in range(MEMBERS)
            }
            config = AcquireConfig(
                alpha=ALPHA, zeta=ZETA, count=min(ROUND, HALF - len(points)), begin=LATE,
                states=self.states, scale="correction", train_seeds=(RUN_SEED,), threads=1,
            )  # fmt: skip
            found = ACQUIRE(config, **members, **self.runs(points))
            new = [
                (float(a), float(z)) for a, z in zip(found["alpha"].values, found["zeta"].values, strict=True)
            ]
            spread = found["disagreement"].values
            print(f"  chosen {new}, disagreement {spread.min():.1e} to {spread.max():.1e}", flush=True)
            points += new
        return points

    def scores(self, model: xr.Dataset | None) -> np.ndarray:
        """NMSE at every held-out point, mean of both components; None: Bingham."""
        closure = build("bingham") if model is None else closure_of(model)
        found = []
        for alpha, zeta in HELD_OUT:
            held = {"one": moments(self.folder / "runs", alpha, zeta, HELD_OUT_SEED, test=True)}
            runs = runs_of(held, TEST, LATE, 4096.0, False)
            assert runs is not None
            found.append(float(nmse(closure, runs).mean()))
        return np.array(found)


def table(bingham: np.ndarray, scores: dict[str, list[np.ndarray]]) -> str:
    """Ratio of the NMSE to that of Bingham at every held-out point, mean and worst over seeds."""
    names = list(scores)
    lines = ["NMSE / NMSE of Bingham: mean (worst) over seeds", ""]
    lines += [f"{'alpha':>6} {'zeta':>5} {'Bingham':>9}" + "".join(f"{name:>18}" for name in names)]
    for i, (alpha, zeta) in enumerate(HELD_OUT):
        cells = []
        for name in names:
            ratio = np.array([one[i] for one in scores[name]]) / bingham[i]
            cells.append(f"{f'{ratio.mean():.3f} ({ratio.max():.3f})':>18}")
        lines.append(f"{alpha:6g} {zeta:5g} {bingham[i]:9.2e}" + "".join(cells))
    ratios = {name: np.array(rows) / bingham for name, rows in scores.items()}
    lines += ["", "design, seed: worst ratio, geometric mean, points better than Bingham"]
    for name, rows in ratios.items():
        for seed, row in enumerate(rows):
            mean = np.exp(np.log(row).mean())
            lines.append(f"{name:>12} {seed}: {row.max():.3f} {mean:.3f} {int((row < 1).sum())}/{row.size}")
    return "\n".join(lines)


def ahead(folder: Path, seeds: int, first: int, stride: int) -> None:
    """Simulate a share of what all designs and the scores need."""
    points = [(a, z, HELD_OUT_SEED) for a, z in HELD_OUT]
    known = [*grid(4), *grid(2), *(point for seed in range(seeds) for point in drawn(HALF, seed))]
    points += [(a, z, RUN_SEED) for a, z in dict.fromkeys(known)]
    for alpha, zeta, seed in points[first::stride]:
        moments(folder, alpha, zeta, seed)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=40, help="of final networks; a quarter for ensembles")
    parser.add_argument("--family", default="strain")
    parser.add_argument("--coarse", action="store_true", help="states of candidates by short coarse runs")
    parser.add_argument("--ahead", type=int, nargs=2, metavar=("I", "N"))
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.ahead:
        ahead(given.folder / "runs", given.seeds, *given.ahead)
        return
    plane = Plane(given.folder, given.family, given.epochs, "coarse" if given.coarse else "neighbours")
    bingham = plane.scores(None)
    scores: dict[str, list[np.ndarray]] = {
        f"active {HALF}": [], f"random {HALF}": [], f"uniform {HALF}": [], "uniform 16": []
    }  # fmt: skip
    for seed in range(given.seeds):
        print(f"seed {seed}", flush=True)
        designs = [
            lambda: plane.active(seed), lambda: drawn(HALF, seed), lambda: sides(), lambda: grid(4)  # noqa: B023
        ]  # fmt: skip
        for name, design in zip(scores, designs, strict=True):
            scores[name].append(plane.scores(plane.model(design(), seed, given.epochs)))
            row = scores[name][-1] / bingham
            print(f"  {name}: worst ratio {row.max():.3f}, better at {int((row < 1).sum())}", flush=True)
        text = table(bingham, scores)
        print(text, flush=True)
        (given.folder / f"plane_{given.family}.txt").write_text(text + "\n")


if __name__ == "__main__":
    main()
