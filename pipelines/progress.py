"""Progress of long operations on stderr: a rich bar on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

_LINE_EVERY = 15.0


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
def counted(title: str, quiet: bool = False) -> Iterator[Callable[[int, int], None]]:
    """Yield `report(done, total)`, for work that counts its own steps."""
    if quiet:
        yield lambda done, total: None
    elif sys.stderr.isatty():
        with _bar(True) as bar:
            task = bar.add_task(title, total=None)
            yield lambda done, total: bar.update(task, completed=done, total=total)
    else:
        with _lines(title, "running") as report:
            yield report


def _bar(counts: bool) -> Progress:
    console = Console(stderr=True)
    if not counts:
        return Progress(
            SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), console=console
        )
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    return Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console)


@contextmanager
def _lines(title: str, first: str) -> Iterator[Callable[[int, int | None], None]]:
    start = last = time.monotonic()

    def report(done: int, total: int | None) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= _LINE_EVERY:
            last = now
            say(f"{title}: {done} of {total}, {now - start:.0f} s")

    say(f"{title}: {first}")
    yield report
    say(f"{title}: done in {time.monotonic() - start:.1f} s")


def _counting(report: Callable[[int, int | None], None], total: int | None) -> Callable[[int], None]:
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        report(done, total)

    return advance
