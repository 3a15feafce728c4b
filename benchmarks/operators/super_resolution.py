"""What makes a trained MgNO keep its accuracy on finer grids: the same weights, used in several ways.

    python -m benchmarks.operators.super_resolution PROJECT [--samples 50]

Takes every MgNO model of a study's project (see study.py) and predicts the test samples of all its data sets:
as trained, without the scaling of stencils with h^2, and as published (levels bound to the array).
"""

import argparse
import json
import os
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
import xarray as xr

from pipelines.catalog_access import open_catalog
from pipelines.settings import settings
from stages.operator_data import Samples, channels
from stages.operator_model import Predictor
from stages.parts import rows_of
from stages.variables import TEST

WAYS = {"as trained": {}, "unscaled": {"scaled": False}, "as published": {"as_published": True}}


def changed(model: xr.Dataset, settings_: dict[str, bool]) -> xr.Dataset:
    own = json.loads(model.attrs["settings"])
    return model.assign_attrs(settings=json.dumps({**own, **settings_}, sort_keys=True))


def error(model: xr.Dataset, data: xr.Dataset, rows: np.ndarray) -> float:
    predictor, samples, found = Predictor(model), Samples(data, rows, model), []
    name = channels(data).outputs[0]
    for i in range(len(rows)):
        guess = predictor.predict(samples.read([i], outputs=False)).mean(axis=0)[0, 0]
        truth = data[name].isel(sample=int(rows[i])).values.astype(np.float64)
        found.append(np.linalg.norm(guess - truth) / np.linalg.norm(truth))
    return float(np.mean(found))


def sets(catalog) -> Iterator[tuple[str, xr.Dataset, np.ndarray]]:
    """Shape, data and test rows of everything that was split in the project."""
    for key in catalog.search(stage="split", limit=20).to_pandas()["key"]:
        split = catalog.open(key)
        if (split["split"].values == TEST).any():
            data = catalog.open(catalog.show(key)["inputs"]["data"])
            shape = data[channels(data).outputs[0]].shape[1:]
            yield " x ".join(map(str, shape)), data, rows_of(data, split, TEST)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("project", type=Path)
    parser.add_argument("--samples", type=int, default=50)
    given = parser.parse_args()
    torch.set_num_threads(1)
    catalog = open_catalog(settings(project=given.project))
    try:
        for key in catalog.search(stage="train_operator", limit=100).to_pandas()["key"]:
            model = catalog.open(key).load()
            if model.attrs["family"] != "mgno":
                continue
            about = json.loads(model.attrs["settings"])
            print(f"{key[:12]} seed {int(model['seed'][0])}, {about}")
            for shape, data, rows in sets(catalog):
                few = rows[: given.samples]
                line = {name: error(changed(model, way), data, few) for name, way in WAYS.items()}
                print(f"  {shape}: " + ", ".join(f"{n} {100 * e:.2f} %" for n, e in line.items()), flush=True)
    finally:
        catalog.close()


if __name__ == "__main__":
    main()
