"""How far the coverage of intervals scatters with the draw of calibration and test samples.

    python -m benchmarks.operators.coverage PROJECT [--level 0.9] [--draws 200]

Takes the newest ensemble of every family in a study's project (see study.py), with its predictions for the
calibration and the test samples on the training grid, which trained nothing and are of one kind. Each draw
gives them anew to the two parts, of the same sizes, and scales the intervals as the stage `ensemble` does.
"""

import argparse
import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
import xarray as xr

from kernels.metrics.conformal import floor_of_spread, pointwise_factor
from pipelines.catalog_access import open_catalog
from pipelines.settings import settings
from stages.operator_data import Samples, channels
from stages.operator_model import Predictor
from stages.parts import rows_of
from stages.variables import CALIBRATION, TEST


def predicted(model: xr.Dataset, data: xr.Dataset, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Errors of the mean and variances over the members (samples, points) of the first output."""
    predictor, samples = Predictor(model), Samples(data, rows, model)
    truth = data[channels(data).outputs[0]]
    errors, variances = [], []
    for i, row in enumerate(rows):
        members = predictor.predict(samples.read([i], outputs=False))[:, 0, 0].reshape(
            model.sizes["member"], -1
        )
        errors.append(truth.isel(sample=int(row)).values.astype(np.float64).ravel() - members.mean(axis=0))
        variances.append(members.var(axis=0))
    return np.array(errors), np.array(variances)


def covered(
    errors: np.ndarray, variances: np.ndarray, scaled: np.ndarray, held: np.ndarray, level: float
) -> float:
    """Part of the points of the samples `held` that lie inside intervals scaled by the samples `scaled`."""
    floor = floor_of_spread(float((errors[scaled] ** 2).mean()), float(variances[scaled].mean()))
    ratios = np.abs(errors) / np.sqrt(variances + floor**2)
    factor = pointwise_factor(list(ratios[scaled]), level, "seen")
    return float((ratios[held] <= factor).mean())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("project", type=Path)
    parser.add_argument("--level", type=float, default=0.9)
    parser.add_argument("--draws", type=int, default=200)
    given = parser.parse_args()
    torch.set_num_threads(1)
    catalog, seen = open_catalog(settings(project=given.project)), set()
    try:
        for key in catalog.search(stage="ensemble", limit=50, order="-created").to_pandas()["key"]:
            model = catalog.open(key).load()
            if model.attrs["family"] in seen:
                continue
            seen.add(model.attrs["family"])
            inputs = catalog.show(key)["inputs"]
            data, split = catalog.open(inputs["data"]), catalog.open(inputs["split"])
            scaled, held = (rows_of(data, split, part) for part in (CALIBRATION, TEST))
            errors, variances = predicted(model, data, np.concatenate([scaled, held]))
            order, count = np.arange(len(errors)), len(scaled)
            own = covered(errors, variances, order[:count], order[count:], given.level)
            chance, found = np.random.default_rng(0), []
            for _ in range(given.draws):
                chance.shuffle(order)
                found.append(covered(errors, variances, order[:count], order[count:], given.level))
            low, high = np.percentile(found, [5, 95])
            print(
                f"{model.attrs['family']}: {100 * own:.1f} % as split; {given.draws} draws: mean "
                f"{100 * np.mean(found):.1f} %, deviation {100 * np.std(found):.1f}, nine in ten from "
                f"{100 * low:.1f} to {100 * high:.1f}; root mean square error of the calibration samples "
                f"{np.sqrt((errors[:count] ** 2).mean()):.3g}, of the test samples "
                f"{np.sqrt((errors[count:] ** 2).mean()):.3g}",
                flush=True,
            )
    finally:
        catalog.close()


if __name__ == "__main__":
    main()
