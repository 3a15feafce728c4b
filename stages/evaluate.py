"""Stage `evaluate`: errors and honesty of predictions on the test samples, beside cheap baselines and
floors."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr
from pydantic import Field
from scipy import sparse

from kernels.errors import InputError
from kernels.mesh.locate import Locator
from kernels.mesh.mass import mass_matrix
from kernels.mesh.transfer import interpolation_operator
from kernels.metrics.errors import Truth, describe, nrmse, q2, relative_errors, rrmse
from kernels.metrics.refusals import crosses_zero, vanishing
from kernels.metrics.uncertainty import crps_gaussian, interval_counts
from kernels.regression.linear import predict_linear
from stages.base import Stage, StageConfig, schema, variable
from stages.gp_model import feature_values
from stages.ragged import sample_names, take
from stages.variables import TEST

ROWS = ("gp", "linear", "training mean", "POD floor", "round trip")
METRICS = ("rrmse", "nrmse", "q2", "crps")
LEVELS = (*(round(0.05 * i, 2) for i in range(1, 20)), 0.99)
CLASSES = ("nonzero", "zero")
"""Classes of values by their truth: exactly zero, or not."""

_BATCH = 32


class EvaluateConfig(StageConfig):
    """Samples whose field stays below `vanishing_fraction` of the set's largest have no relative error."""

    vanishing_fraction: float = Field(default=1e-3, ge=0.0, lt=1.0)


@dataclass(frozen=True)
class _Decoder:
    """What turns reduced coordinates into nodal values on the common mesh, and back."""

    fields: list[str]
    scalars: list[str]
    mean: np.ndarray
    modes: np.ndarray
    owner: np.ndarray
    weighted: np.ndarray
    shape_mean: np.ndarray
    shape_weighted: np.ndarray

    def lift(self, latents: np.ndarray) -> np.ndarray:
        """Latents (k,) -> fields on the common mesh (field, N)."""
        values = self.mean.copy()
        for index in range(len(self.fields)):
            own = self.owner == index
            values[index] += latents[own] @ self.modes[own]
        return values

    def project(self, values: np.ndarray) -> np.ndarray:
        """Fields on the common mesh (field, N) -> latents (k,)."""
        return np.asarray(((values - self.mean)[self.owner] * self.weighted).sum(axis=1))


@dataclass(frozen=True)
class _Tally:
    """Statistics of every test sample and quantity."""

    truth: np.ndarray
    square: np.ndarray
    absolute: np.ndarray
    inside: np.ndarray
    values: np.ndarray
    variance: np.ndarray


def run(
    config: EvaluateConfig,
    meshes: xr.Dataset,
    morphed: xr.Dataset,
    model: xr.Dataset,
    predictions: xr.Dataset,
) -> xr.Dataset:
    """Scores of the test samples (split == 1) on their own meshes.

    rrmse: sqrt(mean_i((1/N_i) |U_i - V_i|_2^2 / |U_i|_inf^2)) (Casenave et al. 2023, arXiv 2305.12871,
    section 4); nrmse: root-mean-square error over the range of the set; q2: over all values together; crps:
    mean, in the units of the quantity, of the predicted Gaussian (Gneiting et al. 2005, eq. 5), the mean
    absolute error for rows without a spread; coverage: part of the true values inside the central intervals
    of each level, over all values and by class: where a field is exactly zero over much of a part, intervals
    that are wide enough for anything hold there, so `coverage_of_class` of the values that are not zero is
    the one to judge; spread: root mean square of the predicted deviations in each class.

    Rows: `gp`, the predictions; `linear`, least squares on the same inputs, decoded; `training mean`; `POD
    floor`, the sample's own field pulled back, projected on the modes and transferred again; `round trip`,
    the transfer alone. The last two exist for fields only.

    meshes: truth in ragged form, with `split`; morphed: pulled-back fields, shapes and `mapped_x`; model:
    modes and baseline; predictions: `<name>_mean` and `<name>_std` of every quantity. Samples are matched by
    sample_name. A sample where a field vanishes has no relative error there; a scalar that takes both signs
    has none at all; `excluded` and `excluded_reason` say so, and nrmse stands in.

    Raises InputError where there is no split, no test sample with a prediction, or a quantity without a
    prediction. Test samples without a morph or a prediction are named in the attribute `not_evaluated`.
    Not handled: cell fields; weights by cell size (the published formula weighs nodes alike).
    """
    decoder = _decoder(model)
    names, missing = _matched(meshes, morphed, predictions)
    quantities = [*decoder.fields, *decoder.scalars]
    _check_quantities(quantities, meshes, predictions)
    tally = _Tally(
        np.full((6, len(names), len(quantities)), np.nan),
        np.full((len(names), len(quantities), len(ROWS)), np.nan),
        np.full((len(names), len(quantities), len(ROWS)), np.nan),
        np.zeros((len(quantities), len(CLASSES), len(LEVELS))),
        np.zeros((len(quantities), len(CLASSES)), dtype=np.int64),
        np.zeros((len(quantities), len(CLASSES))),
    )
    locator = Locator(model["common_x"].values, model["common_connectivity"].values)
    for position, truth, morph, predicted in _samples(names, meshes, morphed, predictions, quantities):
        operator = interpolation_operator(locator, morph["mapped_x"].values, outside="clamp").matrix
        linear = _linear(decoder, model, morph)
        _score_fields(tally, position, decoder, operator, truth, morph, predicted, linear)
        _score_scalars(tally, position, decoder, model, truth, predicted, linear)
    result = _summary(config, tally, names, decoder, meshes)
    result.attrs["not_evaluated"] = "; ".join(missing)
    return result


def _decoder(model: xr.Dataset) -> _Decoder:
    mass = sparse.csr_array(mass_matrix(model["common_x"].values, model["common_connectivity"].values))
    modes = np.asarray(model["modes"].values)
    shape_modes = np.asarray(model["shape_modes"].values)
    return _Decoder(
        fields=[str(name) for name in model["field"].values],
        scalars=[str(name) for name in model["output"].values[len(modes) :]],
        mean=np.asarray(model["field_mean"].values),
        modes=modes,
        owner=np.asarray(model["latent_field"].values),
        weighted=np.ascontiguousarray((mass @ modes.T).T),
        shape_mean=np.asarray(model["shape_mean"].values),
        shape_weighted=np.stack([mass @ mode for mode in shape_modes]) if len(shape_modes) else shape_modes,
    )


def _matched(meshes: xr.Dataset, morphed: xr.Dataset, predictions: xr.Dataset) -> tuple[list[str], list[str]]:
    """Names of the test samples to score, and of those without a morph or a prediction."""
    if "split" not in meshes:
        raise InputError("the meshes have no split; expected split(sample), 0 train and 1 test: declare one")
    test = [n for n, part in zip(sample_names(meshes), meshes["split"].values, strict=True) if part == TEST]
    available = set(sample_names(morphed)) & set(sample_names(predictions))
    names = [name for name in test if name in available]
    if not names:
        raise InputError(
            f"none of the {len(test)} test samples has both a morph and a prediction (they are matched by "
            "sample_name): predict the test samples first"
        )
    return names, [name for name in test if name not in available]


def _check_quantities(quantities: list[str], meshes: xr.Dataset, predictions: xr.Dataset) -> None:
    lacking = [name for name in quantities if name not in meshes]
    lacking += [
        f"{name}_{part}"
        for name in quantities
        for part in ("mean", "std")
        if f"{name}_{part}" not in predictions
    ]
    if lacking:
        raise InputError(
            f"the meshes or predictions lack {lacking}; expected the truth and `_mean`, `_std` of "
            f"{quantities}"
        )


def _samples(
    names: list[str], meshes: xr.Dataset, morphed: xr.Dataset, predictions: xr.Dataset, quantities: list[str]
) -> Iterator[tuple[int, xr.Dataset, xr.Dataset, xr.Dataset]]:
    """Every test sample's truth, morph and prediction, loaded a batch at a time."""
    kept = (
        meshes[["node_count", *quantities]],
        morphed,
        predictions[["node_count", *(f"{name}_{part}" for name in quantities for part in ("mean", "std"))]],
    )
    rows = [
        {name: row for row, name in enumerate(sample_names(source))}
        for source in (meshes, morphed, predictions)
    ]
    for start in range(0, len(names), _BATCH):
        batch = names[start : start + _BATCH]
        loaded = [take(d, [at[n] for n in batch]).load() for d, at in zip(kept, rows, strict=True)]
        for index, name in enumerate(batch):
            truth, morph, predicted = (take(d, [index]) for d in loaded)
            if not truth.sizes["node"] == morph.sizes["node"] == predicted.sizes["node"]:
                raise InputError(
                    f"sample {name!r} has {truth.sizes['node']} nodes in the meshes, "
                    f"{morph.sizes['node']} in the "
                    f"morph, {predicted.sizes['node']} in the predictions: make them from the same set"
                )
            yield start + index, truth, morph, predicted


def _linear(decoder: _Decoder, model: xr.Dataset, morph: xr.Dataset) -> np.ndarray:
    """Outputs (output,) of the linear baseline for one sample, in their own units."""
    shape = ((morph["shape"].values[0] - decoder.shape_mean) * decoder.shape_weighted).sum(axis=(1, 2))
    parameters = [str(name) for name in model["feature"].values[len(shape) :]]
    units = dict(zip(parameters, model["feature_units"].values[len(shape) :].tolist(), strict=True))
    logarithm = [bool(flag) for flag in model["feature_log"].values[len(shape) :]]
    features = feature_values(shape[None], morph, units, logarithm, np.zeros(1, dtype=np.int64))
    scaled = (features - model["feature_mean"].values) / model["feature_scale"].values
    standardised = predict_linear(model["linear_coefficients"].values, scaled)[0]
    return np.asarray(model["target_mean"].values + model["target_scale"].values * standardised)


def _score_fields(
    tally: _Tally,
    position: int,
    decoder: _Decoder,
    operator: sparse.csr_array,
    truth: xr.Dataset,
    morph: xr.Dataset,
    predicted: xr.Dataset,
    linear: np.ndarray,
) -> None:
    own = np.stack([np.asarray(morph[name].values[0], dtype=np.float64) for name in decoder.fields])
    latents = linear[: len(decoder.modes)]
    decoded = (decoder.lift(latents), decoder.mean, decoder.lift(decoder.project(own)), own)
    for index, name in enumerate(decoder.fields):
        values = np.asarray(truth[name].values, dtype=np.float64)
        baselines = operator @ np.stack([fields[index] for fields in decoded], axis=1)
        gaussian = predicted[f"{name}_mean"].values, predicted[f"{name}_std"].values
        _tally_one(tally, position, index, values, gaussian, [baselines[:, k] for k in range(4)])


def _score_scalars(
    tally: _Tally,
    position: int,
    decoder: _Decoder,
    model: xr.Dataset,
    truth: xr.Dataset,
    predicted: xr.Dataset,
    linear: np.ndarray,
) -> None:
    for index, name in enumerate(decoder.scalars):
        output = len(decoder.modes) + index
        values = np.asarray(truth[name].values, dtype=np.float64)
        gaussian = predicted[f"{name}_mean"].values, predicted[f"{name}_std"].values
        baselines = [linear[output : output + 1], model["target_mean"].values[output : output + 1]]
        _tally_one(tally, position, len(decoder.fields) + index, values, gaussian, baselines)


def _tally_one(
    tally: _Tally,
    position: int,
    quantity: int,
    values: np.ndarray,
    gaussian: tuple[np.ndarray, np.ndarray],
    baselines: list[np.ndarray],
) -> None:
    tally.truth[:, position, quantity] = describe(values)
    for row, guess in enumerate([gaussian[0], *baselines]):
        error = values - guess
        tally.square[position, quantity, row] = float((error**2).mean())
        tally.absolute[position, quantity, row] = float(np.abs(error).mean())
    error = values - gaussian[0]
    tally.absolute[position, quantity, 0] = float(crps_gaussian(error, gaussian[1]).mean())
    for number, chosen in enumerate((values != 0.0, values == 0.0)):
        std = gaussian[1][chosen]
        tally.inside[quantity, number] += interval_counts(error[chosen], std, np.array(LEVELS))
        tally.values[quantity, number] += std.size
        tally.variance[quantity, number] += float((std**2).sum())


def _summary(
    config: EvaluateConfig, tally: _Tally, names: list[str], decoder: _Decoder, meshes: xr.Dataset
) -> xr.Dataset:
    quantities = [*decoder.fields, *decoder.scalars]
    score = np.full((len(quantities), len(ROWS), len(METRICS)), np.nan)
    relative = np.full(tally.square.shape, np.nan)
    excluded, reasons = np.zeros(len(quantities), dtype=np.int64), []
    count = np.where(tally.values > 0, tally.values, np.nan)
    for index, name in enumerate(quantities):
        truth, square = Truth(*tally.truth[:, :, index]), tally.square[:, index]
        out, reason = vanishing(truth, config.vanishing_fraction)
        if name in decoder.scalars and crosses_zero(truth):
            out, reason = np.ones(len(names), dtype=bool), crosses_zero(truth)
        relative[~out, index] = relative_errors(square[~out], truth.peak[~out])
        score[index, :, 0] = rrmse(square, truth.peak, ~out)
        score[index, :, 1], score[index, :, 2] = nrmse(square, truth), q2(square, truth)
        score[index, :, 3] = tally.absolute[:, index].mean(axis=0)
        excluded[index] = int(out.sum())
        reasons.append(reason)
    data = {
        "score": (("quantity", "row", "metric"), score, "errors and scores"),
        "coverage": (
            ("quantity", "level"),
            tally.inside.sum(axis=1) / tally.values.sum(axis=1)[:, None],
            "part of true values inside the central interval",
        ),
        "coverage_of_class": (
            ("quantity", "class", "level"),
            tally.inside / count[:, :, None],
            "part of the true values of a class inside the central interval",
        ),
        "values": (("quantity", "class"), tally.values, "true values in each class"),
        "spread": (
            ("quantity", "class"),
            np.sqrt(tally.variance / count),
            "root mean square of predicted deviations in each class",
        ),
        "sample_error": (("sample", "quantity", "row"), relative, "relative error of each sample"),
        "sample_rmse": (("sample", "quantity", "row"), np.sqrt(tally.square), "root-mean-square error"),
        "excluded": (("quantity",), excluded, "samples without a relative error"),
        "excluded_reason": (("quantity",), np.array(reasons), "why samples have no relative error"),
        "largest": (("quantity",), tally.truth[3].max(axis=0), "largest absolute true value"),
        "is_field": (("quantity",), np.arange(len(quantities)) < len(decoder.fields), "1 for fields"),
        "quantity_units": (
            ("quantity",),
            np.array([str(meshes[name].attrs.get("units", "1")) for name in quantities]),
            "units of each quantity",
        ),
    }
    return xr.Dataset(
        {
            **{
                k: (dims, np.asarray(v), {"units": "1", "long_name": text})
                for k, (dims, v, text) in data.items()
            },
            "sample_name": variable("sample_name", np.array(names)),
        },
        coords={
            "quantity": quantities,
            "row": list(ROWS),
            "metric": list(METRICS),
            "level": list(LEVELS),
            "class": list(CLASSES),
        },
    )


def table(metrics: xr.Dataset) -> pd.DataFrame:
    """The metrics as people read them: a line a quantity and row, scores and the 50, 90, 95 % coverages.

    coverage_*: over all values; nonzero_95: over those whose truth is not zero, a part `nonzero` of all.
    Relative errors that were refused are NaN, with their count and reason in the last two columns.
    """
    lines = []
    for quantity in metrics["quantity"].values:
        one = metrics.sel(quantity=quantity)
        for row in metrics["row"].values:
            scores = one["score"].sel(row=row).values
            if np.isnan(scores[1:]).all():
                continue
            line = {"quantity": str(quantity), "row": str(row), **dict(zip(METRICS, scores, strict=True))}
            for level in (0.5, 0.9, 0.95):
                inside = float(one["coverage"].sel(level=level))
                line[f"coverage_{round(100 * level)}"] = inside if row == ROWS[0] else np.nan
            judged = float(one["coverage_of_class"].sel({"class": CLASSES[0], "level": 0.95}))
            line["nonzero_95"] = judged if row == ROWS[0] else np.nan
            line["nonzero"] = float(one["values"][0] / one["values"].sum())
            line |= {"units": str(one["quantity_units"].values), "excluded": int(one["excluded"])}
            lines.append({**line, "reason": str(one["excluded_reason"].values)})
    return pd.DataFrame(lines)


STAGE = Stage(
    name="evaluate",
    version=2,
    config=EvaluateConfig,
    inputs={
        "meshes": schema("node_count", optional=("split", "sample_name")),
        "morphed": schema("node_count", "mapped_x", "shape", optional=("sample_name",)),
        "model": schema(
            *("modes", "latent_field", "field_mean", "shape_modes", "shape_mean", "linear_coefficients"),
            *("feature_mean", "feature_scale", "target_mean", "common_x", "common_connectivity"),
        ),
        "predictions": schema("node_count", optional=("sample_name",)),
    },
    output=schema("sample_name"),
    run=run,
    literature=(
        "Casenave, Staber, Roynard 2023, MMGP, NeurIPS 36, arXiv 2305.12871",
        "Gneiting, Raftery, Westveld, Goldman 2005, Monthly Weather Review 133, 1098-1118",
    ),
)
