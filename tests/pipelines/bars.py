"""A small set of simulated bars, the pipeline over it without its report, and the same bars as files."""

import csv
import tomllib
from pathlib import Path

import numpy as np
import xarray as xr

from catalogs.formats.vtk import write_vtu
from pipelines.config import PipelineConfig, SurrogateConfig
from pipelines.diagram import diagram
from pipelines.files import add_files
from pipelines.runner import Runner
from pipelines.settings import settings
from stages.base import by_role
from stages.ragged import take
from stages.registry import STAGES
from stages.variables import PARAMETER

TRAINING_TOML = """[reduce]
shape_modes = 3
modes = { default = 3 }
[train_gp]
restarts = 1
max_iterations = 30
[predict]
draws = 16
"""
TRAINING = tomllib.loads(TRAINING_TOML)


def simulated_toml(train: int = 6, test: int = 2) -> str:
    """A config file of so many bars, that runs in seconds."""
    bars = f"[design]\ntrain = {train}\ntest = {test}\n[simulate]\nmesh_size = 0.01\nnotch_segments = 6\n"
    return bars + TRAINING_TOML


SIMULATED = SurrogateConfig.model_validate(tomllib.loads(simulated_toml()))


def pipeline(config: PipelineConfig, project: Path) -> dict[str, str]:
    """Keys of the pipeline run in this process, up to the scores; the report takes longer than the rest."""
    with Runner(settings(project=project, workers=0, quiet=True)) as runner:

        def step(stage: str, **inputs: str) -> str:
            if stage == "files":
                return add_files(config, runner)
            return "" if stage == "report" else runner.step(STAGES[stage], config.section(stage), inputs)

        return diagram(config, step, lambda keys: "")


def write_table(path: Path, meshes: xr.Dataset) -> Path:
    """Parameters with units and the split, one row a sample."""
    names = by_role(meshes, PARAMETER)
    with path.open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["sample", "split", *(f"{name} [{meshes[name].attrs['units']}]" for name in names)])
        for i, sample in enumerate(meshes["sample_name"].values):
            part = "test" if meshes["split"].values[i] else "train"
            rows.writerow([sample, part, *(repr(float(meshes[name].values[i])) for name in names)])
    return path


def write_files(folder: Path, meshes: xr.Dataset) -> Path:
    """One VTU a sample: mesh, fields and scalars, without the parameters."""
    folder.mkdir()
    bare = meshes.drop_vars(by_role(meshes, PARAMETER))
    for i, sample in enumerate(meshes["sample_name"].values):
        write_vtu(folder / f"{sample}.vtu", take(bare, [i]))
    return folder


def write_su2(path: Path, mesh: xr.Dataset, fields: list[str]) -> None:
    """One sample as SU2 mesh with its solution CSV beside it, all digits kept."""
    x, cells = mesh["x"].values, mesh["connectivity"].values
    lines = ["NDIME= 2", f"NELEM= {len(cells)}", *(f"5 {a} {b} {c}" for a, b, c in cells)]
    lines += [f"NPOIN= {len(x)}", *(f"{a!r} {b!r}" for a, b in x.tolist())]
    path.write_text("\n".join(lines) + "\n")
    columns = [np.arange(len(x)).tolist(), *x.T.tolist(), *(mesh[name].values.tolist() for name in fields)]
    names = [f"{name} [{mesh[name].attrs['units']}]" for name in fields]
    with path.with_suffix(".csv").open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["PointID", "x", "y", *names])
        rows.writerows(zip(*columns, strict=True))
