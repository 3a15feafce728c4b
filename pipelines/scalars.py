"""The numbers of a result by which the catalog finds it and a study tells its points apart."""

import numpy as np
import pandas as pd
import xarray as xr

from catalogs.keys import plain
from stages import evaluate, evaluate_closure, evaluate_operator
from stages.variables import SCALAR


def scalars(result: xr.Dataset) -> dict[str, float]:
    """The numbers of a result that fit into a table.

    Numeric attributes, variables without dims, those of role scalar where there is one sample; of an
    evaluation its table, as `rrmse.gp.load` or `rrmse.training_mean.load`, of one of operators
    `relative_l2.mgno.u`, of one of closures that over all conditions, as `order_bias.bingham`.
    """
    found: dict[str, float] = {}
    for name, value in result.attrs.items():
        value = plain(value)
        if isinstance(value, int | float):
            found[str(name)] = float(value)
    for name, variable in result.variables.items():
        one = variable.dims == () or (
            variable.attrs.get("role") == SCALAR and variable.dims == ("sample",) and variable.size == 1
        )
        if one and variable.dtype.kind in "biuf":
            found[str(name)] = float(np.asarray(variable.values).reshape(()))
    if {"quantity", "row", "metric"} <= set(result.coords) and "score" in result:
        found |= _scores(evaluate.table(result), "row")
    if {"quantity", "candidate", "metric"} <= set(result.coords) and "score" in result:
        found |= _scores(evaluate_operator.table(result), "candidate")
    if {"condition", "closure", "metric"} <= set(result.coords) and "score" in result:
        found |= _pooled(evaluate_closure.table(result))
    return found


def _pooled(table: pd.DataFrame) -> dict[str, float]:
    """Scores of closures in all conditions, the last ones of a table."""
    lines = table[table["condition"] == str(table["condition"].iloc[-1])].to_dict("records")
    found: dict[str, float] = {}
    for line in lines:
        row = str(line["closure"]).replace(" ", "_")
        for name, value in line.items():
            if isinstance(value, int | float) and np.isfinite(value):
                found[f"{name}.{row}"] = float(value)
    return found


def _scores(table: pd.DataFrame, label: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for line in table.to_dict("records"):
        row = str(line[label]).replace(" ", "_")  # a filter knows no name with a space
        for name, value in line.items():
            if isinstance(value, int | float) and np.isfinite(value):
                found[f"{name}.{row}.{line['quantity']}"] = float(value)
    return found
