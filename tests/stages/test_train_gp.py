import numpy as np
import pytest
import xarray as xr
from pydantic import ValidationError

from kernels.errors import InputError
from kernels.regression.gaussian_process import predict
from kernels.regression.linear import predict_linear
from stages.base import variable
from stages.gp_model import outside_range, process_variables, processes_of
from stages.train_gp import STAGE, TrainGpConfig, run

QUICK = TrainGpConfig(restarts=1, max_iterations=40, threads=1)


def basis_and_common(samples: int = 24) -> tuple[xr.Dataset, xr.Dataset]:
    """A made-up basis of two fields on four nodes, with one shape mode that matters and two parameters."""
    generator = np.random.default_rng(0)
    shape, load = generator.standard_normal((samples, 2)), np.exp(generator.uniform(-1.0, 1.0, samples))
    latent = np.stack([np.sin(shape[:, 0]) * load, shape[:, 1] + load, shape[:, 0] ** 2], axis=1)
    units = {"units": "1"}
    split = (np.arange(samples) % 4 == 3).astype(np.int8)
    common = xr.Dataset(
        {
            "common_x": variable("common_x", [[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]),
            "common_connectivity": variable("common_connectivity", [[0, 1, 2], [1, 3, 2]]),
            "corner_angle": xr.Variable(("corner_number",), np.arange(3.0), units),
        },
        attrs={"method": "tutte", "weights": "uniform"},
    )
    basis = xr.Dataset(
        {
            "modes": variable("modes", generator.standard_normal((3, 4))),
            "latent_field": variable("latent_field", [0, 0, 1]),
            "singular_value": variable("singular_value", [3.0, 1.0, 2.0]),
            "field_mean": variable("field_mean", np.ones((2, 4))),
            "field_residual": variable("field_residual", np.full((2, 4), 0.1)),
            "residual_scale": variable("residual_scale", np.ones((2, 4))),
            "residual_knot": variable("residual_knot", np.tile([0.5, 1.5], (2, 1))),
            "residual_growth": variable("residual_growth", np.tile([0.8, 1.2], (2, 1))),
            "field_units": xr.Variable(("field",), np.array(["Pa", "m"]), units),
            "shape_modes": variable("shape_modes", generator.standard_normal((2, 4, 2))),
            "shape_mean": variable("shape_mean", np.zeros((4, 2))),
            "shape_singular_value": variable("shape_singular_value", [2.0, 1.0]),
            "coefficients": variable("coefficients", latent),
            "shape_coefficients": variable("shape_coefficients", shape),
            "shape_residual": variable("shape_residual", np.linspace(0.0, 0.2, samples)),
            "sample_name": xr.Variable(("sample",), np.array([f"case{i}" for i in range(samples)])),
            "split": variable("split", split),
            "load": xr.Variable(("sample",), load, {"role": "parameter", "units": "Pa"}),
            "angle": xr.Variable(
                ("sample",), np.linspace(-1.0, 1.0, samples), {"role": "parameter", "units": "1"}
            ),
            "max_von_mises": xr.Variable(("sample",), 5.0 * load, {"role": "scalar", "units": "Pa"}),
        },
        coords={"field": ["stress_11", "U1"]},
    )
    return basis, common


@pytest.fixture(scope="module")
def model() -> xr.Dataset:
    basis, common = basis_and_common()
    return STAGE(QUICK, basis=basis, common=common)


def test_model_is_self_contained_and_named(model):
    basis, common = basis_and_common()
    assert model["output"].values.tolist() == ["stress_11:0", "stress_11:1", "U1:0", "max_von_mises"]
    assert model["feature"].values.tolist() == ["shape_0", "shape_1", "load", "angle"]
    assert model["output_units"].values.tolist() == ["1", "1", "1", "Pa"]
    assert model["feature_units"].values.tolist() == ["m", "m", "Pa", "1"]
    for name in common.variables:
        assert model[name].identical(common[name])
    assert "sample" not in model.dims
    for name in ("modes", "field_mean", "field_units", "shape_modes", "shape_mean", "shape_singular_value"):
        np.testing.assert_array_equal(model[name].values, basis[name].values)
    assert model.attrs["method"] == "tutte"
    largest = basis["shape_residual"].values[basis["split"].values == 0].max()
    assert model.attrs["shape_residual_limit"] == pytest.approx(2.0 * largest)


def test_only_training_samples_are_used(model):
    basis, common = basis_and_common()
    test = basis["split"].values == 1
    for name in ("coefficients", "shape_coefficients", "load", "max_von_mises", "shape_residual"):
        basis[name].values[test] = 1e3
    assert STAGE(QUICK, basis=basis, common=common).identical(model)
    assert model.sizes["train_sample"] == 18
    without = basis_and_common()[0].drop_vars("split")
    assert STAGE(QUICK, basis=without, common=common).sizes["train_sample"] == 24


def test_processes_and_baseline_predict_the_training_data(model):
    basis, _ = basis_and_common()
    train = basis["split"].values == 0
    features = np.column_stack([basis[n].values[train] for n in ("shape_coefficients", "load", "angle")])
    mean, std = predict(processes_of(model), features)
    np.testing.assert_allclose(mean[:, 3], basis["max_von_mises"].values[train], rtol=1e-3)
    assert (std >= 0.0).all()
    for name, entry in process_variables(processes_of(model)).items():
        assert entry.identical(model[name].variable)
    standard = (features - model["feature_mean"].values) / model["feature_scale"].values
    linear = predict_linear(model["linear_coefficients"].values, standard)
    scaled = linear * model["target_scale"].values + model["target_mean"].values
    np.testing.assert_allclose(scaled[:, 3], basis["max_von_mises"].values[train], rtol=1e-10)


def test_training_range_and_distance_outside_it(model):
    features = np.stack([model["feature_minimum"].values, model["feature_maximum"].values])
    np.testing.assert_array_equal(outside_range(model, features), 0.0)
    features[1, 2] += 3.0 * model["feature_scale"].values[2]
    features[0, 1] -= 0.5 * model["feature_scale"].values[1]
    np.testing.assert_allclose(outside_range(model, features), [0.5, 3.0])


def test_logarithm_is_taken_of_positive_parameters_only():
    basis, common = basis_and_common()
    model = STAGE(QUICK.model_copy(update={"transform": "log"}), basis=basis, common=common)
    assert model["feature_log"].values.tolist() == [0, 0, 1, 0]
    train = basis["split"].values == 0
    assert model["feature_mean"].values[2] == pytest.approx(np.log(basis["load"].values[train]).mean())


def test_chosen_features_and_progress():
    basis, common = basis_and_common()
    calls: list[tuple[int, int]] = []
    config = QUICK.model_copy(update={"features": ("load",), "max_iterations": 3})
    model = run(config, basis, common, progress=lambda *call: calls.append(call))
    assert model["feature"].values.tolist() == ["shape_0", "shape_1", "load"]
    assert calls[-1] == (4, 4)


def test_variances_are_scaled_by_errors_of_held_out_training_samples():
    basis, common = basis_and_common(44)
    config = QUICK.model_copy(update={"max_iterations": 5, "calibration_folds": 3})
    calls: list[tuple[int, int]] = []
    model = run(config, basis, common, progress=lambda *call: calls.append(call))
    plain = STAGE(config.model_copy(update={"calibration_folds": 0}), basis=basis, common=common)
    assert plain["variance_factor"].values.tolist() == [1.0] * 4
    factor = model["variance_factor"].values
    assert factor[0] == factor[1]
    assert np.unique(factor).size == 3
    for name in ("signal_variance", "noise_variance"):
        np.testing.assert_allclose(model[name].values, plain[name].values * factor, rtol=1e-12)
    assert calls[-1] == (7, 7)
    train = np.flatnonzero(basis["split"].values == 0)
    other = basis.copy(deep=True)  # what the test samples hold changes nothing
    other["max_von_mises"].values[np.setdiff1d(np.arange(44), train)] += 7.0
    again = STAGE(config, basis=other, common=common)
    np.testing.assert_array_equal(again["variance_factor"], factor)


def test_few_samples_are_not_held_out(model):
    assert model["variance_factor"].values.tolist() == [1.0] * 4


def broken(name: str, value: float) -> xr.Dataset:
    basis, _ = basis_and_common()
    basis[name].values[1] = value
    return basis


@pytest.mark.parametrize(
    ("basis", "config", "message"),
    [
        (basis_and_common(5)[0], QUICK, "4 of 5 samples have split 0"),
        (broken("load", np.nan), QUICK, "parameter 'load' of sample 'case1' is nan"),
        (broken("coefficients", np.inf), QUICK, "'coefficients' of training sample 'case1' is not finite"),
        (broken("max_von_mises", np.nan), QUICK, "'max_von_mises' of training sample 'case1' is not finite"),
        (
            basis_and_common()[0],
            QUICK.model_copy(update={"features": ("load", "lode")}),
            r"features \['lode'\] are no parameters of the set; expected names from \['load', 'angle'\]",
        ),
    ],
)
def test_refusals_name_what_is_wrong(basis, config, message):
    with pytest.raises(InputError, match=message):
        run(config, basis, basis_and_common()[1])


def test_more_modes_than_samples_are_refused():
    basis, common = basis_and_common(8)
    many = xr.concat([basis[["modes", "latent_field"]]] * 4, dim="latent")
    many["latent_field"] = variable("latent_field", np.repeat([0, 1], 6))
    rest = basis.drop_dims("latent")
    rest["coefficients"] = variable("coefficients", np.ones((8, 12)))
    rest["shape_coefficients"] = basis["shape_coefficients"]
    six = rest.assign({name: many[name] for name in many.data_vars})
    six["latent_field"].values[:] = 0
    with pytest.raises(InputError, match=r"6 training samples and the modes \{'stress_11': 12\}"):
        STAGE(QUICK, basis=six, common=common)


def test_config_rejects_unknown_fields():
    with pytest.raises(ValidationError, match="restart"):
        TrainGpConfig(restart=3)
