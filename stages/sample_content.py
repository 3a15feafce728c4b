"""Digests of what a sample gives to a model, and samples that two data sets share."""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from kernels.errors import InputError
from stages.blocks import BLOCK_BYTES, blocks, pieces
from stages.operator_data import channels, is_mesh, signature

_MESH = ("x", "connectivity", "dirichlet")
_DIGEST_BYTES = 16


def content_digests(dataset: xr.Dataset, size: int = BLOCK_BYTES) -> np.ndarray:
    """Digest (sample,) of the inputs, parameters and mesh of every sample; the outputs do not enter.

    Numbers enter with the 24 bits of single precision, so a copy that was stored in single precision has the
    digest of its original. Two samples that differ by less are one: a model could not tell them apart.
    """
    names = channels(dataset)
    used = (*sorted(names.inputs), *sorted(names.parameters))
    mesh = tuple(name for name in _MESH if name in dataset) if is_mesh(dataset) else ()
    found: list[str] = []
    for rows, block in blocks(dataset, (*used, *mesh), size=size):
        digests = [hashlib.blake2b(digest_size=_DIGEST_BYTES) for _ in rows]
        for name in (*used, *mesh):
            for digest, values in zip(digests, pieces(block, name), strict=True):
                digest.update(f"{name}{values.shape}".encode() + _plain(values))
        found += [digest.hexdigest() for digest in digests]
    return np.array(found, dtype=object)


def _plain(values: np.ndarray) -> bytes:
    """Numbers rounded to 24 bits, whatever their size; one zero."""
    with np.errstate(over="ignore"):
        mantissa, exponent = np.frexp(np.asarray(values, dtype=np.float64))
        return bytes((np.ldexp(np.rint(np.ldexp(mantissa, 24)), exponent - 24) + 0.0).tobytes())


def shared_samples(first: xr.Dataset, second: xr.Dataset) -> list[tuple[str, str]]:
    """Pairs of names of samples with equal inputs in two data sets, on one grid or on nested grids.

    Where every point of one grid is a point of the other, the finer inputs are compared at the points of the
    coarser grid, so a sample that was thinned out is found. Not found: copies that were interpolated,
    averaged or filtered, and copies on grids of which none contains the other; then no pair is returned.
    Raises InputError where the data sets have other inputs.
    """
    mine, theirs = channels(first), channels(second)
    if set(mine.inputs) != set(theirs.inputs) or set(mine.parameters) != set(theirs.parameters):
        raise InputError(
            f"the data sets have the inputs {[*mine.inputs, *mine.parameters]} and "
            f"{[*theirs.inputs, *theirs.parameters]}, expected the same: they cannot share samples"
        )
    if is_mesh(first) != is_mesh(second):
        return []
    if not is_mesh(first):
        axes = signature(first).axes
        if axes != signature(second).axes:
            return []
        for axis in axes:
            one, other = first[axis].values, second[axis].values
            if len(one) >= len(other):
                first = _thinned(first, axis, _places(one, other))
            else:
                second = _thinned(second, axis, _places(other, one))
        if any(first.sizes[axis] == 0 or second.sizes[axis] == 0 for axis in axes):
            return []
    named: dict[str, list[str]] = {}
    for digest, name in zip(content_digests(first), first["sample_name"].values, strict=True):
        named.setdefault(digest, []).append(str(name))
    found = zip(content_digests(second), second["sample_name"].values, strict=True)
    return [(name, str(other)) for digest, other in found for name in named.get(digest, ())]


def _thinned(dataset: xr.Dataset, axis: str, places: np.ndarray) -> xr.Dataset:
    return dataset.isel({axis: places})


def _places(fine: Any, coarse: Any) -> np.ndarray:
    """Positions in the fine axis of the points of the coarse one; none where one of them is not there."""
    fine, coarse = np.asarray(fine, dtype=np.float64), np.asarray(coarse, dtype=np.float64)
    nearest = np.abs(fine[:, None] - coarse[None, :]).argmin(axis=0)
    width = max(np.ptp(fine), np.ptp(coarse), np.finfo(float).tiny) / max(len(fine), 2)
    if (np.abs(fine[nearest] - coarse) > 1e-6 * width).any():
        return np.empty(0, dtype=np.int64)
    return nearest


def pairs_shown(pairs: Sequence[str], limit: int = 5) -> str:
    """At most `limit` of them, then how many more."""
    rest = len(pairs) - limit
    return ", ".join(pairs[:limit]) + (f" and {rest} more" if rest > 0 else "")
