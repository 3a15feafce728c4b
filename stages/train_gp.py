"""Stage `train_gp`: Gaussian processes from shapes and parameters to field coefficients and scalars."""

import itertools
from typing import Literal

import numpy as np
import xarray as xr
from pydantic import Field

from kernels.errors import InputError
from kernels.regression.calibration import held_out_scores, rotation, scaled, variance_factors
from kernels.regression.gaussian_process import FitOptions, GaussianProcesses, Progress, fit
from kernels.regression.linear import fit_linear
from stages.base import Stage, StageConfig, by_role, schema, variable
from stages.gp_model import feature_values, process_variables
from stages.ragged import sample_names
from stages.variables import PARAMETER, SCALAR, TRAIN

_FEWEST = 5
_RESIDUAL_FLOOR = 1e-3
_FEWEST_HELD_OUT = 30


class TrainGpConfig(StageConfig):
    """Search of the hyperparameters, choice of the features, and how far from the training data is too far.

    restarts, seed, max_iterations, threads: see kernels.regression.gaussian_process.FitOptions; threads
    change no number. noise_ratio: bounds of noise variance / signal variance. features: parameters used
    beside the shape; None: all. transform: "log" takes the logarithm of the parameters that are positive in
    all training samples. feature_margin: distance to the training range, in standard deviations, from which
    a sample extrapolates. residual_margin: the same for the part of the shape that the modes miss, as a
    multiple of the largest in training. calibration_folds: parts of the training samples that are held out
    in turn to scale the variances by the errors there; below 2, or with fewer than 30 samples, none are.
    """

    restarts: int = Field(default=5, ge=1)
    seed: int = Field(default=0, ge=0)
    max_iterations: int = Field(default=200, ge=1)
    noise_ratio: tuple[float, float] = FitOptions.noise_ratio
    features: tuple[str, ...] | None = None
    transform: Literal["none", "log"] = "none"
    feature_margin: float = Field(default=0.5, ge=0.0)
    residual_margin: float = Field(default=2.0, ge=1.0)
    calibration_folds: int = Field(default=5, ge=0)
    threads: int | None = Field(default=None, ge=1)


def run(
    config: TrainGpConfig, basis: xr.Dataset, common: xr.Dataset, progress: Progress | None = None
) -> xr.Dataset:
    """One Gaussian process for each field coefficient and each scalar, on shape coefficients and parameters.

    y_k(x) ~ GP(0, s_k R_5/2(x / l_k)) + N(0, noise_k) on standardised x = [shape coefficients | parameters]
    and y (Casenave, Staber, Roynard 2023, arXiv 2305.12871, section 3; Rasmussen and Williams 2006, eq.
    2.25, 2.26, 4.17, 5.9).

    basis: output of stage `reduce`; common: output of stage `common_mesh`. Only training samples (split ==
    0; all where there is no split) are used. Returns the model, self-contained: everything of `common`,
    everything of `basis` that has no dim `sample`, the processes (`output`: field:number, then the scalars),
    the least-squares baseline on standardised features, and the training range of every feature.
    `progress(done, outputs + folds)` is called after every fit and fold. Both variances of a process are
    scaled by `variance_factor`, from held-out errors of the training samples alone (`held_out_scores`,
    `variance_factors`): one factor a scalar, one for all coefficients of a field.

    Raises InputError for fewer than 5 training samples, fewer training samples than modes of a field or of
    the shape, a parameter that is missing, and values that are not finite. Not handled: samples without some
    of the scalars.
    """
    rows = _training_rows(basis)
    _check_modes(basis, rows)
    parameters = _parameters(config, basis)
    units = {name: str(basis[name].attrs.get("units", "1")) for name in parameters}
    logarithm = [config.transform == "log" and bool((basis[name].values[rows] > 0.0).all()) for name in units]
    shape = _finite(basis, "shape_coefficients", rows)
    features = feature_values(shape, basis, units, logarithm, rows)
    if features.shape[1] == 0:
        raise InputError(
            "there is no feature: expected shape modes or at least one parameter; ask for shape modes"
        )
    scalars = by_role(basis, SCALAR, ("sample",))
    targets = np.concatenate(
        [_finite(basis, "coefficients", rows), *[_finite(basis, name, rows)[:, None] for name in scalars]],
        axis=1,
    )
    names = [*_latent_names(basis), *scalars]
    groups = np.append(basis["latent_field"].values, basis.sizes["field"] + np.arange(len(scalars)))
    processes, factors = _fitted(config, features, targets, groups, names, progress)
    model = _carried(basis, common)
    model.update(process_variables(processes))
    model["variance_factor"] = variable("variance_factor", factors)
    model.update(
        _limits(features, [*["m"] * shape.shape[1], *units.values()], [False] * shape.shape[1] + logarithm)
    )
    model["linear_coefficients"] = variable(
        "linear_coefficients", fit_linear(processes.inputs, processes.targets)
    )
    output_units = [
        *["1"] * basis.sizes["latent"],
        *[str(basis[name].attrs.get("units", "1")) for name in scalars],
    ]
    model["output_units"] = xr.Variable(
        ("output",), np.array(output_units), {"units": "1", "long_name": "units of each output"}
    )
    feature_names = [f"shape_{k}" for k in range(shape.shape[1])] + parameters
    residual = float(_finite(basis, "shape_residual", rows).max())
    return xr.Dataset(
        model,
        coords={
            "field": basis["field"].values,
            "output": np.array(names),
            "feature": np.array(feature_names),
        },
        attrs={
            **basis.attrs,
            **common.attrs,
            "shape_features": shape.shape[1],
            "feature_margin": config.feature_margin,
            "shape_residual_limit": max(config.residual_margin * residual, _RESIDUAL_FLOOR),
        },
    )


def _fitted(
    config: TrainGpConfig,
    features: np.ndarray,
    targets: np.ndarray,
    groups: np.ndarray,
    names: list[str],
    progress: Progress | None,
) -> tuple[GaussianProcesses, np.ndarray]:
    """Processes with scaled variances, and the factors, one number a group of outputs."""
    options = FitOptions(
        restarts=config.restarts, seed=config.seed, max_iterations=config.max_iterations,
        noise_ratio=config.noise_ratio, threads=config.threads,
    )  # fmt: skip
    folds = config.calibration_folds
    if folds < 2 or len(features) < _FEWEST_HELD_OUT:
        return fit(features, targets, options, names, progress), np.ones(len(names))
    counter = itertools.count(1)

    def told(*_: int) -> None:
        if progress is not None:
            progress(next(counter), len(names) + folds)

    processes = fit(features, targets, options, names, told)
    scores = held_out_scores(features, targets, rotation(groups, folds), options, names, told)
    factors = variance_factors(scores, groups, 1.0 - 1.0 / folds)
    return scaled(processes, factors), factors


def _training_rows(basis: xr.Dataset) -> np.ndarray:
    split = basis["split"].values if "split" in basis else np.full(basis.sizes["sample"], TRAIN)
    rows = np.flatnonzero(split == TRAIN)
    if rows.size < _FEWEST:
        raise InputError(
            f"{rows.size} of {split.size} samples have split {TRAIN} (train); expected at least {_FEWEST}: "
            "add samples"
        )
    return rows


def _check_modes(basis: xr.Dataset, rows: np.ndarray) -> None:
    counts = {
        str(name): int((basis["latent_field"].values == i).sum())
        for i, name in enumerate(basis["field"].values)
    }
    counts["shape"] = basis.sizes["shape_latent"]
    many = {name: count for name, count in counts.items() if count > rows.size}
    if many:
        raise InputError(
            f"{rows.size} training samples and the modes {many}; expected no more modes than training "
            "samples: reduce to "
            "fewer modes or add samples"
        )


def _parameters(config: TrainGpConfig, basis: xr.Dataset) -> list[str]:
    known = by_role(basis, PARAMETER, ("sample",))
    if config.features is None:
        return known
    missing = [name for name in config.features if name not in known]
    if missing:
        raise InputError(f"features {missing} are no parameters of the set; expected names from {known}")
    return list(config.features)


def _finite(basis: xr.Dataset, name: str, rows: np.ndarray) -> np.ndarray:
    values = np.asarray(basis[name].values[rows], dtype=np.float64)
    bad = ~np.isfinite(values).reshape(rows.size, -1).all(axis=1)
    if bad.any():
        sample = sample_names(basis)[int(rows[int(np.flatnonzero(bad)[0])])]
        raise InputError(
            f"{name!r} of training sample {sample!r} is not finite; expected finite values: repair the "
            "sample or leave it out"
        )
    return values


def _latent_names(basis: xr.Dataset) -> list[str]:
    owner = basis["latent_field"].values
    within = [int((owner[:k] == owner[k]).sum()) for k in range(owner.size)]
    return [f"{basis['field'].values[f]}:{k}" for f, k in zip(owner, within, strict=True)]


def _carried(basis: xr.Dataset, common: xr.Dataset) -> dict[str, xr.Variable]:
    kept = {str(n): v.variable for n, v in basis.data_vars.items() if "sample" not in v.dims}
    return {**kept, **{str(n): v.variable for n, v in common.data_vars.items()}}


def _limits(features: np.ndarray, units: list[str], logarithm: list[bool]) -> dict[str, xr.Variable]:
    def on_feature(values: object, meaning: str) -> xr.Variable:
        return xr.Variable(("feature",), np.asarray(values), {"units": "1", "long_name": meaning})

    return {
        "feature_minimum": on_feature(features.min(axis=0), "smallest training value of each feature"),
        "feature_maximum": on_feature(features.max(axis=0), "largest training value of each feature"),
        "feature_units": on_feature(units, "units of each feature before its logarithm"),
        "feature_log": on_feature(np.array(logarithm, dtype=np.int8), "1 where the feature is a logarithm"),
    }


STAGE = Stage(
    name="train_gp",
    version=3,
    config=TrainGpConfig,
    inputs={
        "basis": schema(
            "modes", "latent_field", "field_mean", "field_residual", "residual_scale", "residual_knot",
            "residual_growth", "coefficients", "shape_modes", "shape_mean", "shape_coefficients",
            "shape_residual", optional=("split", "sample_name"),
        ),
        "common": schema("common_x", "common_connectivity"),
    },
    output=schema(
        "gp_features", "feature_mean", "feature_scale", "target_mean", "target_scale", "lengthscale",
        "signal_variance", "noise_variance", "log_marginal_likelihood", "variance_factor", "gp_targets",
        "linear_coefficients", "modes", "latent_field", "field_mean", "field_residual", "residual_scale",
        "residual_knot", "residual_growth", "shape_modes", "shape_mean", "common_x", "common_connectivity",
    ),
    run=run,
    reports=True,
    literature=(
        "Rasmussen and Williams 2006, Gaussian Processes for Machine Learning, MIT Press",
        "Casenave, Staber, Roynard 2023, MMGP, NeurIPS 36, arXiv 2305.12871",
        "Lei, G'Sell, Rinaldo, Tibshirani, Wasserman 2018, JASA 113, 1094-1111",
    ),
)  # fmt: skip
