"""The operator pipeline as it would be drawn."""

from collections.abc import Callable

from pipelines.operator_config import Candidate, Operator
from pipelines.steps import Drawing, Step


def operator(config: Operator, step: Step, provenance: Callable[[dict[str, str]], str]) -> dict[str, str]:
    """Input and output fields to trained operators, their comparison and its report; label of a step -> key.

    Every candidate is trained once a seed; its members are joined to an ensemble with calibrated intervals.
    Members and ensembles predict the test samples, and those of every further set, which has its own scores.
    """
    run = Drawing(step)
    data = _data(config, run)
    split = run("split", data=data)
    scales = run("normalise", data=data, split=split)
    used = {"data": data, "split": split}
    models = {
        name: key
        for candidate in config.candidates
        for name, key in _trained(candidate, run, {**used, "scales": scales}).items()
    }
    scored = {**used, **_predicted(models, run, used)}
    metrics = run("evaluate_operator", **scored)
    others = {}
    for name in config.further:
        further = _data(config, run, name)
        use = {"data": further, "split": run(f"split.{name}", data=further)}
        others[f"others.{name}"] = run(
            f"evaluate_operator.{name}", **use, **_predicted(models, run, use, name)
        )
    run.keys["provenance"] = provenance(dict(run.keys))
    trained = {f"models.{name}": key for name, key in models.items()}
    run("report_operator", metrics=metrics, provenance=run.keys["provenance"], **scored, **others, **trained)
    return run.keys


def _data(config: Operator, run: Drawing, other: str = "") -> str:
    """The data set of the config, or the further one of a name."""
    suffix = f".{other}" if other else ""
    if config.source == "arrays":
        return run(f"ingest_arrays{suffix}", raw=run(f"arrays{suffix}"))
    if config.source == "files":
        return run("ingest", raw=run("files"))
    return run(f"generate{suffix}", design=run(f"design{suffix}"))


def _trained(candidate: Candidate, run: Drawing, used: dict[str, str]) -> dict[str, str]:
    """Models of a candidate: its members, and the calibrated ensemble of them; of one member that alone."""
    label = candidate.name
    members = {
        f"members.{seed}": run(f"train_operator.{label}.{seed}", **used) for seed in candidate.all_seeds
    }
    rest = {name: key for name, key in used.items() if name != "scales"}
    together = run(f"ensemble.{label}", **rest, **members)
    if len(members) == 1:
        return {f"{label}.{candidate.all_seeds[0]}": together}
    alone = {f"{label}.{name.partition('.')[2]}": key for name, key in members.items()}
    return {**alone, f"{label}.ensemble": together}


def _predicted(models: dict[str, str], run: Drawing, used: dict[str, str], other: str = "") -> dict[str, str]:
    suffix = f".on_{other}" if other else ""
    return {
        f"predictions.{name}": run(f"predict_operator.{name}{suffix}", model=model, **used)
        for name, model in models.items()
    }
