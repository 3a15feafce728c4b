"""Inputs of a study: addresses in the catalog, or the stages that make them, which run before the points."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from catalogs.catalog import Catalog
from kernels.errors import InputError
from pipelines.config import locate
from pipelines.diagram import CONFIGS
from pipelines.runner import Runner, step_key
from pipelines.settings import Settings
from pipelines.studies.definition import Source
from pipelines.toml_files import joined, read_values, shown
from stages.base import Stage, StageConfig
from stages.registry import STAGES


@dataclass(frozen=True)
class Step:
    """One stage to be run before the points: its config, its inputs by key, and the key of its result."""

    stage: Stage
    config: StageConfig
    inputs: Mapping[str, str]
    key: str


def planned_inputs(
    inputs: Mapping[str, str | Source], catalog: Catalog | None
) -> tuple[dict[str, str], list[Step]]:
    """Key of every input, and the steps that make those that are given by a stage, in order.

    Raises InputError where an address, a stage or a config is wrong.
    """
    keys: dict[str, str] = {}
    steps: list[Step] = []
    for name, given in inputs.items():
        if isinstance(given, Source):
            used, before = planned_inputs(given.inputs, catalog)
            steps += [*before, _step(name, given, used)]
            keys[name] = steps[-1].key
        elif catalog is None:
            raise InputError(
                f"input {name!r} is {given!r}, and there is no catalog yet: run what makes it first, or give "
                'the stage that makes it, as in inputs.design.stage = "design"'
            )
        else:
            keys[name] = catalog.resolve(given)
    return keys, steps


def _step(name: str, given: Source, used: Mapping[str, str]) -> Step:
    if given.stage not in STAGES:
        raise InputError(f"input {name!r}: there is no stage {given.stage!r}; there are: {', '.join(STAGES)}")
    stage = STAGES[given.stage]
    problem = stage.misnamed(used)
    if problem:
        raise InputError(f"input {name!r}: {problem}, got {sorted(used)}: give every one of them")
    try:
        config = stage.config.model_validate(dict(section_of(stage, given.config)))
    except ValidationError as error:
        wrong = joined(
            f"field {'.'.join(map(str, one['loc']))!r} is {shown(one['input'])}: {one['msg']}"
            for one in error.errors()
        )
        raise InputError(f"input {name!r}: {wrong}") from error
    return Step(stage, config, used, step_key(stage, config, used))


def section_of(stage: Stage, config: str | Mapping[str, Any]) -> Mapping[str, Any]:
    """Config of a stage: the stage's own fields, or its section in a whole pipeline config."""
    if not isinstance(config, str):
        return config
    values = read_values(locate(Path(config)))
    if values and any(set(values) <= set(model.model_fields) for model in CONFIGS.values()):
        own = values.get(stage.name, {})
        return own if isinstance(own, Mapping) else {}
    return values


def make_inputs(steps: list[Step] | tuple[Step, ...], settings: Settings) -> None:
    """Compute what is not there yet.

    Raises InputError as the stages do.
    """
    if steps:
        with Runner(settings) as runner:
            for step in steps:
                if not runner.catalog.exists(step.key):
                    runner.step(step.stage, step.config, step.inputs)
