"""Keys: the hash of what makes an artifact, and the content hash of a dataset or a file."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from kernels.errors import InputError

KEY_LENGTH = 32
"""Hexadecimal characters of a key: 128 of the 256 bits of the hash."""


def artifact_key(stage: str, version: int, config: Mapping[str, Any], inputs: Mapping[str, str]) -> str:
    """Key of an artifact: sha256 over the canonical JSON of stage, stage version, config and input keys."""
    recipe = {"stage": stage, "version": version, "config": plain(config), "inputs": dict(inputs)}
    return hashlib.sha256(canonical(recipe)).hexdigest()[:KEY_LENGTH]


def canonical(value: Any) -> bytes:
    """One byte string for one value: sorted names, no spaces, no NaN."""
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=True
    ).encode()


def plain(value: Any) -> Any:
    """The value in the types that JSON knows: numpy scalars and arrays, tuples and paths converted."""
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.generic):
        return value.item()
    return str(value) if isinstance(value, Path) else value


def dataset_digest(dataset: xr.Dataset) -> str:
    """Content hash of names, dims, dtypes, attributes and values, whatever the chunks are.

    Not handled: the order of the variables, which does not enter.
    """
    digest = hashlib.sha256(repr(stable(dataset.attrs)).encode())
    for name in sorted(map(str, dataset.variables)):
        variable = dataset.variables[name]
        head = (name, variable.dims, variable.shape, stable(variable.attrs), name in dataset.coords)
        digest.update(repr(head).encode())
        values = np.asarray(variable.values)
        if is_text(values.dtype):
            digest.update(json.dumps([str(item) for item in values.ravel()]).encode())
        else:
            digest.update(values.dtype.str.encode())
            digest.update(np.ascontiguousarray(values).data if values.size else b"")
    return digest.hexdigest()


def stable(attributes: Mapping[Any, Any]) -> list[tuple[str, Any]]:
    """Attributes as a list that is the same for the same attributes."""
    return sorted((str(name), json.dumps(plain(item), sort_keys=True)) for name, item in attributes.items())


def is_text(dtype: np.dtype) -> bool:
    """Whether values of the dtype are stored as text."""
    return dtype.kind in "OUST"


def storable(name: str, variable: xr.Variable) -> xr.Variable:
    """The variable; raises InputError for dtypes that have no place in the store: dates and records."""
    if variable.dtype.kind in "MmV":
        raise InputError(
            f"{name!r} has dtype {variable.dtype}, which is not stored: convert it to a number with units"
        )
    return variable


def file_digest(path: Path) -> str:
    """Content hash of one file.

    Raises OSError where the file cannot be read.
    """
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
