"""The surrogate pipeline as it would be drawn, and what drawing it gives: keys, or a run in this process."""

from collections.abc import Callable

from pipelines.config import PipelineConfig
from pipelines.files import add_files, files_key
from pipelines.provenance import provenance_key, publish_provenance
from pipelines.runner import Runner, step_key
from stages.registry import STAGES

Step = Callable[..., str]
"""`step(stage name, input name = key, ...) -> key`."""


def diagram(
    config: PipelineConfig, step: Step, provenance: Callable[[dict[str, str]], str]
) -> dict[str, str]:
    """The pipeline, as it would be drawn; stage name -> key of its result.

    Raises InputError as the stages do.
    """
    keys: dict[str, str] = {}

    def run(stage: str, **inputs: str) -> str:
        keys[stage] = step(stage, **inputs)
        return keys[stage]

    if config.source == "files":
        meshes = run("ingest", raw=run("files"))
    else:
        meshes = run("simulate", design=run("design"))
    common = run("common_mesh", meshes=meshes)
    morphed = run("morph", meshes=meshes, common=common)
    basis = run("reduce", morphed=morphed, common=common)
    model = run("train_gp", basis=basis, common=common)
    predictions = run("predict", morphed=morphed, model=model)
    metrics = run("evaluate", meshes=meshes, morphed=morphed, model=model, predictions=predictions)
    keys["provenance"] = provenance(dict(keys))
    report = {
        "model": model,
        "predictions": predictions,
        "metrics": metrics,
        "provenance": keys["provenance"],
    }
    run("report", meshes=meshes, morphed=morphed, **report)
    return keys


def planned_keys(config: PipelineConfig) -> dict[str, str]:
    """Keys of the whole pipeline, known before anything runs.

    Raises InputError where a file to be read is missing.
    """

    def step(stage: str, **inputs: str) -> str:
        if stage == "files":
            return files_key(config)
        return step_key(STAGES[stage], config.section(stage), inputs)

    return diagram(config, step, provenance_key)


def compute(config: PipelineConfig, runner: Runner) -> dict[str, str]:
    """Run the pipeline in this process, without Prefect; stage name -> key.

    Raises InputError as the stages do.
    """
    return diagram(config, stepper(config, runner), lambda keys: publish_provenance(runner, keys))


def stepper(config: PipelineConfig, runner: Runner) -> Step:
    """Steps that a runner computes in this process."""

    def step(stage: str, **inputs: str) -> str:
        if stage == "files":
            return add_files(config, runner)
        return runner.step(STAGES[stage], config.section(stage), inputs)

    return step
