"""VTK files read in a process of their own, which a damaged file may end: VTK's readers crash on some."""

import atexit
import contextlib
import json
import math
import os
import resource
import signal
import subprocess
import sys
import threading
import warnings
from dataclasses import fields
from pathlib import Path
from typing import IO, Any

import numpy as np

from catalogs.formats.vtk_grid import Grid, load_grid, unreadable
from kernels.errors import InputError

_LEAST_BYTES, _BYTES_A_BYTE = 4 * 2**30, 300
"""Address space for one file: compressed ones grow; a wrong size must not take all memory."""

_LEAST_SECONDS, _BYTES_A_SECOND = 120.0, 10**6


def read_grid(path: Path) -> Grid:
    """The grid of a VTK file; raises InputError as `load_grid` does, and where VTK crashes or never ends."""
    with _lock:
        return _reader().read(path)


class _Reader:
    """The process that reads, kept for the next file; it ends with its parent, whose pipe then closes."""

    def __init__(self) -> None:
        root = str(Path(__file__).resolve().parents[2])
        paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
        self.owner = os.getpid()
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"},
        )

    def usable(self) -> bool:
        return self.owner == os.getpid() and self._process.poll() is None

    def read(self, path: Path) -> Grid:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        limit = _LEAST_SECONDS + path.stat().st_size / _BYTES_A_SECOND
        timer = threading.Timer(limit, self._process.kill)
        timer.start()
        try:
            self._process.stdin.write(json.dumps(str(path.absolute())).encode() + b"\n")
            self._process.stdin.flush()
            answer = json.loads(self._process.stdout.readline())
            grid = None if "error" in answer else _received(answer["entries"], self._process.stdout)
        except (BrokenPipeError, EOFError, json.JSONDecodeError) as error:
            self.close()
            raise unreadable(path, "VTK itself failed on it") from error
        except BaseException:
            self.close()
            raise
        finally:
            timer.cancel()
        if grid is None:
            raise InputError(answer["error"].replace(str(path.absolute()), str(path)))
        return grid

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                stream.close()  # type: ignore[union-attr]


_lock = threading.Lock()
_kept: list[_Reader] = []


def _reader() -> _Reader:
    if _kept and not _kept[0].usable():
        _kept.clear()
    if not _kept:
        _kept.append(_Reader())
    return _kept[0]


@atexit.register
def _close() -> None:
    if _kept and _kept[0].usable():
        _kept.pop().close()


def _received(entries: list[list[Any]], stream: IO[bytes]) -> Grid:
    parts: dict[str, Any] = {group: {} for group in ("point_data", "cell_data", "field_data")}
    for group, name, kind, shape in entries:
        dtype = np.dtype(kind)
        size = dtype.itemsize * math.prod(shape)
        content = stream.read(size)
        if len(content) != size:
            raise EOFError
        values = np.frombuffer(bytearray(content), dtype).reshape(shape)
        if group in parts:
            parts[group][name] = values
        else:
            parts[group] = values
    return Grid(**parts)


def _send(grid: Grid, stream: IO[bytes]) -> None:
    entries: list[tuple[str, str, np.ndarray]] = []
    for entry in fields(grid):
        value = getattr(grid, entry.name)
        named = value if isinstance(value, dict) else {"": value}
        entries += [(entry.name, name, np.ascontiguousarray(array)) for name, array in named.items()]
    heads = [(group, name, array.dtype.str, array.shape) for group, name, array in entries]
    stream.write(json.dumps({"entries": heads}).encode() + b"\n")
    for _, _, array in entries:
        stream.write(array.tobytes())


def _answer(path: Path, stream: IO[bytes]) -> None:
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (_LEAST_BYTES + _BYTES_A_BYTE * path.stat().st_size, hard))
    try:
        grid = load_grid(path)
    except InputError as error:
        stream.write(json.dumps({"error": str(error)}).encode() + b"\n")
    except Exception as error:  # noqa: BLE001 - whatever a damaged file makes of the reader
        stream.write(json.dumps({"error": str(unreadable(path, error))}).encode() + b"\n")
    else:
        _send(grid, stream)
    stream.flush()


def serve() -> None:
    """Answer the paths on standard input, one a line, until it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    warnings.simplefilter("ignore")
    stream = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    for line in sys.stdin.buffer:
        _answer(Path(json.loads(line)), stream)


if __name__ == "__main__":
    serve()
