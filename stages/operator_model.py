"""Trained operators as a dataset: weights, names and shapes of tensors, and what rebuilds the architecture.

Nothing is pickled and no class path is stored: a family's name leads to its class by the list in
`kernels.operators.families`. One dataset holds one member or several of one architecture.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from kernels.errors import InputError
from stages.base import variable
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
    first, tensors = operators[0], [state_of(one) for one in operators]
    shapes = [_shapes(state) for state in tensors]
    odd = next((i for i, other in enumerate(shapes) if other != shapes[0]), None)
    if odd is not None:
        raise InputError(
            f"member {odd} has other tensors than member 0: {_difference(shapes[0], shapes[odd])}; join "
            "members of one architecture"
        )
    past = history or {name: np.full((len(operators), 1), np.nan) for name in _HISTORY}
    found: dict[str, Any] = {str(name): one.variable for name, one in scales.data_vars.items()}
    found |= {
        "weights": variable("weights", np.stack([_flat(state) for state in tensors])),
        "tensor_name": variable("tensor_name", np.array(list(tensors[0]), dtype=object)),
        "tensor_shape": variable("tensor_shape", np.array([s for s, _ in shapes[0].values()], dtype=object)),
        "tensor_dtype": variable("tensor_dtype", np.array([d for _, d in shapes[0].values()], dtype=object)),
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


def state_of(operator: "Operator") -> "dict[str, Tensor]":
    """All tensors of an operator by name, as they lie; what a library keeps beside them is left out."""
    import torch

    state = operator.state_dict()
    return {str(n): t.detach() for n, t in state.items() if isinstance(t, torch.Tensor)}


def _shapes(state: "Mapping[str, Tensor]") -> dict[str, tuple[str, str]]:
    return {
        name: (",".join(map(str, one.shape)), str(one.dtype).removeprefix("torch."))
        for name, one in state.items()
    }


def _difference(wanted: Mapping[str, Any], given: Mapping[str, Any]) -> str:
    names = [name for name in dict.fromkeys([*wanted, *given]) if wanted.get(name) != given.get(name)]
    shown = [f"{name!r} is {_shown(given.get(name))}, not {_shown(wanted.get(name))}" for name in names[:5]]
    return "; ".join(shown) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _shown(one: tuple[str, str] | None) -> str:
    return "absent" if one is None else f"({one[0]})"


def _flat(state: "Mapping[str, Tensor]") -> np.ndarray:
    import torch

    pieces = [np.empty(0)]
    for one in state.values():
        real = torch.view_as_real(one.resolve_conj()) if one.is_complex() else one
        pieces.append(real.to("cpu", torch.float64).reshape(-1).numpy())
    return np.concatenate(pieces)


def _stored(model: xr.Dataset) -> Iterator[tuple[str, tuple[int, ...], str, slice]]:
    """Name, shape, precision and place of every tensor in a row of `weights`."""
    start = 0
    texts = (model[name].values for name in ("tensor_name", "tensor_shape", "tensor_dtype"))
    for name, text, dtype in zip(*texts, strict=True):
        shape = tuple(int(n) for n in str(text).split(",") if n)
        stop = start + int(np.prod(shape, dtype=np.int64)) * (2 if str(dtype).startswith("complex") else 1)
        yield str(name), shape, str(dtype), slice(start, stop)
        start = stop


def _tensor(values: np.ndarray, shape: tuple[int, ...], dtype: str) -> "Tensor":
    import torch

    kind = getattr(torch, dtype, None)
    if not isinstance(kind, torch.dtype):
        raise InputError(f"the model has a tensor of precision {dtype!r}, which torch does not know")
    if kind.is_complex:
        pairs = torch.from_numpy(values.copy()).reshape(*shape, 2)
        return torch.view_as_complex(pairs).to(kind)
    return torch.from_numpy(values.copy()).reshape(shape).to(kind)


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
    try:
        settings = SETTINGS[name](**json.loads(model.attrs["settings"]))
    except TypeError as error:
        raise InputError(f"the settings of the model are not those of {name!r}: {error}") from error
    signature, stored = load_signature(model), list(_stored(model))
    weights = np.asarray(model["weights"].values, dtype=np.float64)
    wanted = stored[-1][3].stop if stored else 0
    if weights.shape[1] != wanted:
        raise InputError(
            f"the tensors of the model need {wanted} numbers, its weights have {weights.shape[1]}: the "
            "file is damaged or was put together by hand"
        )
    loaded = []
    for row in weights:
        operator = build(name, signature, settings)
        set_state(operator, {key: _tensor(row[at], shape, dtype) for key, shape, dtype, at in stored})
        loaded.append(operator.eval())
    return loaded


def set_state(operator: "Operator", state: "Mapping[str, Tensor]") -> None:
    """Set every tensor by name; those of closed-form families take whatever shape the data gave them.

    Raises InputError naming the tensors that do not fit the architecture, with their shapes.
    """
    from torch import nn

    own = state_of(operator)
    wanted = {name: (shape, "") for name, (shape, _) in _shapes(own).items()}
    given = {name: (shape, "") for name, (shape, _) in _shapes(state).items()}
    if operator.closed_form:
        wanted = {name: given.get(name, one) for name, one in wanted.items()}
    if wanted != given:
        raise InputError(
            f"weights do not fit the architecture {operator.family!r}: {_difference(wanted, given)}; take "
            "the settings and the data that the weights were trained with"
        )
    for name, values in state.items():
        path, _, leaf = name.rpartition(".")
        module = operator.get_submodule(path)
        if leaf in module._parameters:
            trained = operator.get_parameter(name).requires_grad
            setattr(module, leaf, nn.Parameter(values.clone(), requires_grad=trained))
        else:
            setattr(module, leaf, values.clone())


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
