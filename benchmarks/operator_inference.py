"""10,000 samples at 64 x 64 through a trained operator, from zarr to zarr by the runner, in bounded memory.

python benchmarks/operator_inference.py [samples] [family] [workers] [folder]   10000 mgno 0: in this process

The fields are made in a process of their own, so that the peak of memory printed is that of the prediction.
The weights are drawn, not trained, which changes no time.
"""

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr

from kernels.operators.families import build
from kernels.operators.settings import SETTINGS
from pipelines.runner import Runner
from pipelines.settings import Settings, settings
from stages.base import Stage, StageConfig, schema, variable
from stages.operator_data import Samples, signature
from stages.operator_model import Predictor, model_dataset
from stages.predict_operator import STAGE, PredictOperatorConfig

POINTS = 64
SMALL: dict[str, dict[str, Any]] = {"mgno": {"channels": 24, "layers": 4, "levels": 5}, "fno": {"width": 24}}


def fields(config: StageConfig, seeds: xr.Dataset) -> xr.Dataset:
    """One random input field a sample, float32."""
    axis = (np.arange(POINTS) + 0.5) / POINTS
    drawn = [np.random.default_rng(int(s)).standard_normal((POINTS, POINTS)) for s in seeds["load"].values]
    a = np.cumsum(np.stack(drawn), axis=1).astype(np.float32)
    return xr.Dataset(
        {
            "sample_name": seeds["sample_name"].variable,
            "a": (("sample", "x", "y"), a, {"role": "input", "units": "1"}),
        },
        coords={"x": ("x", axis, {"units": "m"}), "y": ("y", axis, {"units": "m"})},
    )


FIELDS = Stage(
    "fields", 1, StageConfig, {"seeds": schema("sample_name")}, schema("sample_name"), fields,
    split_over="seeds", batch=250,
)  # fmt: skip


def small() -> xr.Dataset:
    """Eight samples with an output, to build a model from."""
    seeds = xr.Dataset(
        {"sample_name": variable("sample_name", np.array([f"s{i}" for i in range(8)])),
         "load": ("sample", np.arange(8.0), {"units": "1"})}
    )  # fmt: skip
    data = fields(StageConfig(), seeds)
    return data.assign(u=(data["a"].dims, data["a"].values, {"role": "field", "units": "K"}))


def model(family: str) -> xr.Dataset:
    """An operator with drawn weights, or fitted to eight samples."""
    data, chosen = small(), SETTINGS[family](**SMALL.get(family, {}))
    scale = {"mean": np.zeros(1), "scale": np.full(1, float(data["a"].std()))}
    scales = xr.Dataset(
        {f"{kind}_{what}": variable(f"{kind}_{what}", scale[what] if kind != "parameter" else np.empty(0))
         for kind in ("input", "output", "parameter") for what in scale}
    )  # fmt: skip
    operator = build(family, signature(data), chosen)
    if operator.closed_form:
        operator.fit(Samples(data, np.arange(6), scales).read(range(6)),
                     Samples(data, np.arange(6, 8), scales).read(range(2)))  # fmt: skip
    return model_dataset([operator], chosen, scales, data)


def make(place: Settings, samples: int) -> str:
    """The data set in the catalog; its key."""
    with Runner(place) as runner:
        names = variable("sample_name", np.array([f"case_{i:05d}" for i in range(samples)]))
        load = ("sample", np.arange(float(samples)), {"units": "1"})
        return runner.step(
            FIELDS,
            StageConfig(),
            {"seeds": runner.add("seeds", xr.Dataset({"sample_name": names, "load": load}), {})},
        )


def peak() -> float:
    """Largest resident memory of this process so far, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0


def bare(trained: xr.Dataset) -> None:
    """What the model alone does with so many samples at once."""
    data, predictor = small(), Predictor(trained)
    torch.set_num_threads(1)
    for count in (1, 8, 64):
        batch = Samples(data, np.resize(np.arange(8), count), trained).read(range(count), outputs=False)
        predictor.predict(batch)
        times = []
        for _ in range(max(3, 64 // count)):
            start = time.perf_counter()
            predictor.predict(batch)
            times.append(time.perf_counter() - start)
        print(f"  the model alone, {count:2d} at once: {count / np.median(times):8.0f} samples/s")


def main(samples: int, family: str, workers: int, folder: Path) -> None:
    place = settings(project=folder, workers=workers, quiet=True)
    made = [sys.executable, __file__, "--make", str(samples), str(folder)]
    key = subprocess.run(made, check=True, capture_output=True, text=True).stdout.split()[-1]
    trained = model(family)
    before = peak()
    with Runner(place) as runner:
        used = {"data": key, "model": runner.add("model", trained, {})}
        start = time.perf_counter()
        result = runner.step(STAGE, PredictOperatorConfig(), used)
        seconds = time.perf_counter() - start
        found = runner.catalog.open(result)
        inside = float(found["inference_seconds"].sum())
        total = found["u_mean"].nbytes / 1e6
        print(
            f"{family}, {trained.attrs['parameter_count']:,} parameters, {samples} samples, {workers} workers"
        )
        print(f"  {seconds:.1f} s, {samples / seconds:.0f} samples/s; {total:.0f} MB of predictions written")
        print(f"  in the model {inside:.1f} s ({100 * inside / seconds / max(workers, 1):.0f} %)")
        print(f"  peak memory {peak():.0f} MB, before the prediction {before:.0f} MB")
    bare(trained)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--make"]:
        print(make(settings(project=Path(sys.argv[3]), workers=0, quiet=True), int(sys.argv[2])))
    else:
        given = sys.argv[1:] + ["10000", "mgno", "0"][len(sys.argv) - 1 :]
        with tempfile.TemporaryDirectory() as scratch:
            main(
                int(given[0]),
                given[1],
                int(given[2]),
                Path(given[3] if len(given) > 3 else scratch) / "project",
            )
