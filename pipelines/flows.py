"""The Prefect flows; entry points `pipelines.flows.surrogate` and `pipelines.flows.nightly`."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from prefect import flow

from pipelines.config import PipelineConfig, SurrogateConfig
from pipelines.diagram import Step, diagram
from pipelines.files import add_files
from pipelines.flow_artifacts import Shown, alive
from pipelines.nightly import NightlyConfig, told
from pipelines.nightly import nightly as night
from pipelines.provenance import publish_provenance
from pipelines.report_file import write_report
from pipelines.runner import Runner, close_runner, runner_for
from pipelines.settings import Settings
from pipelines.step import step
from stages.evaluate import table


@flow(name="surrogate", validate_parameters=False, persist_result=False, retries=0)
def surrogate(config: dict[str, Any], settings: dict[str, Any]) -> dict[str, str]:
    """Run the surrogate pipeline; stage name -> key. See `pipelines.diagram.diagram`.

    Raises InputError as the stages do.
    """
    pipeline = SurrogateConfig.model_validate(config)
    with _running(settings) as (runner, shown):
        keys = diagram(
            pipeline, _stepper(pipeline, settings, shown), lambda found: publish_provenance(runner, found)
        )
        _show_scores(runner, shown, keys)
        return keys


@flow(name="nightly", validate_parameters=False, persist_result=False, retries=0)
def nightly(config: dict[str, Any], settings: dict[str, Any]) -> dict[str, str]:
    """Run the nightly pipeline; stage name -> key, with `in use`. See `pipelines.nightly.nightly`.

    Raises InputError as the stages do; the model in use then stays.
    """
    chosen = NightlyConfig.model_validate(config)
    with _running(settings) as (runner, shown):
        stepper = _stepper(chosen.surrogate, settings, shown)
        done = night(chosen, runner.catalog, stepper, lambda found: publish_provenance(runner, found))
        _show_scores(runner, shown, done.keys)
        shown.table("verdict", done.verdict.table, told(done, chosen.tag))
        return {**done.keys, "in use": done.after}


@contextmanager
def _running(settings: dict[str, Any]) -> Iterator[tuple[Runner, Shown]]:
    where = Settings.model_validate(settings)
    try:
        with alive(where.project):
            yield runner_for(where), Shown()
    finally:
        close_runner(where)


def _stepper(pipeline: PipelineConfig, settings: dict[str, Any], shown: Shown) -> Step:
    def one(stage: str, **inputs: str) -> str:
        shown.stage(stage)
        if stage == "files":
            return add_files(pipeline, runner_for(Settings.model_validate(settings)))
        return step(stage, pipeline.section(stage).model_dump(mode="json"), inputs, settings)

    return one


def _show_scores(runner: Runner, shown: Shown, keys: dict[str, str]) -> None:
    shown.table("scores", table(runner.catalog.open(keys["evaluate"])), "Scores on the test samples")
    shown.link("report", write_report(runner.catalog, keys).resolve().as_uri(), "The report of this run")
    shown.done()
