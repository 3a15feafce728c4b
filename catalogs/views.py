"""A dataset in the form that other tools want: pyvista meshes, torch tensors."""

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from catalogs.contents import growing_dims
from catalogs.failures import storage_errors
from catalogs.keys import is_text
from catalogs.netcdf import write_netcdf
from kernels.errors import InputError

FORMS = ("pyvista", "torch")
"""Forms besides xarray."""


def view(dataset: xr.Dataset, form: str | None, what: str) -> Any:
    """The dataset in the form; None leaves it as it is.

    Raises InputError for another form, and where the dataset does not have it.
    """
    if form is None:
        return dataset
    if form not in FORMS:
        raise InputError(f"as_={form!r} is not known; expected None, {' or '.join(map(repr, FORMS))}")
    return as_pyvista(dataset, what) if form == "pyvista" else as_torch(dataset, what)


def as_pyvista(dataset: xr.Dataset, what: str) -> Any:
    """The mesh of the only sample as an UnstructuredGrid, those of several as a MultiBlock by their names.

    Raises InputError where the dataset holds no meshes.
    """
    import pyvista as pv

    from catalogs.formats.vtk import as_grid

    if not {"x", "connectivity", "node_count", "cell_count"} <= set(dataset.variables):
        raise InputError(
            f"{what} holds no mesh of its samples: expected x, connectivity, node_count and cell_count, got "
            f"{', '.join(sorted(map(str, dataset.variables)))}"
        )
    grids = [as_grid(one_sample(dataset, number)) for number in range(dataset.sizes["sample"])]
    if len(grids) == 1:
        return grids[0]
    names = [str(i) for i in range(len(grids))]
    if "sample_name" in dataset:
        names = [str(name) for name in dataset["sample_name"].values]
    blocks = pv.MultiBlock()
    for name, grid in zip(names, grids, strict=True):
        blocks.append(grid, name)
    return blocks


def one_sample(dataset: xr.Dataset, number: int) -> xr.Dataset:
    """One sample of a ragged set, with what belongs to it along every ragged dim."""
    cuts: dict[str, slice] = {"sample": slice(number, number + 1)}
    for variable in dataset.variables.values():
        if "sample_dimension" in variable.attrs:
            ends = np.concatenate(([0], np.cumsum(np.asarray(variable.values, dtype=np.int64))))
            cuts[str(variable.attrs["sample_dimension"])] = slice(int(ends[number]), int(ends[number + 1]))
    return dataset.isel({dim: cut for dim, cut in cuts.items() if dim in dataset.dims}).load()


def as_torch(dataset: xr.Dataset, what: str) -> dict[str, Any]:
    """Variable -> tensor of its numbers, dims in the order of the dataset; texts are left out.

    Raises InputError where torch is not installed.
    """
    try:
        import torch
    except ModuleNotFoundError as error:
        raise InputError(
            f"{what} cannot be opened as tensors, torch is not installed: pip install torch"
        ) from error
    return {
        str(name): torch.from_numpy(np.array(variable.values))
        for name, variable in dataset.variables.items()
        if not is_text(variable.dtype)
    }


def summary(dataset: xr.Dataset) -> list[tuple[str, str, str, str, str]]:
    """(variable, dims with sizes, dtype, units, role) of every variable."""
    growing = growing_dims(dataset)
    rows = []
    for name, variable in dataset.variables.items():
        dims = ", ".join(
            f"{dim}{'*' if str(dim) in growing else ''}={dataset.sizes[dim]}" for dim in variable.dims
        )
        dtype = "text" if is_text(variable.dtype) else str(variable.dtype)
        attrs = variable.attrs
        rows.append((str(name), dims, dtype, str(attrs.get("units", "")), str(attrs.get("role", ""))))
    return rows


def write(dataset: xr.Dataset, path: Path) -> Path:
    """Write a dataset for other programs: `.vtu` (one sample), `.nc`, `.zarr`.

    Raises InputError for another ending, where the file is there already, or cannot hold the data.
    """
    if path.exists():
        raise InputError(f"{path} is there already: remove it first, or write another file")
    if not path.parent.is_dir():
        raise InputError(f"{path}: the folder {path.parent} does not exist: create it first")
    if path.suffix == ".vtu":
        from catalogs.formats.vtk import write_vtu

        return write_vtu(path, dataset)
    with storage_errors(f"writing {path}", path.parent):
        if path.suffix == ".zarr":
            dataset.load().to_zarr(path, zarr_format=3, consolidated=False)
            return path
        if path.suffix == ".nc":
            return write_netcdf(dataset, path)
    raise InputError(f"{path}: expected a name that ends with .vtu, .nc or .zarr")
