"""Tables for people and programs: rich on a terminal, JSON and CSV for pipes."""

import json
import shutil
import sys
from typing import Any, Literal

import pandas as pd
from rich.console import Console
from rich.table import Table

Format = Literal["table", "json", "csv"]


def print_frame(frame: pd.DataFrame, form: Format, title: str = "") -> None:
    """Print a table on stdout in the chosen form."""
    if form == "json":
        sys.stdout.write(frame.to_json(orient="records", indent=2) + "\n")
    elif form == "csv":
        frame.to_csv(sys.stdout, index=False)
    else:
        table = Table(title=title or None, title_justify="left")
        for column in frame.columns:
            number = pd.api.types.is_numeric_dtype(frame[column])
            table.add_column(str(column), justify="right" if number else "left", overflow="fold")
        for row in frame.itertuples(index=False):
            table.add_row(*[_cell(value) for value in row])
        _console().print(table)


def print_record(record: dict[str, Any], form: Format) -> None:
    """Print names and values on stdout in the chosen form."""
    if form == "json":
        sys.stdout.write(json.dumps(record, indent=2, default=str) + "\n")
        return
    rows = [
        (name, value if isinstance(value, str) else json.dumps(value, default=str))
        for name, value in record.items()
    ]
    print_frame(pd.DataFrame(rows, columns=["name", "value"]), form)


def _console() -> Console:
    width = None if sys.stdout.isatty() else max(160, shutil.get_terminal_size().columns)
    return Console(width=width)


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return "-" if value != value else f"{value:.4g}"
    if isinstance(value, dict):
        return ", ".join(f"{name}={_cell(item)}" for name, item in value.items())
    return str(value)
