"""Stage `new_cases`: cases without truth, as they were read, become what a trained operator predicts from."""

from collections.abc import Mapping
from typing import Literal

import xarray as xr
from pydantic import Field

from kernels.errors import InputError
from stages.base import Stage, StageConfig, by_role, schema
from stages.ingest_arrays import canonical, scanned, without
from stages.operator_data import Channels, is_mesh, signature
from stages.operator_serving import fitted_to_model
from stages.variables import FIELD, INPUT, PARAMETER, SCALAR

_MESH = ("node_count", "cell_count", "x", "connectivity")
_KEPT = ("sample_name", *_MESH, "dirichlet")


class NewCasesConfig(StageConfig):
    """What becomes of what the files leave open.

    missing: samples with values that are not finite are refused, or dropped and named in the attribute
    dropped_samples. parameters: name -> value that all samples have, in the units of the model.
    """

    missing: Literal["refuse", "drop"] = "refuse"
    parameters: dict[str, float] = Field(default_factory=dict)


def run(config: NewCasesConfig, raw: xr.Dataset, model: xr.Dataset) -> xr.Dataset:
    """Inputs and parameters of the model in its order, as `stages.operator_data` describes them, no outputs.

    raw: own arrays as they were read, or the set of stage `ingest`. Fields that come out are left out,
    whatever they hold; the axes that they had to themselves stay, so that they are predicted there. Which
    input holds the values of an output at the nodes of `dirichlet` is what it was in training.

    Raises InputError where the model's inputs are missing, of another role or in other units, where layout,
    dimension or domain are not the model's, and as `ingest_arrays` does for samples with NaN or infinite
    values and for meshes that cannot be used.
    """
    data = fitted(raw, model, config.parameters)
    bad, _ = scanned(data)
    return without(data, bad, config.missing) if bad else data


def fitted(raw: xr.Dataset, model: xr.Dataset, parameters: Mapping[str, float]) -> xr.Dataset:
    """What `run` gives, lazily: all is checked that needs no look at the values of the variables."""
    from stages.operator_model import channel_attributes, channel_names

    names = channel_names(model)
    if not names.outputs:
        raise InputError(
            "the model does not say what its inputs and outputs are called: train it by `pushforward run "
            "operator`, or give `model_dataset` its data"
        )
    about = channel_attributes(model)
    _check_roles(raw, names)
    data = _rising(raw.drop_vars(by_role(raw, FIELD)))
    data = _with_parameters(data, names, about["parameters"], parameters)
    data = _prescribing(data, about["inputs"])
    _check_dimension(data, model)
    whole, _ = fitted_to_model(canonical(data), model)
    signature(whole)
    found = whole[[name for name in (*names.inputs, *names.parameters, *_KEPT) if name in whole]]
    asked = [axis for axis in whole.coords if axis in raw.coords and axis not in found.coords]
    attrs = {name: value for name, value in data.attrs.items() if name == "boundary"}
    return (
        found.assign_coords({axis: whole.coords[axis] for axis in asked})
        .drop_attrs(deep=False)
        .assign_attrs(attrs)
    )


def _rising(data: xr.Dataset) -> xr.Dataset:
    """With rising positions along the axes that only the outputs had."""
    used = {dim for one in data.data_vars.values() for dim in one.dims}
    return data.sortby([axis for axis in data.coords if axis not in used])


def _with_parameters(
    data: xr.Dataset, names: Channels, about: Mapping[str, dict[str, str]], given: Mapping[str, float]
) -> xr.Dataset:
    """With the given numbers, and scalars of the files as the parameters that the model takes them for."""
    unknown = sorted(set(given) - set(names.parameters))
    if unknown:
        raise InputError(
            f"unknown parameters {unknown}; the model takes: {', '.join(names.parameters) or 'none'}"
        )
    data = data.copy()
    for name, value in given.items():
        attrs = {"units": "1", **about[name], "role": PARAMETER}
        data[name] = ("sample", [float(value)] * data.sizes["sample"], attrs)
    for name in names.parameters:
        if name in data and data[name].attrs.get("role") == SCALAR:
            data[name] = data[name].assign_attrs(role=PARAMETER)
    lacking = [name for name in names.parameters if name not in data]
    if lacking:
        hint = " ".join(f"--parameter {name}=VALUE" for name in lacking)
        raise InputError(
            f"the model also needs the parameters {', '.join(lacking)}: add {hint}, or give them "
            "with the files"
        )
    return data


def _check_roles(data: xr.Dataset, names: Channels) -> None:
    for role, wanted, others in ((INPUT, names.inputs, ()), (PARAMETER, names.parameters, (SCALAR,))):
        for name in wanted:
            given = data[name].attrs.get("role") if name in data else role
            if given not in (role, *others):
                raise InputError(
                    f"{name!r} has the role {given!r}, the model was trained with it as {role!r}: "
                    "correct `role`"
                )


def _prescribing(data: xr.Dataset, about: Mapping[str, dict[str, str]]) -> xr.Dataset:
    data = data.copy()
    for name in by_role(data, INPUT):
        attrs = {key: value for key, value in data[name].attrs.items() if key != "prescribes"}
        attrs |= {key: value for key, value in about.get(name, {}).items() if key == "prescribes"}
        data[name] = data[name].copy(deep=False)
        data[name].attrs = attrs
    return data


def _check_dimension(data: xr.Dataset, model: xr.Dataset) -> None:
    from stages.operator_model import load_signature

    own = load_signature(model)
    if is_mesh(data) and own.layout == "mesh" and data.sizes["axis"] != own.dimension:
        raise InputError(
            f"the meshes are in {data.sizes['axis']} dimensions, the model was trained in {own.dimension}: "
            "choose another model, or bring the meshes there"
        )


STAGE = Stage(
    name="new_cases",
    version=1,
    config=NewCasesConfig,
    inputs={"raw": schema(optional=("sample_name", "node_count", "cell_count")), "model": schema("seed")},
    output=schema("sample_name", optional=(*_MESH, "dirichlet")),
    run=run,
)
