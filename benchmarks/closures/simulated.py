"""Moments of kinetic runs by condition, each computed once and kept in a folder."""

import os
import pickle
import warnings
from pathlib import Path

import xarray as xr

from kernels.errors import InputError
from stages.conditions import conditions, name_of
from stages.moments import STAGE as MOMENTS_OF
from stages.moments import MomentsConfig
from stages.simulate_kinetic import STAGE as SIMULATE
from stages.simulate_kinetic import SimulateKineticConfig
from stages.variables import FAILED, TEST, TRAIN

LENGTH, POINTS, END, LATE = 5.0, 64, 12.5, 5.0
STEPS = (0.0125, 0.00625, 0.003125)
"""Time steps that are tried one after the other, where the flow, faster for larger |alpha|, needs it."""


def moments(
    folder: Path, alpha: float, zeta: float, seed: int, test: bool = False, every: float = 0.5
) -> xr.Dataset:
    """Moments of one run from t = LATE on; the part is `test` where asked for, else `train`."""
    place = folder / f"{name_of(alpha, zeta, seed)}_n{POINTS}_t{END:g}_e{every:g}.pickle"
    if not place.exists():
        folder.mkdir(parents=True, exist_ok=True)
        found = _simulated(alpha, zeta, seed, every)
        private = place.with_suffix(f".{os.getpid()}")
        private.write_bytes(pickle.dumps(found))
        private.rename(place)
    data = pickle.loads(place.read_bytes())
    data["split"][:] = TEST if test else TRAIN
    return data


def _simulated(alpha: float, zeta: float, seed: int, every: float) -> xr.Dataset:
    row = conditions([(alpha, zeta, seed, TRAIN)])
    for step in STEPS[0 if abs(alpha) < 2.5 else 1 :]:
        config = SimulateKineticConfig(
            points=POINTS, length=LENGTH, time=END, every=every, time_step=step, keep=(0, 2, 4)
        )
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)
                run = SIMULATE(config, conditions=row)
        except InputError as error:  # the first step is too long already
            print(f"  {name_of(alpha, zeta, seed)}: {error}", flush=True)
            continue
        if int(run["status"].values[0]) != FAILED:
            tail = float(run["mode_tail"].values.max())
            print(
                f"  {name_of(alpha, zeta, seed)}: {float(run['run_seconds'].values[0]):.1f} s, "
                f"{int(run['angular_modes'].values[0])} modes, tail {tail:.1e}, step {step:g}",
                flush=True,
            )
            return MOMENTS_OF(MomentsConfig(start=LATE), simulations=run).load()
        print(f"  {name_of(alpha, zeta, seed)}: {run['reason'].values[0]}", flush=True)
    raise SystemExit(f"alpha {alpha:g}, zeta {zeta:g}: no step of {STEPS} is stable")
