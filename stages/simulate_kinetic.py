"""Stage `simulate_kinetic`: kinetic runs of an active suspension, frame by frame, resumable in the middle."""

import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import xarray as xr
from pydantic import Field, field_validator, model_validator

from kernels.closures.physics import Physics
from kernels.errors import InputError
from stages._frames import Frames, stacked, store, stored
from stages._multiples import count_of
from stages.base import Progress, Stage, StageConfig, schema, variable
from stages.closure_fields import NUMBERS
from stages.variables import FAILED, OK

if TYPE_CHECKING:
    from kernels.closures.kinetic.solver import Kinetic, KineticState

RESOLVED = 1e-6
"""Relative amplitude of the last angular mode above which a run carries a warning."""

MODES = {1.0: 24, 2.0: 32, 3.0: 39, 5.0: 50, 9.0: 66, 17.0: 90}
"""zeta -> even modes above 0 whose last is below 1e-10 of the concentration."""

_CHUNK = 50
"""Steps between two chances of storing the state; the same ones whether or not a run is killed."""

_STATE = "state.npz"
_COUNTED = ("done", "frames", "seconds", "reason", "warning", "worst")


class SimulateKineticConfig(StageConfig):
    """The grid, the numbers that all runs share, and when frames are kept.

    points: along a side of the periodic square of side length; modes: even angular modes m = 0, 2, .., 2
    (modes - 1), None takes as many as zeta needs, see `modes_for`; beta, rotary, translational: see
    kernels.closures.physics; amplitude: of the waves of the initial state. time: end of the runs, every:
    between frames, both multiples of time_step; stepper: see kernels.closures.kinetic.steppers; keep: even m
    whose harmonics are handed out. checkpoint_seconds: between two stored states that a killed run goes on
    from. on_failure: a run that grows out of bounds is kept up to its last good frame, or an error.
    """

    points: int = Field(default=32, ge=4, le=4096)
    modes: int | None = Field(default=None, ge=4, le=1024)
    length: float = Field(default=10.0, gt=0.0)
    beta: float = Field(default=0.8, ge=0.0)
    rotary: float = Field(default=0.05, ge=0.0)
    translational: float = Field(default=0.05, ge=0.0)
    amplitude: float = Field(default=0.1, gt=0.0, le=0.125)
    time: float = Field(default=20.0, gt=0.0)
    every: float = Field(default=0.5, gt=0.0)
    time_step: float = Field(default=0.01, gt=0.0)
    stepper: Literal["sbdf2_implicit", "sbdf2", "etdrk4"] = "sbdf2_implicit"
    keep: tuple[int, ...] = (0, 2, 4)
    checkpoint_seconds: float = Field(default=30.0, ge=0.0)
    on_failure: Literal["keep", "error"] = "keep"

    @field_validator("keep")
    @classmethod
    def _even(cls, keep: tuple[int, ...]) -> tuple[int, ...]:
        if not {0, 2, 4} <= set(keep) or any(m < 0 or m % 2 for m in keep) or len(set(keep)) < len(keep):
            raise ValueError(
                f"keep is {keep}, expected even numbers, each once, among them 0, 2 and 4, which the moments "
                "need"
            )
        return tuple(sorted(keep))

    @model_validator(mode="after")
    def _divisible(self) -> "SimulateKineticConfig":
        count_of(self.every, self.time_step, "every", "time_step")
        count_of(self.time, self.every, "time", "every")
        if self.modes is not None and max(self.keep) > 2 * (self.modes - 1):
            raise ValueError(
                f"keep asks for m = {max(self.keep)} and {self.modes} modes end at {2 * (self.modes - 1)}: "
                "raise modes"
            )
        return self

    @property
    def frames(self) -> int:
        """Frames of a run, that of time 0 among them."""
        return round(self.time / self.every) + 1

    @property
    def times(self) -> np.ndarray:
        """When frames are kept."""
        return np.round(np.arange(self.frames) * self.every, 12)


def modes_for(zeta: float) -> int:
    """Even modes m = 0, 2, .. that an alignment of strength zeta needs: between the entries of `MODES` by a
    straight line, beyond them by the square root, as the width of the peak shrinks."""
    known = sorted(MODES)
    if zeta > known[-1]:
        return 1 + int(np.ceil(MODES[known[-1]] * np.sqrt(zeta / known[-1])))
    return 1 + int(np.ceil(np.interp(zeta, known, [MODES[z] for z in known])))


def run(
    config: SimulateKineticConfig, conditions: xr.Dataset, progress: Progress | None = None,
    scratch: Path | None = None,
) -> xr.Dataset:  # fmt: skip
    """Solve the kinetic model from plane waves drawn by `run_seed`, for every condition.

    psi_t + div(u psi) + d_theta(thetadot psi) = d_T Lap psi + d_R psi_thetatheta with the Stokes flow of the
    particles' stress, by even angular modes z_m = int e^{i m theta} psi d theta: see
    `kernels.closures.kinetic`. Returns the kept harmonics (sample, time, harmonic, x, y), `mode_tail`, the
    amplitude of the last mode in each frame, and per sample the numbers of the run, `status`, `reason`,
    `warning`, and the seconds it took. A run that grows out of bounds has status failed, the reason, and
    NaN from its last good frame on; one whose last mode is above 1e-6 has a warning that says how many modes
    it needs. Frames go to `scratch` as they come, and the state of the solver with them, so a killed run goes
    on and ends with the same bits.

    Raises InputError, before a step is made, for zeta < 0, a step beyond the stability limit of the initial
    state, and an initial state that grid or modes cannot hold. Not handled: swimming particles.
    """
    _check(conditions)
    rows = range(conditions.sizes["sample"])
    found = []
    for i in rows:
        folder = scratch if scratch is None or len(rows) == 1 else _folder(scratch, i)
        found.append(_Run.of(config, conditions, i, folder).finish(progress, i, len(rows)))
    return _dataset(config, conditions, found)


def _folder(scratch: Path, i: int) -> Path:
    folder = scratch / f"run-{i}"
    folder.mkdir(exist_ok=True)
    return folder


def _check(conditions: xr.Dataset) -> None:
    for name in ("alpha", "zeta"):
        values = np.asarray(conditions[name].values)
        wrong = ~np.isfinite(values) | ((values < 0.0) if name == "zeta" else False)
        if wrong.any():
            first = int(np.argmax(wrong))
            raise InputError(
                f"{name} of sample {str(conditions['sample_name'].values[first])!r} is {values[first]}, "
                f"expected a finite number{', zero or more' * (name == 'zeta')}: correct the conditions"
            )
    seeds = np.asarray(conditions["run_seed"].values)
    if seeds.size and seeds.min() < 0:
        raise InputError(f"run_seed is {seeds.min()}, expected zero or more: correct the conditions")


@dataclass
class _Run:
    """One run: its solver, where it is, and what it has written.

    done: steps that are behind it; frames: written ones.
    """

    config: SimulateKineticConfig
    name: str
    kinetic: "Kinetic"
    state: "KineticState"
    folder: Path | None
    kept: Frames
    tails: np.ndarray
    done: int = 0
    frames: int = 0
    seconds: float = 0.0
    reason: str = ""
    warning: str = ""
    worst: float = RESOLVED

    @classmethod
    def of(cls, config: SimulateKineticConfig, conditions: xr.Dataset, i: int, folder: Path | None) -> "_Run":
        """At its beginning, or where an earlier process left it."""
        from kernels.closures.kinetic.initial import plane_waves
        from kernels.closures.kinetic.solver import Kinetic, KineticSettings

        numbers = {name: getattr(config, name) for name in ("beta", "rotary", "translational", "length")}
        alpha, zeta = (float(conditions[name].values[i]) for name in ("alpha", "zeta"))
        modes = config.modes or max(modes_for(zeta), max(config.keep) // 2 + 1)
        settings = KineticSettings(config.points, modes, config.time_step, config.stepper)
        kinetic = Kinetic(Physics(alpha, zeta, **numbers), settings)
        z0 = plane_waves(config.points, modes, int(conditions["run_seed"].values[i]), config.amplitude)
        state = kinetic.begin(z0)
        limit = kinetic.limit(state.z)
        if config.time_step > limit:
            raise InputError(
                f"time_step is {config.time_step:g}, expected at most {limit:.4g}, where steps of "
                f"{config.stepper!r} are stable for the initial state: lower time_step"
            )
        shape = (len(config.keep), config.points, config.points)
        kept = Frames(folder, "harmonics", config.frames, shape, np.complex128)
        name = str(conditions["sample_name"].values[i])
        made = cls(config, name, kinetic, state, folder, kept, np.full(config.frames, np.nan))
        made._go_on()
        return made

    def _go_on(self) -> None:
        from kernels.closures.kinetic.solver import KineticState

        left = stored(self.folder, _STATE)
        if left is None or not self.kept.holds(left[0]["frames"]):
            self._frame()
            return
        about, arrays = left
        memory = {key.removeprefix("memory."): a for key, a in arrays.items() if key.startswith("memory.")}
        self.state = KineticState(about["time"], arrays["z"], memory)
        self.tails = arrays["tails"]
        for name in _COUNTED:
            setattr(self, name, about[name])

    def finish(self, progress: Progress | None, run: int, runs: int) -> "_Run":
        """To the end, or to where it fails."""
        each = round(self.config.every / self.config.time_step)
        total = each * (self.config.frames - 1)
        start, saved = time.perf_counter(), time.monotonic()
        try:
            while self.done < total and not self.reason:
                within = self.done % each
                self.done += min(_CHUNK, each - within)
                self.state = self.kinetic.advance(self.state, round(self.done * self.config.time_step, 12))
                if self.done % each == 0:
                    self._frame()
                if time.monotonic() - saved >= self.config.checkpoint_seconds:
                    self._save(time.perf_counter() - start)
                    saved = time.monotonic()
                if progress is not None:
                    progress(run * total + self.done, runs * total, self.warning)
        except (
            InputError
        ) as error:  # it exploded, or the step is beyond the limit of what the flow has become
            if self.config.on_failure == "error":
                raise InputError(f"run {self.name!r}: {error}") from error
            self.reason = str(error)
            warnings.warn(f"run {self.name!r} failed: {error}", RuntimeWarning, stacklevel=2)
        self.seconds += time.perf_counter() - start
        return self

    def _frame(self) -> None:
        """Keep the state as a frame."""
        z = self.state.z
        self.kept.write(self.frames, z[[m // 2 for m in self.config.keep]][None])
        self.tails[self.frames] = self.kinetic.tail(z)
        self.frames += 1
        if self.tails[self.frames - 1] > self.worst:
            told = f"run {self.name!r}: {self.kinetic.warning(z, RESOLVED)}"
            if not self.warning:
                warnings.warn(told, RuntimeWarning, stacklevel=2)
            self.worst, self.warning = float(self.tails[self.frames - 1]), told

    def _save(self, seconds: float) -> None:
        if self.folder is None:
            return
        about = {name: getattr(self, name) for name in _COUNTED}
        about |= {"time": self.state.time, "seconds": self.seconds + seconds}
        self.kept.sync()
        memory = {f"memory.{key}": values for key, values in self.state.memory.items()}
        store(self.folder, _STATE, about, {"z": self.state.z, "tails": self.tails, **memory})


def _dataset(config: SimulateKineticConfig, conditions: xr.Dataset, found: list[_Run]) -> xr.Dataset:
    physics = [one.kinetic.physics for one in found]
    data: dict[str, Any] = {
        name: conditions[name].variable.copy() for name in ("sample_name", "split", "run_seed")
    }
    data |= {name: variable(name, [getattr(one, name) for one in physics]) for name in NUMBERS}
    data["angular_modes"] = variable("angular_modes", [one.kinetic.settings.modes for one in found])
    data["status"] = variable("status", [FAILED if one.reason else OK for one in found])
    for name in ("reason", "warning"):
        data[name] = variable(name, np.array([getattr(one, name) for one in found], dtype=object))
    data["run_seconds"] = variable("run_seconds", [one.seconds for one in found])
    data["mode_tail"] = variable("mode_tail", np.stack([one.tails for one in found]))
    harmonics = stacked([one.kept.close(one.frames) for one in found])
    data["harmonic_re"] = variable("harmonic_re", harmonics.real)
    data["harmonic_im"] = variable("harmonic_im", harmonics.imag)
    coords = coordinates(config.times, config.points, config.length)
    coords["harmonic"] = ("harmonic", np.array(config.keep), {"units": "1"})
    attrs = {"length": config.length, "step": config.time_step, "stepper": config.stepper}
    return xr.Dataset(data, coords, attrs)


def coordinates(times: np.ndarray, points: int, length: float) -> dict[str, Any]:
    """Coordinates time, x and y of fields on a periodic square."""
    places = np.arange(points) * (length / points)
    return {
        "time": ("time", np.asarray(times, np.float64), {"units": "1"}),
        "x": ("x", places, {"units": "1"}),
        "y": ("y", places, {"units": "1"}),
    }


STAGE = Stage(
    name="simulate_kinetic",
    version=1,
    config=SimulateKineticConfig,
    inputs={"conditions": schema("sample_name", "split", "alpha", "zeta", "run_seed")},
    output=schema(
        "sample_name", "split", "run_seed", *NUMBERS, "angular_modes", "status", "reason", "warning",
        "run_seconds", "mode_tail", "harmonic_re", "harmonic_im",
    ),
    run=run,
    split_over="conditions",
    batch=1,
    reports=True,
    resumable=True,
    literature=(
        "S. Maddu, S. Weady, M. J. Shelley, Learning fast, accurate, and stable closures of a kinetic theory "
        "of an active fluid, J. Comput. Phys. 2024, arXiv 2308.06675",
    ),
)  # fmt: skip
