"""The only Prefect task: one stage, from catalog keys to a catalog key."""

from collections.abc import Mapping
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from pipelines.config import stage_of
from pipelines.runner import runner_for
from pipelines.settings import Settings
from stages.registry import STAGES


@task(name="step", task_run_name="{label}", cache_policy=NO_CACHE, persist_result=False, retries=0)
def step(
    label: str, config: Mapping[str, Any], inputs: Mapping[str, str], settings: Mapping[str, Any]
) -> str:
    """Key of the result of the step `label`, computed unless the catalog has it.

    Raises InputError as the stage does.
    """
    chosen = STAGES[stage_of(label)]
    runner = runner_for(Settings.model_validate(dict(settings)))
    return runner.step(chosen, chosen.config.model_validate(dict(config)), inputs, label)
