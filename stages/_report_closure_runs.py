"""What the report of closures says of the kinetic runs, and of the parameters estimated from them."""

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr

from stages._closure_runs import TRUTH
from stages._closure_table import POOLED
from stages._report_closure_figures import said
from stages._report_closure_tables import score
from stages._report_figures import number
from stages._report_operator_tables import rows_table
from stages.parts import PART_NAMES
from stages.report_page import note
from stages.variables import FAILED, OK, TRAIN

_MOST = 60
"""Lines of a table of runs."""


def trained(runs: Sequence[xr.Dataset]) -> list[tuple[float, float]]:
    """Points of the runs that trained: of the training part, and not failed."""
    found = set()
    for data in runs:
        if "split" not in data or "alpha" not in data:
            continue
        good = data["split"].values == TRAIN
        if "status" in data:
            good &= data["status"].values != FAILED
        found |= {
            (float(data["alpha"].values[i]), float(data["zeta"].values[i])) for i in np.flatnonzero(good)
        }
    return sorted(found)


def troubles(runs: Sequence[xr.Dataset]) -> list[str]:
    """A sentence for each kinetic run that failed, and for each that carries a warning."""
    failed, warned = [], []
    for data in runs:
        for i, name in enumerate(data["sample_name"].values):
            if "status" in data and int(data["status"].values[i]) == FAILED:
                part = PART_NAMES[int(data["split"].values[i])] if "split" in data else ""
                reason = str(data["reason"].values[i]) if "reason" in data else "no reason is known"
                failed.append(f"Kinetic run {name!s}{f' ({part})' if part else ''} failed: {reason}")
            if "warning" in data and str(data["warning"].values[i]):
                warned.append(f"Of the kinetic runs: {data['warning'].values[i]}")
    return list(dict.fromkeys([*failed, *warned]))


def outside(metrics: xr.Dataset, condition: str) -> list[str]:
    """Closures that a condition asks outside of the parameters that they were trained at."""
    if "outside" not in metrics["metric"].values:
        return []
    names = [str(name) for name in metrics["closure"].values if name != TRUTH]
    return [name for name in names if score(metrics, condition, name, "outside") > 0.0]


def extrapolated(metrics: xr.Dataset) -> list[str]:
    """A sentence for each condition that asks closures outside of what they were trained at."""
    told = []
    for condition in metrics["condition"].values:
        names = [] if condition == POOLED else outside(metrics, str(condition))
        if names:
            told.append(
                f"{said(str(condition))} is outside of the parameters that these were trained at, so their "
                f"scores there are of extrapolation: {', '.join(names)}."
            )
    return told


def estimates(found: xr.Dataset | None, truth: xr.Dataset) -> str:
    """Parameters estimated from every run, with intervals, beside the run's own; nothing where none were."""
    if found is None:
        return ""
    names = [str(name) for name in found["estimated"].values]
    parts = _parts(truth)
    head = ["run", "part"]
    for name in names:
        head += [name, "estimate", "interval", "error, %"]
    head += ["reduced square", "remarks"]
    lines = []
    for i, sample in enumerate(found["sample_name"].values[:_MOST]):
        one = found.isel(sample=i)
        bad = int(one["status"]) != OK
        cells = [str(sample), parts.get(str(sample), "–")]
        for k, name in enumerate(names):
            own = float(one[name]) if name in one else float("nan")
            value, low, high = (float(one[key][k]) for key in ("estimate", "interval_low", "interval_high"))
            interval = f"{number(low)} to {number(high)}" if np.isfinite(low + high) else "–"
            cells += [
                number(own),
                number(value),
                interval,
                number(100.0 * (value / own - 1.0) if own else np.nan, 2),
            ]
        cells += [number(float(one["reduced_square"]), 2), _remarks(one)]
        lines.append(("off" if bad else "", cells))
    more = found.sizes["sample"] - len(lines)
    known = int(found.attrs.get("calibrated", 0))
    bias = (
        f"calibrated by {known} further runs of known parameters"
        if known
        else "without the closure's own bias"
    )
    text = (
        "Activity, alignment and the like from the moments of each run alone, by least squares over short "
        f"trajectories of the coarse model; intervals of {100.0 * float(found.attrs['level']):g} %, {bias}. "
        "Reduced square: of the residual, 1 where it is the noise."
    )
    return (
        note(text) + rows_table(head, lines, (1, len(head) - 1)) + (note(f"And {more} more.") if more else "")
    )


def _parts(truth: xr.Dataset) -> Mapping[str, str]:
    if "split" not in truth:
        return {}
    pairs = zip(truth["sample_name"].values, truth["split"].values, strict=True)
    return {str(name): PART_NAMES[int(part)] for name, part in pairs}


def _remarks(one: xr.Dataset) -> str:
    if int(one["status"]) != OK:
        return str(one["reason"].values)
    told = [] if int(one["converged"]) else ["not converged"]
    return ", ".join(
        [*told, *(["outside of what the closure was trained at"] if int(one["outside"]) else [])]
    )
