"""The explicit lists of stages: one for each pipeline, and all of them."""

from stages import (
    acquire,
    close,
    common_mesh,
    conditions,
    design,
    ensemble,
    evaluate,
    evaluate_closure,
    evaluate_operator,
    generate,
    infer_parameters,
    ingest,
    ingest_arrays,
    moments,
    morph,
    new_cases,
    normalise,
    predict,
    predict_operator,
    reduce,
    report,
    report_closure,
    report_operator,
    simulate,
    simulate_kinetic,
    split,
    train_closure,
    train_gp,
    train_operator,
)
from stages.base import Stage


def _named(*stages: Stage) -> dict[str, Stage]:
    return {stage.name: stage for stage in stages}


SURROGATE: dict[str, Stage] = _named(
    design.STAGE,
    simulate.STAGE,
    ingest.STAGE,
    common_mesh.STAGE,
    morph.STAGE,
    reduce.STAGE,
    train_gp.STAGE,
    predict.STAGE,
    evaluate.STAGE,
    report.STAGE,
)

OPERATOR: dict[str, Stage] = _named(
    design.STAGE,
    generate.STAGE,
    ingest.STAGE,
    ingest_arrays.STAGE,
    split.STAGE,
    normalise.STAGE,
    train_operator.STAGE,
    ensemble.STAGE,
    predict_operator.STAGE,
    evaluate_operator.STAGE,
    report_operator.STAGE,
)

CLOSURE: dict[str, Stage] = _named(
    conditions.STAGE,
    simulate_kinetic.STAGE,
    moments.STAGE,
    train_closure.STAGE,
    acquire.STAGE,
    infer_parameters.STAGE,
    close.STAGE,
    evaluate_closure.STAGE,
    report_closure.STAGE,
)

NEW_CASES: dict[str, Stage] = _named(new_cases.STAGE)
"""What `pushforward predict` runs before the stage of the model's pipeline that predicts."""

STAGES: dict[str, Stage] = {**SURROGATE, **OPERATOR, **CLOSURE, **NEW_CASES}
