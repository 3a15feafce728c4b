"""Results of a study as tables: pandas, files, and an xarray Dataset with the parameters as coordinates."""

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from catalogs import studies, study_queries
from catalogs.catalog import Catalog
from catalogs.studies import Study
from pipelines.scalars import scalars
from pipelines.studies.definition import Definition, parse_study
from pipelines.studies.designs import grid_levels

FIXED = ("point", "state", "seconds", "attempts", "failure", "error", "log", "key", "result")
"""Columns besides the parameters and metrics; a parameter of such a name is `config.NAME`."""

_BLOCK = 200


def column(parameter: str) -> str:
    """Name of a parameter's column."""
    return f"config.{parameter}" if parameter in FIXED else parameter


def definition_of(study: Study) -> Definition:
    """The definition as it is stored."""
    return parse_study(study.definition, f"study {study.name!r}")


def result_table(catalog: Catalog, name: str) -> pd.DataFrame:
    """One row a point: number, state, parameters by dotted path, metrics, seconds, failure, keys.

    A metric that is named like a parameter or another column is `metrics.NAME`. The attributes `parameters`
    and `metrics` of the table name its columns. Metrics of results that no study computed are read from
    their data, once. Raises InputError where there is no such study.
    """
    study = studies.get(catalog.engine, name)
    _fill_metrics(catalog, study)
    rows = list(study_queries.rows(catalog.engine, study.number))
    by_key = {row["key"]: row for row in rows if row["state"] == studies.DONE}
    parameters = list(dict.fromkeys(column(n) for row in rows for n in row["parameters"]))
    taken = {*parameters, *FIXED}
    measured: dict[str, None] = {}
    lines: list[dict[str, Any]] = []
    for row in rows:
        source = by_key.get(row["key"], row)
        metrics = {(f"metrics.{n}" if n in taken else n): v for n, v in (source["metrics"] or {}).items()}
        measured |= dict.fromkeys(metrics)
        values = {column(n): v for n, v in row["parameters"].items()}
        fixed = {"point": row["number"], "state": row["state"], "seconds": source["seconds"]}
        rest = {"failure": row["kind"], **{n: row[n] for n in ("attempts", "error", "log", "key")}}
        lines.append({**fixed, **values, **metrics, **rest, "result": source["result"]})
    order = ["point", "state", *parameters, *measured, *FIXED[2:]]
    table = pd.DataFrame(lines, columns=order)
    for one in measured:
        table[one] = table[one].astype(np.float64)
    table.attrs.update(parameters=parameters, metrics=list(measured))
    return table


def _fill_metrics(catalog: Catalog, study: Study) -> None:
    missing = study_queries.without_metrics(catalog.engine, study.number)
    for start in range(0, len(missing), _BLOCK):
        some = {number: scalars(catalog.open(key)) for number, key in missing[start : start + _BLOCK]}
        study_queries.set_metrics(catalog.engine, study.number, some)


def result_dataset(catalog: Catalog, name: str) -> xr.Dataset:
    """Metrics as variables; on a grid every parameter is a dim, else all have the dim `point` with the
    parameters as coordinates. NaN where a point has no result.

    Raises InputError where there is no such study.
    """
    table = result_table(catalog, name)
    definition = definition_of(studies.get(catalog.engine, name))
    metrics, parameters = table.attrs["metrics"], table.attrs["parameters"]
    attrs = {"study": name, "target": definition.stage or definition.pipeline or ""}
    if definition.design.method != "grid":
        coords = {n: ("point", _plain(table[n])) for n in ["point", *parameters]}
        data = {n: ("point", table[n].to_numpy()) for n in [*metrics, "seconds"]}
        return xr.Dataset({**data, "state": ("point", _plain(table["state"]))}, coords=coords, attrs=attrs)
    levels: dict[str, list[Any]] = {
        n: grid_levels(entry) for n, entry in definition.design.parameters.items()
    }
    if definition.design.repeats is not None:
        levels[definition.design.repeats.field] = list(range(definition.design.repeats.count))
    # a value that a list repeats is one coordinate
    levels = {column(n): list(dict.fromkeys(values)) for n, values in levels.items()}
    shape = tuple(map(len, levels.values()))
    places = tuple(
        np.array([{v: i for i, v in enumerate(values)}[one] for one in table[n]])
        for n, values in levels.items()
    )
    arrays: dict[str, Any] = {}
    for one in [*metrics, "seconds"]:
        array = np.full(shape, np.nan)
        array[places] = table[one].to_numpy(dtype=np.float64)
        arrays[one] = (tuple(levels), array)
    return xr.Dataset(
        arrays, coords={n: _plain(pd.Series(values)) for n, values in levels.items()}, attrs=attrs
    )


def _plain(column: pd.Series) -> np.ndarray:
    values = np.array(column.tolist())
    return values.astype(str) if values.dtype.kind in "OU" else values


def diff(catalog: Catalog, first: str, second: str) -> pd.DataFrame:
    """Points in one study only, and those with the same parameters whose metrics differ; a row each.

    Points are compared by their parameters, so that a new version of a stage, or another base config, shows
    as changed metrics. Raises InputError where a study is missing.
    """
    tables = [result_table(catalog, name) for name in (first, second)]
    names = sorted({n for table in tables for n in table.attrs["parameters"]})
    rows: list[list[dict[Any, Any]]] = [table.to_dict("records") for table in tables]
    left, right = ({_place(row, names): row for row in some} for some in rows)
    metrics = sorted({m for table in tables for m in table.attrs["metrics"]})
    lines = []
    for place in dict.fromkeys([*left, *right]):
        shown = ", ".join(f"{n} = {v}" for n, v in zip(names, place, strict=True) if v is not None)
        if place not in right or place not in left:
            only = first if place in left else second
            lines.append((f"only in {only}", shown, "", np.nan, np.nan, np.nan))
            continue
        a, b = left[place], right[place]
        if a["state"] != b["state"]:
            lines.append(("state", shown, f"{a['state']} -> {b['state']}", np.nan, np.nan, np.nan))
        for name in metrics:
            old, new = float(a.get(name, np.nan)), float(b.get(name, np.nan))
            if old != new and not (np.isnan(old) and np.isnan(new)):
                lines.append(("metric", shown, name, old, new, new - old))
    return pd.DataFrame(lines, columns=["what", "point", "name", first, f"{second} ", "change"]).rename(
        columns={f"{second} ": second}
    )


def _place(row: dict[Any, Any], names: list[str]) -> tuple[Any, ...]:
    values = [row.get(name) for name in names]
    return tuple(None if isinstance(v, float) and np.isnan(v) else v for v in values)
