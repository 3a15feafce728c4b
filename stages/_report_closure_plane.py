"""Errors of closures over the plane of activity and alignment, for the report."""

from collections.abc import Sequence
from html import escape

import numpy as np
import xarray as xr

from stages._closure_table import POOLED
from stages._report_closure_figures import ends_of, side_by_side
from stages._report_figures import FAINT, INK, PALETTE, Plot, number, ticks
from stages._report_operator_figures import powers
from stages.report_page import note

_SHOWN = (
    ("apriori_nmse", "a-priori NMSE of S:T"),
    ("w1_order", "W₁ distance of r"),
    ("spectrum_rmse", "error of the spectrum"),
)
"""What is mapped."""


def plane(metrics: xr.Dataset, closure: str, trained: Sequence[tuple[float, float]] = ()) -> str:
    """A closure's errors over those of the baseline at every tested point (alpha, zeta); blue is better.

    trained: points of the training runs, marked by crosses. Nothing where there is one condition, or the
    closure is the baseline itself.
    """
    points = np.flatnonzero(metrics["condition"].values != POOLED)
    baseline = str(metrics.attrs["baseline"])
    if points.size < 2 or closure == baseline or baseline not in metrics["closure"].values:
        return ""
    at = np.stack([metrics[f"condition_{name}"].values[points] for name in ("alpha", "zeta")], axis=1)
    figures = []
    for name, label in _SHOWN:
        score = metrics["score"].sel(metric=name).isel(condition=points)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = score.sel(closure=closure).values / score.sel(closure=baseline).values
        if np.isfinite(ratio).any():
            figures.append(_map(at, ratio, label, np.array(trained, dtype=np.float64).reshape(-1, 2)))
    if not figures:
        return ""
    text = (
        f"Error of {closure} over that of {baseline} at every tested point of activity and alignment: blue "
        "and below 1 where it is better, red and above 1 where it is worse, grey where it is not known."
    )
    return note(text + (" Crosses: points of training runs." if len(trained) else "")) + side_by_side(
        *figures
    )


def _map(at: np.ndarray, ratio: np.ndarray, label: str, trained: np.ndarray) -> str:
    every = np.concatenate([at, trained])
    logarithmic = bool((every[:, 1] > 0.0).all())

    def up(zeta: np.ndarray) -> np.ndarray:
        return np.log10(zeta) if logarithmic else zeta

    ends = ends_of(every[:, 0], 0.15), ends_of(up(every[:, 1]), 0.15)
    marks = ticks(*ends[0], 5), powers(*ends[1]) if logarithmic else ticks(*ends[1], 5)
    plot = Plot(*ends, "activity α", "alignment ζ", marks[0], marks[1], width=370, height=320)
    for alpha, zeta in zip(trained[:, 0], up(trained[:, 1]), strict=True):
        x, y = plot.at(float(alpha), float(zeta))
        tested = bool((np.abs(at[:, 0] - alpha) + np.abs(up(at[:, 1]) - zeta) < 1e-9).any())
        cross = f"M{x - (26 if tested else 4):.1f} {y - 4:.1f}l8 8m0 -8l-8 8"  # beside the disc of a test
        plot.parts.append(f'<path d="{cross}" stroke="#5d6b79" stroke-width="1.6"></path>')
    for alpha, zeta, value in zip(at[:, 0], up(at[:, 1]), ratio, strict=True):
        x, y = plot.at(float(alpha), float(zeta))
        plot.parts.append(_disc(x, y, float(value)))
    return f"<figure><figcaption>{escape(label)}</figcaption>{plot.svg(label)}</figure>"


def _disc(x: float, y: float, value: float) -> str:
    place = f'cx="{x:.1f}" cy="{y:.1f}" r="16"'
    if not np.isfinite(value):
        return f'<circle {place} fill="{FAINT}"/>'
    strength = float(np.clip(abs(np.log2(max(value, 1e-6))) / 3.0, 0.12, 1.0))
    colour = PALETTE[0] if value <= 1.0 else PALETTE[1]
    ink = "#fff" if strength > 0.5 else INK
    return (
        f'<circle {place} fill="#fff"/><circle {place} fill="{colour}" fill-opacity="{strength:.2f}" '
        f'stroke="{colour}"/><text x="{x:.1f}" y="{y + 4:.1f}" text-anchor="middle" style="fill:{ink}">'
        f"{escape(number(value, 2))}</text>"
    )
