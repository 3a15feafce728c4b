"""A trained model applied to one mesh file: read, ingest, morph, predict, write."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xarray as xr

from catalogs.catalog import Catalog
from catalogs.formats.reader import read_files
from catalogs.formats.vtk import write_vtu
from kernels.errors import InputError
from pipelines.models import SURROGATE, model_of
from stages.base import Stage, by_role
from stages.registry import STAGES
from stages.variables import FIELD, PARAMETER, SCALAR


@dataclass(frozen=True)
class Prediction:
    """The file written, scalars as (name, mean, standard deviation, units), and whether the mesh is far."""

    path: Path
    scalars: list[tuple[str, float, float, str]]
    extrapolates: bool
    distance: float


def predict_file(
    catalog: Catalog, model_key: str, file: Path, parameters: Mapping[str, float], output: Path
) -> Prediction:
    """Fields with error bars on the mesh of a file, written as VTU.

    Raises InputError where the key is no model, the file cannot be used, a parameter is missing or unknown,
    or the mesh cannot be morphed.
    """
    key, stage = model_of(catalog, model_key)
    if stage != SURROGATE:
        raise InputError(
            f"artifact {key[:12]} is an operator, expected a model of {SURROGATE!r}: see predict_cases"
        )
    _check_output(file, output)
    made_by = _relatives(catalog, key, "input")
    raw = read_files([file])
    # the fields are what is predicted: a file that holds some, or damaged ones, is as good as a bare mesh
    raw = raw.drop_vars(by_role(raw, FIELD))
    ingested = _run(catalog, made_by, "ingest", raw=raw)
    ingested = _with_parameters(ingested, parameters, catalog.open(made_by["morph"]))
    common = catalog.open(made_by["common_mesh"])
    morphed = _run(catalog, made_by, "morph", meshes=ingested, common=common)
    morphed = morphed.drop_vars([n for n in ("split",) if n in morphed])
    predicted = _run(
        catalog, _relatives(catalog, key, "used by"), "predict", morphed=morphed, model=catalog.open(key)
    )
    mesh = ingested[
        [n for n in ("sample_name", "node_count", "cell_count", "x", "connectivity") if n in ingested]
    ]
    fields = [n for n in predicted.data_vars if "role" in predicted[n].attrs]
    write_vtu(output, mesh.assign({n: predicted[n] for n in fields}))
    return Prediction(
        path=output,
        scalars=_scalars(predicted),
        extrapolates=bool(predicted["extrapolation"].values[0]),
        distance=float(predicted["shape_distance"].values[0]),
    )


def _check_output(file: Path, output: Path) -> None:
    if output.suffix.lower() != ".vtu" or not output.parent.is_dir():
        raise InputError(
            f"the prediction cannot be written to {output}, expected a .vtu file in a folder that exists: "
            "give another --output"
        )
    if output.exists() and file.exists() and output.samefile(file):
        raise InputError(f"--output {output} is the part's own file: name another, it would be written over")


def _relatives(catalog: Catalog, key: str, direction: str) -> dict[str, str]:
    table = catalog.lineage(key)
    table = table[table["direction"] == direction]
    return dict(zip(map(str, table["stage"]), map(str, table["key"]), strict=True))


def _run(catalog: Catalog, made_by: Mapping[str, str], name: str, **inputs: xr.Dataset) -> xr.Dataset:
    """Run a stage with the config of the model's own pipeline, or the default where that had none."""
    stage: Stage = STAGES[name]
    values = dict(catalog.show(made_by[name])["config"]) if name in made_by else {}
    if name == "predict":
        values["samples"] = "all"
    if name == "ingest":
        values |= _for_a_bare_mesh(values, inputs["raw"])
    return stage(stage.config.model_validate(values), **inputs)


def _for_a_bare_mesh(values: Mapping[str, Any], raw: xr.Dataset) -> dict[str, Any]:
    """The parts of a config of `ingest` that name variables, without those that a mesh file need not have."""
    outputs = values.get("outputs")
    return {
        "fields": None,
        "units": {name: unit for name, unit in values.get("units", {}).items() if name in raw},
        "outputs": None if outputs is None else [name for name in outputs if name in raw],
    }


def _with_parameters(meshes: xr.Dataset, given: Mapping[str, float], training: xr.Dataset) -> xr.Dataset:
    known = by_role(training, PARAMETER)
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise InputError(f"unknown parameters {unknown}; the model takes: {', '.join(known) or 'none'}")
    missing = [name for name in known if name not in given and name not in meshes]
    if missing:
        hint = " ".join(f"--parameter {name}=VALUE" for name in missing)
        raise InputError(f"the model also needs the parameters {', '.join(missing)}: add {hint}")
    new = {name: ("sample", [float(value)], dict(training[name].attrs)) for name, value in given.items()}
    return meshes.assign(new)


def _scalars(predicted: xr.Dataset) -> list[tuple[str, float, float, str]]:
    found = []
    for name in by_role(predicted, SCALAR, ("sample",)):
        base = name.removesuffix("_mean")
        if base != name and f"{base}_std" in predicted:
            spread = float(predicted[f"{base}_std"].values[0])
            found.append(
                (base, float(predicted[name].values[0]), spread, str(predicted[name].attrs["units"]))
            )
    return found
