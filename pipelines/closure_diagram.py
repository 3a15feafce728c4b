"""The closure pipeline as it would be drawn."""

from collections.abc import Callable

from pipelines.closure_candidates import ClosureCandidate
from pipelines.closure_config import KNOWN, SHORT, Closure
from pipelines.steps import Drawing, Step


def closure(config: Closure, step: Step, provenance: Callable[[dict[str, str]], str]) -> dict[str, str]:
    """Conditions to kinetic runs, learned closures, coarse runs with them, their scores and the report; label
    of a step -> key.

    Every candidate is trained once a seed, on the runs of the conditions and of those that active learning
    has added. The coarse model with each of them continues the kinetic runs of the test part, from their
    beginning, and from frames of them for forecasts.
    """
    run = Drawing(step)
    truth = run("moments", simulations=run("simulate_kinetic", conditions=run("conditions")))
    runs = _acquired(config, run, {"runs.0": truth})
    models = _trained(config, run, runs)
    scored = {**_closed(config, run, truth, models, "long"), **_closed(config, run, truth, models, SHORT)}
    asked = {f"models.{name}": key for name, (key, _) in models.items()}
    metrics = run("evaluate_closure", truth=truth, **asked, **scored)
    shown = {name: key for name, key in scored.items() if name.startswith("long.")}
    shown |= {f"acquired.{n}": runs[f"runs.{n}"] for n in range(1, config.active.rounds + 1)}
    if config.infer:
        shown["estimates"] = _estimated(config, run, truth, models)
    run.keys["provenance"] = provenance(dict(run.keys))
    run("report_closure", truth=truth, metrics=metrics, provenance=run.keys["provenance"], **shown)
    return run.keys


def _estimated(config: Closure, run: Drawing, truth: str, models: dict[str, tuple[str, str]]) -> str:
    """Parameters of the test runs, calibrated by the runs that the closure was made with."""
    chosen = config.candidate(config.infer)
    given = {"observations": truth, "model": models[chosen.called(chosen.all_seeds[0])][0]}
    if config.calibrates():
        return run("infer_parameters", calibration=run(f"infer_parameters.{KNOWN}", **given), **given)
    return run("infer_parameters", **given)


def _acquired(config: Closure, run: Drawing, runs: dict[str, str]) -> dict[str, str]:
    """Moments of all runs, with those that every round of active learning adds."""
    for number in range(1, config.active.rounds + 1):
        learner = config.candidate(config.active.learner)
        members = {
            f"models.{seed}": _model(config, run, learner, seed, runs, f".before_{number}")
            for seed in learner.all_seeds
        }
        chosen = run(f"acquire.{number}", **members, **runs)
        simulations = run(f"simulate_kinetic.{number}", conditions=chosen)
        runs = {**runs, f"runs.{number}": run(f"moments.{number}", simulations=simulations)}
    return runs


def _trained(config: Closure, run: Drawing, runs: dict[str, str]) -> dict[str, tuple[str, str]]:
    """What tables call a model -> its key, and the label of its candidate and seed."""
    return {
        one.called(seed): (_model(config, run, one, seed, runs), f"{one.name}.{seed}")
        for one in config.candidates
        for seed in one.all_seeds
    }


def _model(
    config: Closure, run: Drawing, one: ClosureCandidate, seed: int, runs: dict[str, str], suffix: str = ""
) -> str:
    """Model of a candidate and a seed, after that of the candidate it starts from."""
    label = f"train_closure.{one.name}.{seed}{suffix}"
    if label in run.keys:
        return run.keys[label]
    if not one.learned:
        return run(label)
    if not one.start:
        return run(label, **runs)
    return run(label, start=_model(config, run, config.candidate(one.start), seed, runs, suffix), **runs)


def _closed(
    config: Closure, run: Drawing, truth: str, models: dict[str, tuple[str, str]], kind: str
) -> dict[str, str]:
    """Runs of the coarse model from the beginning, or forecasts, with every model."""
    if kind == SHORT and not config.short.get("starts"):
        return {}
    suffix = f".{SHORT}" if kind == SHORT else ""
    return {
        f"{kind}.{name}": run(f"close.{label}{suffix}", truth=truth, model=key)
        for name, (key, label) in models.items()
    }
