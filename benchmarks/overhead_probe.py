"""Writes down what a run of `pushforward` does at every moment: one line a span, from the run's process and
its workers, for `overhead.py`.

Spans are (process, thread, kind, start, end) on the monotonic clock, which all processes share. Nothing of
the product knows of this: functions are wrapped as soon as the module that holds them is imported.
"""

import builtins
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

TARGET = "PUSHFORWARD_OVERHEAD_SPANS"
SHORTEST = 2e-4

WRAPPED = {
    "catalogs.catalog": {
        ("Catalog", "__init__"): "open the catalog",
        ("Catalog", "open"): "read inputs",
        ("Catalog", "publish"): "publish and join",
        ("Catalog", "publish_parts"): "publish and join",
        ("Catalog", "content"): "keys and records",
        ("Catalog", "exists"): "keys and records",
        ("Catalog", "claim_parts"): "keys and records",
        ("Catalog", "show"): "keys and records",
        ("Catalog", "close"): "end",
    },
    "catalogs.reading": {("CheckedArray", "__getitem__"): "read inputs"},
    "pipelines.cluster": {("Cluster", "client"): "Dask start", ("Cluster", "close"): "end"},
    "pipelines.parts": {("", "compute_part"): "parts read and written"},
    "pipelines.runner": {("Runner", "_parts"): "workers import and wait"},
    "pipelines.report_file": {("", "write_report"): "publish and join"},
    "pipelines.tables": {("", "print_frame"): "table"},
    "pipelines.embedded_prefect": {("", "run_flow"): "Prefect", ("", "end"): "end"},
    "pipelines.local_server": {("LocalServer", "address"): "server starts", ("LocalServer", "stop"): "end"},
    "stages.base": {},
    "httpx": {("Client", "send"): "Prefect API"},
}

_local = threading.local()


def note(kind: str, start: float, end: float) -> None:
    """Append one span."""
    if end - start < SHORTEST:
        return
    line = json.dumps([os.getpid(), threading.get_ident(), kind, start, end]) + "\n"
    with open(os.environ[TARGET], "a") as file:
        file.write(line)


@contextmanager
def span(kind: str) -> Iterator[None]:
    start = time.monotonic()
    try:
        yield
    finally:
        note(kind, start, time.monotonic())


def wrapped(function: Callable[..., Any], kind: str) -> Callable[..., Any]:
    @wraps(function)
    def timed(*given: Any, **named: Any) -> Any:
        with span(kind):
            return function(*given, **named)

    return timed


def _wrap_stage(module: Any) -> None:
    """Time the function of a stage alone: what `Stage` checks before and after it is not the stage's work."""
    from dataclasses import replace

    call = module.Stage.__call__

    def timed(self: Any, config: Any, **datasets: Any) -> Any:
        return call(replace(self, run=wrapped(self.run, "work")), config, **datasets)

    module.Stage.__call__ = timed


def _wrap_server(module: Any) -> None:
    """Time the server from its start to its answer."""
    begin, answer = module.LocalServer.__init__, module.LocalServer.address

    def begun(self: Any, *given: Any, **named: Any) -> None:
        self.begun = time.monotonic()
        begin(self, *given, **named)

    def answered(self: Any) -> Any:
        address = answer(self)
        note("server boots", self.begun, time.monotonic())
        return address

    module.LocalServer.__init__, module.LocalServer.address = begun, answered


def _wrap_ready() -> None:
    for name in [name for name in WRAPPED if name in sys.modules]:
        module = sys.modules[name]
        if getattr(module.__spec__, "_initializing", False):
            continue
        for (owner, function), kind in WRAPPED.pop(name).items():
            place = getattr(module, owner) if owner else module
            setattr(place, function, wrapped(getattr(place, function), kind))
        if name in SPECIAL:
            SPECIAL[name](module)


SPECIAL = {"stages.base": _wrap_stage, "pipelines.local_server": _wrap_server}


def install() -> None:
    """Begin to write spans of imports, and of what is wrapped."""
    plain = builtins.__import__

    def timed(name: str, *given: Any, **named: Any) -> Any:
        if getattr(_local, "importing", False):
            found = plain(name, *given, **named)
            _wrap_ready()
            return found
        _local.importing = True
        start = time.monotonic()
        try:
            return plain(name, *given, **named)
        finally:
            _local.importing = False
            end = time.monotonic()
            if end - start >= SHORTEST:
                note("imports", start, end)
                _wrap_ready()

    builtins.__import__ = timed


def dask_setup(worker: Any) -> None:
    """Called in every worker process, before its first part."""
    import pipelines.parts  # noqa: F401 - so that it is wrapped before a part is unpickled

    install()
    _wrap_ready()


if __name__ == "__main__":
    begun = time.monotonic()
    install()
    from pipelines.command_line import main

    status = main(sys.argv[1:])
    note("program", begun, time.monotonic())
    sys.exit(status)
