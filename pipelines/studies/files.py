"""Results of a study as files: tables, a dataset, the report."""

from pathlib import Path

import numpy as np
import xarray as xr

from catalogs.catalog import Catalog
from kernels.errors import InputError
from pipelines.studies.report import report
from pipelines.studies.results import result_dataset, result_table


def write_results(catalog: Catalog, name: str, path: Path) -> None:
    """Write the table as .csv or .parquet, the dataset as .nc (netCDF 3), the report as .html.

    Raises InputError for another ending, or where the file cannot be written.
    """
    try:
        if path.suffix == ".csv":
            result_table(catalog, name).to_csv(path, index=False)
        elif path.suffix == ".parquet":
            table = result_table(catalog, name)
            mixed = [n for n in table.attrs["parameters"] if len(set(map(type, table[n]))) > 1]
            table.astype(dict.fromkeys(mixed, str)).to_parquet(path, index=False)
        elif path.suffix == ".nc":
            _netcdf(result_dataset(catalog, name)).to_netcdf(path, engine="scipy", format="NETCDF3_64BIT")
        elif path.suffix == ".html":
            path.write_text(report(catalog, name), encoding="utf-8")
        else:
            raise InputError(f"--output {path}: expected a name ending in .parquet, .csv, .nc or .html")
    except OSError as error:
        raise InputError(
            f"{path} cannot be written: {error.strerror or error}; choose another place"
        ) from error


def _netcdf(dataset: xr.Dataset) -> xr.Dataset:
    """With the numbers that netCDF 3 has."""
    small = {
        n: v.astype(np.float64) if np.abs(v.values).max(initial=0) > 2**31 - 1 else v.astype(np.int32)
        for n, v in dataset.variables.items()
        if v.dtype.kind in "iub"
    }
    return dataset.assign_coords({n: v for n, v in small.items() if n in dataset.coords}).assign(
        {n: v for n, v in small.items() if n not in dataset.coords}
    )
