"""Whether a new model is better than the one in use: both judged on the same test samples."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
import xarray as xr

from kernels.errors import InputError

Decision = Literal["first", "unchanged", "promoted", "kept"]


@dataclass(frozen=True)
class Verdict:
    """What becomes of the new model, the ratio of its errors to those of the one in use, and both by
    quantity.
    """

    decision: Decision
    ratio: float
    table: pd.DataFrame


def compare(new: xr.Dataset, used: xr.Dataset, margin: float) -> Verdict:
    """Promote the new model where the geometric mean over quantities of nrmse_new / nrmse_used is below 1 -
    margin.

    new, used: outputs of stage `evaluate` of the two models on the same samples; nrmse, the
    root-mean-square error over the range of the set, exists for every quantity and has the same range in
    both. A quantity without error in either counts as 1, an error that is not finite as infinite. Raises
    InputError where the samples or the quantities differ: then the two cannot be compared.
    """
    for what, name in (("quantities", "quantity"), ("samples", "sample_name")):
        ours, theirs = (list(map(str, one[name].values)) for one in (new, used))
        if ours != theirs:
            odd = ", ".join(sorted(set(ours) ^ set(theirs))[:5])
            raise InputError(
                f"the model in use and the new one were judged on different {what} ({odd}); expected the "
                "same: let the new set keep the fields, scalars and test samples of the old one"
            )
    errors = [one["score"].sel(row="gp", metric="nrmse").values.astype(float) for one in (new, used)]
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = errors[0] / errors[1]
    ratios = np.where((errors[0] == 0.0) & (errors[1] == 0.0), 1.0, ratios)
    ratios = np.where(np.isfinite(errors[0]), ratios, np.inf)
    with np.errstate(divide="ignore"):
        ratio = float(np.exp(np.log(ratios).mean()))
    table = pd.DataFrame(
        {"quantity": new["quantity"].values, "in use": errors[1], "new": errors[0], "ratio": ratios}
    )
    return Verdict("promoted" if ratio < 1.0 - margin else "kept", ratio, table)


def without_rival(new: xr.Dataset, decision: Decision) -> Verdict:
    """The verdict where there is nothing to compare with, or nothing new."""
    errors = new["score"].sel(row="gp", metric="nrmse").values.astype(float)
    return Verdict(decision, 1.0, pd.DataFrame({"quantity": new["quantity"].values, "new": errors}))
