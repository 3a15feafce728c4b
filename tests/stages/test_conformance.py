"""One suite over every stage: schemas, untouched inputs, refused units and options, the same in any cut."""

import numpy as np
import pytest
import xarray as xr
from pydantic import ValidationError

from kernels.errors import InputError
from pipelines.config import load_config
from pipelines.operator_config import OperatorConfig
from stages.ragged import concat, take
from stages.registry import CLOSURE, NEW_CASES, STAGES, SURROGATE
from stages.variables import VARIABLES
from tests.stages.closure_sets import closed, forecast, moments

CUT = [name for name, stage in STAGES.items() if stage.split_over and name not in ("ingest", "ingest_arrays")]

LAZY = ["common_mesh", "morph", "reduce", "evaluate", "split", "normalise", "train_operator", "ensemble"]
LAZY += [
    "predict_operator",
    "new_cases",
    "evaluate_operator",
    "evaluate_closure",
    "simulate_kinetic",
    "moments",
    "close",
]
LAZY += ["train_closure", "acquire", "infer_parameters"]

FEEDS = {
    "simulate": {"design": "design"},
    "common_mesh": {"meshes": "simulate"},
    "morph": {"meshes": "simulate", "common": "common_mesh"},
    "reduce": {"morphed": "morph", "common": "common_mesh"},
    "train_gp": {"basis": "reduce", "common": "common_mesh"},
    "predict": {"morphed": "morph", "model": "train_gp"},
    "evaluate": {"meshes": "simulate", "morphed": "morph", "model": "train_gp", "predictions": "predict"},
    "generate": {"design": "design of fields"},
    "split": {"data": "generate"},
    "normalise": {"data": "generate", "split": "split"},
    "train_operator": {"data": "generate", "split": "split", "scales": "normalise"},
    "ensemble": {"data": "generate", "split": "split", "members.0": "train_operator"},
    "predict_operator": {"data": "generate", "split": "split", "model": "ensemble"},
    "evaluate_operator": {"data": "generate", "split": "split", "predictions.mgno.0": "predict_operator"},
    "new_cases": {"raw": "generate", "model": "ensemble"},
    "simulate_kinetic": {"conditions": "conditions"},
    "moments": {"simulations": "simulate_kinetic"},
    "train_closure": {"runs.0": "moments"},
    "acquire": {"models.0": "train_closure", "models.1": "train_closure", "runs.0": "moments"},
    "infer_parameters": {"observations": "moments"},
    "close": {"truth": "moments", "model": "train_closure"},
    "evaluate_closure": {
        "truth": "made-up moments",
        "long.bingham": "made-up runs",
        "short.bingham": "forecasts",
    },
}
"""Stage -> its inputs in the smallest shipped pipelines."""

SMALL = {
    "train_closure": {"epochs": 3},
    "acquire": {"method": "sobol", "candidates": 4, "count": 1, "begin": 0.0, "frames": 1},
    "infer_parameters": {"window": 0.2, "windows": 2},
    "close": {"time_step": 0.05},
    "simulate_kinetic": {
        "points": 12,
        "modes": 9,
        "length": 5.0,
        "time": 0.4,
        "every": 0.2,
        "time_step": 0.02,
    },
}

MEASURED = {"inference_seconds", "epoch_seconds", "run_seconds", "step_seconds"}
"""Variables that no two runs have in common."""


def config_of(name: str):
    if name in SURROGATE:
        return load_config("surrogate_small").section(name)
    if name in CLOSURE:
        return CLOSURE[name].config(**SMALL.get(name, {}))
    if name in NEW_CASES:
        return NEW_CASES[name].config()
    label = "train_operator.mgno.0" if name == "train_operator" else name
    return load_config("operator_small", OperatorConfig).section(label)


def made_up() -> dict[str, xr.Dataset]:
    """Moments, long runs and forecasts that took no simulation."""
    truth = moments(seeds=(5, 6), n=8)
    runs, short = closed(truth, 1.1), forecast(truth, (12.0,), 4.0)
    return {"made-up moments": truth, "made-up runs": runs, "forecasts": short}


@pytest.fixture(scope="module")
def runs() -> dict[str, tuple[dict[str, xr.Dataset], xr.Dataset]]:
    """Inputs and output of every stage of the smallest shipped pipelines; what reads files, and reports, have
    their own tests.
    """
    fields = load_config("operator_small", OperatorConfig).section("design")
    made, done = {"design of fields": STAGES["design"](fields), **made_up()}, {}
    for name in ("design", "conditions", *FEEDS):
        inputs = {key: made[source] for key, source in FEEDS.get(name, {}).items()}
        before = {key: value.copy(deep=True) for key, value in inputs.items()}
        made[name] = STAGES[name](config_of(name), **inputs)
        done[name] = (before, made[name])
        for key, value in inputs.items():
            xr.testing.assert_identical(value, before[key])
    return done


def test_every_stage_ran_but_those_that_read_files_and_reports(runs):
    assert set(STAGES) - set(runs) == {
        "ingest",
        "ingest_arrays",
        "report",
        "report_operator",
        "report_closure",
    }


@pytest.mark.parametrize("name", sorted(STAGES))
def test_an_unknown_option_is_refused_by_name(name):
    with pytest.raises(ValidationError, match="no_such_option"):
        STAGES[name].config(no_such_option=1)


@pytest.mark.parametrize("name", sorted(STAGES))
def test_every_stage_says_what_it_does_and_in_which_version(name):
    stage = STAGES[name]
    assert stage.name == name
    assert stage.version >= 1
    assert len(stage.run.__doc__ or "") > 80


def test_vocabulary_variables_have_their_declared_dims_and_meaning(runs):
    for _, output in runs.values():
        for name in set(output.data_vars) & set(VARIABLES):
            assert output[name].dims == VARIABLES[name].dims, name


@pytest.mark.parametrize("name", CUT)
def test_any_cut_gives_the_same_numbers(runs, name):
    stage, (inputs, whole) = STAGES[name], runs[name]
    config = config_of(name)
    split = inputs[stage.split_over]
    parts = []
    for rows in np.array_split(np.arange(split.sizes["sample"]), 3):
        parts.append(stage(config, **{**inputs, stage.split_over: take(split, rows)}))
    joined = concat(parts)
    for variable in set(whole.variables) - MEASURED:
        np.testing.assert_array_equal(joined[variable].values, whole[variable].values, err_msg=str(variable))


@pytest.mark.parametrize(
    ("name", "target", "variable"),
    [("common_mesh", "meshes", "x"), ("morph", "meshes", "x"), ("predict", "model", "shape_mean")],
)
def test_wrong_units_are_refused_by_name(runs, name, target, variable):
    inputs = {key: value.copy() for key, value in runs[name][0].items()}
    inputs[target][variable] = inputs[target][variable].assign_attrs(units="mm")
    with pytest.raises(InputError, match=rf"input '{target}' of stage '{name}'.*'m', got 'mm'"):
        STAGES[name](load_config("surrogate_small").section(name), **inputs)


@pytest.mark.parametrize("name", LAZY)
def test_lazy_inputs_give_the_same_numbers(runs, name):
    inputs, whole = runs[name]
    lazy = {key: value.chunk() for key, value in inputs.items()}
    again = STAGES[name](config_of(name), **lazy)
    for variable in set(whole.variables) - MEASURED:
        given, wanted = again[variable].values, whole[variable].values
        if wanted.dtype.kind == "f":  # sums follow the memory layout of what they are given
            np.testing.assert_allclose(given, wanted, rtol=1e-13, err_msg=str(variable))
        else:
            np.testing.assert_array_equal(given, wanted, err_msg=str(variable))


def test_a_missing_input_is_refused_by_name():
    with pytest.raises(InputError, match=r"stage 'morph' takes the inputs \['common', 'meshes'\]; missing"):
        STAGES["morph"](STAGES["morph"].config())
