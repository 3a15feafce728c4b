"""The Prefect flows; entry points `pipelines.flows.surrogate`, `.operator`, `.closure`, `.nightly`."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from prefect import flow

from pipelines.config import PipelineConfig, stage_of
from pipelines.diagram import CONFIGS, diagram
from pipelines.flow_artifacts import Shown, alive
from pipelines.nightly import NightlyConfig, told
from pipelines.nightly import nightly as night
from pipelines.provenance import publish_provenance
from pipelines.report_file import write_report
from pipelines.runner import Runner, close_runner, runner_for
from pipelines.scores import TABLES
from pipelines.settings import Settings
from pipelines.sources import SOURCES
from pipelines.step import step
from pipelines.steps import Step


@flow(name="surrogate", validate_parameters=False, persist_result=False, retries=0)
def surrogate(config: dict[str, Any], settings: dict[str, Any]) -> dict[str, str]:
    """Run the surrogate pipeline; label of a step -> key. See `pipelines.surrogate_diagram`.

    Raises InputError as the stages do.
    """
    return _drawn("surrogate", config, settings)


@flow(name="operator", validate_parameters=False, persist_result=False, retries=0)
def operator(config: dict[str, Any], settings: dict[str, Any]) -> dict[str, str]:
    """Run the operator pipeline; label of a step -> key. See `pipelines.operator_diagram`.

    Raises InputError as the stages do.
    """
    return _drawn("operator", config, settings)


@flow(name="closure", validate_parameters=False, persist_result=False, retries=0)
def closure(config: dict[str, Any], settings: dict[str, Any]) -> dict[str, str]:
    """Run the closure pipeline; label of a step -> key. See `pipelines.closure_diagram`.

    Raises InputError as the stages do.
    """
    return _drawn("closure", config, settings)


@flow(name="nightly", validate_parameters=False, persist_result=False, retries=0)
def nightly(config: dict[str, Any], settings: dict[str, Any]) -> dict[str, str]:
    """Run the nightly pipeline; stage name -> key, with `in use`. See `pipelines.nightly.nightly`.

    Raises InputError as the stages do; the model in use then stays.
    """
    chosen = NightlyConfig.model_validate(config)
    with _running(settings, chosen.surrogate) as (runner, shown):
        stepper = _stepper(chosen.surrogate, settings, shown)
        done = night(chosen, runner.catalog, stepper, lambda found: publish_provenance(runner, found))
        _show_scores(runner, shown, done.keys, chosen.surrogate)
        shown.table("verdict", done.verdict.table, told(done, chosen.tag))
        return {**done.keys, "in use": done.after}


def _drawn(name: str, config: dict[str, Any], settings: dict[str, Any]) -> dict[str, str]:
    """A pipeline as a flow, with its scores and its report on the page of the run."""
    pipeline = CONFIGS[name].model_validate(config)
    with _running(settings, pipeline) as (runner, shown):
        keys = diagram(
            pipeline, _stepper(pipeline, settings, shown), lambda found: publish_provenance(runner, found)
        )
        _show_scores(runner, shown, keys, pipeline)
        return keys


@contextmanager
def _running(settings: dict[str, Any], pipeline: PipelineConfig) -> Iterator[tuple[Runner, Shown]]:
    where = Settings.model_validate(settings)
    steps = diagram(pipeline, lambda label, **inputs: label, lambda keys: "provenance")
    try:
        with alive(where.project):
            yield runner_for(where), Shown(len(steps))
    finally:
        close_runner(where)


def _stepper(pipeline: PipelineConfig, settings: dict[str, Any], shown: Shown) -> Step:
    def one(label: str, **inputs: str) -> str:
        shown.stage(label)
        stage = stage_of(label)
        if stage in SOURCES:
            return SOURCES[stage].add(pipeline, label, runner_for(Settings.model_validate(settings)))
        return step(label, pipeline.section(label).model_dump(mode="json"), inputs, settings)

    return one


def _show_scores(runner: Runner, shown: Shown, keys: dict[str, str], pipeline: PipelineConfig) -> None:
    scores = TABLES[pipeline.scores](runner.catalog.open(keys[pipeline.scores]))
    shown.table("scores", scores, "Scores on the test samples")
    page = write_report(runner.catalog, keys[pipeline.report_step])
    shown.link("report", page.resolve().as_uri(), "The report of this run")
    shown.done()
