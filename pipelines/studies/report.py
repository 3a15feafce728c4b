"""The report of a study: one HTML file with its table, main effects, sensitivity indices and failures."""

import base64
import math
from collections import Counter
from html import escape
from io import StringIO
from typing import Any

import numpy as np
import pandas as pd

from catalogs import studies
from catalogs.catalog import Catalog
from kernels.errors import InputError
from pipelines.studies.definition import Definition, Range
from pipelines.studies.live import duration, group_of
from pipelines.studies.results import definition_of, result_table
from pipelines.studies.sensitivity import sensitivity
from stages import report_page as html

LARGEST_TABLE = 1000
"""Rows that the page shows; all are in the CSV that it carries."""

METRICS = 6
"""Metrics that get plots and indices: those that vary most, by their coefficient of variation."""

_WIDTH, _HEIGHT, _MARGIN = 310, 190, 62
_TICKS, _LETTER = 6, 6.2
_BINS = 10
_DOTS = 1500


def report(catalog: Catalog, name: str) -> str:
    """The page.

    Raises InputError where there is no such study.
    """
    table = result_table(catalog, name)
    study = studies.get(catalog.engine, name)
    definition = definition_of(study)
    metrics = _interesting(table)
    counts = ", ".join(f"{n} {state}" for state, n in table["state"].value_counts().items())
    total = duration(float(table["seconds"].fillna(0.0).sum()))
    lead = (
        f"{escape(study.target)} version {study.version}, {definition.design.method} design, {len(table)} "
        f"points: {counts}; {total} of computing"
    )
    plots = [_effects(table, definition, metric) for metric in metrics]
    sections = [
        html.section("Main effects", html.note(_EFFECTS) if plots else "", *plots),
        html.section("Sensitivity", *[_indices(definition, table, metric) for metric in metrics]),
        html.section("Failures", _failures(table)),
        html.section("Points", *_points(table)),
    ]
    return html.page(f"Study {name}", lead, sections)


_EFFECTS = (
    "Dots are points; the line is the mean over the points of each value, or of ten bins of equal counts. "
    "On designs other than grids and samples of ranges the mean mixes the effects of parameters that vary "
    "together."
)


def _interesting(table: pd.DataFrame) -> list[str]:
    spread: dict[str, float] = {}
    for name in table.attrs["metrics"]:
        values = table[name].to_numpy(dtype=np.float64)
        values = values[np.isfinite(values)]
        if len(values) > 1 and np.ptp(values) > 0.0:
            spread[name] = float(values.std() / max(abs(values.mean()), np.ptp(values) * 1e-3))
    return sorted(spread, key=lambda name: -spread[name])[:METRICS]


def _effects(table: pd.DataFrame, definition: Definition, metric: str) -> str:
    y = table[metric].to_numpy(dtype=np.float64)
    good = np.isfinite(y)
    figures = []
    for parameter in table.attrs["parameters"]:
        column = table[parameter]
        entry = definition.design.parameters.get(parameter.removeprefix("config."))
        log = isinstance(entry, Range) and entry.log
        if pd.api.types.is_numeric_dtype(column):
            x, ticks = column.to_numpy(dtype=np.float64), None
        else:
            codes, labels = pd.factorize(column.astype(str))
            x, ticks = codes.astype(np.float64), [str(label) for label in labels]
        figures.append(f"<figure>{_plot(x[good], y[good], parameter, metric, ticks, log)}</figure>")
    return f"<h3>{escape(metric)}</h3><div class='plots'>{''.join(figures)}</div>"


def means(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean of y at every value of x, or in bins of equal counts where x has more than 20 values."""
    levels, place = np.unique(x, return_inverse=True)
    if len(levels) > 20:
        order = np.argsort(x, kind="stable")
        cuts = np.array_split(order, _BINS)
        return np.array([x[c].mean() for c in cuts]), np.array([y[c].mean() for c in cuts])
    return levels, np.bincount(place, weights=y) / np.bincount(place)


def _plot(
    x: np.ndarray, y: np.ndarray, parameter: str, metric: str, ticks: list[str] | None, log: bool
) -> str:
    scale = np.log10 if log else np.asarray
    centre, mean = means(x, y)
    xs, ys = _axis(scale(x), _MARGIN, _WIDTH - 12), _axis(y, _HEIGHT - 38, 14)
    step = max(1, len(x) // _DOTS)
    dots = "".join(
        f'<circle cx="{xs(a):.1f}" cy="{ys(b):.1f}" r="1.8"/>'
        for a, b in zip(scale(x)[::step], y[::step], strict=True)
    )
    line = " ".join(f"{xs(a):.1f},{ys(b):.1f}" for a, b in zip(scale(centre), mean, strict=True))
    if ticks is None:
        marks = [(float(scale(v)), f"{v:.3g}") for v in (x.min(), x.max())]
    else:
        marks = _marks(ticks)
    below = "".join(
        f'<text x="{xs(v):.1f}" y="{_HEIGHT - 22}" text-anchor="middle">{escape(t)}</text>' for v, t in marks
    )
    beside = "".join(
        f'<text x="{_MARGIN - 5}" y="{ys(v) + 4:.1f}" text-anchor="end">{v:.3g}</text>'
        for v in (y.min(), y.max())
    )
    below_all = f"{parameter}, logarithmic" if log else parameter
    return (
        f'<svg class="plot" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" role="img">'
        f"<title>{escape(metric)} against {escape(parameter)}</title>"
        f'<path d="M{_MARGIN} 10V{_HEIGHT - 36}H{_WIDTH - 8}" fill="none" stroke="#b9c4cf"/>'
        f'<g fill="#8fb4d6" fill-opacity="0.5">{dots}</g>'
        f'<polyline points="{line}" fill="none" stroke="#1f6fb2" stroke-width="2"/>{below}{beside}'
        f'<text x="{_WIDTH / 2 + 20}" y="{_HEIGHT - 4}" text-anchor="middle">{escape(below_all)}</text>'
        "</svg>"
    )


def _marks(labels: list[str]) -> list[tuple[float, str]]:
    """Places and texts of labels along an axis: some of many, and no longer than there is room for."""
    some = np.unique(np.linspace(0, len(labels) - 1, min(len(labels), _TICKS)).round().astype(int))
    room = max(3, int((_WIDTH - _MARGIN) / max(len(some) - 1, 1) / _LETTER) - 1)
    texts = [labels[i] if len(labels[i]) <= room else labels[i][: room - 1] + "\u2026" for i in some]
    return [(float(i), text) for i, text in zip(some, texts, strict=True)]


def _axis(values: Any, start: float, stop: float) -> Any:
    low, high = float(np.min(values)), float(np.max(values))
    width = high - low or 1.0
    return lambda v: start + (stop - start) * (float(v) - low) / width


def _indices(definition: Definition, table: pd.DataFrame, metric: str) -> str:
    try:
        found = sensitivity(definition, table, metric)
    except InputError as error:
        return html.note(f"{metric}: {error}")
    parts = [f"<h3>{escape(metric)}</h3>"]
    for one in found:
        lines = [[str(row[0]), *[_number(v) for v in row[1:]]] for row in one.table.itertuples(index=False)]
        parts += [html.note(one.how), html.table([str(c) for c in one.table.columns], lines)]
    return "".join(parts)


def _failures(table: pd.DataFrame) -> str:
    failed = table[table["state"] == studies.FAILED]
    groups: Counter[tuple[str, str]] = Counter()
    first: dict[tuple[str, str], tuple[int, str, str]] = {}
    for point, kind, error, log in failed[["point", "failure", "error", "log"]].itertuples(index=False):
        group = group_of(kind or "", error or "")
        groups[group] += 1
        first.setdefault(group, (point, error or "", log or ""))
    lines = [
        [str(count), group[0], first[group][1][:300], str(first[group][0]), first[group][2]]
        for group, count in groups.most_common()
    ]
    head = ["points", "kind", "message of the first", "first", "its log"]
    return html.table(head, lines, left=(1, 2, 4)) if lines else ""


def _points(table: pd.DataFrame) -> list[str]:
    columns = ["point", "state", *table.attrs["parameters"], *table.attrs["metrics"], "seconds"]
    lines = [
        [_number(value) for value in row]
        for row in table[columns].head(LARGEST_TABLE).itertuples(index=False)
    ]
    text = StringIO()
    table.to_csv(text, index=False)
    data = base64.b64encode(text.getvalue().encode()).decode()
    link = f'<p><a download="study.csv" href="data:text/csv;base64,{data}">All points as CSV</a></p>'
    more = f"The first {LARGEST_TABLE} of {len(table)}." if len(table) > LARGEST_TABLE else ""
    words = [i for i, name in enumerate(columns) if not pd.api.types.is_numeric_dtype(table[name])]
    return [link, html.note(more) if more else "", html.table(columns, lines, left=words)]


def _number(value: Any) -> str:
    if isinstance(value, float):
        return "-" if math.isnan(value) else f"{value:.4g}"
    return str(value)
