"""Stage `train_operator`: one operator, trained on one part of a data set and watched on another."""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import xarray as xr
from pydantic import Field, TypeAdapter, ValidationInfo, field_validator

from kernels.errors import InputError
from kernels.operators.settings import SETTINGS
from kernels.operators.training.options import LEARNING_RATES, Loss, Options, Precision, Schedule
from kernels.torch_threads import threads_each
from stages.base import Progress, Stage, StageConfig, schema
from stages.operator_data import Channels, Samples, channels, takes_logarithm
from stages.operator_model import SCALES, model_dataset
from stages.parts import rows_of
from stages.ragged import sample_names
from stages.variables import TRAIN, VALIDATION

if TYPE_CHECKING:
    from kernels.operators.base import Batch, Operator, Signature
    from kernels.operators.training.loop import Transform
    from kernels.operators.training.losses import Scales
    from kernels.operators.training.outcome import Diverged, Outcome
    from kernels.operators.training.stream import Stream
    from kernels.operators.training.weak_form import Diffusion

_MIB = 2**20


class EquationConfig(StageConfig):
    """-div(a grad u) = f as a further term of the loss: a and u by name, f by name or as a number.

    weight: beside the loss. centres, radius: of the test functions, radius in grid spacings.
    """

    coefficient: str
    output: str | None = None
    source: float | str = 1.0
    weight: float = Field(default=0.1, ge=0.0)
    centres: int = Field(default=100, ge=1)
    radius: float = Field(default=3.0, ge=1.5)


class TrainOperatorConfig(StageConfig):
    """Which operator, and how it is trained; families in closed form use model, settings, seed, threads only.

    settings: of the family, see kernels.operators.settings. learning_rate: None takes the family's. loss,
    schedule, weight_decay, clip, patience, keep, max_minutes, precision, compile: see
    kernels.operators.training.options. symmetries: that the problem has, see
    kernels.operators.training.symmetries. resolutions: factors of the grid, one drawn a batch. equation: a
    further term of the loss. memory_mb: of the samples that are held at a time; they are shuffled within.
    on_nan: a loss that is not finite is an error, or ends training and keeps the last good weights.
    devices: GPUs of this machine (processes on a CPU) over which every batch is divided; each process holds
    `memory_mb` and has `threads`. The result is that of one device to rounding.
    """

    model: str = "mgno"
    settings: dict[str, Any] = Field(default_factory=dict, validate_default=True)
    seed: int = Field(default=0, ge=0)
    epochs: int = Field(default=100, ge=1)
    batch: int = Field(default=16, ge=1)
    learning_rate: float | None = Field(default=None, gt=0.0)
    schedule: Schedule = "one_cycle"
    weight_decay: float = Field(default=1e-4, ge=0.0)
    clip: float | None = Field(default=1.0, gt=0.0)
    loss: Loss = "relative_l2"
    equation: EquationConfig | None = None
    symmetries: tuple[str, ...] = ()
    resolutions: tuple[Annotated[int, Field(ge=1)], ...] = ()
    precision: Precision = "32-true"
    compile: bool = False
    threads: int | None = Field(default=None, ge=1)
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    patience: int | None = Field(default=None, ge=1)
    keep: Literal["last", "best"] = "last"
    max_minutes: float | None = Field(default=None, gt=0.0)
    checkpoint_seconds: float = Field(default=60.0, ge=0.0)
    memory_mb: float = Field(default=512.0, gt=0.0)
    on_nan: Literal["error", "keep"] = "error"
    devices: int = Field(default=1, ge=1)

    @field_validator("model")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in SETTINGS:
            raise ValueError(f"there is no operator {name!r}: choose one of {', '.join(sorted(SETTINGS))}")
        return name

    @field_validator("settings")
    @classmethod
    def _of_the_family(cls, given: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        name = info.data.get("model")
        if name is None:
            return given
        known = [one.name for one in fields(SETTINGS[name])]
        unknown = sorted(set(given) - set(known))
        if unknown:
            raise ValueError(f"{name!r} has no setting {unknown}: choose from {sorted(known)}")
        return asdict(TypeAdapter(SETTINGS[name]).validate_python(given))


def run(
    config: TrainOperatorConfig, data: xr.Dataset, split: xr.Dataset, scales: xr.Dataset,
    progress: Progress | None = None, scratch: Path | None = None,
) -> xr.Dataset:  # fmt: skip
    """A trained operator a -> u: minimises the mean relative error over the training samples by AdamW.

    data: see `stages.operator_data`; split: output of `split`, whose part `validation` is only watched (it
    chooses weights where `keep` is best); scales: output of `normalise`.
    Losses are in physical units. Returns the model of one member, see `stages.operator_model`. On one
    machine and one number of threads the weights are a function of config and inputs, also where the run was
    killed and went on from `scratch`; `max_minutes` gives this up. `progress(done, total, text)`: batches.
    Several `devices` are processes that import this package anew; none is left when this returns or raises.

    Raises InputError for fewer training samples than a batch, parts without samples, scales of other
    channels, symmetries, resolutions or equations that do not fit the grid, a loss that is not finite, more
    devices than there are GPUs or samples in a batch, and a process of the training that is killed.
    """
    from kernels.operators.families import build

    _check_scales(scales, channels(data))
    rows = rows_of(data, split, TRAIN)
    family = SETTINGS[config.model](**config.settings)
    samples = Samples(data, rows, scales)
    operator = build(config.model, samples.signature, family, config.seed)
    if operator.closed_form:
        return _fitted(config, operator, family, data, split, scales, samples)
    watched = Samples(data, rows_of(data, split, VALIDATION), scales)
    if len(samples) < config.batch:
        raise InputError(
            f"{len(samples)} training samples and batches of {config.batch}: expected at least one batch; "
            "lower `batch` or add samples"
        )
    outcome = _trained(config, operator, samples, watched, progress, scratch)
    names = [sample_names(data)[i] for i in rows] if outcome.diverged else []
    note = "" if outcome.diverged is None else _message(outcome.diverged, names, config)
    if outcome.diverged is not None and config.on_nan == "error":
        raise InputError(note + _kept(operator, scratch))
    history = {name: np.array([getattr(outcome.state, name)]) for name in _HISTORY}
    if not outcome.state.train_loss:
        history = {name: np.full((1, 1), np.nan) for name in _HISTORY}
    attrs = {
        **_about(config, samples, watched),
        "stopped": note or ("early" if _early(outcome, config) else ""),
    }
    attrs |= {"compiled": outcome.compiled, "device": outcome.device}
    attrs["threads"] = threads_each(config.threads, config.devices)
    return model_dataset([operator], family, scales, data, [config.seed], history, attrs)


_HISTORY = ("train_loss", "validation_error", "epoch_seconds")


def _early(outcome: "Outcome", config: TrainOperatorConfig) -> bool:
    return outcome.state.epoch < config.epochs


def _about(config: TrainOperatorConfig, samples: Samples, watched: Samples | None) -> dict[str, Any]:
    import torch

    return {
        "train_samples": len(samples),
        "validation_samples": 0 if watched is None else len(watched),
        "threads": config.threads or torch.get_num_threads(),
        "training": json.dumps(config.model_dump(mode="json"), sort_keys=True),
    }


def _trained(
    config: TrainOperatorConfig, operator: "Operator", samples: Samples, watched: Samples,
    progress: Progress | None, scratch: Path | None,
) -> "Outcome":  # fmt: skip
    from kernels.operators.training.loop import Hooks, train

    most = _window(config, samples)
    hooks = Hooks(
        _transform(config, samples), _equation(config, samples), samples.signature.boundary, progress, scratch
    )
    options = Options(
        epochs=config.epochs, batch=config.batch,
        learning_rate=config.learning_rate or LEARNING_RATES.get(config.model, Options.learning_rate),
        schedule=config.schedule, weight_decay=config.weight_decay, clip=config.clip, loss=config.loss,
        seed=config.seed, precision=config.precision, compile=config.compile, threads=config.threads,
        accelerator=config.accelerator, patience=config.patience, keep=config.keep,
        max_minutes=config.max_minutes, checkpoint_seconds=config.checkpoint_seconds, devices=config.devices,
    )  # fmt: skip
    train_stream, watched_stream = (_stream(config, one, most) for one in (samples, watched))
    return train(operator, train_stream, watched_stream, torch_scales(samples.scales), options, hooks)


def torch_scales(scales: xr.Dataset | None) -> "Scales":
    """Means and scales of inputs and outputs as tensors, and which inputs they are of the logarithm of."""
    import torch

    from kernels.operators.training.losses import Scales

    assert scales is not None
    names = ("input_mean", "input_scale", "output_mean", "output_scale")
    numbers = [torch.tensor(np.asarray(scales[name].values, dtype=np.float64)) for name in names]
    flags = [takes_logarithm(scales, "input", i) for i in range(scales["input_mean"].size)]
    own = torch.tensor(flags, dtype=torch.bool)
    return Scales(numbers[0], numbers[1], numbers[2], numbers[3], own)


def _stream(config: TrainOperatorConfig, samples: Samples, most: int) -> "Stream":
    import torch

    from kernels.operators.training.stream import Stream

    dtype = torch.float64 if config.precision == "64-true" else torch.float32
    return Stream(samples, config.batch, storage_blocks(samples, most), most, config.seed, dtype)


def _window(config: TrainOperatorConfig, samples: Samples) -> int:
    """Samples that may be held at a time: two windows, one of them being joined, take the memory."""
    bytes_each = samples.bytes_each(8 if config.precision == "64-true" else 4)
    return max(config.batch, int(config.memory_mb * _MIB / (3 * bytes_each)))


def storage_blocks(samples: Samples, most: int) -> list[np.ndarray]:
    """Positions of the samples that lie in one file of the largest variable, at most `most` together."""
    ends = samples.file_ends()
    cuts = np.searchsorted(samples.rows, ends)
    found = []
    for start, stop in zip(np.concatenate(([0], cuts[:-1])), cuts, strict=True):
        found += [np.arange(a, min(a + most, stop)) for a in range(int(start), int(stop), most)]
    return found


def _transform(config: TrainOperatorConfig, samples: Samples) -> "Transform | None":
    from kernels.operators.training import symmetries

    signature = samples.signature
    symmetries.check(config.symmetries, signature)
    steps: list[Transform] = []
    if config.symmetries:
        steps.append(partial(_turned, names=config.symmetries, signature=signature))
    if config.resolutions:
        if signature.layout != "grid":
            raise InputError(
                "resolutions are factors of a grid, and the data set is of meshes: leave them out"
            )
        steps.append(partial(_resized, factors=config.resolutions, signature=signature))
    return partial(_one_after_the_other, steps=steps) if steps else None


# of the module, not within another function, so that they reach other processes


def _turned(batch: "Batch", chance: Any, names: Sequence[str], signature: "Signature") -> "Batch":
    from kernels.operators.training import symmetries

    return symmetries.apply(batch, names, signature, chance)


def _resized(batch: "Batch", chance: Any, factors: Sequence[int], signature: "Signature") -> "Batch":
    import torch

    from kernels.operators.resolutions import at_resolution

    return at_resolution(batch, factors[int(torch.randint(len(factors), (), generator=chance))], signature)


def _one_after_the_other(batch: "Batch", chance: Any, steps: "Sequence[Transform]") -> "Batch":
    for step in steps:
        batch = step(batch, chance)
    return batch


def _equation(config: TrainOperatorConfig, samples: Samples) -> "Diffusion | None":
    if config.equation is None:
        return None
    from kernels.operators.training.weak_form import Diffusion, check

    given, names = config.equation, samples.names
    is_name = isinstance(given.source, str)
    wanted = [(given.coefficient, names.inputs), (given.output or names.outputs[0], names.outputs)]
    wanted += [(str(given.source), names.inputs)] if is_name else []
    for name, known in wanted:
        if name not in known:
            raise InputError(f"the equation names {name!r}, expected one of {list(known)}: correct it")
    found = Diffusion(
        names.inputs.index(given.coefficient), names.outputs.index(given.output or names.outputs[0]),
        names.inputs.index(str(given.source)) if is_name else float(given.source), is_name, given.weight,
        given.centres, given.radius,
    )  # fmt: skip
    check(found, samples.signature)
    return found


def _fitted(
    config: TrainOperatorConfig, operator: "Operator", settings: Any, data: xr.Dataset, split: xr.Dataset,
    scales: xr.Dataset, samples: Samples,
) -> xr.Dataset:  # fmt: skip
    from kernels.operators.training.closed_form import fit, mean_error

    rows = np.flatnonzero(split["split"].values == VALIDATION)
    watched = Samples(data, rows, scales) if rows.size else None
    train = samples.read(range(len(samples)))
    validation = None if watched is None else watched.read(range(len(watched)))
    start = time.perf_counter()
    fit(operator, train, validation, config.seed, config.threads)
    seconds = time.perf_counter() - start
    constants = torch_scales(scales)
    errors = [np.nan if one is None else mean_error(operator, one, constants) for one in (train, validation)]
    history = dict(zip(_HISTORY, ([[errors[0]]], [[errors[1]]], [[seconds]]), strict=True))
    attrs = {**_about(config, samples, watched), "stopped": "", "compiled": "no", "device": "cpu"}
    return model_dataset(
        [operator], settings, scales, data, [config.seed], {k: np.array(v) for k, v in history.items()}, attrs
    )


def _check_scales(scales: xr.Dataset, names: Channels) -> None:
    for kind, wanted in (("input", names.inputs), ("output", names.outputs), ("parameter", names.parameters)):
        count = scales[f"{kind}_mean"].size
        coordinate = f"{kind}_channel"
        given = [str(name) for name in scales[coordinate].values] if coordinate in scales.coords else None
        if count != len(wanted) or (given is not None and given != list(wanted)):
            raise InputError(
                f"the scales are of the {kind}s {given or count}, the data set has {list(wanted)}: take the "
                "scales that `normalise` gives for this data set"
            )


def _message(diverged: "Diverged", names: Sequence[str], config: TrainOperatorConfig) -> str:
    members = [names[i] for i in diverged.positions]
    shown = ", ".join(members[:8]) + (f" and {len(members) - 8} more" if len(members) > 8 else "")
    return (
        f"the {diverged.what} is not finite in epoch {diverged.epoch}, batch {diverged.step} (samples "
        f"{shown}), at the learning rate {diverged.learning_rate:.3g}: lower `learning_rate`"
        f"{', set `clip`' if config.clip is None else ''} or look at those samples"
    )


def _kept(operator: "Operator", scratch: Path | None) -> str:
    from kernels.operators.training.checkpoints import LAST_GOOD, copied, save

    if scratch is None:
        return "; on_nan = 'keep' keeps the weights from before it"
    place = save(scratch, copied(operator), LAST_GOOD)
    return f"; the weights from before it are in {place}, and on_nan = 'keep' makes a model of them"


STAGE = Stage(
    name="train_operator",
    version=3,
    config=TrainOperatorConfig,
    inputs={
        "data": schema("sample_name"),
        "split": schema("sample_name", "split"),
        "scales": schema(*SCALES),
    },
    output=schema(
        "weights", "tensor_name", "tensor_shape", "tensor_dtype", "seed", *SCALES,
    ),
    run=run,
    reports=True,
    resumable=True,
    literature=(
        "Loshchilov and Hutter 2019, Decoupled weight decay regularization, ICLR",
        "Smith and Topin 2018, Super-convergence, arXiv 1708.07120",
    ),
)  # fmt: skip
