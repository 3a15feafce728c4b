"""The explicit list of stages."""

from stages import common_mesh, design, evaluate, ingest, morph, predict, reduce, report, simulate, train_gp
from stages.base import Stage

STAGES: dict[str, Stage] = {
    stage.name: stage
    for stage in (
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
}
