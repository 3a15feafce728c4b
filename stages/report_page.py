"""Sections of the report as HTML: tables, lists, and the frame of the page."""

from collections.abc import Iterable, Sequence
from html import escape

import numpy as np
import xarray as xr

STYLE = """
:root { --ink: #24303c; --soft: #5d6b79; --line: #dde3e9; --accent: #1f6fb2; }
* { box-sizing: border-box; }
body { margin: 0; background: #f4f6f8; color: var(--ink); font: 15px/1.55 "Segoe UI", "Helvetica Neue",
  Arial, sans-serif; }
main { max-width: 1180px; margin: 0 auto; padding: 28px 36px 60px; background: #fff; }
header { border-bottom: 3px solid var(--accent); margin-bottom: 20px; }
h1 { font-size: 27px; margin: 4px 0; }
h2 { font-size: 19px; margin: 34px 0 10px; }
h3 { font-size: 15.5px; margin: 20px 0 6px; }
p.note, figcaption { color: var(--soft); font-size: 13.5px; margin: 4px 0 10px; }
table { border-collapse: collapse; font-size: 13.5px; font-variant-numeric: tabular-nums; margin: 8px 0; }
th { text-align: right; color: var(--soft); font-weight: 600; border-bottom: 2px solid var(--line);
  padding: 4px 12px; vertical-align: bottom; }
td { text-align: right; border-bottom: 1px solid var(--line); padding: 4px 12px; }
th:first-child, td:first-child, .left { text-align: left; }
td.group { font-weight: 600; vertical-align: top; }
tr.own td { background: #eef5fb; font-weight: 600; }
tr.off td { background: #fdf3f4; }
tr.start td { border-top: 2px solid #b9c4cf; }
table.tight td { white-space: nowrap; }
table.tight th, table.tight td { padding: 4px 9px; }
.wide { overflow-x: auto; }
.plots { display: flex; flex-wrap: wrap; gap: 18px 30px; align-items: flex-start; }
figure { margin: 0; }
.plot { max-width: 100%; height: auto; }
svg text { font: 12px Arial, sans-serif; fill: #24303c; }
.parts { display: grid; gap: 14px 20px; margin: 8px 0 22px; }
.parts.four { grid-template-columns: repeat(4, 1fr); }
.parts.five { grid-template-columns: repeat(5, 1fr); }
.parts.three { grid-template-columns: repeat(3, 1fr); }
.parts.two { grid-template-columns: repeat(2, 1fr); }
.parts figure { display: flex; flex-direction: column; }
.parts img { width: 100%; max-height: 520px; object-fit: contain; border: 1px solid var(--line);
  background: #fff; }
.parts img.pixels { image-rendering: pixelated; }
.parts figcaption { margin: 0 0 4px; font-weight: 600; color: var(--ink); }
.bar { width: 100%; max-width: 330px; margin-top: 5px; }
.mono { font-family: Menlo, Consolas, monospace; font-size: 12.5px; }
.warn { border-left: 4px solid #d1495b; padding: 4px 12px; background: #fdf3f4; }
details { margin: 8px 0; }
summary { cursor: pointer; color: var(--accent); }
@media (max-width: 800px) { main { padding: 16px; } .parts.four, .parts.five { grid-template-columns:
  repeat(2, 1fr); } }
@media print { body { background: #fff; } details > * { display: block; } }
"""


def page(title: str, lead: str, sections: Iterable[str]) -> str:
    """A whole self-contained document."""
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"/>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"/>'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body><main>"
        f'<header><h1>{escape(title)}</h1><p class="note">{lead}</p></header>'
        f"{''.join(sections)}</main></body></html>\n"
    )


def section(title: str, *content: str) -> str:
    """A heading and what is under it; nothing where there is nothing."""
    body = "".join(content)
    return f"<section><h2>{escape(title)}</h2>{body}</section>" if body else ""


def note(text: str) -> str:
    """A line of explanation."""
    return f'<p class="note">{escape(text)}</p>'


def table(head: Sequence[str], lines: Iterable[Sequence[str]], left: Sequence[int] = ()) -> str:
    """A plain table of text; columns in `left` are aligned left, as is the first."""
    cells = "".join(f"<th{_left(i, left)}>{escape(name)}</th>" for i, name in enumerate(head))
    rows = "".join(
        "<tr>" + "".join(f"<td{_left(i, left)}>{escape(text)}</td>" for i, text in enumerate(line)) + "</tr>"
        for line in lines
    )
    return f'<div class="wide"><table><thead><tr>{cells}</tr></thead><tbody>{rows}</tbody></table></div>'


def _left(index: int, left: Sequence[int]) -> str:
    return ' class="left"' if index in left else ""


def items(texts: Iterable[str]) -> str:
    """A bulleted list; nothing where it is empty."""
    lines = "".join(f"<li>{escape(text)}</li>" for text in texts)
    return f"<ul>{lines}</ul>" if lines else ""


def folded(summary: str, content: str) -> str:
    """Content behind a line that opens it."""
    return f"<details><summary>{escape(summary)}</summary>{content}</details>"


def lineage(provenance: xr.Dataset) -> str:
    """Steps by their labels with their times and keys, and what else is known of the run."""
    seconds = np.asarray(provenance["seconds"].values, dtype=np.float64)
    labels = provenance["label" if "label" in provenance else "stage"].values
    steps = zip(labels, seconds, provenance["key"].values, strict=True)
    rows = [(str(label), f"{s:.1f}", str(key)) for label, s, key in steps]
    rows.append(("total", f"{np.nansum(seconds):.1f}", ""))
    facts = [f"{name}: {value}" for name, value in provenance.attrs.items()]
    return table(("step", "seconds", "catalog key"), rows, (2,)) + items(facts)
