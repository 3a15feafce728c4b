"""Progress of long operations on stderr: a rich bar on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

_LINE_EVERY = 15.0


class Report(Protocol):
    """`report(done, total, text)`, the text may be left out."""

    def __call__(self, done: int, total: int | None, text: str = "") -> None:
        """Tell."""
        ...


def say(message: str, quiet: bool = False) -> None:
    """One line for the user, on stderr."""
    if not quiet:
        print(message, file=sys.stderr, flush=True)  # noqa: T201 - the one place that talks


@contextmanager
def progress(title: str, total: int | None, quiet: bool = False) -> Iterator[Callable[[int], None]]:
    """Yield `advance(count)`; total None shows a spinner with the time that has passed."""
    if quiet:
        yield lambda count: None
    elif sys.stderr.isatty():
        with _bar(total is not None) as bar:
            task = bar.add_task(title, total=total)
            yield lambda count: bar.advance(task, count)
    else:
        with _lines(title, "running" if total is None else f"{total} samples") as report:
            yield _counting(report, total)


@contextmanager
def counted(title: str, quiet: bool = False) -> Iterator[Report]:
    """Yield `report(done, total, text)`, for work that counts its own steps; a text may be left out."""
    if quiet:
        yield lambda done, total, text="": None
    elif sys.stderr.isatty():
        with _bar(True) as bar:
            task = bar.add_task(title, total=None)
            yield lambda done, total, text="": bar.update(
                task, completed=done, total=total, description=f"{title}: {text}" if text else title
            )
    else:
        with _lines(title, "running") as report:
            yield report


def _bar(counts: bool) -> Progress:
    console = Console(stderr=True)
    if not counts:
        return Progress(
            SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), console=console
        )
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Rate())
    return Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console)


class _Rate(ProgressColumn):
    """Steps a second, once they are known."""

    def render(self, task: Task) -> Text:
        """The rate of a task, empty while there is none."""
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.3g}/s")


@contextmanager
def _lines(title: str, first: str) -> Iterator[Report]:
    start = last = time.monotonic()

    def report(done: int, total: int | None, text: str = "") -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= _LINE_EVERY:
            last = now
            left = (
                "" if total is None or done == 0 else f", {(now - start) / done * (total - done):.0f} s left"
            )
            say(f"{title}: {done} of {total}, {now - start:.0f} s{left}{f', {text}' if text else ''}")

    say(f"{title}: {first}")
    yield report
    say(f"{title}: done in {time.monotonic() - start:.1f} s")


def _counting(report: Report, total: int | None) -> Callable[[int], None]:
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        report(done, total)

    return advance
