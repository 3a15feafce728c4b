"""A process that computes points one after another, so that one that hangs or dies takes no other with it."""

import contextlib
import ctypes
import faulthandler
import json
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path

from catalogs.failures import StorageError, storage_errors
from catalogs.studies import Point
from catalogs.study_results import Done, Failed

GRACE = 10.0
"""Seconds after its time-out at which a process that did not end itself is killed."""

_LONGEST_LOG = 2**20
_START = "import sys, json; sys.path[:] = json.loads(sys.argv[1]); " + (
    "from pipelines.studies.point_process import serve; serve(*map(int, sys.argv[2:6]))"
)


class PointProcess:
    """The process as its owner sees it; it starts with the first points and again after one that it did not
    survive. It dies with its owner (Linux).

    setup: cloudpickled (target, settings, keep_data, patience). logs: folder in the project for the output of
    points; a point that prints nothing has no file.
    """

    def __init__(self, setup: bytes, project: Path, logs: str, timeout: float | None) -> None:
        self._setup, self._project, self._logs, self._timeout = setup, project, logs, timeout
        self._process: subprocess.Popen[bytes] | None = None

    def outcomes(self, points: Sequence[Point]) -> Iterator[Done | Failed]:
        """Outcome of every point, in order, as they come.

        Raises StorageError where the catalog cannot be used; what is left has no outcome then.
        """
        left = list(points)
        while left:
            if self._process is None:
                self._start()
            with contextlib.suppress(OSError):  # it died: the answer tells
                self._send.send_bytes(pickle.dumps(left))
            while left:
                began = time.time()
                answer = self._answer(left[0], began)
                left.pop(0)
                yield answer
                if self._process is None:
                    break

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
            self._send.close()
            self._receive.close()
            self._scratch.close()

    def _start(self) -> None:
        self._scratch = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        to_child, from_parent = os.pipe()
        to_parent, from_child = os.pipe()
        ours = (to_child, from_child, self._scratch.fileno())
        numbers = map(str, (*ours, os.getpid()))
        command = [sys.executable, "-u", "-c", _START, json.dumps(sys.path), *numbers]
        self._process = subprocess.Popen(
            command, pass_fds=ours, stdin=subprocess.DEVNULL, stdout=self._scratch, stderr=self._scratch
        )
        os.close(to_child)
        os.close(from_child)
        self._send, self._receive = (
            Connection(from_parent, readable=False),
            Connection(to_parent, writable=False),
        )
        with contextlib.suppress(EOFError, OSError):
            self._send.send_bytes(self._setup)
            self._send.send_bytes(pickle.dumps((self._timeout, str(self._project), self._logs)))
            self._receive.recv_bytes()  # it is ready; where it is not, the first answer tells

    def _answer(self, point: Point, began: float) -> Done | Failed:
        limit = None if self._timeout is None else self._timeout + GRACE
        try:
            if self._receive.poll(limit):
                answer: Done | Failed | StorageError = pickle.loads(self._receive.recv_bytes())
                if isinstance(answer, StorageError):
                    raise answer
                return answer
        except (EOFError, OSError):
            pass
        return self._lost(point, began)

    def _lost(self, point: Point, began: float) -> Failed:
        assert self._process is not None
        seconds = time.time() - began
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(0.0 if self._process.poll() is None and self._overdue(seconds) else 5.0)
        status = self._process.poll()
        text = _tail(self._scratch.fileno())
        log = write_log(self._project, self._logs, point.number, text)
        self.close()
        if self._timeout is not None and seconds >= 0.95 * self._timeout and (status is None or status >= 0):
            return Failed(
                point, "TimeOut", f"the point ran longer than {self._timeout:g} s: its process was ended; "
                "raise run.timeout, or see in its log where it was", began, seconds, log,
            )  # fmt: skip
        how = (
            f"was killed by {signal.Signals(-status).name}"
            if status and status < 0
            else f"ended with {status}"
        )
        hint = "most often memory ran out: use fewer workers" if status == -9 else "its log may tell more"
        return Failed(point, "ProcessDied", f"the process of the point {how}; {hint}", began, seconds, log)

    def _overdue(self, seconds: float) -> bool:
        return self._timeout is not None and seconds >= self._timeout + GRACE


def serve(receive: int, send: int, scratch: int, owner: int) -> None:
    """What the process does: answer every list of points with one outcome each, until its owner is gone."""
    _die_with(owner)
    source, target = Connection(receive, writable=False), Connection(send, readable=False)
    setup = source.recv_bytes()
    timeout, project, logs = pickle.loads(source.recv_bytes())
    from pipelines.parts import prepare_worker
    from pipelines.studies.compute import computer_for

    prepare_worker()
    computed, settings, keep_data, patience = pickle.loads(setup)
    if timeout is not None:
        patience = min(patience, timeout / 2)  # rather than a time-out of a point that only waits
    computer = computer_for(computed, settings, keep_data, patience, traces=True)
    target.send_bytes(b"ready")
    while True:
        try:
            points: list[Point] = pickle.loads(source.recv_bytes())
        except EOFError:
            os._exit(0)
        for point in points:
            if timeout is not None:
                # a C thread ends the process, whatever holds the interpreter
                faulthandler.dump_traceback_later(timeout, exit=True, file=scratch)
            try:
                outcome = computer.outcome(point)
                if timeout is not None:
                    faulthandler.cancel_dump_traceback_later()
                with storage_errors("writing the log of a point", Path(project)):
                    outcome = _with_log(outcome, scratch, project, logs)
            except StorageError as error:
                faulthandler.cancel_dump_traceback_later()
                target.send_bytes(pickle.dumps(error))
                break
            target.send_bytes(pickle.dumps(outcome))


def _with_log(outcome: Done | Failed, scratch: int, project: str, logs: str) -> Done | Failed:
    sys.stdout.flush()
    sys.stderr.flush()
    if os.fstat(scratch).st_size == 0:
        return outcome
    text = _tail(scratch)
    os.ftruncate(scratch, 0)
    os.lseek(scratch, 0, os.SEEK_SET)
    return replace(outcome, log=write_log(Path(project), logs, outcome.point.number, text))


def write_log(project: Path, logs: str, number: int, text: bytes) -> str | None:
    """Write the log of a point; its path in the project, None where there is nothing to write."""
    if not text:
        return None
    path = f"{logs}/{number:06d}.log"
    (project / logs).mkdir(parents=True, exist_ok=True)
    (project / path).write_bytes(text)
    return path


def _tail(file: int) -> bytes:
    size = os.fstat(file).st_size
    return os.pread(file, _LONGEST_LOG, max(0, size - _LONGEST_LOG))


def _die_with(owner: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    if os.getppid() != owner:
        os._exit(1)
