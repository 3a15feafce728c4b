"""Runs two kinetic simulations in a project, and kills itself where the environment says.

`python kinetic_process.py PROJECT`; KILL_IN_SAVE=2 kills half-way through storing the third state.
"""

import os
import signal
import sys
from pathlib import Path

import numpy as np

from pipelines.runner import Runner
from pipelines.settings import Settings
from stages import _frames, simulate_kinetic
from stages.conditions import conditions
from stages.simulate_kinetic import STAGE, SimulateKineticConfig
from stages.variables import TEST, TRAIN

CONFIG = SimulateKineticConfig(
    points=12, modes=9, length=5.0, time=1.0, every=0.25, time_step=0.01, checkpoint_seconds=0.0
)
RUNS = conditions([(-3.0, 1.0, 0, TRAIN), (-1.0, 0.5, 1, TEST)])


def arm(saves: int) -> None:
    """Kill this process while it stores a state."""
    written, real_save = iter(range(10**9)), np.savez

    def dying_save(file, **arrays):
        if next(written) == saves:
            file.write(b"PK half a state")
            file.flush()
            os.kill(os.getpid(), signal.SIGKILL)
        real_save(file, **arrays)

    simulate_kinetic._CHUNK = 10
    _frames.np.savez = dying_save


def simulate(project: Path):
    """Key and dataset of the runs, through the runner and its catalog."""
    with Runner(Settings(project=project, quiet=True, workers=0)) as runner:
        key = runner.step(STAGE, CONFIG, {"conditions": runner.add("conditions", RUNS, {})})
        return key, runner.catalog.open(key).load()


def same(one, other) -> list[str]:
    """Names of variables, times of work left out, that are not the same to the bit."""
    names = [name for name in one.variables if name != "run_seconds"]
    return [name for name in names if not np.array_equal(one[name].values, other[name].values)]


if __name__ == "__main__":
    arm(int(os.environ["KILL_IN_SAVE"]))
    simulate(Path(sys.argv[1]))
