"""What a running study shows: a live table on a terminal, a line now and then elsewhere."""

import re
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from pipelines.progress import say

_LINE_EVERY = 15.0
_SHOWN = 5


class Monitor:
    """Counts of a study's states, rate and remaining time."""

    def __init__(self, name: str, counts: Mapping[str, int]) -> None:
        self.name = name
        self.counts = dict(counts)
        self.kinds: Counter[tuple[str, str]] = Counter()
        self.ended = 0
        self._start = time.monotonic()

    def add(self, counts: Mapping[str, int], ended: int, failed: Iterable[tuple[str, str]] = ()) -> None:
        """Take note of new counts, and of points that ended."""
        self.counts = dict(counts)
        self.ended += ended
        self.kinds.update(group_of(kind, error) for kind, error in failed)

    @property
    def seconds(self) -> float:
        """Time since the start."""
        return time.monotonic() - self._start

    @property
    def rate(self) -> float:
        """Points a second."""
        return self.ended / max(self.seconds, 1e-9)

    def line(self) -> str:
        """Everything in one line."""
        shown = ", ".join(f"{count} {state}" for state, count in self.counts.items() if count)
        left = self.counts["pending"] + self.counts["running"]
        rest = f", {duration(left / self.rate)} left" if left and self.ended else ""
        return f"study {self.name}: {shown or 'no points'}; {self.rate:.3g} points/s{rest}"

    def table(self) -> Group:
        """What a terminal shows."""
        table = Table(title=f"study {self.name}", title_justify="left")
        for state in self.counts:
            table.add_column(state, justify="right")
        for column in ("points/s", "passed", "left"):
            table.add_column(column, justify="right")
        left = self.counts["pending"] + self.counts["running"]
        rest = duration(left / self.rate) if self.ended else "-"
        numbers = [str(count) for count in self.counts.values()]
        table.add_row(*numbers, f"{self.rate:.3g}", duration(self.seconds), rest)
        lines = [
            Text(f"{n} x {kind}: {text}", style="red") for (kind, text), n in self.kinds.most_common(_SHOWN)
        ]
        return Group(table, *lines)


@contextmanager
def shown(monitor: Monitor, quiet: bool) -> Iterator[None]:
    """Show the monitor while the context lasts."""
    if quiet:
        yield
    elif sys.stderr.isatty():
        with Live(get_renderable=monitor.table, console=Console(stderr=True), refresh_per_second=2):
            yield
    else:
        with _lines(monitor):
            yield


@contextmanager
def _lines(monitor: Monitor) -> Iterator[None]:
    import threading

    over = threading.Event()

    def talk() -> None:
        while not over.wait(_LINE_EVERY):
            say(monitor.line())

    say(monitor.line())
    thread = threading.Thread(target=talk, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        say(monitor.line())


def group_of(kind: str, error: str) -> tuple[str, str]:
    """Kind and message without what differs from point to point: numbers, keys."""
    text = re.sub(r"\b[0-9a-f]{12,}\b", "#", error.strip().splitlines()[0] if error.strip() else "")
    return kind, re.sub(r"[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?", "#", text)[:200]


def duration(seconds: float) -> str:
    """A time as people say it."""
    if seconds < 100:
        return f"{seconds:.3g} s"
    if seconds < 6000:
        return f"{seconds / 60:.3g} min"
    return f"{seconds / 3600:.3g} h"
