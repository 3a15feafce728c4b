"""The scores of closures: names, units and meaning of every one, and tables that people read."""

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from stages._closure_runs import TRUTH

METRICS: dict[str, tuple[str, str]] = {
    "apriori_nmse": ("1", "NMSE of S:T on true moments at late times, mean of xx, xy and yy"),
    "apriori_nmse_xx": ("1", "NMSE of (S:T)_xx"),
    "apriori_nmse_xy": ("1", "NMSE of (S:T)_xy"),
    "apriori_nmse_yy": ("1", "NMSE of (S:T)_yy"),
    "apriori_along": ("1", "NMSE of the component of S:T along the director"),
    "apriori_across": ("1", "NMSE of the component of S:T across the director"),
    "apriori_share_across": ("1", "part of the squared error of the deviator that is across"),
    "apriori_violations": (
        "1",
        "part of the points given moments that no density has; truth: by itself",
    ),
    "decorrelation_time": ("1", "until the vorticity correlation falls below the threshold, mean"),
    "decorrelation_kept": ("1", "part of the forecasts that never fell below it, counted with their end"),
    "forecast_survival": ("1", "part of the forecasts that reached their end"),
    "order": ("1", "order parameter r = |2 Q - I|, mean over space and late times"),
    "order_bias": ("1", "(model - truth) / truth"),
    "order_z": ("1", "(model - truth) / standard error of the difference"),
    "u_rms": ("1", "root-mean-square velocity over space, late times and seeds"),
    "u_rms_bias": ("1", "(model - truth) / truth"),
    "u_rms_z": ("1", "(model - truth) / standard error of the difference"),
    "defects": ("1", "defects of charge 1/2, both signs, per unit of area"),
    "defects_bias": ("1", "(model - truth) / truth"),
    "defects_z": ("1", "(model - truth) / standard error of the difference"),
    "w1_order": ("1", "Wasserstein-1 distance of r; in the row of the truth, of one seed to the others"),
    "w1_speed": ("1", "Wasserstein-1 distance of |u|; in the row of the truth, of one seed to the others"),
    "spectrum_rmse": ("1", "root mean square over shells of the difference of spectra"),
    "spectrum_log_error": ("1", "the same of their decimal logarithms"),
    "similarity_order": ("1", "1 - w1_order / that of the baseline"),
    "similarity_speed": ("1", "1 - w1_speed / that of the baseline"),
    "similarity_spectrum": ("1", "1 - spectrum_rmse / that of the baseline"),
    "similarity": ("1", "mean of the three similarities; 1 is perfect, 0 as the baseline"),
    "survival": ("1", "part of the runs that reached the end they were asked for"),
    "survived_until": ("1", "time at which the first run died, or the end"),
    "asked_until": ("1", "end that the runs were asked for"),
    "runs_counted": ("1", "runs that late-time statistics are of: those with all frames of that time"),
    "outside": ("1", "1 where the closure is asked outside of the parameters that it was trained at"),
    "order_dead": ("1", "order parameter at late times of runs that died, up to their death"),
    "u_rms_dead": ("1", "root-mean-square velocity of runs that died, up to their death"),
    "defects_dead": ("1", "defects per area of runs that died, up to their death"),
    "violations": ("1", "points and times of the runs whose moments no density has"),
    "power_residual": ("1", "largest relative residual of the power balance"),
    "unit_cost": ("s", "time of computing for one unit of time"),
    "speed_up": ("1", "unit cost of the kinetic run over that of the closure"),
}
"""Units and meaning of each score; all lengths and times of the model are nondimensional."""

STATISTICS_SHOWN = {"order": "⟨r⟩", "u_rms": "u_rms", "defects": "defects/area"}
"""Late-time statistics that come with a bias and a z-score, as a reader knows them."""

POOLED = "all"
"""Condition that joins all others."""

_SIGNED = ("_bias", "_z")
_SUMS = ("runs_counted", "violations")
_WORST = {"survived_until": np.min, "power_residual": np.max}


def pooled(name: str, values: np.ndarray, errors: np.ndarray) -> tuple[float, float]:
    """A score over conditions (conditions,): mean of those that have it, with its error.

    Biases and z-scores by their root mean square, since two wrong signs make no right; counts by their sum;
    the first death and the largest residual as they are.
    """
    known = np.isfinite(values)
    if not known.any():
        return float("nan"), float("nan")
    values, errors = values[known], errors[known]
    if name.endswith(_SIGNED):
        return float(np.sqrt((values**2).mean())), float("nan")
    if name in _SUMS:
        return float(values.sum()), float("nan")
    if name in _WORST:
        return float(_WORST[name](values)), float("nan")
    return float(values.mean()), float(np.sqrt((errors**2).sum()) / values.size)


def table(metrics: xr.Dataset) -> pd.DataFrame:
    """The scores as people read them: a line a condition and closure.

    `<metric>` and `<metric>_se`, its standard error where it has one; vrmse_<field>_<lead> of every lead.
    """
    lines = []
    for c, condition in enumerate(metrics["condition"].values):
        for m, closure in enumerate(metrics["closure"].values):
            line: dict[str, Any] = {"condition": str(condition), "closure": str(closure)}
            for k, name in enumerate(metrics["metric"].values):
                line[str(name)] = float(metrics["score"].values[c, m, k])
                error = float(metrics["score_error"].values[c, m, k])
                if np.isfinite(metrics["score_error"].values[:, :, k]).any():
                    line[f"{name}_se"] = error
            for f, field in enumerate(metrics["field"].values):
                for t, lead in enumerate(metrics["lead"].values):
                    line[f"vrmse_{field}_{lead:g}"] = float(metrics["vrmse"].values[c, m, f, t])
            lines.append(line)
    return pd.DataFrame(lines)


def summary(metrics: xr.Dataset) -> pd.DataFrame:
    """The scores as a terminal shows them: late-time statistics beside the truth, biases in percent with z.

    Over all conditions where there are several; see `table` for each.
    """
    full = table(metrics)
    several = metrics.sizes["condition"] > 2
    kept = full[full["condition"] == (POOLED if several else str(metrics["condition"].values[0]))]
    return pd.DataFrame([_line(one) for _, one in kept.iterrows()])


def _line(one: pd.Series) -> dict[str, str]:
    return {
        "closure": str(one["closure"]),
        "NMSE": _plain(one["apriori_nmse"], ".2e"),
        "decorrelation": _plain(one["decorrelation_time"], ".3g"),
        **{text.strip("⟨⟩"): _value(one, name) for name, text in STATISTICS_SHOWN.items()},
        "similarity": _plain(one["similarity"], ".2f"),
        "survival %": _plain(100.0 * one["survival"], ".0f"),
        "s/time": _plain(one["unit_cost"], ".3g"),
        "speed-up": _plain(one["speed_up"], ".3g"),
    }


def _value(one: pd.Series, name: str) -> str:
    value, bias, score = (float(one[key]) for key in (name, f"{name}_bias", f"{name}_z"))
    if not np.isfinite(value):
        return "-"
    text = f"{value:.4g}"
    if one["closure"] == TRUTH or not np.isfinite(bias):
        return text
    sign = "" if one["condition"] == POOLED else "+"
    return f"{text} ({100.0 * bias:{sign}.1f} %" + (f", z {score:{sign}.1f})" if np.isfinite(score) else ")")


def _plain(value: float, form: str) -> str:
    return format(value, form) if np.isfinite(value) else "-"
