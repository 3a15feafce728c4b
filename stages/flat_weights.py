"""All tensors of a module as one row of numbers, with names, shapes and precisions, and back.

Nothing is pickled: a model is a dataset.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from kernels.errors import InputError
from stages.base import variable

if TYPE_CHECKING:
    from torch import Tensor, nn


def weight_variables(states: "Sequence[Mapping[str, Tensor]]") -> dict[str, xr.Variable]:
    """Variables `weights` and the names, shapes and precisions of the tensors of members.

    Raises InputError where the members do not have the same tensors.
    """
    kinds = [shapes(state) for state in states]
    odd = next((i for i, other in enumerate(kinds) if other != kinds[0]), None)
    if odd is not None:
        raise InputError(
            f"member {odd} has other tensors than member 0: {difference(kinds[0], kinds[odd])}; join "
            "members of one architecture"
        )
    return {
        "weights": variable("weights", np.stack([flattened(state) for state in states])),
        "tensor_name": variable("tensor_name", np.array(list(states[0]), dtype=object)),
        "tensor_shape": variable("tensor_shape", np.array([s for s, _ in kinds[0].values()], dtype=object)),
        "tensor_dtype": variable("tensor_dtype", np.array([d for _, d in kinds[0].values()], dtype=object)),
    }


def stored_states(model: xr.Dataset) -> "list[dict[str, Tensor]]":
    """Tensors of every member by name; raises InputError where the numbers are not as many as they need."""
    places = list(stored(model))
    weights = np.asarray(model["weights"].values, dtype=np.float64)
    wanted = places[-1][3].stop if places else 0
    if weights.shape[1] != wanted:
        raise InputError(
            f"the tensors of the model need {wanted} numbers, its weights have {weights.shape[1]}: the "
            "file is damaged or was put together by hand"
        )
    return [{key: tensor_of(row[at], shape, dtype) for key, shape, dtype, at in places} for row in weights]


def set_tensors(module: "nn.Module", state: "Mapping[str, Tensor]") -> None:
    """Set every tensor by name, as parameter where it was one."""
    from torch import nn

    for name, values in state.items():
        path, _, leaf = name.rpartition(".")
        owner = module.get_submodule(path)
        if leaf in owner._parameters:
            trained = module.get_parameter(name).requires_grad
            setattr(owner, leaf, nn.Parameter(values.clone(), requires_grad=trained))
        else:
            setattr(owner, leaf, values.clone())


def state_of(module: "nn.Module") -> "dict[str, Tensor]":
    """All tensors of a module by name, as they lie; what a library keeps beside them is left out."""
    import torch

    state = module.state_dict()
    return {str(n): t.detach() for n, t in state.items() if isinstance(t, torch.Tensor)}


def shapes(state: "Mapping[str, Tensor]") -> dict[str, tuple[str, str]]:
    """Shape and precision of every tensor, as texts."""
    return {
        name: (",".join(map(str, one.shape)), str(one.dtype).removeprefix("torch."))
        for name, one in state.items()
    }


def difference(wanted: Mapping[str, Any], given: Mapping[str, Any]) -> str:
    """Which tensors differ, in words."""
    names = [name for name in dict.fromkeys([*wanted, *given]) if wanted.get(name) != given.get(name)]
    shown = [f"{name!r} is {_shown(given.get(name))}, not {_shown(wanted.get(name))}" for name in names[:5]]
    return "; ".join(shown) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _shown(one: tuple[str, str] | None) -> str:
    return "absent" if one is None else f"({one[0]})"


def flattened(state: "Mapping[str, Tensor]") -> np.ndarray:
    """All tensors, one after the other, as float64; a complex number is two."""
    import torch

    pieces = [np.empty(0)]
    for one in state.values():
        real = torch.view_as_real(one.resolve_conj()) if one.is_complex() else one
        pieces.append(real.to("cpu", torch.float64).reshape(-1).numpy())
    return np.concatenate(pieces)


def stored(model: xr.Dataset) -> Iterator[tuple[str, tuple[int, ...], str, slice]]:
    """Name, shape, precision and place of every tensor in a row of `weights`."""
    start = 0
    texts = (model[name].values for name in ("tensor_name", "tensor_shape", "tensor_dtype"))
    for name, text, dtype in zip(*texts, strict=True):
        shape = tuple(int(n) for n in str(text).split(",") if n)
        stop = start + int(np.prod(shape, dtype=np.int64)) * (2 if str(dtype).startswith("complex") else 1)
        yield str(name), shape, str(dtype), slice(start, stop)
        start = stop


def tensor_of(values: np.ndarray, shape: tuple[int, ...], dtype: str) -> "Tensor":
    """A tensor of this shape and precision from its place in a row of `weights`."""
    import torch

    kind = getattr(torch, dtype, None)
    if not isinstance(kind, torch.dtype):
        raise InputError(f"the model has a tensor of precision {dtype!r}, which torch does not know")
    if kind.is_complex:
        pairs = torch.from_numpy(values.copy()).reshape(*shape, 2)
        return torch.view_as_complex(pairs).to(kind)
    return torch.from_numpy(values.copy()).reshape(shape).to(kind)
