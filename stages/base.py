"""What every stage is: a frozen config, named schemas and one pure function over datasets."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import xarray as xr
from pydantic import BaseModel, ConfigDict

from kernels.errors import InputError
from stages.variables import FIELD, INPUT, PARAMETER, SCALAR, VARIABLES

if TYPE_CHECKING:
    import pandera.xarray as pa


class StageConfig(BaseModel):
    """Base of every stage's config: immutable, and an unknown field is an error that names it."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


@dataclass(frozen=True)
class Schema:
    """Vocabulary variables that a dataset must have, and those that are checked where it has them."""

    names: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()


class Progress(Protocol):
    """`progress(done, total, text)`: how many steps of a stage's work are done, of how many, and a word on
    them, which may be left out."""

    def __call__(self, done: int, total: int, text: str = "") -> None:
        """Tell."""
        ...


@dataclass(frozen=True)
class Stage:
    """A stage: name, version, config class, input and output schemas, and `run(config, **inputs)`.

    split_over names the input that the runner may cut along `sample`; then for any cut
    run(concat(parts)) == concat(run(part)), and `batch` samples make one part. None: never cut.
    several: declared inputs that come any number of times as "<name>.<label>", the label any text, and reach
    `run` under these names as **keywords; at least one unless the input is optional.
    reports: `run` takes the keyword `progress`, a Progress or None, and calls it while it works, which
    changes no number; see `reporting_to`. resumable: `run` takes the keyword `scratch`, a folder or None:
    what it writes there outlives a kill, is there again when the same key is computed, and is gone once the
    result is published; see `resuming_in`. Every part of a stage that is cut has such a folder. lazy: the
    samples of a part are not read in advance, since `run` reads what it needs. Raise `version` whenever the
    numbers that `run` returns change.
    """

    name: str
    version: int
    config: type[StageConfig]
    inputs: Mapping[str, Schema]
    output: Schema
    run: Callable[..., xr.Dataset]
    split_over: str | None = None
    batch: int = 1
    literature: tuple[str, ...] = ()
    optional: tuple[str, ...] = field(default=())
    reports: bool = False
    several: tuple[str, ...] = ()
    resumable: bool = False
    lazy: bool = False

    def __post_init__(self) -> None:
        wrong = [name for name in self.several if name not in self.inputs or name == self.split_over]
        if wrong:
            raise ValueError(f"stage {self.name!r}: several {wrong} must be declared inputs, and not be cut")

    def __call__(self, config: StageConfig, **datasets: xr.Dataset) -> xr.Dataset:
        """Check the inputs, run, check the output."""
        self.check_inputs(datasets)
        result = self.run(config, **datasets)
        validate(self.output, result, f"output of stage {self.name!r}")
        return result

    def reporting_to(self, progress: Progress) -> "Stage":
        """This stage with `progress` called while it works; itself where it does not report."""
        if not self.reports:
            return self
        return replace(self, run=partial(self.run, progress=progress), reports=False)

    def resuming_in(self, scratch: Path) -> "Stage":
        """This stage with a folder that outlives a kill; itself where it is not resumable."""
        if not self.resumable:
            return self
        return replace(self, run=partial(self.run, scratch=scratch), resumable=False)

    def check_inputs(self, datasets: Mapping[str, xr.Dataset]) -> None:
        """Raise InputError where an input is missing, unknown or does not fit its schema."""
        problem = self.misnamed(datasets)
        if problem:
            raise InputError(problem)
        for name, dataset in datasets.items():
            expected = self.inputs[self.declared(name) or name]
            validate(expected, dataset, f"input {name!r} of stage {self.name!r}")

    def declared(self, name: str) -> str | None:
        """The declared input that an input of this name is, "members" of "members.a"; None: it is none."""
        head, _, label = name.partition(".")
        if head in self.several:
            return head if label else None
        return name if name in self.inputs else None

    def misnamed(self, names: Iterable[str]) -> str:
        """What is missing or unknown among the names of given inputs, in words; empty where nothing is."""
        given = {name: self.declared(name) for name in names}
        missing = sorted(set(self.inputs) - set(given.values()) - set(self.optional))
        unknown = sorted(name for name, found in given.items() if found is None)
        if not (missing or unknown):
            return ""
        known = sorted(f"{name}.<label>" if name in self.several else name for name in self.inputs)
        return (
            f"stage {self.name!r} takes the inputs {known}; "
            f"missing: {missing or 'none'}, unknown: {unknown or 'none'}"
        )


def schema(*names: str, optional: tuple[str, ...] = ()) -> Schema:
    """Schema of the named vocabulary variables; further variables are allowed, those with a role are used."""
    for name in (*names, *optional):
        VARIABLES[name]  # one that is not in the vocabulary is a mistake where it is written
    return Schema(names, optional)


@lru_cache(maxsize=256)
def _checks(expected: Schema) -> "pa.DatasetSchema":
    """The checks of a schema, made when the first dataset comes: a run that computes nothing needs none."""
    import pandera.xarray as pa

    data_vars: dict[str, Any] = {name: _data_var(name, required=True) for name in expected.names}
    data_vars |= {name: _data_var(name, required=False) for name in expected.optional}
    return pa.DatasetSchema(data_vars=data_vars)


def _data_var(name: str, required: bool) -> "pa.DataVar":
    import pandera.xarray as pa

    variable = VARIABLES[name]
    dtype = None if variable.dtype == "str" else variable.dtype
    units = None if variable.units == "1" else {"units": variable.units}
    return pa.DataVar(dtype=dtype, dims=variable.dims, attrs=units, required=required, nullable=variable.gaps)


def validate(expected: Schema, dataset: xr.Dataset, what: str) -> None:
    """Raise InputError listing every mismatch of dims, dtype, units and roles at once."""
    import pandera.errors

    problems = _role_problems(dataset)
    try:
        _checks(expected).validate(dataset, lazy=True)
    except (pandera.errors.SchemaErrors, pandera.errors.SchemaError) as error:
        problems.append(_reasons(error))
    if problems:
        raise InputError(f"{what} does not fit its schema: " + "; ".join(problems))


def _reasons(error: Exception) -> str:
    failures = getattr(error, "schema_errors", None) or [error]
    return "; ".join(str(failure) for failure in failures)


def _role_problems(dataset: xr.Dataset) -> list[str]:
    problems = []
    for name, variable in dataset.data_vars.items():
        role = variable.attrs.get("role")
        if role is None:
            continue
        if role not in (FIELD, SCALAR, PARAMETER, INPUT):
            known = ", ".join(map(repr, (FIELD, SCALAR, PARAMETER, INPUT)))
            problems.append(f"{name!r} has role {role!r}, expected one of {known}")
        if not np.issubdtype(variable.dtype, np.floating):
            problems.append(f"{name!r} with role {role!r} has dtype {variable.dtype}, expected a float")
        if "units" not in variable.attrs:
            problems.append(f"{name!r} has no units: set the attribute 'units' ('1' where it has none)")
        if role in (SCALAR, PARAMETER) and variable.dims != ("sample",):
            problems.append(f"{name!r} with role {role!r} has dims {variable.dims}, expected ('sample',)")
    return problems


def by_role(dataset: xr.Dataset, role: str, dims: tuple[str, ...] | None = None) -> list[str]:
    """Names of the variables with a role, in the order of the dataset, optionally of given dims only."""
    return [
        str(name)
        for name, variable in dataset.data_vars.items()
        if variable.attrs.get("role") == role and (dims is None or variable.dims == dims)
    ]


def variable(name: str, values: object, **attrs: object) -> xr.Variable:
    """A vocabulary variable of the declared dims, dtype and attributes from `values`."""
    entry = VARIABLES[name]
    dtype = object if entry.dtype == "str" else entry.dtype
    array = (
        values
        if hasattr(values, "dask")
        else np.asarray(values, dtype=None if entry.dtype == "str" else dtype)
    )
    return xr.Variable(entry.dims, array, {**entry.attributes(), **attrs})
