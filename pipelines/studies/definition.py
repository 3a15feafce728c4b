"""What a study file says: the target, its design and how to run it, validated before anything runs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from kernels.errors import InputError
from pipelines.toml_files import cut, is_file, joined, locate_file, read_values, shown

SHIPPED = Path(__file__).parent.parent / "configs" / "studies"
"""Folder of the studies that come with the product."""

METHODS = ("grid", "zip", "list", "table", "random", "latin_hypercube", "sobol", "saltelli")
SAMPLED = ("random", "latin_hypercube", "sobol", "saltelli")
"""Methods that draw from ranges."""

Method = Literal["grid", "zip", "list", "table", "random", "latin_hypercube", "sobol", "saltelli"]
Value = bool | int | float | str


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Range(_Frozen):
    """Values from low to high, evenly in the value or its logarithm; `count` levels on a grid."""

    low: float
    high: float
    log: bool = False
    integer: bool = False
    count: int | None = Field(default=None, ge=1, le=10_000_000)

    @model_validator(mode="after")
    def _ordered(self) -> "Range":
        if not self.low < self.high:
            raise ValueError(f"low is {self.low} and high is {self.high}, expected low < high")
        if self.log and self.low <= 0.0:
            raise ValueError(f"low is {self.low} with log = true, expected a positive number")
        if self.integer and (self.low % 1.0 or self.high % 1.0):
            raise ValueError(f"low {self.low}, high {self.high} with integer = true, expected whole numbers")
        return self


class Repeats(_Frozen):
    """Every point `count` times, with the numbers 0, 1, ... in the config field `field`, a seed."""

    count: int = Field(ge=1, le=1_000_000)
    field: str


class Design(_Frozen):
    """Which points: the method, ranges or values by dotted path in the config, constraints, repeats.

    samples: points of a sampled design before `where`; a list of numbers for "latin_hypercube", blocks that
    are each a Latin hypercube; base points, a power of two, for "saltelli". points: those of "list".
    file: CSV or Parquet of "table", a column a parameter.
    """

    method: Method
    parameters: dict[str, Range | tuple[Value, ...]] = Field(default_factory=dict)
    samples: int | tuple[int, ...] | None = None
    seed: int = Field(default=0, ge=0)
    repeats: Repeats | None = None
    where: str = ""
    points: tuple[dict[str, Value], ...] = ()
    file: Path | None = None
    second_order: bool = False

    @model_validator(mode="before")
    @classmethod
    def _flat(cls, values: Any) -> Any:
        if isinstance(values, Mapping) and isinstance(values.get("parameters"), Mapping):
            return {**values, "parameters": dict(_flattened(values["parameters"]))}
        return values

    @model_validator(mode="after")
    def _complete(self) -> "Design":
        method = self.method
        sampled = method in SAMPLED
        if sampled != (self.samples is not None):
            raise ValueError(
                f"samples is {self.samples} with method {method!r}, expected "
                + ("a number of points" if sampled else f"none: only {', '.join(SAMPLED)} take it")
            )
        if isinstance(self.samples, tuple) and method != "latin_hypercube":
            raise ValueError("samples is a list, which only latin_hypercube takes: give one number")
        if any(n < 1 for n in self.blocks):
            raise ValueError(f"samples is {self.samples}, expected positive numbers")
        if method == "saltelli" and (self.blocks[0] & (self.blocks[0] - 1) or self.where):
            raise ValueError(
                "method 'saltelli' takes no where, and a power of two as samples: its indices need the "
                "whole design"
            )
        needs = {"list": "points", "table": "file"}.get(method, "parameters")
        if not getattr(self, needs):
            raise ValueError(f"method {method!r} needs {needs}: add them to [design]")
        for name in ("points", "file", "parameters"):
            if name != needs and getattr(self, name):
                raise ValueError(f"method {method!r} takes {needs}, not {name}: drop {name}")
        return self

    @model_validator(mode="after")
    def _levels(self) -> "Design":
        for name, entry in self.parameters.items():
            if isinstance(entry, tuple):
                if not entry:
                    raise ValueError(f"parameter {name!r} has no values: give at least one")
                if self.method == "saltelli":
                    raise ValueError(f"parameter {name!r} is a list, method 'saltelli' takes low and high")
            elif self.method == "zip" or (self.method == "grid") != (entry.count is not None):
                raise ValueError(
                    f"parameter {name!r} is a range with count {entry.count}: method 'grid' needs count, "
                    "sampled methods take none, 'zip' takes lists of values"
                )
        lengths = {name: len(entry) for name, entry in self.parameters.items() if isinstance(entry, tuple)}
        if self.method == "zip" and len(set(lengths.values())) > 1:
            raise ValueError(f"method 'zip' needs lists of one length, got {lengths}")
        return self

    @property
    def blocks(self) -> tuple[int, ...]:
        """Sizes of the blocks of samples."""
        if self.samples is None:
            return ()
        return self.samples if isinstance(self.samples, tuple) else (self.samples,)


class Run(_Frozen):
    """How to run: nothing here changes a result.

    timeout: seconds of a point. batch_seconds: work of one batch. gpus: slots of the Dask resource GPU of a
    point. keep: "metrics" stores no data, only the numbers of the table. patience: seconds to wait for a
    database server or a scheduler that went away.
    """

    workers: int | None = Field(default=None, ge=0, le=1024)
    timeout: float | None = Field(default=None, gt=0.0)
    max_failures: int | None = Field(default=None, ge=0)
    batch_seconds: float = Field(default=2.0, gt=0.0)
    gpus: float = Field(default=0.0, ge=0.0)
    keep: Literal["all", "metrics"] = "all"
    lease_seconds: float = Field(default=60.0, gt=0.0)
    patience: float = Field(default=30.0, ge=0.0)


class Source(_Frozen):
    """An input by the stage that makes it; config: its fields, or a file that has the stage's section."""

    stage: str
    config: str | dict[str, Any] = Field(default_factory=dict)
    inputs: dict[str, "str | Source"] = Field(default_factory=dict)


class Definition(_Frozen):
    """A study: its name, a stage or a pipeline with base config, inputs by address or by the stage that
    makes them, the design, how to run it.

    name: also of the folder of its logs.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$")
    stage: str | None = None
    pipeline: Literal["surrogate", "operator", "closure"] | None = None
    config: str | dict[str, Any] = Field(default_factory=dict)
    inputs: dict[str, str | Source] = Field(default_factory=dict)
    design: Design
    run: Run = Run()

    @model_validator(mode="after")
    def _one_target(self) -> "Definition":
        if self.stage is not None and self.pipeline is not None:
            raise ValueError("stage and pipeline are both given, expected one of them: drop one")
        if self.pipeline is not None and self.inputs:
            raise ValueError("a pipeline takes no inputs: drop them")
        return self


def load_study(path: Path | str) -> Definition:
    """Study from a TOML file, or a shipped one by its bare name; paths in it are relative to the file.

    Raises InputError naming the file and every unknown or wrong field.
    """
    file = locate_file(Path(path), SHIPPED, "study")
    values = read_values(file)
    study = parse_study(values, str(file))
    if study.stage is None and study.pipeline is None:
        raise InputError(f'{file}: neither stage nor pipeline is given: add one, such as stage = "simulate"')
    base = file.resolve().parent
    changes: dict[str, Any] = {}
    if study.design.file is not None:
        changes["design"] = study.design.model_copy(update={"file": base / study.design.file})
    if isinstance(study.config, str) and is_file(base / study.config):
        changes["config"] = str(base / study.config)
    return study.model_copy(update=changes)


def parse_study(values: Mapping[str, Any], source: str = "study") -> Definition:
    """Study from nested values.

    Raises InputError naming the source and every unknown or wrong field.
    """
    try:
        return Definition.model_validate(dict(values))
    except ValidationError as error:
        raise InputError(f"{source}: {joined(map(_problem, error.errors()))}") from error


def _problem(problem: Any) -> str:
    where = cut(".".join(str(part) for part in problem["loc"])) or "the study"
    if problem["type"] == "extra_forbidden":
        return f"unknown field {where!r}"
    if problem["type"] == "value_error":
        return f"{where}: {problem['msg'].removeprefix('Value error, ')}"
    return f"field {where!r} is {shown(problem['input'])}: {problem['msg']}"


def _flattened(tree: Mapping[str, Any], path: str = "") -> Any:
    for name, entry in tree.items():
        full = f"{path}.{name}" if path else str(name)
        if isinstance(entry, Mapping) and not {"low", "high"} & set(entry):
            yield from _flattened(entry, full)
        else:
            yield full, entry
