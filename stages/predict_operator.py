"""Stage `predict_operator`: fields from trained operators, sample by sample, with standard deviations."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import xarray as xr
from pydantic import Field

from kernels.errors import InputError
from kernels.metrics.ensembles import mean_and_deviation
from kernels.torch_threads import torch_threads
from stages.base import Stage, StageConfig, schema, variable
from stages.operator_data import Channels, Samples, is_mesh
from stages.operator_serving import Resampled, fitted_to_model, same_grids
from stages.parts import PART_NAMES
from stages.ragged import take
from stages.variables import FIELD

if TYPE_CHECKING:
    from kernels.operators.base import Batch

_BLOCK = 32
"""Samples that are read at once; they are predicted one by one."""

_CARRIED = ("interval_level", "interval_factor", "simultaneous_factor", "spread_floor")


class PredictOperatorConfig(StageConfig):
    """Which samples, and what to do where the model cannot serve them.

    parts: of the split; without a split all samples are predicted. unserved: a model asked for a grid or
    mesh that it cannot serve is an error; or its prediction at its own resolution is interpolated and the
    sample flagged (on grids); or the sample is left out, NaN with the reason in `unserved`. interpolation:
    from the model's grid to the data's (inputs go there linearly).
    """

    parts: tuple[Literal["train", "validation", "calibration", "test"], ...] = ("test",)
    unserved: Literal["refuse", "interpolate", "leave_out"] = "refuse"
    interpolation: Literal["linear", "cubic"] = "cubic"
    threads: int = Field(default=1, ge=1)


def run(
    config: PredictOperatorConfig, data: xr.Dataset, model: xr.Dataset, split: xr.Dataset | None = None
) -> xr.Dataset:
    """Predictions of the samples of the chosen parts, in physical units, on the grid or mesh of the data.

    Of every output u: `u_mean`, over the members of the model; `u_std` = sqrt(var + floor^2) where there are
    several members or a floor; `u_interpolated` where the grid of the data is not the model's, what the same
    model gives at its own resolution, interpolated: the bar for a prediction at a new resolution. A periodic
    grid is interpolated across its ends. `unserved`: why there is no prediction. `inference_seconds`: of all
    members, one sample alone.

    data: as `stages.operator_data` says, outputs may be absent; model: of `train_operator` or `ensemble`;
    split: parts by sample_name. Samples go through the model one by one: the rounding of a convolution
    depends on how many samples it is given at once, so this alone gives the same bits for any cut.

    Raises InputError where channels, units, layout, dimension or domain are not the model's, a sample is not
    in the split or not finite, or the model cannot serve the grid: sample and grid are named. Not handled:
    meshes are not interpolated; a model that cannot serve one is an error, or leaves the sample out.
    """
    data, names = fitted_to_model(data, model)
    rows = _rows(config, data, split)
    with torch_threads(config.threads):
        serving = _Serving.of(config, data, model)
        values = _Output.empty(data, rows, names, serving)
        for position, batch in _single(data, rows, model):
            label = str(data["sample_name"].values[rows[position]])
            if position == 0:
                serving.predict(batch, label)  # what is made at the first use is not the time of a sample
            values.enter(position, serving.predict(batch, label))
    return values.dataset(data, model, rows)


def _rows(config: PredictOperatorConfig, data: xr.Dataset, split: xr.Dataset | None) -> np.ndarray:
    names = [str(name) for name in data["sample_name"].values]
    if split is None:
        return np.arange(len(names))
    part = {str(n): int(p) for n, p in zip(split["sample_name"].values, split["split"].values, strict=True)}
    unknown = [name for name in names if name not in part]
    if unknown:
        raise InputError(
            f"the split does not know the samples {unknown[:5]} ({len(unknown)} of {len(names)}): make the "
            "split of this data set, or leave it out to predict all samples"
        )
    wanted = [number for number, name in PART_NAMES.items() if name in config.parts]
    return np.flatnonzero(np.isin([part[name] for name in names], wanted))


def _single(data: xr.Dataset, rows: np.ndarray, model: xr.Dataset) -> "Iterator[tuple[int, Batch]]":
    """Every row as a batch of one; read in blocks, in memory of its own so that its alignment is the same."""
    for start in range(0, len(rows), _BLOCK):
        block = rows[start : start + _BLOCK]
        samples = Samples(take(data, block).load(), np.arange(len(block)), model)
        if is_mesh(data):
            for i in range(len(block)):
                yield start + i, samples.read([i], outputs=False)
            continue
        whole = samples.read(range(len(block)), outputs=False)
        for i in range(len(block)):
            one = replace(whole, a=whole.a[i : i + 1].clone(), parameters=whole.parameters[i : i + 1].clone())
            yield start + i, one


_last: list[tuple[str, Any]] = []
"""Name and operators of the model that this process used last: parts of one set have the same."""


def _predictor(model: xr.Dataset) -> Any:
    """The operators of a model; those of the last call again where the model is the same.

    Weights of 100 MB take as long to read and to copy as the prediction of tens of samples. The token is of
    the content, or of what the arrays are read from where they are not in memory.
    """
    from dask.base import tokenize

    from stages.operator_model import Predictor

    token = tokenize(model)
    if not _last or _last[0][0] != token:
        _last[:] = [(token, Predictor(model))]
    return _last[0][1]


@dataclass(frozen=True)
class _Serving:
    """A model, and what it gives where the grid is another than its own.

    resampled: to its grid and back, None where the grid is its own; floor (outputs,) or None.
    """

    config: PredictOperatorConfig
    predictor: Any
    resampled: Resampled | None
    floor: np.ndarray | None
    members: int

    @classmethod
    def of(cls, config: PredictOperatorConfig, data: xr.Dataset, model: xr.Dataset) -> "_Serving":
        from stages.operator_data import signature

        predictor = _predictor(model)
        given, own = signature(data), predictor.signature
        other = own.layout == "grid" and not same_grids(given, own)
        floor = np.asarray(model["spread_floor"].values) if "spread_floor" in model else None
        return cls(
            config, predictor, Resampled(own, given, config.interpolation) if other else None,
            floor, len(predictor.operators),
        )  # fmt: skip

    @property
    def honest(self) -> bool:
        """Whether there are standard deviations."""
        return self.members > 1 or self.floor is not None

    def predict(self, batch: "Batch", name: str) -> "_Found":
        """The prediction of a batch of one sample, or what stands in for it; `name`: of the sample."""
        coarse = None
        if self.resampled is not None:
            coarse = self.resampled.back(self.predictor.predict(self.resampled.there(batch)))
        start, why = time.perf_counter(), ""
        try:
            values = self.predictor.predict(batch)
        except InputError as error:
            why, chosen = str(error), self.config.unserved
            if chosen == "refuse" or (chosen == "interpolate" and coarse is None):
                remedies = ["interpolate"] if coarse is not None else []
                remedy = " or ".join(f'"{one}"' for one in (*remedies, "leave_out"))
                raise InputError(f"sample {name!r}: {error}; or set unserved = {remedy}") from error
            values = coarse if chosen == "interpolate" else self._nothing(batch)
        seconds = time.perf_counter() - start
        middle = None if coarse is None else _by_output(coarse, batch).mean(axis=0)
        stands_in = bool(why) and values is coarse
        return _Found(_by_output(values, batch), middle, stands_in, "" if stands_in else why, seconds)

    def _nothing(self, batch: "Batch") -> np.ndarray:
        outputs = self.predictor.signature.outputs
        if batch.mesh is not None:
            return np.full((self.members, len(batch.mesh.x), outputs), np.nan)
        return np.full((self.members, 1, outputs, *map(len, batch.out_grid)), np.nan)


class _Found(NamedTuple):
    """Of one sample: all members (member, outputs, *points), their mean at the model's resolution
    interpolated, whether that stands in for the prediction, why there is none, seconds that it took.
    """

    members: np.ndarray
    coarse: np.ndarray | None
    stands_in: bool
    unserved: str
    seconds: float


def _by_output(values: np.ndarray, batch: "Batch") -> np.ndarray:
    """(member, outputs, *points) of one sample."""
    return values.transpose(0, 2, 1) if batch.mesh is not None else values[:, 0]


@dataclass
class _Output:
    """What is filled sample after sample; points: where each sample lies along a mesh's nodes."""

    names: Channels
    serving: _Serving
    arrays: dict[str, np.ndarray]
    seconds: np.ndarray
    stands_in: np.ndarray
    unserved: np.ndarray
    starts: np.ndarray | None

    @classmethod
    def empty(cls, data: xr.Dataset, rows: np.ndarray, names: Channels, serving: _Serving) -> "_Output":
        starts = None
        shape: tuple[int, ...] = (len(rows), *(data.sizes[d] for d in data[names.outputs[0]].dims[1:]))
        if is_mesh(data):
            starts = np.concatenate([[0], np.cumsum(data["node_count"].values[rows])]).astype(np.int64)
            shape = (int(starts[-1]),)
        kinds = ["mean", *(["std"] if serving.honest else [])]
        kinds += ["interpolated"] if serving.resampled is not None else []
        arrays = {f"{name}_{kind}": np.empty(shape) for name in names.outputs for kind in kinds}
        count = len(rows)
        return cls(
            names, serving, arrays, np.zeros(count), np.zeros(count, np.int8), np.full(count, "", object),
            starts,
        )  # fmt: skip

    def enter(self, position: int, one: _Found) -> None:
        at: Any = position
        if self.starts is not None:
            at = slice(self.starts[position], self.starts[position + 1])
        mean, std = mean_and_deviation(one.members, self.serving.floor)
        found = {"mean": mean, "std": std, "interpolated": one.coarse}
        for i, name in enumerate(self.names.outputs):
            for kind, values in found.items():
                if f"{name}_{kind}" in self.arrays and values is not None:
                    self.arrays[f"{name}_{kind}"][at] = values[i]
        self.seconds[position], self.stands_in[position] = one.seconds, one.stands_in
        self.unserved[position] = one.unserved

    def dataset(self, data: xr.Dataset, model: xr.Dataset, rows: np.ndarray) -> xr.Dataset:
        kept = [name for name in ("sample_name", "node_count") if name in data]
        found = {name: data[name].variable.isel(sample=rows) for name in kept}
        for name in self.names.outputs:
            of = data[name]
            for kind in ("mean", "std", "interpolated"):
                if f"{name}_{kind}" in self.arrays:
                    attrs = {"role": FIELD, "units": of.attrs["units"], "long_name": _MEANING[kind] + name}
                    found[f"{name}_{kind}"] = xr.Variable(of.dims, self.arrays[f"{name}_{kind}"], attrs)
        found["inference_seconds"] = variable("inference_seconds", self.seconds)
        found["interpolated"] = variable("interpolated", self.stands_in)
        found["unserved"] = variable("unserved", self.unserved)
        found |= {name: model[name].variable for name in _CARRIED if name in model}
        axes = set(data[self.names.outputs[0]].dims) & set(data.coords)
        coords = {axis: data.coords[axis].variable for axis in axes}
        coords |= {n: model.coords[n].variable for n in ("output_channel", "level") if n in model.coords}
        attrs = {**about(model), "new_grid": int(self.serving.resampled is not None)}
        return xr.Dataset(found, coords, attrs)


_MEANING = {
    "mean": "predicted ",
    "std": "predicted standard deviation of ",
    "interpolated": "interpolated from the prediction on the model's own grid: ",
}


def about(model: xr.Dataset) -> dict[str, Any]:
    """What a prediction says of its model: family, size, times, and the validation error it was chosen by.

    Times are of one member: median of an epoch, sum over the epochs; validation: of the weights that were
    kept, mean over the members. What a model does not know is left out.
    """
    found: dict[str, Any] = {
        name: model.attrs[name] for name in ("family", "settings", "parameter_count") if name in model.attrs
    }
    found["members"] = model.sizes["member"]
    epochs, errors = (np.asarray(model[n].values, float) for n in ("epoch_seconds", "validation_error"))
    if np.isfinite(epochs).any():
        found["epoch_seconds"] = float(np.nanmedian(epochs))
        found["train_seconds"] = float(np.nansum(epochs) / len(epochs))
    if np.isfinite(errors).any(axis=1).all():
        best = json.loads(str(model.attrs.get("training", "{}"))).get("keep") == "best"
        kept = [line.min() if best else line[-1] for line in (e[np.isfinite(e)] for e in errors)]
        found["validation_error"] = float(np.mean(kept))
    return found


STAGE = Stage(
    name="predict_operator",
    version=2,
    config=PredictOperatorConfig,
    inputs={
        "data": schema("sample_name", optional=("node_count", "cell_count", "x", "connectivity")),
        "model": schema(  # not the weights: a look for gaps in every part would read them all
            "tensor_name", "tensor_shape", "seed", "validation_error", "epoch_seconds",
            "input_mean", "input_scale", "output_mean", "output_scale",
        ),
        "split": schema("split", "sample_name"),
    },
    output=schema("sample_name", "inference_seconds", "interpolated", "unserved", optional=("node_count",)),
    run=run,
    split_over="data",
    batch=64,
    optional=("split",),
)  # fmt: skip
