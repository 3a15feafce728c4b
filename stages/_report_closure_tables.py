"""Tables and the verdict of the report of closures."""

from collections.abc import Sequence
from html import escape

import numpy as np
import xarray as xr

from stages._closure_runs import TRUTH
from stages._closure_table import POOLED, STATISTICS_SHOWN
from stages._report_closure_figures import said
from stages._report_figures import number
from stages._report_operator_tables import pair, rows_table
from stages.report_page import note

_UNRESOLVED = 0.1
"""Part of the points of the truth without a density from which a verdict says little."""

Cells = list[tuple[str, Sequence[str]]]


def score(metrics: xr.Dataset, condition: str, closure: str, name: str) -> float:
    """One score; NaN where there is none."""
    return float(metrics["score"].sel(condition=condition, closure=closure, metric=name))


def _error(metrics: xr.Dataset, condition: str, closure: str, name: str) -> float:
    return float(metrics["score_error"].sel(condition=condition, closure=closure, metric=name))


def conditions_of(metrics: xr.Dataset) -> list[str]:
    """Conditions that have scores, without the one that joins all."""
    pairs = zip(metrics["condition"].values, metrics["undefined"].values, strict=True)
    return [str(name) for name, reason in pairs if name != POOLED and not str(reason)]


def rows_of(metrics: xr.Dataset, condition: str, name: str) -> list[str]:
    """Closures that have a score."""
    return [str(c) for c in metrics["closure"].values if np.isfinite(score(metrics, condition, str(c), name))]


def _signed(value: float, digits: int = 2) -> str:
    return ("+" if value > 0.0 else "") + number(value, digits)


def _css(metrics: xr.Dataset, closure: str, chosen: str) -> str:
    return "own" if closure == chosen else ""


def long_time(metrics: xr.Dataset, condition: str, chosen: str) -> str:
    """Late-time statistics beside the truth, with biases, z-scores and similarities."""
    rows = rows_of(metrics, condition, "survival")
    head = ["closure"]
    for label in STATISTICS_SHOWN.values():
        head += [label, "bias, %", "z"]
    head += ["W₁ of r", "W₁ of |u|", "spectrum, decades", "similarity"]
    lines: Cells = []
    for closure in rows:
        cells = [closure]
        for name in STATISTICS_SHOWN:
            value = score(metrics, condition, closure, name)
            cells.append(pair(value, _error(metrics, condition, closure, name), 1.0))
            for kind, scale in (("bias", 100.0), ("z", 1.0)):
                found = scale * score(metrics, condition, closure, f"{name}_{kind}")
                cells.append(number(found, 2) if condition == POOLED else _signed(found))
        for name in ("w1_order", "w1_speed", "spectrum_log_error", "similarity"):
            cells.append(number(score(metrics, condition, closure, name), 2))
        lines.append((_css(metrics, closure, chosen), cells))
    return rows_table(head, lines) + _chance(metrics, condition)


def _chance(metrics: xr.Dataset, condition: str) -> str:
    """A warning where the baseline is as near to the truth as its seeds are to each other."""
    baseline = str(metrics.attrs["baseline"])
    if baseline not in metrics["closure"].values:
        return ""
    names = {"w1_order": "r", "w1_speed": "|u|", "spectrum_rmse": "the spectrum"}
    near = [
        label
        for name, label in names.items()
        if score(metrics, condition, baseline, name) < score(metrics, condition, TRUTH, name)
    ]
    if not near:
        return ""
    return note(
        f"In {' and '.join(near)} {baseline} is as near to the kinetic runs as chance lets them be to each "
        "other: that part of the similarity means little."
    )


LONG_NOTE = (
    "Means over space, all test seeds and the late times, ± one standard error: the larger one of the "
    "scatter over the seeds and of what the memory within the runs allows. Bias relative to the kinetic "
    "runs; z: bias over the standard error of the difference, within ±2 it may be chance. Defects: of "
    "charge ±1/2, for a unit of area. W₁: Wasserstein distance of the pooled values; in the line of the "
    "kinetic runs that of one seed to the others, which is what chance alone makes. Spectrum: root mean "
    "square of the logarithm of the ratio of spectra. Similarity: 1 is the truth, 0 no better than the "
    "baseline, mean over both distances and the spectrum. Runs that died before the end are left out, see "
    "below."
)


def a_priori(metrics: xr.Dataset, condition: str, chosen: str) -> str:
    """Errors of S:T where the closure is given true moments."""
    rows = rows_of(metrics, condition, "apriori_violations")
    if not rows:
        return ""
    head = ["closure", "NMSE", "xx", "xy", "yy", "along", "across", "part across, %", "unrealizable, %"]
    lines: Cells = []
    for closure in rows:
        cells = [closure, pair(score(metrics, condition, closure, "apriori_nmse"),
                               _error(metrics, condition, closure, "apriori_nmse"), 1.0)]  # fmt: skip
        for name in ("nmse_xx", "nmse_xy", "nmse_yy", "along", "across"):
            cells.append(number(score(metrics, condition, closure, f"apriori_{name}"), 2))
        for name in ("share_across", "violations"):
            cells.append(number(100.0 * score(metrics, condition, closure, f"apriori_{name}"), 3))
        lines.append((_css(metrics, closure, chosen), cells))
    text = (
        "Mean square error of S:T over its mean square, by component and their mean, at late times of the "
        "kinetic test runs, ± standard error over the seeds. Along and across: the components of S:T along "
        "and normal to the director. Unrealizable: part of the points that have moments of a density until "
        "the closure adds its own; in the line of the kinetic runs, points that have none to begin with, "
        "since the grid does not resolve them."
    )
    return note(text) + rows_table(head, lines)


def forecasts(metrics: xr.Dataset, condition: str, chosen: str) -> str:
    """Decorrelation times, and VRMSE per field at some lead times."""
    rows = rows_of(metrics, condition, "decorrelation_time")
    if not rows:
        return ""
    fields = [str(name) for name in metrics["field"].values]
    steady = metrics["nearly_constant"].sel(condition=condition).values
    head = ["closure", "decorrelation time", "lead"] + [
        f"{name} *" if mark else name for name, mark in zip(fields, steady, strict=True)
    ]
    lines: Cells = []
    for closure in rows:
        time = score(metrics, condition, closure, "decorrelation_time")
        kept = score(metrics, condition, closure, "decorrelation_kept")
        text = ("≥ " if kept > 0.0 else "") + pair(
            time, _error(metrics, condition, closure, "decorrelation_time"), 1.0
        )
        if not metrics.sizes["lead"]:
            lines.append((_css(metrics, closure, chosen), [closure, text, *("–" for _ in head[2:])]))
        for k, lead in enumerate(metrics["lead"].values):
            values = metrics["vrmse"].sel(condition=condition, closure=closure).values[:, k]
            first = [closure, text] if k == 0 else ["", ""]
            css = _css(metrics, closure, chosen) + (" start" if k == 0 and lines else "")
            lines.append((css.strip(), [*first, f"{lead:g}", *(number(float(v), 2) for v in values)]))
    said = (
        "Forecasts from frames of the kinetic test runs. Decorrelation time: when the correlation of the "
        f"vorticity falls below {metrics.attrs['threshold']:g}; ≥ where a forecast kept above it to its end. "
        "The other columns: VRMSE, the root mean square error over the standard deviation in space; 1 is no "
        "better than the mean."
    )
    if steady.any():
        said += " * nearly constant in space, so its VRMSE means nothing."
    return note(said) + rows_table(head, lines)


def stability(metrics: xr.Dataset, condition: str, chosen: str) -> str:
    """Survival, realizability, power balance and cost."""
    rows = rows_of(metrics, condition, "survival")
    head = ["closure", "runs that reached their end, %", "first death at t", "end t", "runs counted",
            "⟨r⟩ of dead runs", "u_rms of dead runs", "unrealizable points", "power residual",
            "s per unit of time", "speed-up"]  # fmt: skip
    lines: Cells = []
    for closure in rows:
        values = {
            name: score(metrics, condition, closure, name)
            for name in ("survival", "survived_until", "asked_until", "runs_counted", "order_dead",
                         "u_rms_dead", "violations", "power_residual", "unit_cost", "speed_up")
        }  # fmt: skip
        died = values["survival"] < 1.0
        cells = [
            closure, number(100.0 * values["survival"]),
            number(values["survived_until"]) if died else "–", number(values["asked_until"]),
            number(values["runs_counted"]), number(values["order_dead"]), number(values["u_rms_dead"]),
            number(values["violations"]), number(values["power_residual"], 2), number(values["unit_cost"]),
            f"{number(values['speed_up'])} ×" if np.isfinite(values["speed_up"]) else "–",
        ]  # fmt: skip
        lines.append(("off" if died else _css(metrics, closure, chosen), cells))
    text = (
        "Speed-up: time of computing of the kinetic run for a unit of time over that of the closed run. "
        "Dead runs: means over the late times that they had. A line in red has runs that died."
    )
    return note(text) + rows_table(head, lines)


def every_condition(metrics: xr.Dataset, chosen: str) -> str:
    """A line a condition and closure, biases and similarity; nothing where there is one condition."""
    names = conditions_of(metrics)
    if len(names) < 2:
        return ""
    head = ["condition", "closure", "NMSE", "⟨r⟩ bias, %", "z", "u_rms bias, %", "z", "W₁ of r", "W₁ of |u|",
            "similarity", "survival, %"]  # fmt: skip
    lines: Cells = []
    for condition in [*names, POOLED]:
        closures = [str(c) for c in metrics["closure"].values if c != TRUTH]
        for k, closure in enumerate(closures):
            values = [
                scale * score(metrics, condition, closure, name)
                for name, scale in (("apriori_nmse", 1.0), ("order_bias", 100.0), ("order_z", 1.0),
                                    ("u_rms_bias", 100.0), ("u_rms_z", 1.0), ("w1_order", 1.0),
                                    ("w1_speed", 1.0), ("similarity", 1.0), ("survival", 100.0))
            ]  # fmt: skip
            css = _css(metrics, closure, chosen) + (" start" if k == 0 and lines else "")
            called = {POOLED: "all (biases and z: root mean square)"}.get(condition, said(condition))
            cells = [called if k == 0 else "", closure, *(number(v, 2) for v in values)]
            lines.append((css.strip(), cells))
    return rows_table(head, lines, (1,))


def verdict(metrics: xr.Dataset, condition: str, chosen: str, wanted: tuple[float, float]) -> str:
    """In a sentence or three: does the chosen closure hold what is wanted, and the baseline beside it."""
    baseline = str(metrics.attrs["baseline"])
    told, warn = [], False
    for closure in dict.fromkeys([chosen, baseline]):
        if closure not in rows_of(metrics, condition, "survival"):
            continue
        text, good = _judged(metrics, condition, closure, wanted)
        told.append(text)
        warn = warn or (closure == chosen and not good)
    if not told:
        return note("No long run was given: nothing is said about statistics.")
    if score(metrics, condition, chosen, "outside") > 0.0:
        told.append(f"{chosen} was not trained at parameters like these: it extrapolates.")
        warn = True
    lost = score(metrics, condition, TRUTH, "apriori_violations")
    if lost > _UNRESOLVED:
        told.append(
            f"The kinetic runs are not resolved here: {number(100.0 * lost, 2)} % of their points have "
            "moments that no density has, so this says little; simulate with more points."
        )
        warn = True
    better = _better(metrics, chosen, baseline)
    body = " ".join([f"At {said(condition)}:", *told, better]).strip()
    return f"<p{' class=warn' if warn else ''}>{escape(body)}</p>".replace("class=warn", 'class="warn"')


def _judged(
    metrics: xr.Dataset, condition: str, closure: str, wanted: tuple[float, float]
) -> tuple[str, bool]:
    order, u_rms = (score(metrics, condition, closure, f"{name}_bias") for name in ("order", "u_rms"))
    survival = score(metrics, condition, closure, "survival")
    end = score(metrics, condition, closure, "asked_until")
    if not np.isfinite(order):
        return f"{closure} died in every run before the late times were over.", False
    holds = abs(order) <= wanted[0] and abs(u_rms) <= wanted[1]
    lasts = survival == 1.0
    speed = score(metrics, condition, closure, "speed_up")
    text = (
        f"{closure} {'holds' if holds else 'misses'} the wanted {100 * wanted[0]:g} % of the order parameter "
        f"and {100 * wanted[1]:g} % of u_rms ({_signed(100 * order)} % and {_signed(100 * u_rms)} %), "
        + (
            f"every run reaches t = {end:g}"
            if lasts
            else f"{number(100 * survival)} % of its runs reach t = {end:g}"
        )
        + (f", at {number(speed)} times the speed of the kinetic run." if np.isfinite(speed) else ".")
    )
    return text, holds and lasts


def _better(metrics: xr.Dataset, chosen: str, baseline: str) -> str:
    """On how many of the conditions the chosen closure is nearer to the truth than the baseline."""
    names = conditions_of(metrics)
    if len(names) < 2 or chosen == baseline:
        return ""
    told = []
    for name, words in (("apriori_nmse", "a priori"), ("w1_order", "in the distribution of r"),
                        ("w1_speed", "in that of |u|")):  # fmt: skip
        pairs = [[score(metrics, c, closure, name) for closure in (chosen, baseline)] for c in names]
        known = [(own, other) for own, other in pairs if np.isfinite(own) and np.isfinite(other)]
        if known:
            told.append(f"{sum(own < other for own, other in known)} of {len(known)} {words}")
    return f"{chosen} is better than {baseline} at {', '.join(told)}." if told else ""
