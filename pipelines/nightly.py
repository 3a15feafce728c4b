"""The pipeline `nightly`: takes in new data, retrains if they changed, promotes a model that is better."""

from collections.abc import Callable
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field

from catalogs.catalog import Catalog
from pipelines.config import PipelineConfig, SurrogateConfig
from pipelines.diagram import diagram, stepper
from pipelines.promotion import Verdict, compare, without_rival
from pipelines.provenance import publish_provenance
from pipelines.runner import Runner
from pipelines.settings import Settings
from pipelines.steps import Step


class NightlyConfig(BaseModel):
    """What is trained, and the tag that says which model is in use.

    tag: of the model in use; only a better model takes it over. name: under which every new model becomes a
    version, promoted or not. margin: the part by which errors must fall. pipeline: the surrogate pipeline's
    config; with source "files" its folders are read anew by every run.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    tag: str = Field(default="in-use", pattern=r"^[A-Za-z][A-Za-z0-9_.-]{0,99}$")
    name: str = Field(default="surrogate", pattern=r"^[A-Za-z][A-Za-z0-9_.-]{0,99}$")
    margin: float = Field(default=0.0, ge=0.0, lt=1.0)
    pipeline: SurrogateConfig = Field(default_factory=SurrogateConfig)  # type: ignore[valid-type]

    @property
    def surrogate(self) -> PipelineConfig:
        """The config of the pipeline that trains."""
        assert isinstance(self.pipeline, PipelineConfig)
        return self.pipeline


@dataclass(frozen=True)
class Night:
    """What a night gave: keys of the pipeline by stage, the model in use before and after, the verdict."""

    keys: dict[str, str]
    before: str | None
    after: str
    version: int
    verdict: Verdict


def nightly(
    config: NightlyConfig, catalog: Catalog, step: Step, provenance: Callable[[dict[str, str]], str]
) -> Night:
    """Run the surrogate pipeline, judge its model beside the one in use, and move the tag if it is better.

    Stages whose inputs did not change are not computed again, so unchanged data train nothing. The model in
    use predicts the new test samples on its own common mesh. A sample is a test sample by the hash of its
    name (`ingest.split`), so it stays one as the set grows and the model in use has not seen it. Whatever
    fails raises before the tag is touched: the old model stays in use.
    """
    keys = diagram(config.surrogate, step, provenance)
    model, scores = keys["train_gp"], catalog.open(keys["evaluate"])
    used = catalog.tagged(config.tag)
    if used is None:
        verdict = without_rival(scores, "first")
    elif used == model:
        verdict = without_rival(scores, "unchanged")
    else:
        rival = _judged(catalog, used, keys, step)
        verdict = compare(scores, catalog.open(rival), config.margin)
    version = catalog.name(model, config.name)
    if verdict.decision in ("first", "promoted"):
        catalog.move_tag(config.tag, model)
    after = model if verdict.decision != "kept" else str(used)
    return Night(keys, used, after, version, verdict)


def run_nightly(config: NightlyConfig, settings: Settings) -> Night:
    """One night in this process, without Prefect; see `nightly`."""
    with Runner(settings) as runner:
        step = stepper(config.surrogate, runner)
        return nightly(config, runner.catalog, step, lambda keys: publish_provenance(runner, keys))


def told(night: Night, tag: str) -> str:
    """The outcome of a night in one sentence."""
    model, ratio = night.keys["train_gp"][:12], night.verdict.ratio
    if night.verdict.decision == "unchanged":
        return f"nothing new: model {model} stays in use ({tag})"
    if night.verdict.decision == "first":
        return f"model {model} is the first and is now in use ({tag})"
    errors = f"its errors are {ratio:.3g} times those of {str(night.before)[:12]}"
    if night.verdict.decision == "promoted":
        return f"model {model} is now in use ({tag}): {errors}"
    return f"model {model} is kept as version {night.version} and not used: {errors}"


def _judged(catalog: Catalog, model: str, keys: dict[str, str], step: Step) -> str:
    """Key of the scores of another model on the samples of this run."""
    meshes = keys["ingest"] if "ingest" in keys else keys["simulate"]
    common = catalog.show(model)["inputs"]["common"]
    morphed = step("morph", meshes=meshes, common=common)
    predictions = step("predict", morphed=morphed, model=model)
    return step("evaluate", meshes=meshes, morphed=morphed, model=model, predictions=predictions)
