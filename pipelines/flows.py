"""The Prefect flows; entry point `pipelines.flows.surrogate`."""

from typing import Any

from prefect import flow

from pipelines.config import SurrogateConfig
from pipelines.diagram import add_files, diagram
from pipelines.provenance import publish_provenance
from pipelines.settings import Settings
from pipelines.step import close_runner, runner_for, step


@flow(name="surrogate", validate_parameters=False, persist_result=False, retries=0)
def surrogate(config: dict[str, Any], settings: dict[str, Any]) -> dict[str, str]:
    """Run the surrogate pipeline; stage name -> key. See `pipelines.diagram.diagram`.

    Raises InputError as the stages do.
    """
    pipeline = SurrogateConfig.model_validate(config)
    where = Settings.model_validate(settings)

    def one(stage: str, **inputs: str) -> str:
        if stage == "files":
            return add_files(pipeline, runner_for(where))
        return step(stage, pipeline.section(stage).model_dump(mode="json"), inputs, settings)

    try:
        return diagram(pipeline, one, lambda keys: publish_provenance(runner_for(where), keys))
    finally:
        close_runner(where)
