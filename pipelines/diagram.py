"""Drawing a pipeline, and what drawing it gives: keys, or a run in this process."""

from collections.abc import Callable

from pipelines.closure_config import ClosureConfig
from pipelines.closure_diagram import closure
from pipelines.config import PipelineConfig, SurrogateConfig, stage_of
from pipelines.operator_config import OperatorConfig
from pipelines.operator_diagram import operator
from pipelines.provenance import provenance_key, publish_provenance
from pipelines.runner import Runner, step_key
from pipelines.sources import SOURCES
from pipelines.steps import Step
from pipelines.surrogate_diagram import surrogate
from stages.registry import STAGES

DIAGRAMS: dict[str, Callable[..., dict[str, str]]] = {
    "surrogate": surrogate, "operator": operator, "closure": closure,
}  # fmt: skip
"""Pipeline -> its diagram: (config, step, provenance) to the keys of all steps by their labels."""

CONFIGS: dict[str, type[PipelineConfig]] = {
    "surrogate": SurrogateConfig, "operator": OperatorConfig, "closure": ClosureConfig,
}  # fmt: skip
"""Pipeline -> the class of its config."""


def diagram(
    config: PipelineConfig, step: Step, provenance: Callable[[dict[str, str]], str]
) -> dict[str, str]:
    """The pipeline of a config, drawn; label of a step -> key of its result.

    Raises InputError as the stages do.
    """
    return DIAGRAMS[config.pipeline](config, step, provenance)


def planned_keys(config: PipelineConfig) -> dict[str, str]:
    """Keys of the whole pipeline, known before anything runs.

    Raises InputError where a file to be read is missing.
    """

    def step(label: str, **inputs: str) -> str:
        stage = stage_of(label)
        if stage in SOURCES:
            return SOURCES[stage].key(config, label)
        return step_key(STAGES[stage], config.section(label), inputs)

    return diagram(config, step, provenance_key)


def compute(config: PipelineConfig, runner: Runner) -> dict[str, str]:
    """Run the pipeline in this process, without Prefect; label of a step -> key.

    Raises InputError as the stages do.
    """
    return diagram(config, stepper(config, runner), lambda keys: publish_provenance(runner, keys))


def stepper(config: PipelineConfig, runner: Runner) -> Step:
    """Steps that a runner computes in this process."""

    def step(label: str, **inputs: str) -> str:
        stage = stage_of(label)
        if stage in SOURCES:
            return SOURCES[stage].add(config, label, runner)
        return runner.step(STAGES[stage], config.section(label), inputs, label)

    return step
