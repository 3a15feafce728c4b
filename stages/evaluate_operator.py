"""Stage `evaluate_operator`: errors of predicted fields on the test samples, candidate beside candidate."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from kernels.errors import InputError
from stages._operator_scores import (
    ENSEMBLE,
    INTERVALS,
    KINDS,
    METRICS,
    Given,
    Scores,
    gather,
    labelled,
    served,
)
from stages.base import Stage, StageConfig, schema, variable
from stages.operator_data import channels, is_mesh
from stages.variables import TEST

ABOUT = {
    "parameters": ("parameter_count", "1", "trained parameters of one member"),
    "epoch_time": ("epoch_seconds", "s", "time of an epoch, median over the epochs, mean over the seeds"),
    "training_time": ("train_seconds", "s", "time of all epochs of one member"),
    "validation": ("validation_error", "1", "relative L2 error of the validation part, mean over the seeds"),
}
"""What a prediction says of its model: attribute of the prediction, units, meaning."""


class EvaluateOperatorConfig(StageConfig):
    """Nothing to choose: the scores are the same for everyone."""


def run(
    config: EvaluateOperatorConfig, data: xr.Dataset, split: xr.Dataset, **predictions: xr.Dataset
) -> xr.Dataset:
    """Scores of every prediction on the test samples of one data set, so at one resolution.

    Inputs `predictions.<candidate>.<seed>` are joined by candidate: `score` is the mean over the samples,
    then over the seeds, `seed_deviation` the standard deviation over the seeds (divisor n - 1, NaN of one);
    `sample_score` has every run, a prediction of one seed. Rows (`candidate`): the predictions of a
    candidate; "<candidate> ensemble", the seed `ensemble`; "<candidate> interpolated", what the same model
    gives at its own resolution, interpolated to the grid of the data, where that is another.

    relative_l2, relative_h1, boundary_error, max_error, mean_error (of the integral), and errors in thirds of
    the radial wavenumbers, over the truth of the band (spectral) and of all bands (spectral_share): see
    `kernels.metrics.fields` and `kernels.metrics.spectrum`. coverage: part of the points inside the intervals
    of each level, mean over samples; coverage_whole: part of the samples that lie inside everywhere;
    interval_width: mean, in the units of the output; simultaneous_coverage and simultaneous_width alike, of
    the intervals that are made to hold everywhere at once, where the model has them. Times and sizes come
    from the predictions.

    `chosen` (attribute) is the candidate with the least validation error, which its model carries; test
    errors have no say. Empty where no candidate has one. `unserved` (attribute): candidates without a
    prediction of every test sample, which are not scored, and why.

    Raises InputError where there is no test sample, a prediction lacks some, is on another grid, or is not
    finite. A score that is not defined (a mesh has no wavenumbers, a periodic grid no boundary) is NaN, with
    its reason in `undefined`.
    """
    names = channels(data)
    rows = _test_rows(data, split)
    labels = [str(n) for n in data["sample_name"].values[rows]]
    given, lacking = served(labelled(predictions, labels))
    scores = gather(data, rows, names, given)
    lines = _lines(given)
    found = _aggregates(lines, scores, names.outputs)
    found |= _each_sample(given, scores)
    found |= _facts(lines, scores)
    found |= _coverage(lines, scores, names.outputs)
    found["undefined"] = (("quantity", "metric"), _undefined(data, scores), "why a score is not a number")
    units = [str(data[name].attrs.get("units", "1")) for name in names.outputs]
    found["quantity_units"] = (("quantity",), np.array(units), "units of each output")
    described = {
        name: xr.Variable(dims, values, {"units": _UNITS.get(name, "1"), "long_name": text})
        for name, (dims, values, text) in found.items()
    }
    described["sample_name"] = variable("sample_name", np.array(labels))
    coords = {
        "quantity": list(names.outputs), "candidate": [line.name for line in lines], "metric": list(METRICS),
        "run": [_run_name(one, kind) for one in given for kind in one.kinds], "level": _levels(given),
    }  # fmt: skip
    new_grid = max((int(one.dataset.attrs.get("new_grid", 0)) for one in given), default=0)
    attrs = {"chosen": _chosen(lines), "samples": len(labels), "new_grid": new_grid, "unserved": lacking}
    return xr.Dataset(described, coords, {**attrs, "points": _points(data, names.outputs)})


def _test_rows(data: xr.Dataset, split: xr.Dataset) -> np.ndarray:
    at = {str(name): i for i, name in enumerate(data["sample_name"].values)}
    pairs = zip(split["sample_name"].values, split["split"].values, strict=True)
    test = [str(name) for name, part in pairs if part == TEST]
    lacking = [name for name in test if name not in at]
    if lacking or not test:
        raise InputError(
            f"the split has {len(test)} test samples, of which the data set lacks {lacking[:3] or 'none'}; "
            "expected at least one, all of them there: split this data set"
        )
    return np.array(sorted(at[name] for name in test), dtype=np.int64)


@dataclass
class _Line:
    """A row of the table: a candidate in one way of using it, with all its runs."""

    name: str
    candidate: str
    way: str
    kind: str
    given: list[Given] = field(default_factory=list)

    def attribute(self, name: str) -> np.ndarray:
        """A number that the predictions carry, one a run; NaN where it is not there."""
        return np.array([float(one.dataset.attrs.get(name, np.nan)) for one in self.given])


def _lines(given: Sequence[Given]) -> list[_Line]:
    """Rows in the order of the inputs, those of a candidate together."""
    found: dict[tuple[str, str], _Line] = {}
    for candidate in dict.fromkeys(one.candidate for one in given):
        for one in (g for g in given if g.candidate == candidate):
            for kind in one.kinds:
                words = [ENSEMBLE] * (one.seed == ENSEMBLE) + ["interpolated"] * (kind == KINDS[1])
                name = " ".join([candidate, *words])
                line = _Line(name, candidate, " ".join(words) or "prediction", kind)
                found.setdefault((candidate, name), line).given.append(one)
    return list(found.values())


def _run_name(one: Given, kind: str) -> str:
    return f"{one.candidate}.{one.seed}" + (" interpolated" if kind == KINDS[1] else "")


def _mean(values: np.ndarray, axis: int) -> np.ndarray:
    """Mean of what is a number; NaN where nothing is."""
    known = np.isfinite(values)
    count = known.sum(axis=axis)
    total = np.where(known, values, 0.0).sum(axis=axis)
    return np.asarray(total / np.where(count > 0, count, np.nan))


def _deviation(values: np.ndarray, axis: int = 0) -> np.ndarray:
    if values.shape[axis] < 2:
        return np.full(np.delete(values.shape, axis), np.nan)
    return np.asarray(values.std(axis=axis, ddof=1))


Described = dict[str, tuple[tuple[str, ...], Any, str]]


def _aggregates(lines: Sequence[_Line], scores: Scores, outputs: Sequence[str]) -> Described:
    dims = ("quantity", "candidate", "metric")
    mean, spread = np.full((2, len(outputs), len(lines), len(METRICS)), np.nan)
    for i, line in enumerate(lines):
        runs = np.stack([_mean(scores.values[one.name, line.kind], axis=-1) for one in line.given])
        mean[:, i], spread[:, i] = runs.mean(axis=0), _deviation(runs)
    return {
        "score": (dims, mean, "mean over test samples, then over seeds"),
        "seed_deviation": (dims, spread, "standard deviation over seeds of the mean over test samples"),
    }


def _each_sample(given: Sequence[Given], scores: Scores) -> Described:
    runs = [(one, kind) for one in given for kind in one.kinds]
    values = np.stack([scores.values[one.name, kind] for one, kind in runs])
    return {
        "sample_score": (("run", "quantity", "metric", "sample"), values, "score of each test sample"),
        "run_candidate": (("run",), np.array([one.candidate for one, _ in runs]), "candidate of the run"),
        "candidate_seed": (("run",), np.array([one.seed for one, _ in runs]), "its seed, or ensemble"),
        "run_kind": (("run",), np.array([kind for _, kind in runs]), "mean, or interpolated"),
    }


def _facts(lines: Sequence[_Line], scores: Scores) -> Described:
    dims = ("candidate",)
    seconds = [np.mean([np.median(scores.seconds[one.name]) for one in line.given]) for line in lines]
    own = [line.kind == KINDS[0] for line in lines]
    stand_in = [
        max(float(np.max(one.dataset["interpolated"].values[one.rows])) for one in line.given)
        for line in lines
    ]
    found: Described = {
        "base": (dims, np.array([line.candidate for line in lines]), "candidate that the row belongs to"),
        "way": (dims, np.array([line.way for line in lines]), "prediction, ensemble or interpolated"),
        "family": (
            dims, np.array([str(line.given[0].dataset.attrs.get("family", "")) for line in lines]), "family"
        ),
        "seeds": (dims, np.array([len(line.given) for line in lines]), "runs that the row is a mean of"),
        "members": (dims, np.array([line.attribute("members").max() for line in lines]), "members of a run"),
        "sample_time": (
            dims, np.where(own, seconds, np.nan), "median time of a prediction, one sample alone"
        ),
        "stands_in": (dims, np.array(stand_in), "1 where the model cannot serve the grid: interpolated"),
        "validation_deviation": (
            dims, np.array([float(_deviation(line.attribute("validation_error"))) for line in lines]),
            "standard deviation over seeds of the validation error",
        ),
    }  # fmt: skip
    for name, (attribute, _, meaning) in ABOUT.items():
        values = np.array([float(_mean(line.attribute(attribute), axis=0)) for line in lines])
        found[name] = (dims, values, meaning)
    return found


def _levels(given: Sequence[Given]) -> list[float]:
    return sorted({float(level) for one in given for level in one.levels()})


def _coverage(lines: Sequence[_Line], scores: Scores, outputs: Sequence[str]) -> Described:
    """Coverage by point and of whole fields and width, NaN for rows without intervals."""
    levels = _levels([one for line in lines for one in line.given])
    values = np.full((len(INTERVALS), len(outputs), len(lines), len(levels)), np.nan)
    for i, line in enumerate(lines):
        honest = [one for one in line.given if one.name in scores.intervals and line.kind == KINDS[0]]
        for k, level in enumerate(levels):
            runs = [
                scores.intervals[one.name][:, :, list(one.levels()).index(level)].mean(axis=-1)
                for one in honest
                if level in one.levels()
            ]
            if runs:
                values[:, :, i, k] = np.mean(runs, axis=0).T
    dims = ("quantity", "candidate", "level")
    pairs = zip(INTERVALS.items(), values, strict=True)
    return {name: (dims, part, text) for (name, text), part in pairs}


def _undefined(data: xr.Dataset, scores: Scores) -> np.ndarray:
    """Reason in words for every output and metric that some sample has no number of."""
    every = np.stack(list(scores.values.values()))
    lacking = np.isnan(every).any(axis=0)
    found = np.full(lacking.shape[:2], "", dtype=object)
    for q, m in np.argwhere(lacking.any(axis=-1)):
        count, of = int(lacking[q, m].sum()), lacking.shape[-1]
        if METRICS[m].startswith("spectral"):
            reason = "a mesh has no wavenumbers" if is_mesh(data) else "the grid is not even"
            if count < of or not is_mesh(data):
                reason = f"the truth has nothing in this band, or the grid is not even, in {count} of {of}"
        elif METRICS[m] == "boundary_error" and count == of:
            reason = "a periodic grid has no boundary" if not is_mesh(data) else "the mesh has no boundary"
        else:
            reason = f"the truth is zero in {count} of {of} samples"
        found[q, m] = reason
    return found.astype(str)


def _chosen(lines: Sequence[_Line]) -> str:
    """The candidate with the least mean validation error over its seeds, by its members where it has no seed
    alone.
    """
    best: dict[str, float] = {}
    for way in ("prediction", ENSEMBLE):
        for line in lines:
            error = float(_mean(line.attribute("validation_error"), axis=0))
            if line.way == way and np.isfinite(error):
                best.setdefault(line.candidate, error)
    return min(best, key=lambda name: best[name]) if best else ""


def _points(data: xr.Dataset, outputs: Sequence[str]) -> str:
    if is_mesh(data):
        counts = data["node_count"].values
        return f"{counts.min()} to {counts.max()} nodes"
    shape = data[outputs[0]].shape[1:]
    return f"{shape[0]} points" if len(shape) == 1 else " x ".join(map(str, shape))


_UNITS = {"sample_time": "s", **{name: units for name, (_, units, _) in ABOUT.items()}}


def table(metrics: xr.Dataset) -> pd.DataFrame:
    """The scores as people read them: a line an output and candidate.

    `<metric>` and `<metric>_sd`, its standard deviation over seeds; coverage_<percent>, width_<percent> and
    simultaneous_<percent> of every level; seeds, parameters, times in seconds, validation error, and
    chosen, 1 for the chosen one.
    """
    lines = []
    for quantity in metrics["quantity"].values:
        for i, candidate in enumerate(metrics["candidate"].values):
            one = metrics.sel(quantity=quantity).isel(candidate=i)
            line: dict[str, Any] = {"quantity": str(quantity), "candidate": str(candidate)}
            for name in metrics["metric"].values:
                line[str(name)] = float(one["score"].sel(metric=name))
                line[f"{name}_sd"] = float(one["seed_deviation"].sel(metric=name))
            for level in metrics["level"].values:
                percent = f"{100 * level:g}"
                line[f"coverage_{percent}"] = float(one["coverage"].sel(level=level))
                line[f"width_{percent}"] = float(one["interval_width"].sel(level=level))
                line[f"simultaneous_{percent}"] = float(one["simultaneous_coverage"].sel(level=level))
            line |= {name: float(one[name]) for name in ("seeds", *ABOUT, "sample_time")}
            line["chosen"] = int(str(one["base"].values) == metrics.attrs["chosen"])
            lines.append(line)
    return pd.DataFrame(lines)


def summary(metrics: xr.Dataset) -> pd.DataFrame:
    """The scores as a terminal shows them: errors in percent as mean +- deviation over seeds, the chosen
    candidate marked.
    """
    full = table(metrics)
    many = metrics.sizes["quantity"] > 1
    lines = []
    for _, one in full.iterrows():
        mark = " *" if one["chosen"] else ""
        line = {"output": one["quantity"]} if many else {}
        line |= {
            "candidate": f"{one['candidate']}{mark}",
            **{text: _percent(one, name) for name, text in _SHOWN.items()},
            "in 90 % interval": _share(one.get("coverage_90", np.nan)),
            "parameters": _plain(one["parameters"], ",.0f"),
            "s/epoch": _plain(one["epoch_time"], ".3g"),
            "training s": _plain(one["training_time"], ".3g"),
            "ms/sample": _plain(1e3 * one["sample_time"], ".3g"),
        }
        lines.append(line)
    return pd.DataFrame(lines)


_SHOWN = {
    "relative_l2": "L2 %",
    "relative_h1": "H1 %",
    "boundary_error": "boundary %",
    "max_error": "largest %",
    "mean_error": "integral %",
}


def _percent(line: pd.Series, name: str) -> str:
    value, deviation = 100.0 * float(line[name]), 100.0 * float(line[f"{name}_sd"])
    if not np.isfinite(value):
        return "-"
    if not np.isfinite(deviation):
        return f"{value:.3g}"
    return f"{value:.3g} +- " + (f"{deviation:.0f}" if deviation >= 1.0 else f"{deviation:.1g}")


def _share(value: float) -> str:
    return f"{100.0 * value:.1f} %" if np.isfinite(value) else "-"


def _plain(value: float, form: str) -> str:
    return format(value, form) if np.isfinite(value) else "-"


STAGE = Stage(
    name="evaluate_operator",
    version=3,
    config=EvaluateOperatorConfig,
    inputs={
        "data": schema("sample_name", optional=("node_count", "cell_count", "x", "connectivity")),
        "split": schema("split", "sample_name"),
        "predictions": schema(
            "sample_name", "inference_seconds", "interpolated", optional=("node_count", "unserved")
        ),
    },
    output=schema("sample_name"),
    run=run,
    several=("predictions",),
    literature=(
        "Li, Kovachki, Azizzadenesheli et al. 2021, Fourier neural operator, ICLR, arXiv 2010.08895",
        "Angelopoulos, Bates 2023, Foundations and Trends in Machine Learning 16, 494-591",
    ),
)
