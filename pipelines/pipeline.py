"""Running a pipeline: computes what is missing, and gives keys, scores and the report."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from pipelines.catalog_access import open_catalog
from pipelines.config import PipelineConfig
from pipelines.diagram import compute, planned_keys
from pipelines.embedded_prefect import run_flow
from pipelines.progress import say
from pipelines.report_file import write_report
from pipelines.runner import Runner
from pipelines.scores import TABLES
from pipelines.settings import Settings


@dataclass(frozen=True)
class Outcome:
    """What a run gives: keys by stage, the table of scores, the report, and how many steps were computed."""

    keys: dict[str, str]
    scores: pd.DataFrame
    report: Path
    computed: int


def run_pipeline(config: PipelineConfig, settings: Settings, prefect: bool = True) -> Outcome:
    """Compute what is missing of the pipeline, and write its report next to the catalog.

    Raises InputError as the stages do; finished steps and parts are kept.
    """
    planned = planned_keys(config)
    catalog = open_catalog(settings)
    try:
        missing = [stage for stage, key in planned.items() if not catalog.exists(key)]
        if not missing:
            say("everything is there already: nothing to compute", settings.quiet)
        elif prefect:
            run_flow(config, settings)
        else:
            with Runner(settings) as runner:
                compute(config, runner)
        return Outcome(
            keys=planned,
            scores=TABLES[config.scores](catalog.open(planned[config.scores])),
            report=write_report(catalog, planned[config.report_step]),
            computed=len(missing),
        )
    finally:
        catalog.close()
