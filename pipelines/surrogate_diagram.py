"""The surrogate pipeline as it would be drawn."""

from collections.abc import Callable

from pipelines.config import PipelineConfig
from pipelines.steps import Drawing, Step


def surrogate(
    config: PipelineConfig, step: Step, provenance: Callable[[dict[str, str]], str]
) -> dict[str, str]:
    """Meshes of simulations to a model with error bars and its report; label of a step -> key."""
    run = Drawing(step)
    if getattr(config, "source", "simulate") == "files":
        meshes = run("ingest", raw=run("files"))
    else:
        meshes = run("simulate", design=run("design"))
    common = run("common_mesh", meshes=meshes)
    morphed = run("morph", meshes=meshes, common=common)
    basis = run("reduce", morphed=morphed, common=common)
    model = run("train_gp", basis=basis, common=common)
    predictions = run("predict", morphed=morphed, model=model)
    metrics = run("evaluate", meshes=meshes, morphed=morphed, model=model, predictions=predictions)
    run.keys["provenance"] = provenance(dict(run.keys))
    report = {
        "model": model,
        "predictions": predictions,
        "metrics": metrics,
        "provenance": run.keys["provenance"],
    }
    run("report", meshes=meshes, morphed=morphed, **report)
    return run.keys
