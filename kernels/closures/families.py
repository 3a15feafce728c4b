"""The one list of closures: name -> class, imported when it is asked for."""

import importlib
from typing import Any

import torch

from kernels.closures.base import Closure
from kernels.errors import InputError

_FAMILIES = {
    "bingham": "kernels.closures.bingham.planar:Bingham",
    "quadratic": "kernels.closures.quadratic:Quadratic",
    "natural": "kernels.closures.natural:Natural",
    "local": "kernels.closures.neural.pointwise:Local",
    "strain": "kernels.closures.neural.pointwise:Strain",
    "gradient": "kernels.closures.neural.gradient:Gradient",
    "cnn": "kernels.closures.neural.neighbours:Cnn",
    "fno": "kernels.closures.neural.neighbours:Fno",
    "paper": "kernels.closures.neural.paper:Paper",
}


def names() -> tuple[str, ...]:
    """All families, in the order of the list."""
    return tuple(_FAMILIES)


def family(name: str) -> type[Closure]:
    """The class of a family; raises InputError where there is none of that name."""
    if name not in _FAMILIES:
        raise InputError(f"there is no closure {name!r}: choose one of {', '.join(sorted(_FAMILIES))}")
    module, _, cls = _FAMILIES[name].partition(":")
    found: type[Closure] = getattr(importlib.import_module(module), cls)
    return found


def build(name: str, settings: Any = None, seed: int = 0) -> Closure:
    """A new closure; its weights, where it has any, are drawn from `seed` and the global generator of torch
    is left as it was. settings: what the family takes, None for its defaults.

    Raises InputError where there is no such family or the settings are not the family's.
    """
    cls = family(name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return cls() if settings is None else cls(settings)
