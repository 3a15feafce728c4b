"""What every point of a study runs: a stage or a pipeline, whose config the point's values complete."""

import copy
import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import BaseModel, ValidationError

from catalogs.catalog import Catalog
from kernels.errors import InputError
from pipelines.config import PipelineConfig, load_config
from pipelines.diagram import CONFIGS, planned_keys
from pipelines.runner import step_key
from pipelines.studies.definition import Definition
from pipelines.studies.inputs import Step, planned_inputs, section_of
from pipelines.toml_files import cut, joined, shown
from stages.base import Stage
from stages.registry import STAGES

INPUTS = "inputs."
"""First part of the path of a parameter that varies an input rather than the config."""


@dataclass(frozen=True)
class Target:
    """A stage with its inputs (name -> full key), or a pipeline; `base` is the config, `steps` are what makes
    inputs that are given by a stage.
    """

    stage: Stage | None
    base: Mapping[str, Any]
    inputs: Mapping[str, str] = field(default_factory=dict)
    steps: tuple[Step, ...] = ()
    pipeline: str = "surrogate"

    @property
    def name(self) -> str:
        """Name of the stage or pipeline."""
        return self.pipeline if self.stage is None else self.stage.name

    @property
    def version(self) -> int:
        """Version of the stage; of a pipeline 0: its keys hold those of all its stages."""
        return 0 if self.stage is None else self.stage.version

    def config(self, values: Mapping[str, Any]) -> BaseModel:
        """Config with the given values in it.

        Raises InputError naming the field and the value.
        """
        filled = _filled(self.base, {n: v for n, v in values.items() if not n.startswith(INPUTS)})
        model: type[BaseModel] = CONFIGS[self.pipeline] if self.stage is None else self.stage.config
        try:
            return model.model_validate(filled)
        except ValidationError as error:
            raise InputError(joined(_problem(p, self.base) for p in error.errors())) from error

    def used(self, values: Mapping[str, Any]) -> dict[str, str]:
        """Input name -> key, with those that the values vary."""
        varied = {n.removeprefix(INPUTS): str(v) for n, v in values.items() if n.startswith(INPUTS)}
        return {**self.inputs, **varied}

    def key(self, values: Mapping[str, Any]) -> str:
        """Key of the result: of the stage's output, or of the scores at the end of the pipeline.

        So a point is the same work in every study, and for every plain run. Raises InputError as `config`.
        """
        config = self.config(values)
        if self.stage is None:
            assert isinstance(config, PipelineConfig)
            return planned_keys(config)[config.scores]
        return step_key(self.stage, config, self.used(values))  # type: ignore[arg-type]

    def check(self, names: list[str]) -> None:
        """Raise InputError naming the first parameter that is no field of the config and no input."""
        for name in names:
            if name.startswith(INPUTS):
                known = sorted(self.stage.inputs) if self.stage else []
                if self.stage is None or self.stage.declared(name.removeprefix(INPUTS)) is None:
                    raise InputError(f"parameter {name!r} is no input of {self.name!r}; it has {known}")
            else:
                _filled(self.base, {name: None})
        if self.stage is not None:
            given = {n.removeprefix(INPUTS) for n in names if n.startswith(INPUTS)} | set(self.inputs)
            problem = self.stage.misnamed(given)
            if problem:
                raise InputError(f"{problem}: name their addresses in [inputs]")


def target_of(study: Definition, catalog: Catalog | None, stage: Stage | None = None) -> Target:
    """The target of a study; addresses of inputs are resolved once, so that a name that moves on changes
    nothing.

    Raises InputError where the stage, the config or an input is wrong.
    """
    if stage is None and study.pipeline is None:
        if study.stage is None:
            raise InputError(
                f"study {study.name!r} names no stage: it was run from Python with one of its own: go there"
            )
        if study.stage not in STAGES:
            near = difflib.get_close_matches(str(study.stage), STAGES, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(STAGES)}"
            raise InputError(f"there is no stage {study.stage!r}; {hint}")
        stage = STAGES[str(study.stage)]
    target = Target(stage, {}, {}, pipeline=study.pipeline or "surrogate")
    if stage is None:
        base: BaseModel
        if isinstance(study.config, str):
            base = load_config(study.config, CONFIGS[target.pipeline])
        else:
            base = _checked(target, study.config)
    else:
        base = _checked(target, section_of(stage, study.config))
    keys, steps = planned_inputs(study.inputs, catalog)
    return replace(target, base=base.model_dump(mode="json"), inputs=keys, steps=tuple(steps))


def _checked(target: Target, values: Mapping[str, Any]) -> BaseModel:
    try:
        return replace(target, base=dict(values)).config({})
    except InputError as error:
        raise InputError(f"config of {target.name!r}: {error}") from error


def _filled(base: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Base with values at dotted paths.

    Raises InputError where a path leads through what is no section.
    """
    filled = dict(base)
    for path, value in values.items():
        *sections, last = path.split(".")
        place: Any = filled
        for i, section in enumerate(sections):
            if not isinstance(place, dict) or section not in place:
                raise _unknown(".".join(sections[: i + 1]), path, place)
            place[section] = copy.copy(place[section])
            place = place[section]
        if not isinstance(place, dict):
            raise _unknown(path, path, None)
        place[last] = value
    return filled


def _unknown(part: str, path: str, place: Any) -> InputError:
    known = list(place) if isinstance(place, dict) else []
    near = difflib.get_close_matches(part.rsplit(".", 1)[-1], known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(map(str, known)) or 'nothing'}"
    return InputError(f"parameter {path!r}: the config has no section {part!r}; {hint}")


def _problem(problem: Any, base: Mapping[str, Any]) -> str:
    where = cut(".".join(map(str, problem["loc"]))) or "the config"
    if problem["type"] == "extra_forbidden":
        place: Any = base
        for section in problem["loc"][:-1]:
            place = place.get(section, {}) if isinstance(place, dict) else {}
        near = difflib.get_close_matches(str(problem["loc"][-1]), list(place), n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known are: {', '.join(map(str, place))}"
        return f"unknown field {where!r}; {hint}"
    return f"field {where!r} is {shown(problem['input'])}: {problem['msg']}"
