"""Meshes in own arrays as the ragged form: nodes that are fixed or move with the sample, the same cells."""

from collections.abc import Mapping
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr

from catalogs.formats.arrays_held import CHUNK_BYTES, Held, lazy, without_single
from catalogs.formats.arrays_spec import ArrayFile, ArrayMesh
from catalogs.formats.sample import listed
from kernels.errors import InputError


def mesh_variables(
    mesh: ArrayMesh, entry: ArrayFile, arrays: Mapping[str, Held], fields: Mapping[str, xr.Variable],
    samples: int,
) -> dict[str, xr.Variable]:  # fmt: skip
    """Ragged variables of the samples of one file: node_count, x (node, axis), cell_count, connectivity
    (cell, corner) numbered from 0 within the sample, dirichlet (node), and the fields on node.

    Raises InputError naming the array whose shape or numbers do not fit the others.
    """
    x = _nodes(mesh, entry, _held(arrays, mesh.nodes, entry), samples)
    nodes = x.sizes["node"]
    for name, variable in fields.items():
        if variable.sizes.get("node", nodes) != nodes:
            raise InputError(
                f"{listed(entry.paths)}: {name!r} has {variable.sizes['node']} nodes, the mesh "
                f"{mesh.nodes!r} has {nodes}; expected the same: correct `axes` or the file"
            )
    cells = _cells(mesh, _held(arrays, mesh.connectivity, entry), nodes)
    found = {
        "node_count": _count("node", nodes, samples, "nodes of the sample"),
        "cell_count": _count("cell", len(cells), samples, "cells of the sample"),
        "x": _ragged(x, {"units": mesh.units, "long_name": "node coordinates"}),
        "connectivity": _ragged(
            _repeated(xr.Variable(("cell", "corner"), cells), samples),
            {"units": "1", "long_name": "nodes of each cell, numbered within the sample"},
        ),
    }
    if mesh.dirichlet is not None:
        held = _held(arrays, mesh.dirichlet, entry)
        marks = _marks(held, entry, samples, nodes)
        attrs = {"units": "1", "long_name": "1 where the outputs are prescribed"}
        found["dirichlet"] = _ragged(marks, attrs)
    for name, variable in fields.items():
        if variable.dims == ("sample",):
            found[name] = variable
            continue
        found[name] = _ragged(variable.transpose("sample", "node"), dict(variable.attrs))
    return found


def _held(arrays: Mapping[str, Held], name: str, entry: ArrayFile) -> Held:
    if name not in arrays:
        raise InputError(
            f"{listed(entry.paths)} has no array {name!r} for the mesh; it holds {listed(sorted(arrays))}: "
            "correct the section `mesh`"
        )
    if arrays[name].dtype.kind not in "biuf":
        arrays[name][()]  # says why, where objects are held
        raise InputError(
            f"{arrays[name].path}: array {name!r} has dtype {arrays[name].dtype}, expected numbers"
        )
    return arrays[name]


def _nodes(mesh: ArrayMesh, entry: ArrayFile, held: Held, samples: int) -> xr.Variable:
    default = ("sample", "node", "axis")[3 - held.ndim :] if held.ndim in (2, 3) else ()
    dims = mesh.node_axes or default
    if len(dims) != held.ndim or not {"node", "axis"} <= set(dims):
        raise InputError(
            f"{held.path}: nodes {held.name!r} have shape {held.shape}, expected the axes (node, axis) or "
            f"(sample, node, axis), got {list(dims)}: correct `node_axes`"
        )
    if "sample" not in dims:
        values = xr.Variable(dims, np.asarray(held[()], dtype=np.float64)).transpose("node", "axis")
        return _repeated(values, samples)
    values = xr.Variable(dims, lazy(held, dims.index("sample"))).isel(sample=slice(entry.start, entry.stop))
    if values.sizes["sample"] != samples:
        raise InputError(
            f"{held.path}: nodes {held.name!r} are those of {values.sizes['sample']} samples, the variables "
            f"have {samples}: correct the file"
        )
    return values.transpose("sample", "node", "axis").astype(np.float64)


def _cells(mesh: ArrayMesh, held: Held, nodes: int) -> np.ndarray:
    if len(mesh.cell_axes) != held.ndim or set(mesh.cell_axes) != {"cell", "corner"}:
        raise InputError(
            f"{held.path}: connectivity {held.name!r} has shape {held.shape}, expected (cell, corner), the "
            "same cells for all samples: correct `cell_axes`, or use a mesh format"
        )
    given = np.asarray(held[()])
    cells = given if mesh.cell_axes[0] == "cell" else given.T
    whole = np.rint(cells) if cells.dtype.kind == "f" else cells
    numbers = (
        np.asarray(whole, dtype=np.int64) - mesh.first_node if np.isfinite(cells).all() else np.array([-1])
    )
    last = nodes - 1 + mesh.first_node
    if not np.array_equal(whole, cells) or numbers.size == 0 or numbers.min() < 0 or numbers.max() >= nodes:
        held_numbers = f"from {cells.min()} to {cells.max()}" if cells.size else "none"
        raise InputError(
            f"{held.path}: connectivity {held.name!r} has the numbers {held_numbers}, expected whole numbers "
            f"from {mesh.first_node} to {last}: is first_node right?"
        )
    return numbers.astype(np.int32)


def _marks(held: Held, entry: ArrayFile, samples: int, nodes: int) -> xr.Variable:
    flat = without_single(held, 1)
    if flat.shape == (nodes,):
        return _repeated(xr.Variable(("node",), (flat[()] != 0).astype(np.int8)), samples)
    values = None
    if held.ndim == 2:
        values = xr.Variable(("sample", "node"), lazy(held, 0)).isel(sample=slice(entry.start, entry.stop))
    if values is None or values.shape != (samples, nodes):
        raise InputError(
            f"{held.path}: dirichlet {held.name!r} has shape {held.shape}, expected ({nodes},) or "
            f"({samples}, {nodes}): a mark for each node"
        )
    return (values != 0).astype(np.int8)


def _count(dim: str, each: int, samples: int, meaning: str) -> xr.Variable:
    attrs = {"units": "1", "long_name": meaning, "sample_dimension": dim}
    return xr.Variable(("sample",), np.full(samples, each, dtype=np.int64), attrs)


def _repeated(values: xr.Variable, samples: int) -> xr.Variable:
    """The same for every sample, made when it is asked for."""
    rows = max(1, CHUNK_BYTES // max(1, values.nbytes))
    chunks: Any = (min(rows, samples), *values.shape)
    spread = da.broadcast_to(da.from_array(values.values, chunks=-1), (samples, *values.shape), chunks=chunks)
    return xr.Variable(("sample", *values.dims), spread)


def _ragged(values: xr.Variable, attrs: dict[str, Any]) -> xr.Variable:
    """(sample, node, ...) as (node, ...), the samples one after the other."""
    data = da.asarray(values.data)
    flat = data.reshape((data.shape[0] * data.shape[1], *data.shape[2:]))
    return xr.Variable(values.dims[1:], flat, attrs)
