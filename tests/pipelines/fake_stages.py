"""Small stages for tests: they count their runs in a file, so that a test sees what was computed."""

import os
import time
from pathlib import Path

import numpy as np
import xarray as xr

from kernels.errors import InputError
from stages.base import Progress, Stage, StageConfig, schema
from stages.ragged import offsets, sample_names

ANY = schema()


class SourceConfig(StageConfig):
    samples: int = 7
    seed: int = 0


class WorkConfig(StageConfig):
    power: float = 2.0
    refuse: str = ""
    die_once: bool = False
    seconds: float = 0.0


class SumConfig(StageConfig):
    scale: float = 1.0


def count(line: str) -> None:
    """Append one line to the counter file, atomically."""
    path = os.environ.get("FAKE_COUNTER")
    if path:
        with Path(path).open("a") as stream:
            stream.write(line + "\n")


def source(config: SourceConfig) -> xr.Dataset:
    count("source")
    nodes = 3 + np.arange(config.samples) % 4
    generator = np.random.default_rng(config.seed)
    return xr.Dataset(
        {
            "sample_name": ("sample", np.array([f"case_{i}" for i in range(config.samples)], dtype=object)),
            "node_count": ("sample", nodes, {"sample_dimension": "node"}),
            "load": ("sample", generator.random(config.samples), {"units": "Pa", "role": "parameter"}),
            "x": (("node", "axis"), generator.random((nodes.sum(), 2)), {"units": "m"}),
        }
    )


def work(config: WorkConfig, meshes: xr.Dataset) -> xr.Dataset:
    names = sample_names(meshes)
    if config.refuse in names:
        raise InputError("the mesh is folded: repair it")
    if config.die_once and "case_3" in names:
        flag = Path(os.environ["FAKE_COUNTER"] + ".died")
        if not flag.exists():
            flag.touch()
            os._exit(9)
    time.sleep(config.seconds)
    bounds = offsets(meshes, "node")
    x = np.asarray(meshes["x"].values)
    lengths = np.diff(bounds).repeat(np.diff(bounds))
    # Plain floats: numpy's vectorised power depends in the last bit on where a value lies in the array.
    y = np.array([sum(float(v) ** config.power for v in row) for row in x]) + lengths
    for name in names:
        count(f"work {name}")
    out = meshes[["sample_name", "node_count"]].copy()
    out["y"] = (("node",), y, {"units": "m", "role": "field"})
    return out


def total(config: SumConfig, worked: xr.Dataset) -> xr.Dataset:
    count("total")
    return xr.Dataset({"total": ((), config.scale * float(worked["y"].sum()))}, attrs={"quality": 0.5})


def counted(config: SumConfig, worked: xr.Dataset, progress: Progress | None = None) -> xr.Dataset:
    for done in range(3):
        if progress is not None:
            progress(done + 1, 3)
    return total(config, worked)


SOURCE = Stage("source", 1, SourceConfig, {}, ANY, source)
WORK = Stage(
    "work", 1, WorkConfig, {"meshes": ANY}, ANY, work, split_over="meshes", batch=1, literature=("A 2020",)
)
PAIRS = Stage("work", 1, WorkConfig, {"meshes": ANY}, ANY, work, split_over="meshes", batch=3)
TOTAL = Stage("total", 1, SumConfig, {"worked": ANY}, ANY, total)
COUNTED = Stage("counted", 1, SumConfig, {"worked": ANY}, ANY, counted, reports=True)
