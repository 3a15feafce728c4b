"""Section of the report on error bars: how often the intervals hold, as a plot and a table."""

from html import escape

import numpy as np
import xarray as xr

from stages._report_figures import calibration, number
from stages.report_page import note

BAR = (0.88, 0.99)
"""Within which the 95 % interval of every quantity should hold."""

_NOTABLE = 0.05  # part of exact zeros from which the two ways of counting are worth two lines


def honesty(metrics: xr.Dataset) -> str:
    """Coverage against its nominal level: a plot with a line a quantity and a table with the counts.

    metrics: output of stage `evaluate`. Judged are the values whose truth is not exactly zero; the
    coverage of all values and of the zeros stands beside it.
    """
    head = (
        *("quantity", "values", "of them zero", "50 %", "90 %", "95 %", "", "95 %, all values"),
        *("95 %, zeros", "deviation", "deviation at zeros"),
    )
    top = "".join(f"<th>{escape(text)}</th>" for text in head)
    body = "".join(_line(metrics.sel(quantity=name)) for name in metrics["quantity"].values)
    return (
        note(
            "On the diagonal the intervals hold as often as they say; above it they are too wide, below "
            "too narrow. Judged are the values that are not exactly zero (columns 50, 90 and 95 %): where a "
            "field is zero over most of a part, any interval holds there, and counting those values "
            "(dashed) hides what happens at the others. "
            f"The bar at 95 % goes from {100 * BAR[0]:.0f} to {100 * BAR[1]:.0f} %. A scalar has one value "
            "a test part, so its shares are coarse: ± is one standard error of a true 95 %. Deviations are "
            "root mean squares of what is predicted."
        )
        + f'<div class="plots"><figure>{_plot(metrics)}</figure></div>'
        + f'<div class="wide"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def _zeros(one: xr.Dataset) -> float:
    nonzero, zero = (int(count) for count in one["values"].values)
    return zero / (nonzero + zero)


def _plot(metrics: xr.Dataset) -> str:
    names, judged, plain = [], [], {}
    for name in metrics["quantity"].values:
        one = metrics.sel(quantity=name)
        line = one["coverage_of_class"].values[0]
        if np.isnan(line).any():
            continue
        names.append(str(name))
        judged.append(line)
        if _zeros(one) > _NOTABLE:
            plain[str(name)] = one["coverage"].values
    return calibration(metrics["level"].values, np.array(judged), names, plain, (0.95, *BAR))


def _line(one: xr.Dataset) -> str:
    nonzero, zero = (int(count) for count in one["values"].values)
    covered = one["coverage_of_class"].sel(level=[0.5, 0.9, 0.95]).values
    everything = float(one["coverage"].sel(level=0.95))
    units = str(one["quantity_units"].values)
    spread = [
        number(float(s)) + ("" if units == "1" or not np.isfinite(s) else f" {units}")
        for s in one["spread"].values
    ]
    cells = [
        f"{nonzero + zero:,}",
        _percent(_zeros(one)) if zero else "none",
        *(_percent(share) for share in covered[0]),
        _verdict(float(covered[0, 2]), bool(one["is_field"]), nonzero),
        _percent(everything),
        _percent(float(covered[1, 2])),
        *spread,
    ]
    name = escape(str(one["quantity"].values))
    css = "" if BAR[0] <= covered[0, 2] <= BAR[1] or not nonzero else ' class="off"'
    return (
        f'<tr{css}><td class="group">{name}</td>' + "".join(f"<td>{escape(c)}</td>" for c in cells) + "</tr>"
    )


def _verdict(share: float, field: bool, count: int) -> str:
    """How far one can trust the share, and on which side of the bar it is."""
    doubt = "" if field or not count else f"± {100 * np.sqrt(0.95 * 0.05 / count):.1f}"
    side = "too narrow" if share < BAR[0] else "too wide" if share > BAR[1] else ""
    return " ".join(text for text in (doubt, side) if text)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %" if np.isfinite(share) else "–"
