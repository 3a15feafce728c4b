"""Runs a module, Prefect's own server, as a process that ends when the one that started it is gone.

python -m pipelines.prefect_server MODULE ARGUMENTS..., with a pipe from that process as its input
"""

import os
import runpy
import sys
import threading


def _end_with_the_pipe() -> None:
    # Only the flow's process holds the other end, so it closes however that process ends.
    while os.read(0, 1):
        pass
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=_end_with_the_pipe, daemon=True).start()
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
