"""Ctrl-C and SIGTERM end the command soon, with one line and a status, whatever it is doing."""

import contextlib
import os
import select
import signal
import sys
import threading
import time
from types import FrameType, TracebackType
from typing import Any, Never

LINE = "interrupted: what is finished is kept, run the same command to go on\n"
GRACE = 4.0
"""Seconds to clean up in, after which the process ends itself; its workers and its server end with it."""

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_SHOW_CURSOR = "\n\x1b[?25h"


class Interrupts:
    """Context in which a signal raises KeyboardInterrupt in the main thread, prints `LINE` at once, silences
    stderr, and ends the process with status 128 + signal: after the context, after `GRACE`, or at a second
    Ctrl-C.

    Libraries catch, delay or replace what a signal handler raises, and print tracebacks of their own threads
    while they end, so the promise is kept by a thread that every signal wakes. `last`: only the end of the
    process follows the context, and a signal then simply kills. Does nothing outside the main thread.
    """

    def __init__(self, last: bool = False) -> None:
        self._last = last
        self._received: int | None = None
        self._before: dict[signal.Signals, Any] = {}
        self._announcing = threading.Lock()
        self._taking = threading.Lock()
        self._announced = self._raised = False

    @property
    def received(self) -> bool:
        """Whether a signal came, and its line is said or about to be."""
        return self._received is not None

    def __enter__(self) -> "Interrupts":
        if threading.current_thread() is threading.main_thread():
            self._read, self._write = os.pipe()
            os.set_blocking(self._read, False)
            os.set_blocking(self._write, False)
            self._wakeup = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
            threading.Thread(target=self._watch, name="interrupts", daemon=True).start()
            self._before = {number: signal.signal(number, self._raise) for number in _SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._before:
            return
        for number in self._before:
            signal.signal(number, self._note)
        self._take()
        if self._received is not None:
            self._end(self._received)
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_DFL if self._last else handler)
        signal.set_wakeup_fd(self._wakeup)
        os.close(self._write)

    def _note(self, number: int, frame: FrameType | None) -> None:
        del frame
        self._received = self._received or number

    def _raise(self, number: int, frame: FrameType | None) -> None:
        # Once only: a second one would cut short the cleaning up that the first began.
        if not self._raised:
            self._raised = True
            self._note(number, frame)
            # Before the raise: where this strikes in a callback, Python prints the exception and goes on.
            self._announce()
            raise KeyboardInterrupt

    def _watch(self) -> None:
        taken: int | None = 0
        while taken not in _SIGNALS:
            select.select([self._read], [], [])
            taken = self._take()
            if taken is None:
                os.close(self._read)
                return
        self._announce()
        deadline = time.monotonic() + GRACE
        while (left := deadline - time.monotonic()) > 0:
            if select.select([self._read], [], [], left)[0] and self._take() == signal.SIGINT:
                break
        self._end(self._received or signal.SIGTERM)

    def _take(self) -> int | None:
        """Signal that has come, noted if it is ours, 0 for none; None when the context is left."""
        with self._taking:
            try:
                byte = os.read(self._read, 1)
            except BlockingIOError:
                return 0
            if byte and byte[0] in _SIGNALS:
                self._received = self._received or byte[0]
            return byte[0] if byte else None

    def _announce(self) -> None:
        with self._announcing:
            if self._announced:
                return
            self._announced = True
            terminal = sys.stderr.isatty()
            with contextlib.suppress(OSError):
                stderr = os.dup(2)
                os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
                os.write(stderr, ((_SHOW_CURSOR if terminal else "") + LINE).encode())
                os.close(stderr)

    def _end(self, number: int) -> Never:
        self._announce()
        os._exit(128 + number)
