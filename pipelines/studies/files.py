"""Results of a study as files: tables, a dataset, the report."""

from pathlib import Path

from catalogs.catalog import Catalog
from catalogs.netcdf import write_netcdf
from kernels.errors import InputError
from pipelines.studies.report import report
from pipelines.studies.results import result_dataset, result_table


def write_results(catalog: Catalog, name: str, path: Path) -> None:
    """Write the table as .csv or .parquet, the dataset as .nc, the report as .html.

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
            write_netcdf(result_dataset(catalog, name), path)
        elif path.suffix == ".html":
            path.write_text(report(catalog, name), encoding="utf-8")
        else:
            raise InputError(f"--output {path}: expected a name ending in .parquet, .csv, .nc or .html")
    except OSError as error:
        raise InputError(
            f"{path} cannot be written: {error.strerror or error}; choose another place"
        ) from error
