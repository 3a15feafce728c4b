"""Best, median and worst test sample: input, truth, prediction, error and standard deviation."""

from html import escape

import numpy as np
import xarray as xr

from stages._report_figures import INK, PALETTE, number
from stages._report_operator_figures import Place, curves, field_panel, figure, picture, place_of
from stages.operator_data import channels, is_mesh
from stages.ragged import sample_names, take
from stages.report_page import note


def pictures(data: xr.Dataset, metrics: xr.Dataset, drawn: tuple[str, xr.Dataset], output: str) -> str:
    """Panels of three test samples, ranked by the relative L2 error of the run that is drawn."""
    label, predictions = drawn
    error = metrics["sample_score"].sel(run=label, quantity=output, metric="relative_l2").values
    order = np.argsort(error)[: int(np.isfinite(error).sum())]
    if order.size == 0:
        return note(f"No test sample has a relative error of {output}.")
    picks = {"best": order[0], "median": order[order.size // 2], "worst": order[-1]}
    content, seen = [], set()
    for title, position in picks.items():
        if position not in seen:
            seen.add(position)
            name = str(metrics["sample_name"].values[position])
            heading = f"{title}: {name}, relative L² error {number(100.0 * float(error[position]))} %"
            content.append(f"<h3>{escape(heading)}</h3>" + _panels(data, predictions, name, output))
    axes = data[output].dims[1:]
    said = f"{output} by {label}, ranked by relative L² error. Truth and prediction share one colour scale."
    if not is_mesh(data) and len(axes) > 1:
        first = place_of(data, output, 0)
        said += f" Images: {picture(first, _sample(data, output, 0), (0.0, 1.0), 'viridis', '')[1]}."
    return note(said) + "".join(content)


def _sample(dataset: xr.Dataset, name: str, row: int) -> np.ndarray:
    """Values of one sample, in its own shape."""
    kept = [name, *(n for n in ("node_count",) if n in dataset)]
    values = np.asarray(take(dataset[kept], [row])[name].values, dtype=np.float64)
    return values if "node_count" in dataset else values[0]


def _panels(data: xr.Dataset, predictions: xr.Dataset, name: str, output: str) -> str:
    row, guess = sample_names(data).index(name), sample_names(predictions).index(name)
    truth, mean = _sample(data, output, row), _sample(predictions, f"{output}_mean", guess)
    std = _sample(predictions, f"{output}_std", guess) if f"{output}_std" in predictions else None
    place, units = place_of(data, output, row), str(data[output].attrs.get("units", "1"))
    first = _input(data, row)
    if place.is_curve:
        panels = [*first, *_curves(place, truth, mean, std, units)]
    else:
        both = _spread(min(truth.min(), mean.min()), max(truth.max(), mean.max()))
        most = float(np.abs(mean - truth).max()) or 1.0
        panels = [
            *first,
            field_panel(place, "truth", truth, both, "viridis", units),
            field_panel(place, "prediction", mean, both, "viridis", units),
            field_panel(place, "prediction − truth", mean - truth, (-most, most), "RdBu_r", units),
        ]
        if std is not None:
            spread = _spread(0.0, float(std.max()))
            panels.append(field_panel(place, "standard deviation", std, spread, "magma", units))
    count = {3: "three", 4: "four"}.get(len(panels), "five")
    return _parameters(data, row) + f'<div class="parts {count}">{"".join(panels)}</div>'


def _input(data: xr.Dataset, row: int) -> list[str]:
    """Panel of the first input field; none where all inputs are numbers."""
    names = channels(data).inputs
    if not names:
        return []
    values, place = _sample(data, names[0], row), place_of(data, names[0], row)
    units = str(data[names[0]].attrs.get("units", "1"))
    more = f" (first of {len(names)})" if len(names) > 1 else ""
    limits = _spread(float(values.min()), float(values.max()))
    return [field_panel(place, f"input {escape(names[0])}{more}", values, limits, "cividis", units)]


def _curves(
    place: Place, truth: np.ndarray, mean: np.ndarray, std: np.ndarray | None, units: str
) -> list[str]:
    label = "" if units == "1" else units
    lines = [(truth, INK), (mean, PALETTE[0])]
    band = None if std is None else 2.0 * std
    title = "truth (black), prediction" + ("" if std is None else " ± 2 σ")
    panels = [
        figure(title, curves(place, lines, label, band)),
        figure("prediction − truth", curves(place, [(mean - truth, PALETTE[1])], label)),
    ]
    if std is not None:
        panels.append(figure("standard deviation", curves(place, [(std, PALETTE[3])], label)))
    return panels


def _parameters(data: xr.Dataset, row: int) -> str:
    names = channels(data).parameters[:8]
    values = [
        f"{n} = {number(float(data[n].values[row]))} {data[n].attrs.get('units', '')}".removesuffix(" 1")
        for n in names
    ]
    return note(", ".join(values)) if values else ""


def _spread(low: float, high: float) -> tuple[float, float]:
    return (float(low), float(high)) if high > low else (float(low), float(low) + (abs(float(low)) or 1.0))
