"""Closures as a dataset: weights, what rebuilds the architecture, and the parameters they were trained at.

Closures that are not learned have no weights and no range, so all are run and judged alike.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, is_dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from kernels.closures.neural.settings import SETTINGS
from kernels.errors import InputError
from stages.base import variable
from stages.flat_weights import difference, set_tensors, shapes, state_of, stored_states, weight_variables

if TYPE_CHECKING:
    from kernels.closures.base import Closure

HISTORY = ("train_loss", "validation_error", "epoch_seconds")
RANGED = ("alpha", "zeta")
"""Parameters whose trained range a model carries."""


def model_dataset(
    family: str,
    closures: "Sequence[Closure]",
    trained: Mapping[str, tuple[float, float]] | None = None,
    seeds: Sequence[int] = (),
    history: Mapping[str, np.ndarray] | None = None,
    attrs: Mapping[str, Any] | None = None,
) -> xr.Dataset:
    """Closures of one family and architecture, one or more, as one dataset.

    trained: least and largest alpha and zeta of the training runs; history: of shape (member, epoch). Raises
    InputError where the members do not have the same tensors.
    """
    past = history or {name: np.full((len(closures), 1), np.nan) for name in HISTORY}
    settings = getattr(closures[0], "settings", None)
    found = {
        **weight_variables([state_of(one) for one in closures]),
        "seed": variable("seed", np.array(list(seeds) or [0] * len(closures), dtype=np.int64)),
        **{name: variable(name, np.asarray(past[name], dtype=np.float64)) for name in HISTORY},
    }
    about = {
        "family": family,
        "settings": json.dumps(_plain(settings), sort_keys=True),
        "trained": json.dumps({k: [float(x) for x in v] for k, v in (trained or {}).items()}, sort_keys=True),
        "parameter_count": sum(p.numel() * (2 if p.is_complex() else 1) for p in closures[0].parameters()),
    }
    return xr.Dataset(found, attrs={**(attrs or {}), **about})


def _plain(settings: Any) -> dict[str, Any]:
    return asdict(settings) if is_dataclass(settings) and not isinstance(settings, type) else {}


def untrained(family: str) -> xr.Dataset:
    """The model of a closure that has no weights, such as 'bingham'."""
    from kernels.closures.families import build

    return model_dataset(family, [build(family)])


def load_closures(model: xr.Dataset) -> "list[Closure]":
    """The closures of a model, in evaluation mode.

    Raises InputError where the dataset is no model of a closure, its settings are not the family's, or its
    tensors do not fit the architecture: those are named, with their shapes.
    """
    from kernels.closures.families import build

    missing = [name for name in ("family", "settings", "trained") if name not in model.attrs]
    if missing or "weights" not in model:
        raise InputError(
            f"the dataset has no {missing or 'weights'}: expected the model of a closure, the output of "
            "`train_closure`"
        )
    name = str(model.attrs["family"])
    loaded = []
    for state in stored_states(model):
        closure = build(name, _settings(name, json.loads(model.attrs["settings"])))
        wanted, given = shapes(state_of(closure)), shapes(state)
        if wanted != given:
            raise InputError(
                f"weights do not fit the architecture {name!r}: {difference(wanted, given)}; take the "
                "settings that the weights were trained with"
            )
        set_tensors(closure, state)
        loaded.append(closure.eval())
    return loaded


def _settings(name: str, plain: Mapping[str, Any]) -> Any:
    if name not in SETTINGS:
        return None
    try:
        return SETTINGS[name](**{k: tuple(v) if isinstance(v, list) else v for k, v in plain.items()})
    except TypeError as error:
        raise InputError(f"the settings of the model are not those of {name!r}: {error}") from error


def closure_of(model: xr.Dataset, member: int = 0) -> "Closure":
    """One of the closures of a model, the first."""
    return load_closures(model)[member]


def trained_range(model: xr.Dataset) -> dict[str, tuple[float, float]]:
    """Least and largest value of each of RANGED that a model was trained at; none where it has no weights."""
    given = json.loads(model.attrs.get("trained", "{}"))
    return {str(name): (float(low), float(high)) for name, (low, high) in given.items()}


def outside(model: xr.Dataset, alpha: Any, zeta: Any) -> np.ndarray:
    """Where a model is asked at parameters that it was not trained at, of the shape of alpha and zeta."""
    given = {"alpha": np.asarray(alpha, dtype=np.float64), "zeta": np.asarray(zeta, dtype=np.float64)}
    found = np.zeros(np.broadcast_shapes(*(one.shape for one in given.values())), dtype=bool)
    for name, (low, high) in trained_range(model).items():
        room = 1e-9 * max(1.0, abs(low), abs(high))
        found |= (given[name] < low - room) | (given[name] > high + room)
    return found
