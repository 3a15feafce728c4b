"""Stage `normalise`: mean and scale of every channel, from the samples that train and from no other."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import xarray as xr

from kernels.errors import InputError
from kernels.operators.moments import Moments, joined, moments
from stages.base import Stage, StageConfig, schema, variable
from stages.blocks import BLOCK_BYTES, blocks, pieces
from stages.operator_data import Channels, channels
from stages.parts import rows_of
from stages.variables import TRAIN

Method = Literal["standard", "range", "none"]
_ROUND_OFF = 8.0
_LARGEST, _SMALLEST = 1e140, 1e-140


class NormaliseConfig(StageConfig):
    """How channels are scaled: standard (mean 0, standard deviation 1), range (-1 to 1), none.

    logarithm: inputs and parameters, by name, whose logarithm is scaled, such as coefficients that span
    decades.
    """

    inputs: Method = "standard"
    outputs: Method = "standard"
    parameters: Method = "standard"
    logarithm: tuple[str, ...] = ()


def run(config: StageConfig, *, data: xr.Dataset, split: xr.Dataset) -> xr.Dataset:
    """Mean m and scale s of every channel over all points of the training samples: v -> (v - m) / s.

    standard: m the mean, s the standard deviation of all values; range: m and s put the smallest value on
    -1 and the largest on 1; none: 0 and 1. Of a channel in `logarithm`, v is the natural logarithm. Values of
    samples of other parts are never looked at. The data are read once, in blocks of samples; the moments of a
    sample are summed in the order of its points and those of the samples are joined exactly (see
    kernels.operators.moments), so neither blocks nor chunks nor the
    order of the samples change a bit. An input or parameter that is constant in training up to
    round-off keeps the scale 1 and is named in the attribute `constant_inputs`. Raises InputError where an
    output is constant, values are not finite (naming the sample), or squares leave the range of numbers.
    """
    if not isinstance(config, NormaliseConfig):
        raise InputError(
            f"stage 'normalise' got {type(config).__name__}, expected NormaliseConfig: pass that config"
        )
    rows = rows_of(data, split, TRAIN)
    names = channels(data)
    logs = _logarithms(config, names)
    found = channel_moments(data, (*names.inputs, *names.outputs, *names.parameters), rows, logs=logs)
    variables: dict[str, Any] = {}
    coords: dict[str, Any] = {}
    constant: list[str] = []
    for kind, group, method in (
        ("input", names.inputs, config.inputs),
        ("output", names.outputs, config.outputs),
        ("parameter", names.parameters, config.parameters),
    ):
        still = [name for name in group if _is_constant(found[name], data[name].dtype)]
        if still and kind == "output":
            raise _constant(still, found)
        constant += still
        pairs = [_scaling(name, found[name], method, name in still) for name in group]
        variables[f"{kind}_mean"] = variable(f"{kind}_mean", [mean for mean, _ in pairs])
        variables[f"{kind}_scale"] = variable(f"{kind}_scale", [scale for _, scale in pairs])
        units = np.array([str(data[name].attrs["units"]) for name in group], dtype=object)
        variables[f"{kind}_units"] = ((f"{kind}_channel",), units)
        coords[f"{kind}_channel"] = np.array(group, dtype=object)
        if kind != "output":
            flags = [name in logs for name in group]
            variables[f"{kind}_logarithm"] = variable(f"{kind}_logarithm", flags)
    return xr.Dataset(
        variables, coords=coords, attrs={"train_samples": int(rows.size), "constant_inputs": constant}
    )


def _logarithms(config: NormaliseConfig, names: Channels) -> frozenset[str]:
    known = [*names.inputs, *names.parameters]
    unknown = sorted(set(config.logarithm) - set(known))
    if unknown:
        raise InputError(f"logarithm names {unknown}, expected inputs or parameters: choose from {known}")
    return frozenset(config.logarithm)


def channel_moments(
    data: xr.Dataset,
    names: Sequence[str],
    rows: np.ndarray,
    size: int = BLOCK_BYTES,
    logs: frozenset[str] = frozenset(),
) -> dict[str, Moments]:
    """Moments of each named variable, of the logarithm of those in `logs`, over the samples `rows`, read in
    blocks of about `size` bytes.

    Raises InputError naming the first sample with a value that is not finite, or has no logarithm.
    """
    parts: dict[str, list[Moments]] = {name: [] for name in names}
    for chosen, block in blocks(data, names, rows, size):
        for name in names:
            for row, values in zip(chosen, pieces(block, name), strict=True):
                label = str(data["sample_name"].values[row])
                _check_values(name, values, label)
                parts[name].append(moments(_log(name, values, label) if name in logs else values))
    return {name: joined(each) for name, each in parts.items()}


def _check_values(name: str, values: np.ndarray, sample: str) -> None:
    if not values.size:
        raise InputError(f"{name!r} of sample {sample} has no values: drop the sample")
    if not np.isfinite(values).all():
        raise InputError(
            f"{name!r} of sample {sample} has values that are not finite: repair or drop the sample"
        )
    if float(np.abs(values).max()) > _LARGEST:  # which single precision cannot hold
        raise InputError(
            f"{name!r} of sample {sample} has the value {np.abs(values).max():g}, which is too large to be "
            "squared: give it in other units"
        )


def _log(name: str, values: np.ndarray, sample: str) -> np.ndarray:
    if not (values > 0.0).all():
        raise InputError(
            f"{name!r} of sample {sample} has the value {values.min():g}, and the logarithm is to be taken: "
            "leave it out of `logarithm`, or drop the sample"
        )
    return np.asarray(np.log(values))


def _is_constant(found: Moments, dtype: np.dtype) -> bool:
    """Whether the values differ by round-off of their own precision only."""
    largest = max(abs(found.low), abs(found.high))
    return found.high - found.low <= _ROUND_OFF * float(np.finfo(dtype).eps) * largest


def _scaling(name: str, found: Moments, method: str, constant: bool) -> tuple[float, float]:
    if method == "none":
        return 0.0, 1.0
    if constant:
        return found.mean, 1.0
    mean, scale = (
        (found.mean, found.std)
        if method == "standard"
        else (found.low / 2 + found.high / 2, found.high / 2 - found.low / 2)
    )
    if scale < _SMALLEST:
        raise InputError(
            f"{name!r} runs from {found.low:g} to {found.high:g} in the training samples: numbers too small "
            "to be squared; give it in other units"
        )
    return mean, scale


def _constant(names: Sequence[str], found: dict[str, Moments]) -> InputError:
    shown = ", ".join(f"{name!r} is {found[name].mean:g}" for name in names)
    return InputError(
        f"outputs that do not change in the training samples: {shown} everywhere; expected outputs that "
        "vary: leave them out of the data set, there is nothing to learn"
    )


_SCALES = tuple(f"{kind}_{what}" for kind in ("input", "output", "parameter") for what in ("mean", "scale"))

STAGE = Stage(
    name="normalise",
    version=1,
    config=NormaliseConfig,
    inputs={"data": schema("sample_name"), "split": schema("sample_name", "split")},
    output=schema(*_SCALES),
    run=run,
    literature=(
        "T. F. Chan, G. H. Golub, R. J. LeVeque, Algorithms for computing the sample variance, "
        "The American Statistician 37, 242-247 (1983)",
    ),
)
