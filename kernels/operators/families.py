"""The one list of operator families: name -> class, imported when it is asked for."""

import importlib
from dataclasses import asdict
from typing import Any

import torch

from kernels.errors import InputError
from kernels.operators.base import Operator, Signature
from kernels.operators.settings import SETTINGS

_FAMILIES = {
    "mgno": "kernels.operators.mgno:Mgno",
    "deeponet": "kernels.operators.deeponet:DeepOnet",
    "multionet": "kernels.operators.deeponet:MultiOnet",
    "spon": "kernels.operators.spon:Spon",
    "fno": "kernels.operators.fno:Fno",
    "kernel_ridge": "kernels.operators.kernel_ridge:KernelRidge",
    "linear": "kernels.operators.linear:Linear",
    "mean": "kernels.operators.linear:Mean",
}


def family(name: str) -> type[Operator]:
    """The class of a family; raises InputError where there is none of that name."""
    if name not in _FAMILIES:
        raise InputError(f"there is no operator {name!r}: choose one of {', '.join(sorted(_FAMILIES))}")
    module, _, cls = _FAMILIES[name].partition(":")
    found: type[Operator] = getattr(importlib.import_module(module), cls)
    return found


def build(name: str, signature: Signature, settings: Any, seed: int = 0) -> Operator:
    """A new operator with weights drawn from `seed`; the global generator of torch is left as it was.

    Raises InputError where the settings are not the family's or the signature cannot be served.
    """
    cls = family(name)
    if not isinstance(settings, SETTINGS[name]):
        raise InputError(
            f"{name!r} takes {SETTINGS[name].__name__}, got {type(settings).__name__}: pass those settings"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return cls(signature, settings)  # type: ignore[call-arg]


def described(settings: Any) -> dict[str, Any]:
    """Settings as plain values, for JSON."""
    return asdict(settings)
