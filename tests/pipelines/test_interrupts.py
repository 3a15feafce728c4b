"""Ctrl-C and SIGTERM: one line, the status, no traceback, whatever the code inside does about it."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from pipelines.interrupts import LINE, Interrupts

SCRIPT = """
import atexit, signal, sys, time
import pipelines.interrupts
from pipelines.interrupts import Interrupts

pipelines.interrupts.GRACE = {grace}
with Interrupts(last=True):
{body}
"""
# Many short sleeps: a signal that comes just before a system call does not cut it short.
CLEANS_UP = """
    try:
        print("up", flush=True)
        for _ in range(6000):
            time.sleep(0.01)
    finally:
        print("cleaned up", flush=True)
"""
FAILS_IN_CLEANING_UP = """
    try:
        print("up", flush=True)
        for _ in range(6000):
            time.sleep(0.01)
    finally:
        raise OSError("the server is gone")
"""
SWALLOWS = """
    print("up", flush=True)
    while True:
        try:
            time.sleep(0.01)
        except BaseException:
            pass
"""
REPLACES_THE_HANDLER = """
    def handler(number, frame):
        raise RuntimeError("terminated by a library")
    signal.signal(signal.SIGTERM, handler)
    signal.signal(signal.SIGINT, handler)
    print("up", flush=True)
    for _ in range(6000):
        time.sleep(0.01)
"""


def start(body, grace=30.0):
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT.format(body=body, grace=grace)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "up\n"
    return process


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize(
    ("body", "out", "grace"),
    [
        (CLEANS_UP, "cleaned up\n", 30.0),
        (FAILS_IN_CLEANING_UP, "", 30.0),
        (SWALLOWS, "", 0.2),
        (REPLACES_THE_HANDLER, "", 30.0),
    ],
    ids=["cleans up", "fails in cleaning up", "swallows", "replaces the handler"],
)
def test_a_signal_ends_with_one_line(body, out, grace, number, status):
    process = start(body, grace)
    process.send_signal(number)
    assert process.communicate(timeout=120) == (out, LINE)
    assert process.returncode == status


def test_a_second_ctrl_c_does_not_wait():
    process = start(SWALLOWS, grace=3600.0)
    process.send_signal(signal.SIGINT)
    assert process.stderr.readline() == LINE
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=120) == ("", "")
    assert process.returncode == 130


def test_handlers_are_given_back_and_other_threads_left_alone():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with Interrupts():
        assert signal.getsignal(signal.SIGTERM) != before[1]
        thread = threading.Thread(target=lambda: Interrupts().__enter__().__exit__(None, None, None))
        thread.start()
        thread.join()
        with pytest.raises(KeyboardInterrupt, match=r"^$"), Interrupts():
            raise KeyboardInterrupt
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
    wakeup = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(wakeup)
    assert wakeup == -1 or os.fstat(wakeup)
