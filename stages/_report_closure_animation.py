"""The animation of the report of closures: truth beside closures, looping, of bounded size."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from stages._report_closure_pictures import (
    ORDER,
    VORTICITY,
    Shown,
    colour_table,
    coloured,
    data_uri,
    director,
    fields_at,
    strongest,
)
from stages.report_page import note

_PANEL, _GAP, _HEAD, _LEFT = 208, 10, 46, 30
_STICKS = 11
_QUALITIES = (75, 65, 55, 45, 35)
_INK, _SOFT = (36, 48, 60), (93, 107, 121)


def animation(runs: Sequence[Shown], late: float, frames: int, megabytes: float, seconds: float) -> str:
    """All runs over the times that the first has, as one WebP image that plays by itself.

    Two rows: order parameter with director, vorticity; a column a run; the time on top. Quality, then every
    second frame, give way until the file is below `megabytes`. Nothing where the first run has one frame.
    """
    times = runs[0].frames.times
    if len(times) < 2:
        return ""
    most = strongest(runs, late)
    picked = times[np.unique(np.round(np.linspace(0, len(times) - 1, min(frames, len(times)))).astype(int))]
    drawn = [_frame(runs, float(time), most) for time in picked]
    uri = _within(drawn, megabytes, seconds)
    names = ", ".join(run.name for run in runs)
    text = (
        f"Left to right: {names}, from one initial state, t = {picked[0]:g} to {picked[-1]:g} in a periodic "
        f"square of side {runs[0].frames.length:g}; x to the right, y up. Above: order parameter r from 0 "
        f"(dark) to 1 (bright), sticks along the director; below: vorticity from {-most:.2g} (blue) to "
        f"{most:.2g} (red). Nondimensional. A run that died turns grey."
    )
    size = drawn[0].size
    return (
        f'<img alt="animation: {names}" src="{uri}" width="{size[0]}" height="{size[1]}" '
        f'style="max-width:100%;height:auto"/>{note(text)}'
    )


def _within(drawn: list[Any], megabytes: float, seconds: float) -> str:
    """The images as one of at most so many bytes, its quality guessed from three of them."""
    while True:
        some = drawn[:: max(1, len(drawn) // 3)]
        for quality in _QUALITIES:
            size = np.mean([len(data_uri(one, "WEBP", quality=quality, method=2)) for one in some]) * len(
                drawn
            )
            if size <= 0.97e6 * megabytes:
                break
        if size <= 1e6 * megabytes or len(drawn) < 8:
            each = max(20, round(1000.0 * seconds / len(drawn)))
            options = {"save_all": True, "append_images": drawn[1:], "duration": each, "loop": 0}
            uri = data_uri(drawn[0], "WEBP", quality=quality, method=2, **options)
            if len(uri) <= 1e6 * megabytes or len(drawn) < 8:
                return uri
        drawn = drawn[::2]


def _frame(runs: Sequence[Shown], time: float, most: float) -> Any:
    from PIL import Image, ImageDraw, ImageFont  # comes with pyvista

    width = _LEFT + len(runs) * (_PANEL + _GAP)
    image = Image.new("RGB", (width, _HEAD + 2 * (_PANEL + _GAP)), "white")
    pen = ImageDraw.Draw(image)
    font, small = ImageFont.load_default(size=15), ImageFont.load_default(size=13)
    pen.text((_LEFT, 3), f"t = {time:.1f}", fill=_SOFT, font=small)
    for row, label in enumerate(("order parameter r", "vorticity")):
        strip = Image.new("RGB", (_PANEL, 18), "white")
        ImageDraw.Draw(strip).text((_PANEL // 2, 9), label, fill=_SOFT, font=small, anchor="mm")
        image.paste(strip.rotate(90, expand=True), (6, _HEAD + row * (_PANEL + _GAP)))
    for column, run in enumerate(runs):
        left = _LEFT + column * (_PANEL + _GAP)
        pen.text((left + _PANEL // 2, 33), run.name, fill=_INK, font=font, anchor="mm")
        i = run.at(time)
        if i is None:
            for row in range(2):
                top = _HEAD + row * (_PANEL + _GAP)
                pen.rectangle((left, top, left + _PANEL - 1, top + _PANEL - 1), fill=(225, 229, 233))
            continue
        order, curl = fields_at(run.frames, i, _PANEL)
        panels = (order, (0.0, 1.0), ORDER), (curl, (-most, most), VORTICITY)
        for row, (values, limits, colours) in enumerate(panels):
            pixels = colour_table(colours)[coloured(values, limits)]
            image.paste(Image.fromarray(pixels), (left, _HEAD + row * (_PANEL + _GAP)))
        for a, b, c, d in director(run.frames.z2[i], run.frames.c[i], _STICKS):
            ends = [(left + x * _PANEL, _HEAD + y * _PANEL) for x, y in ((a, b), (c, d))]
            inside = [(x, min(max(y, _HEAD), _HEAD + _PANEL - 1)) for x, y in ends]
            pen.line(inside, fill=(255, 255, 255), width=1)
    return image
