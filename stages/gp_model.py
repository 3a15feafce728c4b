"""The trained model as a dataset: its features, its Gaussian processes and the limits of its validity."""

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr

from kernels.errors import InputError
from kernels.regression.gaussian_process import GaussianProcesses
from stages.base import variable
from stages.ragged import sample_names


def process_variables(processes: GaussianProcesses) -> dict[str, xr.Variable]:
    """Gaussian processes as vocabulary variables; `processes_of` is the inverse."""
    return {
        "gp_features": variable("gp_features", processes.inputs),
        "feature_mean": variable("feature_mean", processes.input_mean),
        "feature_scale": variable("feature_scale", processes.input_scale),
        "gp_targets": variable("gp_targets", processes.targets),
        "target_mean": variable("target_mean", processes.target_mean),
        "target_scale": variable("target_scale", processes.target_scale),
        "lengthscale": variable("lengthscale", processes.lengthscale),
        "signal_variance": variable("signal_variance", processes.signal_variance),
        "noise_variance": variable("noise_variance", processes.noise_variance),
        "log_marginal_likelihood": variable("log_marginal_likelihood", processes.log_marginal_likelihood),
    }


def processes_of(model: xr.Dataset) -> GaussianProcesses:
    """Gaussian processes of a model dataset, with the arrays in memory."""
    return GaussianProcesses(
        inputs=model["gp_features"].values,
        input_mean=model["feature_mean"].values,
        input_scale=model["feature_scale"].values,
        targets=model["gp_targets"].values,
        target_mean=model["target_mean"].values,
        target_scale=model["target_scale"].values,
        lengthscale=model["lengthscale"].values,
        signal_variance=model["signal_variance"].values,
        noise_variance=model["noise_variance"].values,
        log_marginal_likelihood=model["log_marginal_likelihood"].values,
    )


def feature_values(
    shape_coefficients: np.ndarray,
    dataset: xr.Dataset,
    units: Mapping[str, str],
    logarithm: Sequence[bool],
    rows: np.ndarray,
) -> np.ndarray:
    """Features (rows, shape latents + parameters): shape coefficients first, then the named parameters of
    `rows`.

    units: parameter name -> units that the features have; logarithm: one flag a parameter. Raises InputError
    where a parameter is missing, has other units, is not finite, or is not positive though its logarithm is
    taken.
    """
    missing = [name for name in units if name not in dataset]
    if missing:
        raise InputError(
            f"the parameters {missing} are missing; expected {list(units)} as variables on `sample`: add "
            "them to the set"
        )
    columns = [shape_coefficients]
    names = sample_names(dataset)
    for (name, wanted), log in zip(units.items(), logarithm, strict=True):
        given = dataset[name].attrs.get("units")
        if dataset[name].dims != ("sample",) or given != wanted:
            raise InputError(
                f"parameter {name!r} has dims {dataset[name].dims} and units {given!r}; expected "
                "('sample',) and "
                f"{wanted!r}: convert it"
            )
        values = np.asarray(dataset[name].values[rows], dtype=np.float64)
        bad = ~np.isfinite(values) | (bool(log) & (values <= 0.0))
        if bad.any():
            first = int(np.flatnonzero(bad)[0])
            raise InputError(
                f"parameter {name!r} of sample {names[int(rows[first])]!r} is {values[first]:g}; expected a "
                f"{'positive' if log else 'finite'} number: repair the sample or leave it out"
            )
        columns.append((np.log(values) if log else values)[:, None])
    return np.concatenate(columns, axis=1)


def outside_range(model: xr.Dataset, features: np.ndarray) -> np.ndarray:
    """Largest distance (samples,) of the features to their training range, in standard deviations."""
    low, high = model["feature_minimum"].values, model["feature_maximum"].values
    beyond = np.maximum(np.maximum(low - features, features - high), 0.0) / model["feature_scale"].values
    return beyond.max(axis=1, initial=0.0)
