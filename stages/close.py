"""Stage `close`: the coarse model with a closure, run from frames of kinetic runs."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import xarray as xr
from pydantic import Field, model_validator

from kernels.closures.physics import Physics
from kernels.errors import InputError
from kernels.torch_threads import torch_threads
from stages._frames import Frames, stacked
from stages._multiples import count_of
from stages.base import Stage, StageConfig, schema, variable
from stages.closure_fields import NUMBERS, Fields, fields_of, physics_of, variables_of
from stages.parts import PART_NAMES
from stages.ragged import sample_names
from stages.variables import MOMENTS

if TYPE_CHECKING:
    from kernels.closures.base import Closure
    from kernels.closures.coarse import Run
    from kernels.closures.coarse_rates import Known

_CLOSE = 1e-6
"""Times that differ by less are equal."""


class CloseConfig(StageConfig):
    """From which frames, for how long, and how it is solved.

    parts: of the truth whose runs are continued. starts: times of frames to start from, () the first one;
    time: length of a run, None until the truth ends; every: between frames, None that of the truth;
    time_step, which divides it; stepper: see kernels.closures.coarse.
    """

    parts: tuple[Literal["train", "validation", "test"], ...] = ("test",)
    starts: tuple[float, ...] = ()
    time: float | None = Field(default=None, gt=0.0)
    every: float | None = Field(default=None, gt=0.0)
    time_step: float = Field(default=0.02, gt=0.0)
    stepper: Literal["sbdf2", "ars222", "etdrk2", "etdrk4"] = "sbdf2"
    threads: int = Field(default=1, ge=1)

    @model_validator(mode="after")
    def _whole(self) -> "CloseConfig":
        if self.starts and self.time is None:
            raise ValueError("starts are given and time is not: say how long the runs from them go")
        if len(set(self.starts)) < len(self.starts):
            raise ValueError(f"starts are {self.starts}, expected each time once")
        if self.every is not None:
            count_of(self.every, self.time_step, "every", "time_step")
            if self.time is not None:
                count_of(self.time, self.every, "time", "every")
        return self


def run(
    config: CloseConfig, truth: xr.Dataset, model: xr.Dataset, scratch: Path | None = None
) -> xr.Dataset:  # fmt: skip
    """Solve d_t c and d_t z_2 with z_4 of the closure, see `kernels.closures.coarse`, and hand out moments.

    truth: of `moments`, whose frames are the initial states and whose numbers and grid are taken; model: of
    `train_closure`. Without `starts` a run begins at the first frame, has the name of its kinetic run, and
    `time` goes on from that frame's; with them it is called <run>@<start>, and `time` counts from the start.
    Runs from one kinetic run share a batch; no two kinetic runs do, so no cut changes a bit.

    Returns the layout of `moments` with `source` and `start`; `survived_until`, after which fields are NaN;
    `violations`, points and frames that no density has; the largest `power_residual` of all frames;
    `step_seconds`, `run_seconds`; and `outside`, 1 where alpha or zeta lie outside what the model was trained
    at. A start whose frame a failed kinetic run lacks is left out.

    Raises InputError where a start is no frame, frames are not multiples of the time step, and the step is
    not stable at the start.
    """
    from stages.closure_model import closure_of, outside

    chosen = _rows(config, truth)
    starts = _starts(config, truth)
    lead = lead_times(config, np.asarray(truth["time"].values, dtype=np.float64))
    closure = closure_of(model)
    found: list[_Closed] = []
    with torch_threads(config.threads):
        for i in chosen:
            one = _Closed.of(config, truth, i, starts, len(lead), scratch)
            if one.starts:
                one.solve(closure, lead)
                found.append(one)
    return _dataset(config, truth, found, lead, lambda a, z: outside(model, a, z))


def _rows(config: CloseConfig, truth: xr.Dataset) -> list[int]:
    wanted = {number for number, name in PART_NAMES.items() if name in config.parts}
    return [i for i, part in enumerate(truth["split"].values) if int(part) in wanted]


def _starts(config: CloseConfig, truth: xr.Dataset) -> dict[float, int]:
    """Start -> its frame of the truth."""
    times = np.asarray(truth["time"].values, dtype=np.float64)
    found = {}
    for start in config.starts or (float(times[0]),):
        at = int(np.abs(times - start).argmin())
        if abs(times[at] - start) > _CLOSE:
            raise InputError(
                f"there is no frame at the start {start:g}, the nearest is at {times[at]:g} of {times[0]:g} "
                f"to {times[-1]:g}: start from a frame"
            )
        found[float(start)] = at
    return found


def lead_times(config: CloseConfig, times: np.ndarray) -> np.ndarray:
    """When frames are kept, from the start on, for a truth with frames at these times."""
    if config.every is None and len(times) < 2:
        raise InputError("the truth has one frame, which does not say how often to keep one: set every")
    every = config.every or float(times[1] - times[0])
    whole = config.time if config.time is not None else float(times[-1] - times[0])
    try:
        count_of(every, config.time_step, "every", "time_step")
        count = count_of(whole, every, "time", "every")
    except ValueError as error:
        raise InputError(str(error)) from error
    return np.round(np.arange(count + 1) * every, 12)


@dataclass
class _Closed:
    """Runs from the frames of one kinetic run: what they start from, and what they have written."""

    config: CloseConfig
    row: int
    name: str
    physics: Physics
    points: int
    starts: list[float]
    c: np.ndarray
    z2: np.ndarray
    files: list[dict[str, Frames]]
    written: np.ndarray
    result: "Run | None" = None

    @classmethod
    def of(
        cls, config: CloseConfig, truth: xr.Dataset, row: int, starts: dict[float, int], frames: int,
        scratch: Path | None,
    ) -> "_Closed":  # fmt: skip
        """At their starts; those that a failed run has no frame for are left out."""
        points = truth.sizes["x"]
        frame = truth[list(MOMENTS)].isel(sample=row, time=list(starts.values()))
        given = fields_of(frame.transpose("time", "x", "y").load())
        finite = np.isfinite(given.c + given.z4).all(axis=(1, 2))
        good = [int(b) for b in np.flatnonzero(finite)]

        def files(b: int) -> dict[str, Frames]:
            shape = (points, points)
            return {n: Frames(scratch, f"{n}.{row}.{b}", frames, shape, np.float64) for n in MOMENTS}

        return cls(
            config, row, sample_names(truth)[row], physics_of(truth, row), points,
            [list(starts)[b] for b in good], given.c[good], given.z2[good], [files(b) for b in good],
            np.zeros(len(good), np.int64),
        )  # fmt: skip

    def solve(self, closure: "Closure", lead: np.ndarray) -> None:
        """Run them all as one batch."""
        import torch

        from kernels.closures.coarse import Coarse

        model = Coarse(closure, self.points, self.physics.length, self.config.time_step, self.config.stepper)
        c, z2 = (torch.from_numpy(np.ascontiguousarray(values)) for values in (self.c, self.z2))
        try:
            self.result = model.run(c, z2, self.physics, [float(t) for t in lead], self._observe)
        except InputError as error:
            raise InputError(f"run {self.name!r}: {error}") from error

    def _observe(self, frame: int, time: float, known: "Known", alive: Any) -> None:
        del time
        parts = (known.c, known.z2, known.z4, known.flow.strain, known.flow.u, known.flow.v)
        fields = Fields(*(part.resolve_conj().numpy() for part in parts))
        values = variables_of(fields, self.physics, known.isotropic.numpy())
        for position, b in enumerate(np.flatnonzero(alive.numpy())):
            for name, file in self.files[b].items():
                file.write(frame, values[name][position][None])
            self.written[b] = frame + 1


def _dataset(
    config: CloseConfig, truth: xr.Dataset, found: list[_Closed], lead: np.ndarray,
    is_outside: Callable[[Any, Any], np.ndarray],
) -> xr.Dataset:  # fmt: skip
    rows = [one.row for one in found for _ in one.starts]
    begun = 0.0 if config.starts else float(truth["time"].values[0])
    carried = [name for name in ("split", "run_seed", *NUMBERS) if name in truth]
    data: dict[str, Any] = {name: truth[name].variable.isel(sample=rows) for name in carried}
    names = [f"{one.name}@{t:g}" if config.starts else one.name for one in found for t in one.starts]
    columns: dict[str, list[Any]] = {
        "sample_name": names,
        "source": [one.name for one in found for _ in one.starts],
        "start": [t for one in found for t in one.starts],
        "outside": [int(x) for x in is_outside(*(truth[n].values[rows] for n in ("alpha", "zeta")))],
    }
    per_run: dict[str, list[Any]] = {name: [] for name in ("survived_until", "violations", "power_residual")}
    columns |= per_run | {"step_seconds": [], "run_seconds": []}
    for one in found:
        assert one.result is not None
        for name in per_run:
            values = getattr(one.result, name).numpy() + (begun if name == "survived_until" else 0)
            columns[name] += values.tolist()
        alone = one.result.step_seconds / len(one.starts)
        ran = one.result.survived_until.numpy() / config.time_step
        columns["step_seconds"] += [alone] * len(one.starts)
        columns["run_seconds"] += (alone * ran).tolist()
    texts = ("sample_name", "source")
    data |= {n: variable(n, np.array(v, object) if n in texts else v) for n, v in columns.items()}
    for name in MOMENTS:
        kept = [f[name].close(int(w)) for one in found for f, w in zip(one.files, one.written, strict=True)]
        points = truth.sizes["x"]
        data[name] = variable(name, stacked(kept) if kept else np.empty((0, len(lead), points, points)))
    coords = {axis: truth[axis].variable for axis in ("x", "y")}
    coords["time"] = xr.Variable(("time",), begun + lead, {"units": "1"})
    attrs = {"length": truth.attrs["length"], "step": config.time_step, "stepper": config.stepper}
    return xr.Dataset(data, coords, attrs)


STAGE = Stage(
    name="close",
    version=2,
    config=CloseConfig,
    inputs={
        "truth": schema("sample_name", "split", *NUMBERS, *MOMENTS),
        "model": schema("weights", "tensor_name", "tensor_shape", "tensor_dtype"),
    },
    output=schema(
        "sample_name", "split", *NUMBERS, *MOMENTS, "source", "start", "survived_until", "step_seconds",
        "run_seconds", "violations", "power_residual", "outside",
    ),
    run=run,
    split_over="truth",
    batch=1,
    resumable=True,
    lazy=True,
    literature=(
        "S. Maddu, S. Weady, M. J. Shelley, Learning fast, accurate, and stable closures of a kinetic theory "
        "of an active fluid, J. Comput. Phys. 2024, arXiv 2308.06675",
    ),
)  # fmt: skip
