"""Time of an epoch of MgNO and of the library's FNO with about as many parameters, side by side.

    python -m benchmarks.operators.epoch_time [--points 64] [--batch 10] [--rounds 15] [--threads 1]

One training step of each in turn (forward, loss, backward, AdamW), medians over the rounds, for 1000 samples.
"""

import argparse
import time

import numpy as np
import torch

from kernels.operators.base import Batch, Operator, Signature
from kernels.operators.families import build
from kernels.operators.settings import FnoSettings, MgnoSettings

MODELS = {
    "mgno": MgnoSettings(channels=16, layers=4, halvings=1, levels=5, coarsest=3),
    "mgno, learnt transfers": MgnoSettings(channels=16, layers=4, levels=5, coarsest=4),
    "fno": FnoSettings(modes=12, width=16),
}


def step(model: Operator, optimiser: torch.optim.Optimizer, batch: Batch) -> float:
    start = time.perf_counter()
    error = model(batch) - batch.u
    loss = (error.flatten(1).norm(dim=1) / batch.u.flatten(1).norm(dim=1)).mean()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, default in (("points", 64), ("batch", 10), ("rounds", 15), ("threads", 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    axis = (np.arange(given.points) + 0.5) / given.points
    signature = Signature(
        "grid", 1, 1, axes=("y", "x"), out_axes=("y", "x"), grid=(axis,) * 2, out_grid=(axis,) * 2
    )
    grid = (torch.from_numpy(axis.copy()),) * 2
    values = torch.randn(2, given.batch, 1, given.points, given.points)
    batch = Batch(values[0], values[1], torch.empty(given.batch, 0), grid, grid)
    models = {name: build(name.partition(",")[0], signature, settings) for name, settings in MODELS.items()}
    runs = {name: (model, torch.optim.AdamW(model.parameters())) for name, model in models.items()}
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(given.rounds + 2):
        for name, (model, optimiser) in runs.items():
            seconds[name].append(step(model, optimiser, batch))
    own = {name: float(np.median(times[2:])) for name, times in seconds.items()}
    for name, median in own.items():
        print(
            f"{name}: {models[name].size():,} parameters, {1000 * median / given.batch:.1f} s for 1000, "
            f"{median / own['fno']:.2f} of fno"
        )


if __name__ == "__main__":
    main()
