"""Stage `new_cases`: what a trained operator predicts from, in its order, checked; truths are left out."""

import numpy as np
import pytest
import xarray as xr

from kernels.errors import InputError
from kernels.operators.families import build
from kernels.operators.settings import SponSettings
from stages.base import variable
from stages.new_cases import STAGE, NewCasesConfig, fitted
from stages.operator_data import signature
from stages.operator_model import model_dataset
from tests.stages.operator_sets import grid_set, mesh_set


def model_of(data: xr.Dataset) -> xr.Dataset:
    """A model with the names, units and grid of a data set, that no one asks for a prediction."""
    scales = xr.Dataset()
    for kind in ("input", "output", "parameter"):
        for what in ("mean", "scale"):
            scales[f"{kind}_{what}"] = variable(f"{kind}_{what}", np.ones(1))
    settings = SponSettings(width=2, rounds=1, levels=1)
    return model_dataset([build("spon", signature(data), settings)], settings, scales, data)


def cases(raw: xr.Dataset, model: xr.Dataset, **config) -> xr.Dataset:
    return STAGE(NewCasesConfig(**config), raw=raw, model=model)


@pytest.mark.parametrize("data", [grid_set(), mesh_set()], ids=["grid", "mesh"])
def test_the_inputs_stay_and_truths_go_whatever_they_are(data):
    model, wanted = model_of(data), data.drop_vars("u")
    before = data.copy(deep=True)
    xr.testing.assert_identical(cases(data, model), wanted)
    xr.testing.assert_identical(data, before)
    strange = (data["u"] * np.nan).assign_attrs(role="field", units="furlong")
    xr.testing.assert_identical(cases(data.assign(u=strange), model), wanted)
    xr.testing.assert_identical(
        cases(wanted.assign(split=("sample", np.zeros(data.sizes["sample"]))), model), wanted
    )
    lazy = fitted(data.chunk(), model, {})
    assert lazy[next(iter(lazy.data_vars))].chunks is not None
    xr.testing.assert_identical(lazy.compute(), wanted)


def test_axes_that_the_outputs_have_to_themselves_stay_and_rise():
    data = grid_set()
    data["u"] = data["u"].rename(y="z").assign_coords(z=data["y"].values)
    data["z"].attrs = data["y"].attrs
    model = model_of(data)
    finer = np.linspace(1.0, 0.0, 9)
    raw = data.drop_vars(["u", "z"]).assign_coords(z=("z", finer, {"units": "m"}))
    np.testing.assert_array_equal(cases(raw, model)["z"].values, finer[::-1])
    assert "z" not in cases(raw.drop_vars("z"), model).coords
    with pytest.raises(InputError, match="axis 'z' runs from 0 to 3, the model was trained from 0 to 1"):
        cases(raw.assign_coords(z=("z", finer * 3.0, {"units": "m"})), model)


def test_parameters_are_given_or_come_with_the_cases():
    data = grid_set()
    model, bare = model_of(data), data.drop_vars("load")
    found = cases(bare, model, parameters={"load": 1.5})
    assert (found["load"].values == 1.5).all()
    assert found["load"].attrs["units"] == "N"
    scalar = data.assign(load=data["load"].assign_attrs(role="scalar"))
    xr.testing.assert_identical(cases(scalar, model), data.drop_vars("u"))
    with pytest.raises(
        InputError, match="also needs the parameters load: add --parameter load=VALUE, or give"
    ):
        cases(bare, model)
    with pytest.raises(InputError, match=r"unknown parameters \['lod'\]; the model takes: load"):
        cases(data, model, parameters={"lod": 1.0})


def test_an_input_prescribes_what_it_did_in_training():
    data = mesh_set()
    held = data.assign(f=data["f"].assign_attrs(prescribes="u", units="m"))
    found = cases(held.assign(f=data["f"].assign_attrs(units="m")), model_of(held))
    assert found["f"].attrs["prescribes"] == "u"
    assert (
        "prescribes" not in cases(held, model_of(data.assign(f=data["f"].assign_attrs(units="m"))))["f"].attrs
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.rename(a="b"), r"lacks the inputs \['a'\] of the model, which takes \['a', 'load'\]"),
        (lambda d: d.assign(a=d["a"].assign_attrs(role="field")), "'a' has the role 'field', the model"),
        (lambda d: d.assign(a=d["a"].assign_attrs(units="K")), "'a' has the units 'K', the model was"),
        (lambda d: d.drop_vars("x"), "axis 'x' of 'a' has no coordinate"),
        (lambda d: d.isel(y=0, drop=True), "a model of dimension 2 cannot serve dimension 1"),
        (lambda d: d.assign(a=d["a"].where(d["sample"] != 3)), "1 of 12 samples .* not finite: 'a' of"),
        (lambda d: mesh_set(), "also needs the parameters load"),
        (lambda d: mesh_set().assign(load=("sample", np.ones(6), d["load"].attrs)), "is on a mesh, the"),
        (lambda d: d.assign(sample_name=d["sample_name"].isel(sample=[0] * 12)), "given more than once"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_by_name(change, message):
    data = grid_set()
    with pytest.raises(InputError, match=message):
        cases(change(data), model_of(data))


def test_samples_that_are_not_finite_may_be_dropped():
    data = grid_set()
    found = cases(data.assign(a=data["a"].where(data["sample"] != 3)), model_of(data), missing="drop")
    assert found.attrs["dropped_samples"] == ["run_0003"]
    assert found.sizes["sample"] == 11


def test_meshes_of_another_dimension_and_models_without_names_are_refused():
    data = mesh_set()
    deep = data.drop_vars(["x", "connectivity"])
    deep["x"] = variable("x", np.pad(data["x"].values, ((0, 0), (0, 1))))
    deep["connectivity"] = data["connectivity"]
    with pytest.raises(InputError, match="the meshes are in 3 dimensions, the model was trained in 2"):
        cases(deep, model_of(data))
    nameless = model_of(data).assign_attrs(channels="{}")
    with pytest.raises(InputError, match="does not say what its inputs and outputs are called: train it"):
        cases(data, nameless)
