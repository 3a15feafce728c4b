"""Stage `moments`: what a closure is learned from, out of the harmonics of kinetic runs."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from pydantic import Field

from kernels.errors import InputError
from stages._frames import Frames, stacked
from stages.base import Stage, StageConfig, schema, variable
from stages.closure_fields import NUMBERS, Fields, physics_of, variables_of
from stages.variables import MOMENTS

if TYPE_CHECKING:
    from kernels.closures.kinetic.stokes import Driven

_BLOCK = 16
"""Frames that are read at a time."""

_CLOSE = 1e-9

_CARRIED = ("sample_name", "split", "run_seed", *NUMBERS, "angular_modes", "status", "reason", "warning",
            "run_seconds")  # fmt: skip


class MomentsConfig(StageConfig):
    """Which frames: those from `start` on, every `stride`-th; thin: every so many points along a side, where
    the runs are finer than the coarse model."""

    start: float = Field(default=0.0, ge=0.0)
    stride: int = Field(default=1, ge=1)
    thin: int = Field(default=1, ge=1)


def run(config: MomentsConfig, simulations: xr.Dataset, scratch: Path | None = None) -> xr.Dataset:
    """Second and fourth moments, the flow and the target S:T of every kept frame of every run.

    c = z_0; D and S are components of z_0, z_2, z_4 (`kernels.closures.harmonics`); u and E solve the Stokes
    equation for the full stress, which holds E itself, to rounding, so the power balance 2 <E:E> + <Sigma:E>
    = 0 holds; ST = S:T, T = E + 2 zeta D, is the contraction that a closure has to give. Frames after the
    last good one of a failed run are NaN. Frames are read and written in blocks, so memory does not grow with
    the length of a run.

    Raises InputError where the harmonics lack 0, 2 or 4, the grid is no square or not a multiple of `thin`,
    or no frame is left. Not handled: polar runs.
    """
    _check_grid(simulations, config.thin)
    at = _frames(config, simulations)
    harmonics = [int(m) for m in simulations["harmonic"].values]
    if not {0, 2, 4} <= set(harmonics):
        raise InputError(
            f"the simulations hold the harmonics {harmonics}, expected 0, 2 and 4 among them: set `keep` so"
        )
    points = simulations.sizes["x"] // config.thin
    samples = range(simulations.sizes["sample"])
    files = [
        {name: Frames(scratch, f"{name}.{i}", len(at), (points, points), np.float64) for name in MOMENTS}
        for i in samples
    ]
    for i in samples:
        _fill(files[i], simulations, i, at, config.thin)
    data: dict[str, Any] = {
        name: simulations[name].variable.copy() for name in _CARRIED if name in simulations
    }
    for name in MOMENTS:
        data[name] = variable(name, stacked([file[name].close(len(at)) for file in files]))
    axes = {axis: simulations[axis].variable[:: config.thin] for axis in ("x", "y")}
    return xr.Dataset(data, {"time": simulations["time"].variable[at], **axes}, simulations.attrs)


def _check_grid(simulations: xr.Dataset, thin: int) -> None:
    n, length = simulations.sizes["x"], simulations.attrs.get("length")
    if length is None or simulations.sizes["y"] != n:
        raise InputError(
            f"the grid has {n} x {simulations.sizes['y']} points and the length {length!r}, expected a "
            "square with the attribute length: take the output of simulate_kinetic"
        )
    if n % thin or n // thin < 4:
        raise InputError(f"thin is {thin} for {n} points a side, expected a divisor that leaves at least 4")


def _frames(config: MomentsConfig, simulations: xr.Dataset) -> np.ndarray:
    times = np.asarray(simulations["time"].values)
    at = np.flatnonzero(times >= config.start - _CLOSE)[:: config.stride]
    if at.size == 0:
        raise InputError(
            f"start is {config.start:g} and the runs end at {times[-1]:g}, expected a frame after it: lower "
            "start"
        )
    return at


def _fill(files: dict[str, Frames], simulations: xr.Dataset, i: int, at: np.ndarray, thin: int) -> None:
    """All frames `at` of run i, block by block."""
    from kernels.closures.kinetic.stokes import Driven
    from kernels.fields.periodic import PeriodicSquare

    physics = physics_of(simulations, i)
    driven = Driven(physics, PeriodicSquare(simulations.sizes["x"], physics.length))
    parts = simulations[["harmonic_re", "harmonic_im"]].isel(sample=i).sel(harmonic=[0, 2, 4])
    for start in range(0, len(at), _BLOCK):
        block = parts.isel(time=at[start : start + _BLOCK]).transpose("time", "harmonic", "x", "y").load()
        z = block["harmonic_re"].values + 1j * block["harmonic_im"].values
        found = [variables_of(_solved(frame, driven), physics) for frame in z]
        for name, file in files.items():
            file.write(start, np.stack([one[name][::thin, ::thin] for one in found]))


def _solved(z: np.ndarray, driven: "Driven") -> Fields:
    """Fields of z_0, z_2, z_4 (3, n, n) with the flow that they drive."""
    c, z2, z4 = np.ascontiguousarray(z[0].real), z[1], z[2]
    if not np.isfinite(z).all():
        gap = np.full(c.shape, np.nan)
        none = gap + 1j * gap
        return Fields(gap, none, none, none, gap, gap)
    flow = driven.solve(c, z2, z4)
    return Fields(c, z2, z4, flow.strain, flow.u, flow.v)


STAGE = Stage(
    name="moments",
    version=1,
    config=MomentsConfig,
    inputs={"simulations": schema("sample_name", "split", *NUMBERS, "harmonic_re", "harmonic_im")},
    output=schema("sample_name", "split", *NUMBERS, *MOMENTS),
    run=run,
    split_over="simulations",
    batch=1,
    resumable=True,
    lazy=True,
)
