"""The only Prefect task: one stage, from catalog keys to a catalog key."""

from collections.abc import Mapping
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from pipelines.runner import runner_for
from pipelines.settings import Settings
from stages.registry import STAGES


@task(name="step", task_run_name="{stage}", cache_policy=NO_CACHE, persist_result=False, retries=0)
def step(
    stage: str, config: Mapping[str, Any], inputs: Mapping[str, str], settings: Mapping[str, Any]
) -> str:
    """Key of the stage's result, computed unless the catalog has it.

    Raises InputError as the stage does.
    """
    chosen = STAGES[stage]
    runner = runner_for(Settings.model_validate(dict(settings)))
    return runner.step(chosen, chosen.config.model_validate(dict(config)), inputs)
