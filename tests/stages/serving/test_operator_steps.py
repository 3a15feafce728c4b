"""The three stages through the real runner: cut in parts, joined, scored, shown; and what all keep."""

import numpy as np
import pytest
import xarray as xr
from pydantic import ValidationError

from kernels.operators.families import build
from kernels.operators.settings import LinearSettings, MeanSettings
from pipelines.runner import Runner
from pipelines.settings import settings
from stages import evaluate_operator, predict_operator, report_operator
from stages.operator_data import Samples, signature
from stages.operator_model import model_dataset
from stages.variables import TRAIN, VALIDATION, VARIABLES
from tests.stages.serving import served_toys as made

STAGES = (predict_operator.STAGE, evaluate_operator.STAGE, report_operator.STAGE)
PROVENANCE = xr.Dataset(
    {name: ("step", np.array([value])) for name, value in (("stage", "x"), ("key", "y"), ("seconds", 1.0))}
)


def fitted(family: str, chosen, data: xr.Dataset, split: xr.Dataset, validation: float) -> xr.Dataset:
    """A real closed-form family, fitted to the training part."""
    scales = made.scales_of(data)
    rows = [np.flatnonzero(split["split"].values == part) for part in (TRAIN, VALIDATION)]
    operator = build(family, signature(data), chosen)
    operator.fit(*(Samples(data, r, scales).read(range(len(r))) for r in rows))
    history = {name: np.full((1, 1), 0.1) for name in ("train_loss", "epoch_seconds")}
    return model_dataset(
        [operator], chosen, scales, data, [0], {**history, "validation_error": np.full((1, 1), validation)}
    )


def test_parts_are_joined_scored_and_shown_by_the_runner(tmp_path):
    data = made.grid_set(150, points=6)
    split = made.split_of(data)
    with Runner(settings(project=tmp_path, workers=0, quiet=True)) as runner:
        inputs = {"data": runner.add("data", data, {}), "split": runner.add("split", split, {})}
        predictions = {}
        for family, chosen, error in (("linear", LinearSettings(), 0.1), ("mean", MeanSettings(), 0.9)):
            model = runner.add(family, fitted(family, chosen, data, split, error), {})
            config = predict_operator.PredictOperatorConfig()
            key = runner.step(predict_operator.STAGE, config, {**inputs, "model": model})
            predictions[f"predictions.{family}.0"] = key
        config = evaluate_operator.EvaluateOperatorConfig()
        scored = runner.step(evaluate_operator.STAGE, config, {**inputs, **predictions})
        shown = runner.catalog.show(scored)
        assert shown["metrics"]["relative_l2.mean.u"] > shown["metrics"]["relative_l2.linear.u"] > 0.0
        assert runner.catalog.open(scored).attrs["chosen"] == "linear"
        assert runner.catalog.open(predictions["predictions.mean.0"]).sizes["sample"] == 75
        used = {**inputs, **predictions, "metrics": scored}
        used["provenance"] = runner.add("provenance", PROVENANCE, {})
        key = runner.step(report_operator.STAGE, report_operator.ReportOperatorConfig(), used)
        page = runner.catalog.open(key)["page"].values.tobytes().decode()
    assert "chosen by validation: <b>linear</b>" in page


@pytest.mark.parametrize("fields", [True, False], ids=["other axes", "numbers alone"])
def test_inputs_on_other_axes_and_inputs_that_are_numbers_alone(fields):
    random = np.random.default_rng(1)
    force, load = random.standard_normal((240, 20)), random.uniform(1.0, 2.0, 240)
    x = np.linspace(0.0, 1.0, 9)
    u = np.sin(x) * load[:, None] + (force[:, :9] if fields else 0.0)
    data = xr.Dataset(
        {
            "f": (("sample", "s"), force, {"role": "input", "units": "N"}),
            "u": (("sample", "x"), u, {"role": "field", "units": "m"}),
            "load": ("sample", load, {"role": "parameter", "units": "N"}),
            "sample_name": made.variable("sample_name", np.array([f"g_{i}" for i in range(240)])),
        },
        coords={"s": ("s", np.arange(20.0), {"units": "m"}), "x": ("x", x, {"units": "m"})},
    )
    data = data if fields else data.drop_vars(["f", "s"])
    split = made.split_of(data)
    model = fitted("linear", LinearSettings(ridge=1e-10), data, split, 0.1)
    new = data.drop_vars("u")
    config = predict_operator.PredictOperatorConfig()
    found = predict_operator.STAGE(config, data=new, model=model, split=split)
    given = {"predictions.linear.0": found}
    scores = evaluate_operator.STAGE(
        evaluate_operator.EvaluateOperatorConfig(), data=data, split=split, **given
    )
    l2 = float(scores["score"].sel(quantity="u", candidate="linear", metric="relative_l2"))
    assert l2 < 1e-6
    page = report_operator.STAGE(
        report_operator.ReportOperatorConfig(), data=data, metrics=scores, provenance=PROVENANCE, **given
    )
    assert ("input f" in page["page"].values.tobytes().decode()) is fields


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_what_every_stage_keeps(stage):
    with pytest.raises(ValidationError, match="no_such_option"):
        stage.config(no_such_option=1)
    assert stage.version >= 1
    assert len(stage.run.__doc__ or "") > 80


def test_vocabulary_variables_have_their_dims_dtype_and_meaning(toys):
    data = toys.grid_set()
    split, model = toys.split_of(data), toys.model_of(data, members=2, floor=True)
    found = predict_operator.STAGE(predict_operator.PredictOperatorConfig(), data=data, model=model)
    scores = evaluate_operator.STAGE(
        evaluate_operator.EvaluateOperatorConfig(), data=data, split=split,
        **{"predictions.net.ensemble": found},
    )  # fmt: skip
    for output in (found, scores):
        for name in set(output.data_vars) & set(VARIABLES):
            assert output[name].dims == VARIABLES[name].dims, name
        for name, one in output.data_vars.items():
            assert {"units", "long_name"} <= set(one.attrs), name
