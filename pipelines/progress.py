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
        with _bar(total) as bar:
            task = bar.add_task(title, total=total)
            yield lambda count: bar.advance(task, count)
    else:
        yield from _lines(title, total)


def _bar(total: int | None) -> Progress:
    console = Console(stderr=True)
    if total is None:
        return Progress(
            SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), console=console
        )
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    return Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console)


def _lines(title: str, total: int | None) -> Iterator[Callable[[int], None]]:
    start = last = time.monotonic()
    done = 0

    def advance(count: int) -> None:
        nonlocal done, last
        done += count
        now = time.monotonic()
        if now - last >= _LINE_EVERY:
            last = now
            say(f"{title}: {done} of {total}, {now - start:.0f} s")

    say(f"{title}: {'running' if total is None else f'{total} samples'}")
    yield advance
    say(f"{title}: done in {time.monotonic() - start:.1f} s")
