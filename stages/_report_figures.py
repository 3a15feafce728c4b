"""Pictures of the report: parts drawn off screen, line plots and colour bars as SVG."""

import base64
import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from html import escape
from typing import Any

import numpy as np

PALETTE = (
    *("#1f6fb2", "#d1495b", "#2e933c", "#8f5bbd", "#e08e1b"),
    *("#17929c", "#7a5230", "#c25aa0", "#5f6b7a", "#a3a11b"),
)
INK, FAINT = "#24303c", "#dde3e9"

_LONG, _SHORT = 760, 220


@contextmanager
def _errors_only() -> Iterator[None]:
    """VTK warns on the terminal that there is no display, and then draws without one."""
    from vtkmodules.vtkCommonCore import vtkLogger

    before = vtkLogger.GetCurrentVerbosityCutoff()
    vtkLogger.SetStderrVerbosity(vtkLogger.VERBOSITY_ERROR)
    try:
        yield
    finally:
        vtkLogger.SetStderrVerbosity(before)


@_errors_only()
def draw(
    points: np.ndarray, cells: np.ndarray, values: np.ndarray, limits: tuple[float, float], colours: str
) -> str:
    """One part coloured by its nodal values, as a PNG data URI; without display, on white, at its true
    aspect.

    points: (n, 2 or 3); cells: (m, 3), or (m, 4) tetrahedra; values: (n,); limits: ends of the colour scale.
    Plane parts are seen from the front and fill the picture, others in perspective from a corner.
    """
    import pyvista as pv  # here, since it takes as long to import as all the rest of a stage

    flat = points.shape[1] == 2
    at = np.column_stack([points, np.zeros(len(points))]) if flat else np.asarray(points)
    kind = pv.CellType.TETRA if cells.shape[1] == 4 else pv.CellType.TRIANGLE
    mesh = pv.UnstructuredGrid({kind: np.asarray(cells, dtype=np.int64)}, at)
    mesh.point_data["values"] = np.asarray(values, dtype=np.float64)
    extent = np.ptp(points, axis=0)
    size = _window(float(extent[0]), float(extent[1])) if flat else (_LONG, int(0.75 * _LONG))
    plotter: Any = pv.Plotter(off_screen=True, window_size=list(size))
    plotter.set_background("white")
    plotter.add_mesh(
        mesh, scalars="values", clim=list(limits), cmap=colours, show_scalar_bar=False, lighting=not flat
    )
    if flat:
        plotter.enable_parallel_projection()
        plotter.view_xy()
        plotter.camera.parallel_scale = 0.51 * max(float(extent[1]), float(extent[0]) * size[1] / size[0])
    else:
        plotter.view_isometric()
    plotter.enable_anti_aliasing("ssaa")
    picture = io.BytesIO()
    plotter.screenshot(picture)
    plotter.close()
    return "data:image/png;base64," + base64.b64encode(picture.getvalue()).decode("ascii")


def _window(width: float, height: float) -> tuple[int, int]:
    if width >= height:
        return _LONG, int(np.clip(_LONG * height / width, _SHORT, _LONG))
    return int(np.clip(_LONG * width / height, _SHORT, _LONG)), _LONG


def number(value: float, digits: int = 3) -> str:
    """A number as a reader wants it: few digits, powers of ten only where they help, a dash for NaN."""
    if not np.isfinite(value):
        return "–"
    if value == 0.0:
        return "0"
    size = abs(value)
    if 1e-3 <= size < 1e4:
        text = f"{value:.{digits}g}"
        return (f"{value:.0f}" if "e" in text else text).replace("-", "−")
    mantissa, power = f"{value:.{digits - 1}e}".split("e")
    return f"{mantissa}·10{_superscript(int(power))}".replace("-", "−")


def _superscript(power: int) -> str:
    return str(power).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def colour_bar(limits: tuple[float, float], colours: str, units: str) -> str:
    """Colour bar with both ends, the middle and the units, as SVG."""
    import pyvista as pv

    table = pv.LookupTable(colours, n_values=24).values
    stops = "".join(
        f'<stop offset="{100 * i / 23:.1f}%" stop-color="rgb({r},{g},{b})"/>'
        for i, (r, g, b, _) in enumerate(table)
    )
    name = f"bar-{escape(colours)}"
    low, high = limits
    labels = "".join(
        f'<text x="{x}" y="32" text-anchor="{anchor}">{number(v)}</text>'
        for x, anchor, v in ((4, "start", low), (130, "middle", 0.5 * (low + high)), (256, "end", high))
    )
    unit = "" if units == "1" else f'<text x="264" y="14">{escape(units)}</text>'
    return (
        f'<svg class="bar" viewBox="0 0 310 38" role="img"><defs><linearGradient id="{name}">{stops}'
        f'</linearGradient></defs><rect x="4" y="3" width="252" height="14" fill="url(#{name})" '
        f'stroke="#9aa5b1" stroke-width="0.6"/>{labels}{unit}</svg>'
    )


@dataclass
class Plot:
    """A line plot as SVG: a frame with ticks, lines, points with error bars, and a legend beside it."""

    x: tuple[float, float]
    y: tuple[float, float]
    x_label: str
    y_label: str
    x_ticks: Sequence[tuple[float, str]]
    y_ticks: Sequence[tuple[float, str]]
    width: int = 340
    height: int = 300
    legend_width: int = 150
    parts: list[str] = field(default_factory=list)
    names: list[tuple[str, str]] = field(default_factory=list)

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Data coordinates -> picture coordinates."""
        across = (x - self.x[0]) / (self.x[1] - self.x[0])
        up = (y - self.y[0]) / (self.y[1] - self.y[0])
        return 92 + across * (self.width - 106), self.height - 46 - up * (self.height - 60)

    def line(
        self, x: Sequence[float], y: Sequence[float], colour: str, name: str = "", dashed: bool = False
    ) -> None:
        """A line through the points, with small marks unless dashed."""
        places = [self.at(a, b) for a, b in zip(x, y, strict=True)]
        path = " ".join(f"{a:.1f},{b:.1f}" for a, b in places)
        dash = ' stroke-dasharray="5 4"' if dashed else ""
        self.parts.append(
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.7"{dash}/>'
        )
        if not dashed:
            self.parts += [f'<circle cx="{a:.1f}" cy="{b:.1f}" r="2.2" fill="{colour}"/>' for a, b in places]
        if name:
            self.names.append((name, colour))

    def points(self, x: Sequence[float], y: Sequence[float], half: Sequence[float], colour: str) -> None:
        """Points with vertical bars of half length `half`."""
        for a, b, h in zip(x, y, half, strict=True):
            u, v = self.at(a, b)
            low, high = self.at(a, max(b - h, self.y[0]))[1], self.at(a, min(b + h, self.y[1]))[1]
            self.parts.append(
                f'<line x1="{u:.1f}" x2="{u:.1f}" y1="{low:.1f}" y2="{high:.1f}" stroke="{colour}" '
                f'stroke-opacity="0.45" stroke-width="1.4"/>'
                f'<circle cx="{u:.1f}" cy="{v:.1f}" r="2.4" fill="{colour}"/>'
            )

    def svg(self, title: str = "") -> str:
        """The finished picture."""
        left, bottom = self.at(self.x[0], self.y[0])
        right, top = self.at(self.x[1], self.y[1])
        grid = []
        for value, text in self.x_ticks:
            u = self.at(value, self.y[0])[0]
            grid.append(f'<line x1="{u:.1f}" x2="{u:.1f}" y1="{bottom}" y2="{top}" stroke="{FAINT}"/>')
            grid.append(f'<text x="{u:.1f}" y="{bottom + 16}" text-anchor="middle">{escape(text)}</text>')
        for value, text in self.y_ticks:
            v = self.at(self.x[0], value)[1]
            grid.append(f'<line x1="{left}" x2="{right}" y1="{v:.1f}" y2="{v:.1f}" stroke="{FAINT}"/>')
            grid.append(f'<text x="{left - 6}" y="{v + 4:.1f}" text-anchor="end">{escape(text)}</text>')
        middle = 0.5 * (top + bottom)
        frame = (
            f'<rect x="{left}" y="{top}" width="{right - left}" height="{bottom - top}" '
            f'fill="none" stroke="#9aa5b1"/>'
            f'<text x="{0.5 * (left + right)}" y="{bottom + 36}" text-anchor="middle">'
            f"{escape(self.x_label)}</text>"
            f'<text x="13" y="{middle}" text-anchor="middle" transform="rotate(-90 13 {middle})">'
            f"{escape(self.y_label)}</text>"
        )
        legend = "".join(
            f'<rect x="{self.width + 4}" y="{18 + 19 * i}" width="14" height="4" fill="{colour}"/>'
            f'<text x="{self.width + 24}" y="{24 + 19 * i}">{escape(name)}</text>'
            for i, (name, colour) in enumerate(self.names)
        )
        wide = self.width + (self.legend_width if self.names else 0)
        high = max(self.height, 30 + 19 * len(self.names))
        head = f"<title>{escape(title)}</title>" if title else ""
        return (
            f'<svg class="plot" viewBox="0 0 {wide} {high}" width="{wide}" role="img">{head}'
            f"{''.join(grid)}{frame}{''.join(self.parts)}{legend}</svg>"
        )


def ticks(low: float, high: float, count: int = 5) -> list[tuple[float, str]]:
    """Round positions within [low, high] and their labels."""
    raw = (high - low) / count
    base = 10.0 ** np.floor(np.log10(raw))
    step = base * next(m for m in (1.0, 2.0, 2.5, 5.0, 10.0) if m * base >= raw * 0.999)
    places = np.arange(np.ceil(low / step - 1e-9), np.floor(high / step + 1e-9) + 1) * step
    return [(float(p), number(float(np.round(p, 12)), 4)) for p in places]


def calibration(
    levels: np.ndarray,
    observed: np.ndarray,
    names: Sequence[str],
    plain: Mapping[str, np.ndarray],
    bar: tuple[float, float, float],
) -> str:
    """Observed against nominal coverage, a line a quantity, with the ideal diagonal.

    plain: other lines, dashed in the colour of their quantity; bar: a level, and the ends of what is wanted
    there.
    """
    marks = [(0.1 * i, f"{10 * i}") for i in range(0, 11, 2)]
    plot = Plot(
        (0.0, 1.0), (0.0, 1.0), "nominal coverage, %", "observed coverage, %", marks, marks,
        width=480, height=430, legend_width=220,
    )  # fmt: skip
    plot.line([0.0, 1.0], [0.0, 1.0], "#7b8794", "ideal", dashed=True)
    for i, name in enumerate(names):
        colour = PALETTE[i % len(PALETTE)]
        plot.line(list(levels), list(observed[i]), colour, name)
        if name in plain:
            plot.line(list(levels), list(plain[name]), colour, f"{name}, all values (dashed)", dashed=True)
    plot.line([bar[0]] * 2, list(bar[1:]), INK, f"wanted at {100 * bar[0]:.0f} %", dashed=True)
    return plot.svg("calibration")


def spectrum(series: Sequence[tuple[str, np.ndarray]]) -> str:
    """Singular values relative to the first of their field, on a logarithmic axis."""
    kept = [(name, values / values[0]) for name, values in series if values.size]
    most = max((v.size for _, v in kept), default=1)
    low = min((float(np.log10(v.min())) for _, v in kept), default=-1.0)
    floor = min(float(np.floor(low)), -1.0)
    step = max(1, int(np.ceil(-floor / 6)))
    powers = [(float(p), f"10{_superscript(p)}") for p in range(0, int(floor) - 1, -step)]
    plot = Plot((0.5, most + 0.5), (floor, 0.15), "mode", "σₖ / σ₁", _whole_ticks(most), powers)
    for i, (name, values) in enumerate(kept):
        plot.line(
            np.arange(1, values.size + 1).tolist(), np.log10(values).tolist(), PALETTE[i % len(PALETTE)], name
        )
    return plot.svg("singular values")


def _whole_ticks(most: int) -> list[tuple[float, str]]:
    step = max(1, int(np.ceil(most / 8)))
    return [(float(k), str(k)) for k in range(1, most + 1, step)]


def parity(name: str, units: str, truth: np.ndarray, mean: np.ndarray, std: np.ndarray) -> str:
    """Predicted against true values of a scalar with 95 % intervals."""
    low, high = float(min(truth.min(), mean.min())), float(max(truth.max(), mean.max()))
    pad = 0.06 * (high - low) or 1.0
    ends = (low - pad, high + pad)
    unit = "" if units == "1" else f", {units}"
    marks = ticks(*ends, 4)
    plot = Plot(
        ends, ends, f"true {name}{unit}", f"predicted {name}{unit}", marks, marks, width=320, height=300
    )
    plot.line(ends, ends, "#7b8794", dashed=True)
    plot.points(truth.tolist(), mean.tolist(), (1.96 * std).tolist(), PALETTE[0])
    return plot.svg(f"{name}: predicted against true")
