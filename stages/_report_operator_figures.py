"""Pictures of fields on grids and meshes, and curves of training, for the report of operators."""

import base64
import re
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from stages._report_figures import PALETTE, Plot, colour_bar, draw, number, ticks
from stages.operator_data import is_mesh
from stages.ragged import take

_PIXELS = 64
"""Least pixels along the longer side of an uneven image."""


def png(values: np.ndarray, limits: tuple[float, float], colours: str) -> str:
    """An image (rows, columns), the first row on top, as a PNG data URI; values beyond the limits clipped."""
    import pyvista as pv  # here, since it takes as long to import as all the rest of a stage

    table = np.asarray(pv.LookupTable(colours, n_values=256).values)[:, :3].astype(np.uint8)
    share = (np.asarray(values, dtype=np.float64) - limits[0]) / (limits[1] - limits[0])
    pixels = table[np.clip(np.round(255.0 * share), 0, 255).astype(np.int64)]
    rows, columns = values.shape
    lines = np.concatenate([np.zeros((rows, 1), np.uint8), pixels.reshape(rows, -1)], axis=1)

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", columns, rows, 8, 2, 0, 0, 0))
    data = (
        b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(lines.tobytes(), 9)) + chunk(b"IEND", b"")
    )
    return "data:image/png;base64," + base64.b64encode(data).decode("ascii")


@dataclass(frozen=True)
class Place:
    """Where the values of one sample lie: axes by name, or the points and cells of a mesh."""

    axes: Mapping[str, np.ndarray]
    points: np.ndarray | None = None
    cells: np.ndarray | None = None

    @property
    def is_curve(self) -> bool:
        """Whether a field is drawn as a curve."""
        return self.points is None and len(self.axes) == 1


def place_of(data: xr.Dataset, name: str, row: int) -> Place:
    """Where the values of a variable lie in one sample of the data set."""
    if is_mesh(data):
        one = take(data[["node_count", "cell_count", "x", "connectivity"]], [row])
        return Place({}, np.asarray(one["x"].values), np.asarray(one["connectivity"].values))
    return Place({str(axis): np.asarray(data[axis].values, float) for axis in data[name].dims[1:]})


def picture(
    place: Place, values: np.ndarray, limits: tuple[float, float], colours: str, alt: str
) -> tuple[str, str]:
    """One field as an image element, and in words which axis goes where.

    On a grid `x` (else the last axis) goes to the right, the other up, one rectangle a point; of three axes
    the middle of the first is shown.
    """
    if place.points is not None and place.cells is not None:
        return f'<img alt="{alt}" src="{draw(place.points, place.cells, values, limits, colours)}"/>', ""
    names, said = list(place.axes), ""
    while len(names) > 2:
        axis = place.axes[names[0]]
        said += f", {names[0]} = {number(float(axis[len(axis) // 2]))}"
        values, names = values[len(axis) // 2], names[1:]
    right = "x" if "x" in names else names[-1]
    up = next(name for name in names if name != right)
    values = values if names[0] == up else values.T
    rows, columns = (_even(place.axes[name]) for name in (up, right))
    rows, columns = _stretched(rows, columns, np.ptp(place.axes[up]) / (np.ptp(place.axes[right]) or 1.0))
    image = png(values[rows][:, columns][::-1], limits, colours)
    return f'<img class="pixels" alt="{alt}" src="{image}"/>', f"{right} to the right, {up} up{said}"


def _stretched(rows: np.ndarray, columns: np.ndarray, aspect: float) -> tuple[np.ndarray, np.ndarray]:
    """Rows or columns repeated until the image is about as high over wide as its extent, within reason."""
    wanted = float(np.clip(aspect, 0.6, 1.6)) * len(columns) / len(rows)
    if wanted > 1.0:
        return rows.repeat(round(wanted)), columns
    return rows, columns.repeat(round(1.0 / wanted))


def _even(axis: np.ndarray) -> np.ndarray:
    """Points of an axis for the pixels of an image: each once, or the nearest at even places."""
    steps = np.diff(axis)
    if steps.size == 0 or np.ptp(steps) <= 1e-3 * steps.mean():
        return np.arange(axis.size)
    places = np.linspace(axis[0], axis[-1], max(_PIXELS, 2 * axis.size))
    return np.abs(axis[None] - places[:, None]).argmin(axis=1)


def curves(
    place: Place, lines: Sequence[tuple[np.ndarray, str]], label: str, half: np.ndarray | None = None
) -> str:
    """Fields on one axis as curves: (values, colour); half: half width of a band about the last."""
    ((axis, x),) = place.axes.items()
    low = min(float(v.min()) for v, _ in lines)
    high = max(float(v.max()) for v, _ in lines)
    if half is not None:
        low = min(low, float((lines[-1][0] - half).min()))
        high = max(high, float((lines[-1][0] + half).max()))
    pad = 0.05 * (high - low) or abs(high) or 1.0
    ends = (float(x[0]), float(x[-1])) if x.size > 1 else (float(x[0]) - 0.5, float(x[0]) + 0.5)
    frame = (low - pad, high + pad)
    marks = [(at, re.sub(r"\.?0+·", "·", text)) for at, text in ticks(*frame, 4)]
    plot = Plot(ends, frame, axis, label, ticks(*ends, 3), marks, width=300, height=240)
    if half is not None:
        middle = lines[-1][0]
        outline = [*zip(x, middle + half, strict=True), *zip(x[::-1], (middle - half)[::-1], strict=True)]
        path = " ".join("{:.1f},{:.1f}".format(*plot.at(float(a), float(b))) for a, b in outline)
        plot.parts.append(f'<polygon points="{path}" fill="{lines[-1][1]}" fill-opacity="0.18"/>')
    for values, colour in lines:
        thin(plot, x, values, colour)
    return plot.svg(label)


def thin(plot: Plot, x: np.ndarray, y: np.ndarray, colour: str, name: str = "", opacity: float = 1.0) -> None:
    """A line without marks; gaps where y is not finite."""
    known = np.isfinite(y)
    path = " ".join(
        "{:.1f},{:.1f}".format(*plot.at(float(a), float(b))) for a, b in zip(x[known], y[known], strict=True)
    )
    plot.parts.append(
        f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.6" '
        f'stroke-opacity="{opacity}"/>'
    )
    if name:
        plot.names.append((name, colour))


def logarithmic(
    series: Sequence[tuple[str, np.ndarray, str]],
    x_label: str,
    y_label: str,
    marks: Sequence[tuple[float, str]],
) -> str:
    """Positive series over 1, 2, ... on a logarithmic axis: (name, empty where it is named already; values;
    colour).
    """
    kept = [(name, np.asarray(v, float), colour) for name, v, colour in series if (np.asarray(v) > 0).any()]
    if not kept:
        return ""
    logs = [(name, np.log10(np.where(v > 0.0, v, np.nan)), colour) for name, v, colour in kept]
    low = min(float(np.nanmin(v)) for _, v, _ in logs)
    high = max(float(np.nanmax(v)) for _, v, _ in logs)
    low, high = low - 0.05 * (high - low) - 0.02, high + 0.05 * (high - low) + 0.02
    most = max(v.size for _, v, _ in logs)
    plot = Plot(
        (0.5, most + 0.5), (low, high), x_label, y_label, marks, powers(low, high), width=390, height=310,
        legend_width=140,
    )  # fmt: skip
    for name, values, colour in logs:
        thin(plot, np.arange(1.0, values.size + 1.0), values, colour, name, 0.85)
    return plot.svg(y_label)


def powers(low: float, high: float) -> list[tuple[float, str]]:
    """Round values within a range of decimal logarithms, 3 to 8 of them where that can be."""
    for factors in ((1.0,), (1.0, 3.0), (1.0, 2.0, 5.0), (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0)):
        every = [
            (float(np.log10(f)) + p, number(f * 10.0**p, 2))
            for p in range(int(np.floor(low)), int(np.ceil(high)) + 1)
            for f in factors
        ]
        found = [(at, text) for at, text in every if low <= at <= high]
        if len(found) >= 3:
            break
    return found[:: max(1, len(found) // 7)]


def training(models: Mapping[str, xr.Dataset], colours: Mapping[str, str]) -> str:
    """Loss and validation error of every member over the epochs; one colour a candidate."""
    figures = []
    for name, label in (
        ("train_loss", "training loss"),
        ("validation_error", "validation error, relative L2"),
    ):
        series, named = [], set()
        for label_of, model in models.items():
            candidate = label_of.removeprefix("models.").rpartition(".")[0] or label_of
            for values in np.asarray(model[name].values, dtype=np.float64):
                if np.isfinite(values).sum() > 1:
                    shown = "" if candidate in named else candidate
                    named.add(candidate)
                    series.append((shown, values, colours.get(candidate, PALETTE[-1])))
        most = max((v.size for _, v, _ in series), default=0)
        if most:
            marks = [(float(p), text) for p, text in ticks(1.0, float(max(most, 2)), 5)]
            figures.append(f"<figure>{logarithmic(series, 'epoch', label, marks)}</figure>")
    return f'<div class="plots">{"".join(figures)}</div>' if figures else ""


def figure(title: str, image: str, under: str = "") -> str:
    """A panel with its title above."""
    return f"<figure><figcaption>{title}</figcaption>{image}{under}</figure>"


def field_panel(
    place: Place, title: str, values: np.ndarray, limits: tuple[float, float], colours: str, units: str
) -> str:
    """A field as an image with its colour bar, or as a curve."""
    if place.is_curve:
        label = "" if units == "1" else units
        return figure(title, curves(place, [(values, PALETTE[0])], label))
    image, _ = picture(place, values, limits, colours, title)
    return figure(title, image, colour_bar(limits, colours, units))
