"""Trained operators as a dataset: weights, names and shapes of tensors, and what rebuilds the architecture.

Nothing is pickled and no class path is stored: a family's name leads to its class by the list in
`kernels.operators.families`. One dataset holds one member or several of one architecture.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from kernels.errors import InputError
from stages.base import variable
from stages.flat_weights import difference, set_tensors, shapes, state_of, stored_states, weight_variables
from stages.operator_data import Channels, channels

if TYPE_CHECKING:
    from torch import Tensor

    from kernels.operators.base import Batch, Operator, Signature

SCALES = tuple(f"{kind}_{what}" for kind in ("input", "output", "parameter") for what in ("mean", "scale"))
"""Variables of the scales that a model carries, so that it needs nothing but itself."""

_HISTORY = ("train_loss", "validation_error", "epoch_seconds")
_PLAIN = ("layout", "inputs", "outputs", "parameters", "axes", "out_axes", "boundary", "nodes", "dimension")


def model_dataset(
    operators: "Sequence[Operator]",
    settings: Any,
    scales: xr.Dataset,
    data: xr.Dataset | None = None,
    seeds: Sequence[int] = (),
    history: Mapping[str, np.ndarray] | None = None,
    attrs: Mapping[str, Any] | None = None,
) -> xr.Dataset:
    """Operators of one family and architecture, one or more, as one dataset.

    settings: the family's; scales: output of `normalise`, all of which is carried; data: whose names, units
    and long names of channels and axes are kept; history: train_loss, validation_error and epoch_seconds of
    shape (member, epoch). Raises InputError where the members do not have the same tensors.
    """
    first = operators[0]
    past = history or {name: np.full((len(operators), 1), np.nan) for name in _HISTORY}
    found: dict[str, Any] = {str(name): one.variable for name, one in scales.data_vars.items()}
    found |= {
        **weight_variables([state_of(one) for one in operators]),
        "seed": variable("seed", np.array(seeds or [0] * len(operators), dtype=np.int64)),
        **{name: variable(name, np.asarray(past[name], dtype=np.float64)) for name in _HISTORY},
        **_grids(first.signature, data),
    }
    plain = {name: getattr(first.signature, name) for name in _PLAIN}
    about = {
        "family": first.family,
        "settings": json.dumps(asdict(settings), sort_keys=True),
        "signature": json.dumps(plain, sort_keys=True),
        "channels": json.dumps({} if data is None else _channels(data)),
        "parameter_count": first.size(),
    }
    return xr.Dataset(found, coords=scales.coords, attrs={**(attrs or {}), **about})


def _grids(signature: "Signature", data: xr.Dataset | None) -> dict[str, xr.Variable]:
    named = dict(zip(signature.axes, signature.grid, strict=True))
    named |= dict(zip(signature.out_axes, signature.out_grid, strict=True))
    found = {}
    for axis, values in named.items():
        attrs = {"units": "1"} if data is None or axis not in data.coords else dict(data[axis].attrs)
        found[f"grid_{axis}"] = xr.Variable((f"grid_{axis}",), values, attrs)
    return found


def _channels(data: xr.Dataset) -> dict[str, dict[str, dict[str, str]]]:
    """Kind -> name -> attributes that are text, in the order of the channels."""
    return {
        kind: {name: {str(k): v for k, v in data[name].attrs.items() if isinstance(v, str)} for name in names}
        for kind, names in asdict(channels(data)).items()
    }


def channel_names(model: xr.Dataset) -> Channels:
    """Names of what a model takes and gives, in the order of its channels."""
    found = channel_attributes(model)
    return Channels(*(tuple(found.get(kind, {})) for kind in ("inputs", "outputs", "parameters")))


def channel_attributes(model: xr.Dataset) -> dict[str, dict[str, dict[str, str]]]:
    """Kind (inputs, outputs, parameters) -> name -> attributes such as units, in the order of channels."""
    found: dict[str, dict[str, dict[str, str]]] = json.loads(model.attrs["channels"])
    return found


def load_signature(model: xr.Dataset) -> "Signature":
    """What the operators of a model map."""
    from kernels.operators.base import Signature

    plain = json.loads(model.attrs["signature"])
    axes, out_axes = tuple(plain.pop("axes")), tuple(plain.pop("out_axes"))
    grid, out_grid = (
        tuple(np.array(model[f"grid_{axis}"].values, dtype=np.float64) for axis in names)
        for names in (axes, out_axes)
    )
    return Signature(**plain, axes=axes, out_axes=out_axes, grid=grid, out_grid=out_grid)


def load_operators(model: xr.Dataset) -> "list[Operator]":
    """The operators of a model, in evaluation mode.

    Raises InputError where the dataset is no model, its settings are not the family's, or its tensors do not
    fit the architecture: those are named, with their shapes.
    """
    from kernels.operators.families import build
    from kernels.operators.settings import SETTINGS

    missing = [name for name in ("family", "settings", "signature") if name not in model.attrs]
    if missing or "weights" not in model:
        raise InputError(
            f"the dataset has no {missing or 'weights'}: expected a model, the output of `train_operator` or "
            "`ensemble`"
        )
    name = str(model.attrs["family"])
    if name not in SETTINGS:
        raise InputError(f"the model is of family {name!r}, expected one of {', '.join(sorted(SETTINGS))}")
    given, known = json.loads(model.attrs["settings"]), [one.name for one in fields(SETTINGS[name])]
    if sorted(given) != sorted(known):  # a default in place of what is not said could be another network
        raise InputError(
            f"the settings of the model are {sorted(given)}, those of {name!r} are {sorted(known)}: expected "
            "a model of this version, train it again"
        )
    settings = SETTINGS[name](**given)
    signature = load_signature(model)
    loaded = []
    for state in stored_states(model):
        operator = build(name, signature, settings)
        set_state(operator, state)
        loaded.append(operator.eval())
    return loaded


def set_state(operator: "Operator", state: "Mapping[str, Tensor]") -> None:
    """Set every tensor by name; those of closed-form families take whatever shape the data gave them.

    Raises InputError naming the tensors that do not fit the architecture, with their shapes.
    """
    own = state_of(operator)
    wanted = {name: (shape, "") for name, (shape, _) in shapes(own).items()}
    given = {name: (shape, "") for name, (shape, _) in shapes(state).items()}
    if operator.closed_form:
        wanted = {name: given.get(name, one) for name, one in wanted.items()}
    if wanted != given:
        raise InputError(
            f"weights do not fit the architecture {operator.family!r}: {difference(wanted, given)}; take "
            "the settings and the data that the weights were trained with"
        )
    set_tensors(operator, state)


class Predictor:
    """All members of a model, ready to predict in physical units."""

    def __init__(self, model: xr.Dataset, device: str = "cpu") -> None:
        self.operators = [operator.to(device) for operator in load_operators(model)]
        self.signature, self.device = self.operators[0].signature, device
        self._mean, self._scale = (
            np.asarray(model[f"output_{what}"].values, np.float64) for what in ("mean", "scale")
        )

    def predict(self, batch: "Batch") -> np.ndarray:
        """(member, samples, outputs, *out axes) or (member, nodes, outputs), physical units, float64.

        batch: normalised with the model's own scales, as `Samples(data, rows, model)` reads it. Raises
        InputError where the operator cannot serve its resolution or dimension.
        """
        import torch

        rank = batch.a.dim() if batch.mesh is not None else 2 + len(batch.out_grid)
        column = (1, -1) + (1,) * (rank - 2)
        found = []
        with torch.no_grad():
            for operator in self.operators:
                values = operator(batch.to(precision_of(operator), self.device))
                found.append(values.to("cpu", torch.float64).numpy())
        return np.stack(found) * self._scale.reshape(column) + self._mean.reshape(column)


def precision_of(operator: "Operator") -> Any:
    """The dtype that an operator is given: float64 where it is fitted, else that of its parameters."""
    import torch

    if operator.closed_form:
        return torch.float64
    real = (p.dtype for p in operator.parameters() if p.is_floating_point())
    return next(real, torch.float32)
