"""Curves and maps of the report of closures, as SVG."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
import xarray as xr

from stages._closure_runs import TRUTH
from stages._report_figures import INK, PALETTE, Plot, colour_bar, ticks
from stages._report_operator_figures import powers, thin
from stages.report_page import note


@dataclass(frozen=True)
class Curve:
    """A line of a chart; half: half width of the band about it, dashed: it is a reference."""

    name: str
    x: np.ndarray
    y: np.ndarray
    colour: str
    half: np.ndarray | None = None
    opacity: float = 1.0


def colours_of(closures: Sequence[str], baseline: str) -> dict[str, str]:
    """The truth in ink, the baseline in red, the others in the order of the palette."""
    rest = [colour for i, colour in enumerate(PALETTE) if i != 1]
    others = [name for name in closures if name not in (TRUTH, baseline)]
    found = {name: rest[i % len(rest)] for i, name in enumerate(others)}
    return {TRUTH: INK, baseline: PALETTE[1], **found}


def chart(
    curves: Sequence[Curve], x_label: str, y_label: str, *, logarithmic: tuple[bool, bool] = (False, False),
    width: int = 400, lines: Sequence[tuple[float, float, str]] = (), low: float | None = None,
    legend: bool = True,
) -> str:  # fmt: skip
    """Curves in one frame, each axis linear or logarithmic; nothing where no value is known.

    lines: dashed references (x, y, name), one of both NaN: vertical at x or horizontal at y; low: lowest
    value shown on the y-axis; legend: beside it, or there is one in the row already.
    """
    made = [_scaled(one, logarithmic) for one in curves]
    made = [one for one in made if np.isfinite(one.y).any()]
    if not made:
        return ""
    x = np.concatenate([one.x[np.isfinite(one.y)] for one in made])
    y = np.concatenate([one.y[np.isfinite(one.y)] for one in made])
    if low is not None:
        y = np.maximum(y, np.log10(low) if logarithmic[1] else low)
    ends = ends_of(x, 0.0), ends_of(y, 0.05)
    across, up = (_powers(*e) if log else ticks(*e, 5) for e, log in zip(ends, logarithmic, strict=True))
    wide = 30 + 7 * max(len(text) for text in [one.name for one in made] + [text for *_, text in lines])
    plot = Plot(*ends, x_label, y_label, across, up, width=width, height=290, legend_width=wide)
    for at, level, text in lines:
        value = [at, at] if np.isfinite(at) else list(ends[0])
        height = [level, level] if np.isfinite(level) else list(ends[1])
        plot.line(value, height, "#7b8794", text, dashed=True)
    for one in made:
        _band(plot, one, ends)
        kept = (one.y >= ends[1][0]) & (one.y <= ends[1][1])
        thin(plot, one.x, np.where(kept, one.y, np.nan), one.colour, one.name, one.opacity)
    if not legend:
        plot.names.clear()
    return f"<figure>{plot.svg(y_label)}</figure>"


def _powers(low: float, high: float) -> list[tuple[float, str]]:
    return [(at, text.removeprefix("1.0·")) for at, text in powers(low, high)]


def said(condition: str) -> str:
    """A condition in the letters of the model."""
    return condition.replace("alpha=", "α = ").replace("zeta=", "ζ = ").replace("-", "−")


def _scaled(one: Curve, logarithmic: tuple[bool, bool]) -> Curve:
    x, y, half = np.asarray(one.x, float), np.asarray(one.y, float), one.half
    if logarithmic[1]:
        half = None if half is None else half / np.where(y > 0.0, y, np.nan) / np.log(10.0)
        y = np.log10(np.where(y > 0.0, y, np.nan))
    if logarithmic[0]:
        x, y = np.log10(np.where(x > 0.0, x, 1.0)), np.where(x > 0.0, y, np.nan)
    return Curve(one.name, x, y, one.colour, half, one.opacity)


def ends_of(values: np.ndarray, pad: float) -> tuple[float, float]:
    """Ends of an axis that holds the values, with a share of their range on both sides."""
    low, high = float(values.min()), float(values.max())
    room = pad * (high - low) if high > low else (0.1 * abs(low) or 0.1)
    return low - room, high + room


def _band(plot: Plot, one: Curve, ends: tuple[tuple[float, float], tuple[float, float]]) -> None:
    if one.half is None:
        return
    known = np.isfinite(one.y) & np.isfinite(one.half)
    x, low, high = one.x[known], (one.y - one.half)[known], (one.y + one.half)[known]
    if x.size < 2:
        return
    low, high = (np.clip(v, *ends[1]) for v in (low, high))
    outline = [*zip(x, high, strict=True), *zip(x[::-1], low[::-1], strict=True)]
    path = " ".join("{:.1f},{:.1f}".format(*plot.at(float(a), float(b))) for a, b in outline)
    plot.parts.append(f'<polygon points="{path}" fill="{one.colour}" fill-opacity="0.16"/>')


def side_by_side(*figures: str) -> str:
    """Charts in a row, as many as there are."""
    found = "".join(figures)
    return f'<div class="plots">{found}</div>' if found else ""


def time_series(metrics: xr.Dataset, condition: str, colours: Mapping[str, str]) -> str:
    """Mean order parameter and root-mean-square velocity of every run over time; a line a run."""
    rows = np.flatnonzero(metrics["sample_condition"].values == condition)
    charts = []
    for name, label in (("series_order", "mean order parameter ⟨r⟩"), ("series_speed", "u_rms")):
        curves = []
        for m, closure in enumerate(metrics["closure"].values):
            for i, row in enumerate(rows):
                values = metrics[name].values[m, row]
                shown = str(closure) if i == 0 else ""
                known = np.isfinite(values)
                strong = 0.9 if i == 0 else 0.35
                one = Curve(
                    shown, metrics["time"].values[known], values[known], colours[str(closure)], None, strong
                )
                if known.any():
                    curves.append(one)
        late = [(float(metrics.attrs["late"]), float("nan"), "late times")]
        charts.append(chart(curves, "time t", label, width=400, lines=late))
    text = "A line a seed, the first one strong. A line that ends is a run that died."
    return note(text) + side_by_side(*charts) if any(charts) else ""


def spectra_and_densities(metrics: xr.Dataset, condition: str, colours: Mapping[str, str]) -> str:
    """Velocity spectrum with standard errors over seeds, and densities of r and |u|."""
    one = metrics.sel(condition=condition)
    curves: dict[str, list[Curve]] = {"spectrum": [], "order": [], "speed": []}
    for m, closure in enumerate(str(name) for name in metrics["closure"].values):
        half = one["spectrum_error"].values[m]
        known = one["spectrum"].values[m]
        curves["spectrum"].append(Curve(closure, metrics["wavenumber"].values, known, colours[closure], half))
        for name in ("order", "speed"):
            edges = one[f"{name}_edge"].values
            values = one[f"density_{name}"].values[m]
            curves[name].append(Curve(closure, 0.5 * (edges[1:] + edges[:-1]), values, colours[closure]))
    top = np.nanmax(one["spectrum"].values) if np.isfinite(one["spectrum"].values).any() else 1.0
    found = side_by_side(
        chart(curves["spectrum"], "wavenumber k", "energy in a shell, E(k)", logarithmic=(True, True),
              low=1e-8 * top, width=300, legend=False),
        chart(curves["order"], "order parameter r", "probability density", width=300, legend=False),
        chart(curves["speed"], "speed |u|", "probability density", width=300),
    )  # fmt: skip
    said = (
        "Late times, all seeds together; runs that died are left out. Spectrum: energy of the shells of "
        "waves below 2/3 of the Nyquist wave, the band is one standard error over seeds."
    )
    return note(said) + found if found else ""


def decorrelation(metrics: xr.Dataset, condition: str, colours: Mapping[str, str]) -> str:
    """Correlation of the vorticity with the truth over the lead time."""
    one = metrics.sel(condition=condition)
    curves = [
        Curve(str(name), metrics["forecast_time"].values, one["correlation"].values[m], colours[str(name)],
              one["correlation_error"].values[m])
        for m, name in enumerate(metrics["closure"].values)
    ]  # fmt: skip
    level = [(float("nan"), float(metrics.attrs["threshold"]), f"{metrics.attrs['threshold']:g}")]
    return chart(curves, "lead time", "correlation of vorticity with the truth", width=460, lines=level)


def error_maps(metrics: xr.Dataset, condition: str) -> str:
    """Relative error of S:T in bins of r and |e|, a panel a closure, one colour scale for all."""
    one = metrics.sel(condition=condition)
    panels = {
        str(name): one["error_map"].values[m]
        for m, name in enumerate(metrics["closure"].values)
        if np.isfinite(one["error_map"].values[m]).any()
    }
    if not panels:
        return ""
    logs = {name: np.log10(np.where(v > 0.0, v, np.nan)) for name, v in panels.items()}
    high = max(float(np.nanmax(v)) for v in logs.values())
    low = max(min(float(np.nanmin(v)) for v in logs.values()), high - 4.0)
    figures = [_map(name, logs[name], one["strain_edge"].values, (low, high)) for name in panels]
    bar = colour_bar((low, high), "viridis", "log₁₀")
    text = (
        "Root mean square of the error of the deviator of S:T, over that of the truth at all points, in "
        "bins of the order parameter r and the strain rate |e|, as decimal logarithm. Grey: no point is "
        "there."
    )
    return note(text) + side_by_side(*figures) + bar


def _map(name: str, values: np.ndarray, strain: np.ndarray, limits: tuple[float, float]) -> str:
    import pyvista as pv  # here, since it takes as long to import as all the rest of a stage

    table = np.asarray(pv.LookupTable("viridis", n_values=256).values)[:, :3]
    marks = [(v, f"{v:g}") for v in (0.0, 0.25, 0.5, 0.75, 1.0)]
    top = float(strain[-1]) if strain[-1] > 0.0 else 1.0
    plot = Plot((0.0, 1.0), (0.0, top), "order parameter r", "strain rate |e|", marks, ticks(0.0, top, 4),
                width=300, height=270)  # fmt: skip
    span = max(limits[1] - limits[0], 1e-12)
    for i in range(values.shape[0]):
        for j in range(values.shape[1]):
            left, bottom = plot.at(i / values.shape[0], top * j / values.shape[1])
            right, upper = plot.at((i + 1) / values.shape[0], top * (j + 1) / values.shape[1])
            fill = "#eceff2"
            if np.isfinite(values[i, j]):
                share = float(np.clip((values[i, j] - limits[0]) / span, 0.0, 1.0))
                fill = "rgb({},{},{})".format(*table[round(255 * share)])
            plot.parts.append(
                f'<rect x="{left:.1f}" y="{upper:.1f}" width="{right - left + 0.4:.1f}" '
                f'height="{bottom - upper + 0.4:.1f}" fill="{fill}" shape-rendering="crispEdges"/>'
            )
    return f"<figure><figcaption>{escape(name)}</figcaption>{plot.svg(name)}</figure>"
