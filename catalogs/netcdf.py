"""NetCDF files for other programs: netCDF 4 where a library for it is installed, else netCDF 3 by scipy."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from kernels.errors import InputError

_EXACT = 2**53


def write_netcdf(dataset: xr.Dataset, path: Path) -> Path:
    """Write a dataset as `.nc`.

    netCDF 3 has whole numbers of 32 bits and neither truth values nor nested attributes: there larger numbers
    become float64, truth values 0 and 1, attributes JSON. Raises InputError where a file cannot say what the
    dataset holds.
    """
    engines = xr.backends.list_engines()
    engine = next((name for name in ("h5netcdf", "netcdf4") if name in engines), None)
    plain = dataset.assign_attrs(_attrs(dataset.attrs))
    for variable in plain.variables.values():
        variable.attrs = _attrs(variable.attrs)
    try:
        if engine is not None:
            plain.to_netcdf(path, engine=engine)
        else:
            _small(plain, path).to_netcdf(path, engine="scipy", format="NETCDF3_64BIT")
    except (ValueError, TypeError) as error:
        path.unlink(missing_ok=True)
        raise InputError(
            f"{path}: the data do not fit into a NetCDF file ({error}); write .zarr instead"
        ) from error
    return path


def _attrs(given: dict[Any, Any]) -> dict[str, Any]:
    return {str(name): _attribute(value) for name, value in given.items()}


def _attribute(value: Any) -> Any:
    if isinstance(value, bool | np.bool_):
        return int(value)
    if isinstance(value, int) and not -(2**31) <= value < 2**31:
        return float(value) if abs(value) <= _EXACT else str(value)
    if value is None or isinstance(value, dict) or (isinstance(value, list | tuple) and not value):
        return json.dumps(value, default=str)
    return value


def _small(dataset: xr.Dataset, path: Path) -> xr.Dataset:
    """With the numbers that netCDF 3 has."""
    fitted = {name: _fitted(str(name), variable, path) for name, variable in dataset.variables.items()}
    coords = {name: fitted.pop(name) for name in dataset.coords}
    return dataset.drop_vars(list(dataset.variables)).assign(fitted).assign_coords(coords)


def _fitted(name: str, variable: xr.Variable, path: Path) -> xr.Variable:
    kind, size = variable.dtype.kind, variable.dtype.itemsize
    if kind == "f" and size == 2:
        return variable.astype(np.float32)
    if kind == "c":
        raise InputError(
            f"{path}: variable {name!r} is complex, which NetCDF is not: write its two parts, or .zarr"
        )
    if kind not in "iub" or (kind == "i" and size <= 4):
        return variable
    values = variable.values
    low, high = (int(values.min()), int(values.max())) if values.size else (0, 0)
    if low >= -(2**31) and high < 2**31:
        return variable.astype(np.int32)
    if max(-low, high) > _EXACT:
        raise InputError(
            f"{path}: variable {name!r} holds whole numbers up to {max(-low, high)}, which netCDF 3 has not: "
            "pip install h5netcdf, or write .zarr"
        )
    return variable.astype(np.float64)
