"""Stage `ensemble`: members of one architecture joined to one model, with conformal intervals."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

import numpy as np
import xarray as xr
from pydantic import Field, field_validator

from kernels.errors import InputError
from kernels.metrics.conformal import (
    Bound,
    floor_of_spread,
    least_samples,
    pointwise_factor,
    simultaneous_factor,
)
from kernels.metrics.ensembles import mean_and_deviation
from kernels.torch_threads import torch_threads
from stages.base import Stage, StageConfig, schema, variable
from stages.operator_data import Samples, is_mesh
from stages.operator_model import SCALES
from stages.parts import rows_of
from stages.variables import CALIBRATION

_BLOCK = 16
_POINTS = 4_000_000
"""Ratios that are kept for the pointwise factor, of all samples together."""

_SAME_ATTRS = ("family", "settings", "signature", "channels")
_SAME_TENSORS = ("tensor_name", "tensor_shape", "tensor_dtype")
_PER_MEMBER = ("weights", "seed")
_HISTORY = ("train_loss", "validation_error", "epoch_seconds")


class EnsembleConfig(StageConfig):
    """levels: of the intervals. bound: for what is not known of a new sample's pointwise loss, see
    `kernels.metrics.conformal.pointwise_factor`: the largest seen among the calibration samples comes close
    to the level, the largest possible is a theorem. threads: of the predictions of the calibration part.
    """

    levels: tuple[Annotated[float, Field(gt=0.0, lt=1.0)], ...] = Field((0.5, 0.8, 0.9, 0.95), min_length=1)
    bound: Literal["seen", "possible"] = "seen"
    threads: int = Field(default=1, ge=1)

    @field_validator("levels")
    @classmethod
    def _rising(cls, levels: tuple[float, ...]) -> tuple[float, ...]:
        if list(levels) != sorted(set(levels)):
            raise ValueError(f"levels are {list(levels)}, expected rising ones: sort them")
        return levels


def run(config: EnsembleConfig, data: xr.Dataset, split: xr.Dataset, **members: xr.Dataset) -> xr.Dataset:
    """One model of all members, with factors of intervals mean +- factor * std from the calibration part.

    mean and variance are over the members, std = sqrt(variance + spread_floor^2); the floor makes the mean
    square of std that of the errors. interval_factor: pointwise conformal risk control, at a level of 0.9 a
    new sample has 90 % of its points inside in expectation; simultaneous_factor: with 90 % probability it
    has all of them inside. See `kernels.metrics.conformal` for both. With one member the floor cancels; with
    several it comes from the same samples as the factors, one number for thousands of errors. Where there
    are too few calibration samples a level is left out, and named in the attribute `levels_left_out`; a
    simultaneous factor is infinite, and named in `levels_not_simultaneous`.

    members: outputs `members.<label>` of `train_operator`, one or more. Of the data the calibration part
    alone is looked at, in blocks; for the pointwise factor at most 4 million points, drawn evenly from the
    samples, are kept. Raises InputError where members differ in family, settings, signature, scales or
    tensors, or share a seed, where the calibration part is empty or too small for every level, or its
    values or what a member predicts for it are not finite: the member and the samples are named.
    """
    model = joined(members)
    rows = rows_of(data, split, CALIBRATION)
    levels = [level for level in config.levels if len(rows) >= least_samples(level, config.bound)]
    if not levels:
        raise InputError(
            f"there are {len(rows)} calibration samples, expected at least "
            f"{least_samples(config.levels[0], config.bound)} for a level of {config.levels[0]:g}: give "
            "the calibration part more samples in the split"
        )
    with torch_threads(config.threads):
        floor = _floor(data, rows, model, _called(members))
        pointwise, simultaneous = _factors(data, rows, model, floor, levels, config.bound)
    left_out = [level for level in config.levels if level not in levels]
    apart = [level for level in levels if len(rows) < least_samples(level)]
    return model.assign(
        interval_level=variable("interval_level", np.array(levels)),
        interval_factor=variable("interval_factor", pointwise),
        simultaneous_factor=variable("simultaneous_factor", simultaneous),
        spread_floor=variable("spread_floor", floor),
    ).assign_attrs(
        calibration_samples=len(rows),
        levels_left_out=_needs(left_out, config.bound),
        levels_not_simultaneous=_needs(apart, "possible"),
    )


def _needs(levels: Sequence[float], bound: Bound) -> str:
    return ", ".join(f"{level:g} needs {least_samples(level, bound)} samples" for level in levels)


def joined(members: Mapping[str, xr.Dataset]) -> xr.Dataset:
    """The members as one model, in the order of their seeds.

    Raises InputError naming the member and what it has otherwise than the first.
    """
    (first_name, first), *others = members.items()
    for name, other in others:
        wrong = [*_other_attrs(first, other), *_other_values(first, other)]
        if wrong:
            raise InputError(
                f"{name!r} cannot join {first_name!r}: " + "; ".join(wrong) + ": train members with one "
                "configuration and one split, and with different seeds"
            )
    seeds = np.concatenate([np.asarray(one["seed"].values) for one in members.values()])
    repeated = sorted({int(seed) for seed in seeds if (seeds == seed).sum() > 1})
    if repeated:
        raise InputError(
            f"members share the seeds {repeated}, so they are the same network: train them with different "
            "seeds"
        )
    order = np.argsort(seeds)
    found: dict[str, Any] = {str(n): v.variable for n, v in first.data_vars.items() if "member" not in v.dims}
    for name in _PER_MEMBER:
        values = np.concatenate([one[name].values for one in members.values()])
        found[name] = variable(name, values[order])
    for name in _HISTORY:
        found[name] = variable(name, _together([one[name].values for one in members.values()])[order])
    same = {k: v for k, v in first.attrs.items() if all(o.attrs.get(k) == v for _, o in others)}
    coords = {name: one.variable for name, one in first.coords.items() if "member" not in one.dims}
    return xr.Dataset(found, coords, same)


def _other_attrs(first: xr.Dataset, other: xr.Dataset) -> list[str]:
    wrong = []
    for name in _SAME_ATTRS:
        mine, theirs = first.attrs.get(name), other.attrs.get(name)
        if mine == theirs:
            continue
        if name == "family" or None in (mine, theirs):
            wrong.append(f"its {name} is {theirs}, not {mine}")
            continue
        one, two = json.loads(str(mine)), json.loads(str(theirs))
        keys = [key for key in dict.fromkeys([*one, *two]) if one.get(key) != two.get(key)]
        wrong += [f"its {name} has {key} = {two.get(key)}, not {one.get(key)}" for key in keys[:3]]
    return wrong


def _other_values(first: xr.Dataset, other: xr.Dataset) -> list[str]:
    grids = [str(name) for name in first.variables if str(name).startswith("grid_")]
    names = [name for name in (*SCALES, *grids, *_SAME_TENSORS) if name in first]
    return [
        f"its {name} differs"
        for name in names
        if name not in other or not np.array_equal(first[name].values, other[name].values)
    ]


def _together(histories: Sequence[np.ndarray]) -> np.ndarray:
    """Histories (member, epoch) one after the other; shorter ones end in nan."""
    longest = max(one.shape[1] for one in histories)
    pads = [((0, 0), (0, longest - one.shape[1])) for one in histories]
    padded = [np.pad(one, pad, constant_values=np.nan) for one, pad in zip(histories, pads, strict=True)]
    return np.concatenate(padded)


def _called(members: Mapping[str, xr.Dataset]) -> list[str]:
    """What the members of the joined model are called, in the order of their seeds."""
    named = [(int(seed), name) for name, one in members.items() for seed in one["seed"].values]
    return [f"{name!r} (seed {seed})" for seed, name in sorted(named)]


def _floor(data: xr.Dataset, rows: np.ndarray, model: xr.Dataset, called: Sequence[str]) -> np.ndarray:
    """Floor of the spread (outputs,); raises InputError naming members whose predictions are not finite."""
    sums = np.zeros((2, model.sizes["output_channel"]))
    bad: dict[str, list[str]] = {}
    labels = data["sample_name"].values[rows]
    for label, (truth, members) in zip(labels, _predicted(data, rows, model), strict=True):
        for i in map(int, np.flatnonzero(~np.isfinite(members).all(axis=(1, 2)))):
            bad.setdefault(called[i], []).append(str(label))
        if bad:
            continue
        sums[0] += ((truth - members.mean(axis=0)) ** 2).mean(axis=1)
        sums[1] += members.var(axis=0).mean(axis=1)
    if bad:
        found = (f"{name} for {len(of)} of {len(rows)} samples, such as {of[0]}" for name, of in bad.items())
        raise InputError(
            f"members predict values that are not finite for the calibration part: {'; '.join(found)}; "
            "expected numbers: their training went wrong, train them with a smaller learning_rate or leave "
            "their seeds out"
        )
    return np.array([floor_of_spread(*pair) for pair in (sums / len(rows)).T])


def _factors(
    data: xr.Dataset, rows: np.ndarray, model: xr.Dataset, floor: np.ndarray, levels: Sequence[float],
    bound: Bound,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Pointwise and simultaneous factors (levels, outputs).

    The calibration part is predicted a second time: the ratios need the floor, and it is not held in memory.
    """
    outputs = len(floor)
    kept: list[list[np.ndarray]] = [[] for _ in range(outputs)]
    largest = np.zeros((outputs, len(rows)))
    draw = np.random.default_rng(0)
    for i, (truth, members) in enumerate(_predicted(data, rows, model)):
        mean, std = mean_and_deviation(members, floor)
        ratio = np.abs(truth - mean) / std
        largest[:, i] = ratio.max(axis=1)
        most = max(64, _POINTS // len(rows))
        if ratio.shape[1] > most:
            ratio = ratio[:, draw.choice(ratio.shape[1], most, replace=False)]
        for channel, values in zip(kept, ratio, strict=True):
            channel.append(values.copy())
    pointwise = np.array([[pointwise_factor(channel, level, bound) for channel in kept] for level in levels])
    simultaneous = np.array([[simultaneous_factor(one, level) for one in largest] for level in levels])
    return pointwise, simultaneous


def _predicted(
    data: xr.Dataset, rows: np.ndarray, model: xr.Dataset
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Truth (outputs, points) and predictions (member, outputs, points) of every sample, physical units."""
    from stages.operator_model import Predictor

    predictor, samples = Predictor(model), Samples(data, rows, model)
    mean, scale = (np.asarray(model[f"output_{what}"].values) for what in ("mean", "scale"))
    for start in range(0, len(rows), _BLOCK):
        batch = samples.read(range(start, min(start + _BLOCK, len(rows))))
        values, u = predictor.predict(batch), batch.u
        assert u is not None
        truth = u.numpy()
        if is_mesh(data):
            assert batch.mesh is not None
            ends = np.cumsum(np.bincount(batch.mesh.sample.numpy(), minlength=batch.samples))[:-1]
            pairs = zip(np.split(truth, ends), np.split(values, ends, axis=1), strict=True)
            fields = [(u_i.T, v_i.transpose(0, 2, 1)) for u_i, v_i in pairs]
        else:
            outputs = truth.shape[1]
            fields = [
                (u_i.reshape(outputs, -1), values[:, i].reshape(len(values), outputs, -1))
                for i, u_i in enumerate(truth)
            ]
        for u_i, v_i in fields:
            yield u_i * scale[:, None] + mean[:, None], v_i


STAGE = Stage(
    name="ensemble",
    version=1,
    config=EnsembleConfig,
    inputs={
        "data": schema("sample_name", optional=("node_count", "cell_count", "x", "connectivity")),
        "split": schema("split", "sample_name"),
        "members": schema(
            "weights", "tensor_name", "tensor_shape", "tensor_dtype", "seed", "output_mean", "output_scale"
        ),
    },
    output=schema(
        "weights", "seed", "interval_level", "interval_factor", "simultaneous_factor", "spread_floor"
    ),
    run=run,
    several=("members",),
)
