"""The numbers of a result by which the catalog finds it and a study tells its points apart."""

import numpy as np
import pandas as pd
import xarray as xr

from catalogs.keys import plain
from stages import evaluate, evaluate_operator
from stages.variables import SCALAR


def scalars(result: xr.Dataset) -> dict[str, float]:
    """The numbers of a result that fit into a table.

    Numeric attributes, variables without dims, those of role scalar where there is one sample; of an
    evaluation its table, as `rrmse.gp.load` or `rrmse.training_mean.load`, of one of operators
    `relative_l2.mgno.u`.
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
    return found


def _scores(table: pd.DataFrame, label: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for line in table.to_dict("records"):
        row = str(line[label]).replace(" ", "_")  # a filter knows no name with a space
        for name, value in line.items():
            if isinstance(value, int | float) and np.isfinite(value):
                found[f"{name}.{row}.{line['quantity']}"] = float(value)
    return found
