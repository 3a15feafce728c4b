"""Stage `acquire`: the next conditions to simulate, where an ensemble of closures disagrees."""

from collections.abc import Mapping, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import xarray as xr
from pydantic import Field, model_validator

from kernels.closures.acquisition import choose
from kernels.closures.physics import Physics
from kernels.errors import InputError
from stages.base import Stage, StageConfig, schema, variable
from stages.closure_fields import NUMBERS, physics_of
from stages.conditions import AxisRange, conditions
from stages.ragged import sample_names
from stages.variables import FAILED, TEST, TRAIN, VALIDATION

if TYPE_CHECKING:
    from torch import Tensor

    from kernels.closures.base import Closure

_FIELDS = ("concentration", "D_xx", "D_xy")


class AcquireConfig(StageConfig):
    """How many points, where, and on which states the members are asked.

    scale: what variance is relative to: "target", S:T itself, or "correction", by how much the mean of the
    members differs from the Bingham closure, so that points count where the network is less sure than right.

    candidates: all levels of both ranges ("grid") or so many Sobol points. states: of the `neighbours`
    nearest simulated points, with the flow that the candidate's parameters give them ("neighbours"), or these
    run on for `spin_up` by the coarse model with every member, in steps of at most `time_step` ("coarse").
    frames: of a run, spread evenly from time `begin` on; points: of the grid that they are taken to. length:
    over which disagreement is one thing, in units of the ranges. train_seeds, validation_seeds: of the runs
    at every new point.
    """

    alpha: AxisRange = AxisRange(low=-5.0, high=-1.0, levels=9)
    zeta: AxisRange = AxisRange(low=0.5, high=5.0, scale="log", levels=9)
    method: Literal["grid", "sobol"] = "grid"
    candidates: int = Field(default=64, ge=1, le=4096)
    seed: int = Field(default=0, ge=0)
    count: int = Field(default=4, ge=1)
    scale: Literal["target", "correction"] = "target"
    states: Literal["neighbours", "coarse"] = "neighbours"
    neighbours: int = Field(default=2, ge=1)
    frames: int = Field(default=3, ge=1)
    begin: float = Field(default=5.0, ge=0.0)
    points: int = Field(default=32, ge=4)
    spin_up: float = Field(default=4.0, gt=0.0)
    time_step: float = Field(default=0.05, gt=0.0)
    length: float = Field(default=0.35, gt=0.0)
    train_seeds: tuple[int, ...] = Field(default=(0,), min_length=1)
    validation_seeds: tuple[int, ...] = ()
    threads: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _possible(self) -> "AcquireConfig":
        if self.zeta.low < 0.0:
            raise ValueError(f"zeta.low is {self.zeta.low:g}, expected zero or more")
        seeds = [*self.train_seeds, *self.validation_seeds]
        if min(seeds) < 0 or len(set(seeds)) < len(seeds):
            raise ValueError(
                f"train_seeds are {list(self.train_seeds)} and validation_seeds "
                f"{list(self.validation_seeds)}, expected numbers from 0 on, each once"
            )
        return self


@dataclass(frozen=True)
class _Run:
    """One simulated run: its place in the unit square, and where its moments are."""

    alpha: float
    zeta: float
    name: str
    data: xr.Dataset
    row: int

    @property
    def point(self) -> tuple[float, float]:
        """Its place in the plane."""
        return self.alpha, self.zeta

    @property
    def test(self) -> bool:
        """Whether it is of the test part."""
        return "split" in self.data and int(self.data["split"].values[self.row]) == TEST

    def place(self, config: AcquireConfig) -> np.ndarray:
        """Position in units of the ranges."""
        return _place(config, np.array([[self.alpha, self.zeta]]))[0]


def run(config: AcquireConfig, **inputs: xr.Dataset) -> xr.Dataset:
    """Candidates where members disagree most about S:T, apart from each other and from simulated points.

    models.<label>: closures of one kind trained with other seeds (one data set may hold several);
    runs.<label>: moments of what has been simulated; runs of the test part give no states and count as not
    simulated, and points that they alone have are no candidates, so what scores has no say in what trains
    and stays held out. The disagreement at a candidate is the variance of S:T
    over members over its square (`kernels.closures.acquisition.relative_variance`), on states that are likely
    there; the choice is the greedy determinantal one of `kernels.closures.acquisition.choose`. Neither the
    labels nor the order of inputs matter. Returns the new conditions, as stage `conditions` does, and on
    `candidate` `candidate_alpha`, `candidate_zeta` and `disagreement`, for maps.

    Raises InputError for fewer than two members, too few candidates, no run outside of the test part, none
    with frames from `begin` on, and runs in squares of different sides.
    """
    from kernels.torch_threads import torch_threads

    models = {name: one for name, one in inputs.items() if name.startswith("models.")}
    runs = _runs({name: one for name, one in inputs.items() if name.startswith("runs.")})
    simulated = [one for one in runs if not one.test]
    if not simulated:
        raise InputError(
            f"all {len(runs)} runs are of the test part, expected some that train: give train_seeds to the "
            "conditions"
        )
    points = _without(_candidates(config), {one.point for one in runs} - {one.point for one in simulated})
    places = _place(config, points)
    with torch_threads(config.threads):
        closures = _members(models)
        scores = _scores(config, closures, simulated, points, places)
    taken = np.stack([one.place(config) for one in simulated])
    chosen = points[choose(places, scores, np.unique(taken, axis=0), config.count, config.length)]
    parts = [(TRAIN, config.train_seeds), (VALIDATION, config.validation_seeds)]
    rows = [(float(a), float(z), s, part) for part, seeds in parts for a, z in chosen for s in seeds]
    found: dict[str, Any] = {
        "candidate_alpha": variable("candidate_alpha", points[:, 0]),
        "candidate_zeta": variable("candidate_zeta", points[:, 1]),
        "disagreement": variable("disagreement", scores),
    }
    return conditions(rows).assign(found)


def _candidates(config: AcquireConfig) -> np.ndarray:
    """(N, 2) of alpha and zeta, in rising order, each once."""
    ranges = (config.alpha, config.zeta)
    if config.method == "grid":
        axes = [np.linspace(0.0, 1.0, one.levels) if one.levels > 1 else np.array([0.5]) for one in ranges]
        unit = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)
    else:
        from scipy.stats import qmc

        power = int(np.ceil(np.log2(config.candidates)))
        sequence = qmc.Sobol(2, scramble=True, rng=np.random.default_rng(config.seed))
        unit = np.asarray(sequence.random_base2(power))[: config.candidates]
    return np.unique(np.stack([one.at(unit[:, i]) for i, one in enumerate(ranges)], axis=1), axis=0)


def _without(points: np.ndarray, held_out: Set[tuple[float, float]]) -> np.ndarray:
    """Points (N, 2) but those."""
    return points[[(float(alpha), float(zeta)) not in held_out for alpha, zeta in points]]


def _place(config: AcquireConfig, points: np.ndarray) -> np.ndarray:
    """Position (N, 2) of points in units of the ranges."""

    def unit(one: AxisRange, values: np.ndarray) -> np.ndarray:
        if one.scale == "log":
            return np.asarray(np.log(np.maximum(values / one.low, 1e-12)) / np.log(one.high / one.low))
        return np.asarray((values - one.low) / (one.high - one.low))

    return np.stack([unit(config.alpha, points[:, 0]), unit(config.zeta, points[:, 1])], axis=1)


def _runs(datasets: Mapping[str, xr.Dataset]) -> list[_Run]:
    """All runs in an order that labels have no say in."""
    found = [
        _Run(float(data["alpha"].values[i]), float(data["zeta"].values[i]), name, data, i)
        for data in datasets.values()
        for i, name in enumerate(sample_names(data))
    ]
    sides = sorted({float(data.attrs["length"]) for data in datasets.values()})
    if len(sides) > 1:
        raise InputError(
            f"the runs are in squares of the sides {sides}, expected one: acquire for each alone"
        )
    return sorted(found, key=lambda one: (one.alpha, one.zeta, one.name))


def _members(models: Mapping[str, xr.Dataset]) -> "list[Closure]":
    from stages.closure_model import load_closures

    ordered = sorted(models.values(), key=lambda model: np.asarray(model["weights"].values).tobytes())
    closures = [closure for model in ordered for closure in load_closures(model)]
    if len(closures) < 2:
        raise InputError(
            f"the models hold {len(closures)} member, expected at least 2: train with further seeds"
        )
    return closures


def _scores(
    config: AcquireConfig, closures: "list[Closure]", simulated: list[_Run], points: np.ndarray,
    places: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """Disagreement at every candidate."""
    from kernels.closures.acquisition_states import disagreement
    from kernels.closures.families import build

    read: dict[int, tuple[Tensor, Tensor]] = {}
    used = [one for one in _one_a_point(simulated) if _late(config, one).size]
    if not used:
        raise InputError(f"no run has finite frames from begin = {config.begin:g} on: lower begin")
    known = np.stack([one.place(config) for one in used])
    states, nearest, numbers = [], [], []
    for point, place in zip(points, places, strict=True):
        order = np.argsort(((known - place) ** 2).sum(-1), kind="stable")[: config.neighbours]
        for k in order:
            if k not in read:
                read[k] = _states(config, used[k])
        states.append([_joined([read[k][i] for k in order]) for i in range(2)])
        nearest.append([part[-1:] for part in read[order[0]]])
        near = physics_of(used[order[0]].data, used[order[0]].row)
        numbers.append(Physics(float(point[0]), float(point[1]), near.beta, near.rotary,
                               near.translational, length=near.length))  # fmt: skip
    if config.states == "coarse":
        states = _moved(config, closures, nearest, numbers)
    base = build("bingham") if config.scale == "correction" else None
    rows = zip(states, numbers, strict=True)
    return np.array([disagreement(closures, c, z2, physics, base) for (c, z2), physics in rows])


def _one_a_point(simulated: list[_Run]) -> list[_Run]:
    """The first good run of every simulated point."""
    found: dict[tuple[float, float], _Run] = {}
    for one in simulated:
        if "status" not in one.data or int(one.data["status"].values[one.row]) != FAILED:
            found.setdefault(one.point, one)
    return list(found.values())


def _late(config: AcquireConfig, one: _Run) -> np.ndarray:
    times = np.asarray(one.data["time"].values)
    late = np.flatnonzero(times >= config.begin - 1e-9)
    return (
        late[np.unique(np.linspace(0, len(late) - 1, config.frames).round().astype(int))]
        if late.size
        else late
    )


def _states(config: AcquireConfig, one: _Run) -> "tuple[Tensor, Tensor]":
    """c and z2 (frames, n, n) of late frames on the grid that members are asked on."""
    import torch

    from kernels.closures.inference_windows import restrict
    from kernels.fields.periodic import PeriodicSquare

    frames = one.data[list(_FIELDS)].isel(sample=one.row, time=_late(config, one))
    c, d11, d12 = (torch.from_numpy(np.array(frames[name].values, dtype=np.float64)) for name in _FIELDS)
    if not bool(torch.isfinite(c + d11 + d12).all()):
        raise InputError(f"the moments of run {one.name!r} are not finite: mark it as failed or leave it out")
    length, n = float(one.data.attrs["length"]), c.shape[-1]
    fine = PeriodicSquare(n, length, "torch")
    coarse = PeriodicSquare(min(n, config.points), length, "torch")
    return restrict(c, fine, coarse), restrict(torch.complex(2.0 * d11 - c, 2.0 * d12), fine, coarse)


def _joined(parts: "list[Tensor]") -> "Tensor":
    import torch

    return torch.cat(parts)


def _moved(
    config: AcquireConfig, closures: "list[Closure]", nearest: "list[list[Tensor]]", numbers: list[Physics]
) -> "list[list[Tensor]]":
    """The last state of the nearest run to every candidate, run on with every member; (M, n, n) each."""
    import torch

    from kernels.closures.acquisition_states import moved_on

    def column(name: str) -> "Tensor":
        values = [getattr(one, name) for one in numbers]
        return torch.tensor(values, dtype=torch.float64)[:, None, None]

    c, z2 = (torch.cat([one[i] for one in nearest]) for i in range(2))
    given: dict[str, Any] = {name: column(name) for name in NUMBERS}
    later = moved_on(
        closures, c, z2, Physics(**given, length=numbers[0].length), config.spin_up, config.time_step
    )
    return [[part[:, i] for part in later] for i in range(len(numbers))]


STAGE = Stage(
    name="acquire",
    version=2,
    config=AcquireConfig,
    inputs={
        "models": schema("weights", "tensor_name", "tensor_shape", "tensor_dtype"),
        "runs": schema("sample_name", *NUMBERS, *_FIELDS),
    },
    output=schema(
        "sample_name",
        "split",
        "alpha",
        "zeta",
        "run_seed",
        "candidate_alpha",
        "candidate_zeta",
        "disagreement",
    ),
    run=run,
    several=("models", "runs"),
    literature=(
        "Kulesza and Taskar 2012, Determinantal point processes for machine learning, FTML 5",
        "Seung, Opper, Sompolinsky 1992, Query by committee, COLT",
    ),
)
