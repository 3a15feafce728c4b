"""Tables of the report of operators: candidates, new resolutions, scales, intervals."""

from collections.abc import Mapping, Sequence
from html import escape

import numpy as np
import xarray as xr

from kernels.metrics.spectrum import BANDS
from stages._operator_scores import INTERVALS
from stages._report_figures import calibration, number
from stages._report_operator_figures import logarithmic
from stages.report_page import note

BASELINES = ("kernel_ridge", "linear", "mean")
"""Families that a network must beat, since they cost next to nothing."""

WANTED = (0.9, 0.87, 0.93)
"""Level of the interval that is judged, and the ends of what its measured coverage should be."""

_SCORES = {
    "relative_l2": "relative L², %",
    "relative_h1": "relative H¹, %",
    "boundary_error": "boundary, %",
    "max_error": "largest, %",
    "mean_error": "integral, %",
}

_ELSEWHERE = ("relative_h1", "boundary_error")
"""What is shown at other resolutions beside relative L2."""


def pair(mean: float, spread: float, scale: float = 100.0) -> str:
    """Mean ± standard deviation; the mean alone where there is one seed."""
    if not np.isfinite(mean):
        return "–"
    text = number(scale * mean)
    return text if not np.isfinite(spread) else f"{text} ± {number(scale * spread, 2)}"


def rows_table(
    head: Sequence[str], lines: Sequence[tuple[str, Sequence[str]]], left: Sequence[int] = ()
) -> str:
    """A table whose lines carry a class."""

    def aligned(i: int) -> str:
        return ' class="left"' if i in left else ""

    top = "".join(f"<th{aligned(i)}>{escape(text)}</th>" for i, text in enumerate(head))
    body = "".join(
        f'<tr class="{css}">'
        + "".join(f"<td{aligned(i)}>{escape(text)}</td>" for i, text in enumerate(cells))
        + "</tr>"
        for css, cells in lines
    )
    whole = f"<thead><tr>{top}</tr></thead><tbody>{body}</tbody>"
    return f'<div class="wide"><table class="tight">{whole}</table></div>'


def css_of(metrics: xr.Dataset, i: int) -> str:
    """Class of the line of a candidate: the chosen one stands out, and every candidate starts a group."""
    own = str(metrics["base"].values[i]) == metrics.attrs["chosen"]
    start = i > 0 and metrics["base"].values[i] != metrics["base"].values[i - 1]
    return " ".join(word for word, on in (("own", own), ("start", start)) if on)


def candidates(metrics: xr.Dataset) -> str:
    """Scores of every candidate, then what it costs; an output after the other."""
    content = [
        note(
            "Errors of the test samples in per cent, mean over the samples, then mean ± standard deviation "
            "over the seeds. The marked candidate has the least error on the validation samples; test "
            "errors had no part in the choice. Largest: the largest error over the largest value of the "
            "sample; integral: error of the mean over the domain. Parameters and times of training are those "
            "of one network."
        )
    ]
    for q in range(metrics.sizes["quantity"]):
        shown = [name for name in _SCORES if np.isfinite(metrics["score"][q].sel(metric=name)).any()]
        head = ["candidate", *(_SCORES[name] for name in shown), "validation L², %", "parameters"]
        head += ["epoch, s", "training, s", "one sample, ms", "seeds"]
        lines = []
        for i, name in enumerate(metrics["candidate"].values):
            one = metrics.isel(candidate=i, quantity=q)
            values = [_with_spread(one, metric) for metric in shown]
            lines.append((css_of(metrics, i), [_called(metrics, i, str(name)), *values, *_costs(one)]))
        content += [_heading(metrics, q), rows_table(head, lines)]
    return "".join(content)


def _heading(metrics: xr.Dataset, q: int) -> str:
    """Name and units of an output, where there are several."""
    if metrics.sizes["quantity"] == 1:
        return ""
    units = str(metrics["quantity_units"].values[q])
    name = str(metrics["quantity"].values[q])
    return f"<h3>{escape(name)}{'' if units == '1' else ', ' + escape(units)}</h3>"


def _called(metrics: xr.Dataset, i: int, name: str) -> str:
    family = str(metrics["family"].values[i])
    baseline = " (baseline)" if family in BASELINES and metrics["way"].values[i] == "prediction" else ""
    return f"{name}{baseline}{' *' if metrics['stands_in'].values[i] else ''}"


def _costs(one: xr.Dataset) -> list[str]:
    validation = pair(float(one["validation"]), float(one["validation_deviation"]))
    parameters = float(one["parameters"])
    return [
        validation,
        f"{int(parameters):,}" if np.isfinite(parameters) else "–",
        number(float(one["epoch_time"])),
        number(float(one["training_time"])),
        number(1e3 * float(one["sample_time"])),
        str(int(one["seeds"])),
    ]


def resolutions(metrics: xr.Dataset, others: Mapping[str, xr.Dataset]) -> str:
    """Errors at other resolutions, relative L2 beside the interpolated prediction's and its growth; an output
    after the other.
    """
    if not others:
        return ""
    content = [
        note(
            "The models of the table above, asked for grids that they have not seen in training. "
            "Interpolated: what the same model gives at its own resolution, brought to the new grid; a "
            "prediction that is not better than that has gained nothing from the new resolution. Growth: "
            "L² error at the new resolution over that at the training's. * the model cannot serve "
            "the grid, so its interpolated prediction stands in."
        )
    ]
    for q in range(metrics.sizes["quantity"]):
        content += [_heading(metrics, q), _elsewhere(metrics, others, q)]
    return "".join(content)


def _elsewhere(metrics: xr.Dataset, others: Mapping[str, xr.Dataset], q: int) -> str:
    further = [name for name in _ELSEWHERE if _scored(others, metrics["quantity"].values[q], name)]
    head = ["candidate", "grid", "relative L², %", "interpolated, %", "over interpolated", "growth"]
    head += [_SCORES[name] for name in further]
    lines: list[tuple[str, list[str]]] = []
    of = {"quantity": metrics["quantity"].values[q], "metric": "relative_l2"}
    score = metrics["score"].sel(of)
    for label, other in others.items():
        there, spread = other["score"].sel(of), other["seed_deviation"].sel(of)
        names = [str(n) for n in other["candidate"].values]
        for i, name in enumerate(names):
            if str(other["way"].values[i]).endswith("interpolated"):
                continue
            error, low = float(there[i]), np.nan
            cell, ratio = "–", np.nan
            if f"{name} interpolated" in names:
                low = float(there.sel(candidate=f"{name} interpolated"))
                cell = pair(low, float(spread.sel(candidate=f"{name} interpolated")))
                ratio = error / low if low > 0.0 else np.nan
            own = float(score.sel(candidate=name)) if name in metrics["candidate"].values else np.nan
            css = ("own" if str(other["base"].values[i]) == metrics.attrs["chosen"] else "") + (
                " start" if i == 0 and lines else ""
            )
            grid = str(other.attrs.get("points", label.removeprefix("others."))).replace(" x ", " × ")
            growth = error / own if own > 0.0 else np.nan
            one = other.isel(candidate=i).sel(quantity=of["quantity"])
            lines.append(
                (css, [_called(other, i, name), grid, pair(error, float(spread[i])), cell,
                       number(ratio), f"{number(growth)} ×" if np.isfinite(growth) else "–",
                       *(_with_spread(one, metric) for metric in further)])
            )  # fmt: skip
    return rows_table(head, lines, left=(1,))


def _scored(others: Mapping[str, xr.Dataset], quantity: str, metric: str) -> bool:
    """Whether a score is defined for any candidate in any further set."""
    found = (one["score"].sel(quantity=quantity, metric=metric) for one in others.values())
    return any(bool(np.isfinite(values).any()) for values in found)


def _with_spread(one: xr.Dataset, metric: str) -> str:
    """A score of one candidate and output, with its deviation over the seeds."""
    return pair(*(float(one[name].sel(metric=metric)) for name in ("score", "seed_deviation")))


def scales(metrics: xr.Dataset, colours: Mapping[str, str]) -> str:
    """Errors in thirds of the wavenumbers, as a table and as curves; an output after the other."""
    first = metrics["undefined"].isel(quantity=0)
    if not np.isfinite(metrics["score"].sel(metric=[f"spectral_{b}" for b in BANDS])).any():
        reason = str(first.sel(metric="spectral_low").values)
        return note(f"Not defined here: {reason}.") if reason else ""
    content = [
        note(
            "Thirds of the radial wavenumbers that the grid can hold. Of band: error over what the truth has "
            "in that band; 100 % means that the band is missed. Of all: error over the whole truth; the "
            "squares of these three add up to the squared relative L² error of a sample."
        )
    ]
    for q in range(metrics.sizes["quantity"]):
        content += [_heading(metrics, q), _bands(metrics, q, colours)]
    return "".join(content)


def _bands(metrics: xr.Dataset, q: int, colours: Mapping[str, str]) -> str:
    names, first = BANDS, metrics.isel(quantity=q)
    own = np.stack([first["score"].sel(metric=f"spectral_{b}").values for b in names], axis=1)
    share = np.stack([first["score"].sel(metric=f"spectral_share_{b}").values for b in names], axis=1)
    kept = [i for i in range(len(own)) if np.isfinite(own[i]).any()]
    lines = [
        (css_of(metrics, i), [str(metrics["candidate"].values[i]), *(number(100.0 * v) for v in own[i]),
                              *(number(100.0 * v) for v in share[i])])
        for i in kept
    ]  # fmt: skip
    head = ["candidate", *(f"{b}, % of band" for b in names), *(f"{b}, % of all" for b in names)]
    marks = [(float(k), name) for k, name in enumerate(names, start=1)]
    series = [
        (str(metrics["candidate"].values[i]), 100.0 * own[i], colours[str(metrics["base"].values[i])])
        for i in kept
        if metrics["way"].values[i] == "prediction"
    ]
    plot = logarithmic(series, "third of the wavenumbers", "error, % of the band", marks)
    return f'<div class="plots"><figure>{plot}</figure></div>{rows_table(head, lines)}'


def intervals(metrics: xr.Dataset) -> str:
    """Measured against nominal coverage: a plot and a table."""
    covered = metrics["coverage"].isel(quantity=0)
    kept = [i for i in range(metrics.sizes["candidate"]) if np.isfinite(covered[i]).any()]
    if not kept:
        return note("No candidate has intervals: an ensemble with its calibration gives them.")
    names = [str(metrics["candidate"].values[i]) for i in kept]
    levels = metrics["level"].values
    plot = calibration(levels, covered.values[kept], names, {}, WANTED)
    head = ["candidate", "nominal, %", "points inside, %", "width", "whole fields inside, %"]
    head += ["simultaneous: whole fields inside, %", "width"]
    lines: list[tuple[str, list[str]]] = []
    for q, quantity in enumerate(metrics["quantity"].values):
        units = str(metrics["quantity_units"].values[q])
        for i in kept:
            one = metrics.isel(quantity=q, candidate=i)
            name = str(metrics["candidate"].values[i])
            name += f", {quantity}" if metrics.sizes["quantity"] > 1 else ""
            for k, level in enumerate(levels):
                known = {name: float(one[name][k]) for name in INTERVALS}
                widths = [
                    _with_units(known[name], units) for name in ("interval_width", "simultaneous_width")
                ]
                point, whole, both = (
                    _percent(known[name]) for name in ("coverage", "coverage_whole", "simultaneous_coverage")
                )
                css = "start" if k == 0 and lines else ""
                lines.append((css, [name, f"{100.0 * level:g}", point, widths[0], whole, both, widths[1]]))
    text = note(
        "How often the truth lies inside the intervals of the test samples, point by point, against what "
        "they promise; on the diagonal they are honest, below it too narrow. They are scaled on calibration "
        "samples that neither trained nor tested. Whole field: samples that lie inside at every point at "
        "once, which intervals by point do not promise and simultaneous ones do. The bar goes from "
        f"{100 * WANTED[1]:.0f} to {100 * WANTED[2]:.0f} % at {100 * WANTED[0]:.0f} %."
    )
    return f'{text}<div class="plots"><figure>{plot}</figure></div>{rows_table(head, lines)}'


def _percent(share: float) -> str:
    return f"{100.0 * share:.1f}" if np.isfinite(share) else "–"


def _with_units(value: float, units: str) -> str:
    return number(value) + ("" if units == "1" or not np.isfinite(value) else f" {units}")
