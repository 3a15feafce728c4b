"""Fields of kinetic and closed runs side by side: order parameter with director, and vorticity."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from html import escape
from typing import Any

import numpy as np
import xarray as xr

from kernels.metrics.flow_spectrum import vorticity
from stages._closure_runs import SLACK, Frames, frames_of
from stages._report_figures import colour_bar
from stages.report_page import note

ORDER, VORTICITY = "viridis", "RdBu_r"
"""Colours of the two fields."""

_SIDE = 192
"""Pixels along a side of a picture."""


@dataclass(frozen=True)
class Shown:
    """A run that is drawn: its name and its frames."""

    name: str
    frames: Frames

    def at(self, time: float) -> int | None:
        """Frame of a time; None where the run has none, having died before."""
        near = np.abs(self.frames.times - time) <= SLACK * max(1.0, abs(time))
        return int(np.argmax(near)) if near.any() else None


def shown_runs(
    truth: xr.Dataset, long: Sequence[tuple[str, xr.Dataset]], sample: str, until: float
) -> list[Shown]:
    """The kinetic run `sample`, then the closed runs from the same initial state that there are."""
    found = []
    for name, runs in [("kinetic", truth), *long]:
        names = [str(one) for one in runs["sample_name"].values]
        if sample in names:
            found.append(Shown(name, frames_of(runs, names.index(sample), until)))
    return found


def refined(field: np.ndarray, points: int) -> np.ndarray:
    """A periodic field (n, n), real or complex, on points x points by its Fourier series, points >= n."""
    n = field.shape[-1]
    if points <= n:
        return field
    coefficients = np.fft.fftshift(np.fft.fft2(field))
    before = points // 2 - n // 2
    wide = np.pad(coefficients, (before, points - n - before))
    found = np.fft.ifft2(np.fft.ifftshift(wide)) * (points / n) ** 2
    return found if np.iscomplexobj(field) else found.real


def fields_at(frames: Frames, i: int, points: int = _SIDE) -> tuple[np.ndarray, np.ndarray]:
    """Order parameter and vorticity of a frame, (points, points)."""
    order = np.abs(refined(frames.z2[i], points)) / refined(frames.c[i], points)
    return np.clip(order, 0.0, 1.0), refined(vorticity(frames.u[i], frames.v[i], frames.length), points)


def strongest(runs: Sequence[Shown], late: float) -> float:
    """End of the colour scale of vorticity: what 99.5 % of the points of the first run are below, late."""
    frames = runs[0].frames
    kept = frames.between(late, np.inf) if (frames.times >= late).any() else frames
    size = np.abs(vorticity(kept.u[::4], kept.v[::4], kept.length))
    return float(np.quantile(size, 0.995)) or 1.0


@lru_cache(maxsize=8)
def colour_table(colours: str) -> np.ndarray:
    """256 colours, uint8 (256, 3)."""
    import pyvista as pv  # here, since it takes as long to import as all the rest of a stage

    return np.asarray(pv.LookupTable(colours, n_values=256).values)[:, :3].astype(np.uint8)


def coloured(values: np.ndarray, limits: tuple[float, float]) -> np.ndarray:
    """Indices of colours with x to the right and y up, so rows from the top; uint8 (rows, columns)."""
    share = (values - limits[0]) / (limits[1] - limits[0])
    return np.clip(np.round(255.0 * share), 0, 255).astype(np.uint8).T[::-1]


def data_uri(image: Any, kind: str, **options: Any) -> str:
    """A Pillow image as a data URI."""
    held = io.BytesIO()
    image.save(held, kind, **options)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(held.getvalue()).decode('ascii')}"


def picture(
    values: np.ndarray, limits: tuple[float, float], colours: str, sticks: str = "", alt: str = ""
) -> str:
    """A field as an SVG of one image, with sticks drawn over it."""
    from PIL import Image  # comes with pyvista

    image = Image.fromarray(coloured(values, limits), "P")
    image.putpalette(colour_table(colours).tobytes())
    uri = data_uri(image, "PNG", optimize=True)
    return (
        f'<svg viewBox="0 0 100 100" role="img" width="100%"><title>{escape(alt)}</title>'
        f'<image href="{uri}" width="100" height="100" preserveAspectRatio="none"></image>{sticks}</svg>'
    )


def director(z2: np.ndarray, c: np.ndarray, across: int = 16) -> list[tuple[float, float, float, float]]:
    """Sticks along the director, x1, y1, x2, y2 as shares of the side, y down; their length grows with r."""
    n = z2.shape[-1]
    step = max(1, n // across)
    found = []
    for i in range(step // 2, n, step):
        for j in range(step // 2, n, step):
            angle, length = 0.5 * np.angle(z2[i, j]), 0.42 * step / n * min(abs(z2[i, j]) / c[i, j], 1.0)
            x, y = (i + 0.0) / n, 1.0 - (j + 0.0) / n
            a, b = length * np.cos(angle), length * np.sin(angle)
            found.append((x - a, y + b, x + a, y - b))
    return found


def _sticks(frames: Frames, i: int) -> str:
    return "".join(
        f'<line x1="{100 * a:.1f}" y1="{100 * b:.1f}" x2="{100 * c:.1f}" y2="{100 * d:.1f}" '
        'stroke="#fff" stroke-width="0.6" stroke-opacity="0.85"/>'
        for a, b, c, d in director(frames.z2[i], frames.c[i])
    )


def snapshots(runs: Sequence[Shown], times: Sequence[float], late: float, sample: str) -> str:
    """Order parameter with director, and vorticity, of every run at some times."""
    most = strongest(runs, late)
    length = runs[0].frames.length
    content = [
        note(
            f"Run {sample}, all from one initial state, in a periodic square of side {length:g} (x to the "
            "right, y up). Upper row: order parameter r with sticks along the director; lower row: "
            "vorticity. All quantities are nondimensional. After the flows have decorrelated they agree in "
            "statistics at best."
        )
    ]
    count = {4: "four", 5: "five"}.get(len(runs), "three")
    for time in times:
        upper, lower = [], []
        for run in runs:
            i = run.at(time)
            title = escape(run.name)
            if i is None:
                gone = f"<figure><figcaption>{title}</figcaption>{note('died before this time')}</figure>"
                upper.append(gone)
                lower.append("<figure></figure>")
                continue
            order, curl = fields_at(run.frames, i)
            image = picture(order, (0.0, 1.0), ORDER, _sticks(run.frames, i), f"{run.name}: order parameter")
            upper.append(f"<figure><figcaption>{title}</figcaption>{image}</figure>")
            lower.append(
                f"<figure>{picture(curl, (-most, most), VORTICITY, '', f'{run.name}: vorticity')}</figure>"
            )
        body = f'<div class="parts {count}">{"".join(upper)}{"".join(lower)}</div>'
        content.append(f"<h3>t = {time:g}</h3>{body}")
    bars = colour_bar((0.0, 1.0), ORDER, "r"), colour_bar((-most, most), VORTICITY, "vorticity")
    content.append(f'<div class="plots">{bars[0]}{bars[1]}</div>')
    return "".join(content)
