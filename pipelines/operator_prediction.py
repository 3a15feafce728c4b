"""A trained operator applied to new cases: read, check, predict by the runner, write."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr

from catalogs.formats.reader import FORMATS
from catalogs.views import one_sample, write
from kernels.errors import InputError
from pipelines.new_cases import Cases, add_cases
from pipelines.runner import Runner
from pipelines.settings import Settings
from stages.operator_model import channel_names, load_signature
from stages.predict_operator import PredictOperatorConfig
from stages.registry import STAGES

_MESH = ("cell_count", "x", "connectivity")


@dataclass(frozen=True)
class OperatorPrediction:
    """Key of the predictions, the files written, what is to be known in rows (name, text), samples that are
    not predicted as asked with the reason, and how many steps were computed.
    """

    key: str
    written: tuple[Path, ...]
    rows: list[tuple[str, str]]
    flagged: list[str]
    computed: int


def predict_cases(
    settings: Settings, model_key: str, cases: Cases, parameters: Mapping[str, float], output: Path | None
) -> OperatorPrediction:
    """Predictions of a model for new cases, published in the catalog and written to a file or folder.

    output: `.nc`, `.vtu` of one mesh, a folder for one VTU a mesh; None: beside the first file. Raises
    InputError where output cannot be written, or the cases are not for the model: before anything is
    predicted.
    """
    target, write_all = _writer(cases, output)
    with Runner(settings) as runner:
        model = runner.catalog.open(model_key)
        if cases.in_arrays and target.suffix.lower() != ".nc" and load_signature(model).layout == "grid":
            raise InputError(
                f"{target}: predictions on a grid are written as NetCDF, name a file that ends with .nc"
            )
        data = add_cases(cases, parameters, model_key, runner)
        inputs = runner.catalog.open(data)
        if target.suffix.lower() == ".vtu" and inputs.sizes["sample"] != 1:
            raise InputError(
                f"there are {inputs.sizes['sample']} meshes and one file {target}: name a folder for one VTU "
                "a mesh, or a .nc file"
            )
        # all cases are predicted, so which parts of a split those of the test are says nothing
        parts = PredictOperatorConfig().parts
        config = cases.predict_operator.model_copy(update={"parts": parts})
        key = runner.step(STAGES["predict_operator"], config, {"data": data, "model": model_key})
        found = runner.catalog.open(key).load()
        whole = found.assign({name: inputs[name] for name in _MESH if name in inputs})
        written = write_all(whole, target)
        rows = [
            *_about(found, inputs, model, model_key),
            ("in the catalog", f"{key[:12]}   (pushforward catalog open {key[:12]})"),
        ]
        return OperatorPrediction(key, written, rows, _flagged(found), len(runner.computed))


Writer = Callable[[xr.Dataset, Path], tuple[Path, ...]]


def _writer(cases: Cases, output: Path | None) -> tuple[Path, Writer]:
    """Where predictions go, and how they get there; raises InputError where they cannot."""
    target = output or _beside(cases)
    kind = target.suffix.lower()
    if kind not in ("", ".nc", ".vtu") or not target.absolute().parent.is_dir():
        raise InputError(
            f"the predictions cannot be written to {target}, expected a .nc file, a .vtu file for one mesh, "
            "or a folder for several, in a folder that exists: give another --output"
        )
    if (kind and target.is_dir()) or (not kind and target.is_file()):
        raise InputError(f"--output {target} is a {'folder' if kind else 'file'}: give another")
    if any(path.exists() and target.exists() and target.samefile(path) for path in cases.paths):
        raise InputError(f"--output {target} is one of the new cases: name another, it would be written over")
    return target, _one_file if kind else _folder


def _beside(cases: Cases) -> Path:
    """Where predictions go by default: beside the first file, one VTU for one mesh file."""
    first = cases.paths[0]
    if cases.in_arrays:
        return first.with_name(f"{first.stem}_prediction.nc")
    if len(cases.paths) == 1 and first.suffix.lower() in FORMATS:
        return first.with_name(f"{first.stem}_prediction.vtu")
    return first.with_name(f"{first.stem}_predictions")


def _one_file(found: xr.Dataset, target: Path) -> tuple[Path, ...]:
    """A file in place of one of an earlier call."""
    beside = target.with_name(f".{target.stem}.{os.getpid()}{target.suffix.lower()}")
    try:
        write(found, beside)
        os.replace(beside, target)
    finally:
        beside.unlink(missing_ok=True)
    return (target,)


def _folder(found: xr.Dataset, target: Path) -> tuple[Path, ...]:
    """A VTU a sample in a folder, which is made."""
    target.mkdir(exist_ok=True)
    names = [str(name).replace("/", "_") for name in found["sample_name"].values]
    return tuple(
        _one_file(one_sample(found, i), target / f"{name}_prediction.vtu")[0] for i, name in enumerate(names)
    )


def _about(found: xr.Dataset, data: xr.Dataset, model: xr.Dataset, key: str) -> list[tuple[str, str]]:
    """What a prediction is of, as rows."""
    names = [str(name) for name in found["sample_name"].values]
    members = model.sizes["member"]
    family = str(model.attrs["family"])
    of = family if members == 1 else f"{family}, {members} members"
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    rows = [
        ("samples", f"{len(names)}: {', '.join(names[:3])}{more}"),
        ("grid", _grid(found, data, model)),
        ("model", f"{of}   ({key[:12]})"),
    ]
    outputs = channel_names(model).outputs
    for i, name in enumerate(outputs):
        units = found[f"{name}_mean"].attrs["units"]
        label = "intervals" if len(outputs) == 1 else f"intervals of {name}"
        rows.append((label, _intervals(found, name, i, units)))
    return rows


def _grid(found: xr.Dataset, data: xr.Dataset, model: xr.Dataset) -> str:
    own = load_signature(model)
    if own.layout == "mesh":
        counts = np.asarray(data["node_count"].values)
        low, high = int(counts.min()), int(counts.max())
        return f"meshes of {low if low == high else f'{low} to {high}'} nodes in {own.dimension} dimensions"
    shape = [found.sizes[axis] for axis in own.out_axes]
    text = f"{' x '.join(map(str, shape))} points along {', '.join(own.out_axes)}"
    trained = list(map(len, own.out_grid))
    return (
        text
        if not found.attrs["new_grid"]
        else f"{text}; the model was trained on {' x '.join(map(str, trained))}"
    )


def _intervals(found: xr.Dataset, name: str, number: int, units: str) -> str:
    if f"{name}_std" not in found:
        return f"none: {name}_mean in {units} alone; an ensemble of the model has them"
    if "interval_factor" not in found:
        return (
            f"none: {name}_mean and {name}_std in {units}, not calibrated; an ensemble of the model has them"
        )
    factors = np.asarray(found["interval_factor"].values)[:, number]
    levels = np.asarray(found["interval_level"].values)
    shown = ", ".join(
        f"{100 * level:g} %: {factor:.3g}" for level, factor in zip(levels, factors, strict=True)
    )
    return f"{name}_mean +- factor * {name}_std in {units}; factors {shown}"


def _flagged(found: xr.Dataset) -> list[str]:
    """What is to be known of samples that the model could not serve as they are."""
    names = np.asarray(found["sample_name"].values)
    left, stands_in = (
        np.asarray(found["unserved"].values) != "",
        np.asarray(found["interpolated"].values) != 0,
    )
    said = []
    if left.any():
        why = str(found["unserved"].values[left][0])
        said.append(f"{int(left.sum())} samples have no prediction, such as {names[left][0]}: {why}")
    if stands_in.any():
        said.append(
            f"{int(stands_in.sum())} samples are interpolated from the model's own grid, which cannot serve "
            f"theirs, such as {names[stands_in][0]}"
        )
    return said
