import numpy as np
import pytest
import xarray as xr
from pydantic import ValidationError

from kernels.errors import InputError
from kernels.mesh.mass import mass_matrix
from stages.base import variable
from stages.reduce import STAGE, ReduceConfig

SAMPLES = 20


@pytest.fixture
def inputs(unit_grid):
    random = np.random.default_rng(0)
    points, cells = unit_grid(8, 6)
    n = len(points)
    dims = ("sample", "common_node")
    shape = points[None] * random.uniform(1.0, 2.0, (SAMPLES, 1, 2)) + 0.1 * random.standard_normal(
        (SAMPLES, n, 2)
    )
    morphed = xr.Dataset(
        {
            "shape": variable("shape", shape),
            "u": (dims, random.standard_normal((SAMPLES, n)), {"role": "field", "units": "m"}),
            "p": (dims, 1e6 * random.standard_normal((SAMPLES, n)), {"role": "field", "units": "Pa"}),
            "still": (dims, np.full((SAMPLES, n), 4.2), {"role": "field", "units": "K"}),
            "load": (("sample",), random.random(SAMPLES), {"role": "parameter", "units": "N"}),
            "reaction": (("sample",), random.random(SAMPLES), {"role": "scalar", "units": "N"}),
            "sample_name": variable("sample_name", np.array([f"c{i}" for i in range(SAMPLES)])),
            "split": variable("split", (np.arange(SAMPLES) % 4 == 3).astype(np.int8)),
        }
    )
    common = xr.Dataset(
        {
            "common_x": variable("common_x", points),
            "common_connectivity": variable("common_connectivity", cells),
        }
    )
    return morphed, common, mass_matrix(points, cells)


def reduce(morphed, common, **config):
    return STAGE(ReduceConfig(**config), morphed=morphed, common=common)


def test_modes_are_orthonormal_field_by_field_and_from_the_training_samples(inputs):
    morphed, common, mass = inputs
    out = reduce(morphed, common, modes={"default": 6, "p": 3}, shape_modes=4)
    np.testing.assert_array_equal(out["latent_field"], [0] * 6 + [1] * 3)
    assert list(out["field"].values) == ["u", "p", "still"]
    assert list(out["field_units"].values) == ["m", "Pa", "K"]
    train = np.flatnonzero(morphed["split"].values == 0)
    for index, name in enumerate(("u", "p")):
        own = out["latent_field"].values == index
        modes = out["modes"].values[own]
        np.testing.assert_allclose(modes @ (mass @ modes.T), np.eye(own.sum()), atol=1e-10)
        mean = morphed[name].values[train].mean(axis=0)
        np.testing.assert_allclose(out["field_mean"].values[index], mean, rtol=1e-12)
        expected = (morphed[name].values - mean) @ (mass @ modes.T)
        np.testing.assert_allclose(out["coefficients"].values[:, own], expected, rtol=1e-9, atol=1e-8)
        sigma = np.sqrt((out["coefficients"].values[train][:, own] ** 2).sum(axis=0))
        np.testing.assert_allclose(out["singular_value"].values[own], sigma, rtol=1e-9)


def test_test_samples_do_not_change_the_basis(inputs):
    morphed, common, _ = inputs
    one = reduce(morphed, common, modes={"default": 5}, shape_modes=3)
    morphed["u"][morphed["split"].values == 1] = 77.0
    two = reduce(morphed, common, modes={"default": 5}, shape_modes=3)
    assert np.array_equal(one["modes"], two["modes"])
    assert not np.array_equal(one["coefficients"], two["coefficients"])


def test_without_a_split_every_sample_counts(inputs):
    morphed, common, _ = inputs
    out = reduce(morphed.drop_vars("split"), common, modes={"default": 5}, shape_modes=3)
    np.testing.assert_allclose(out["field_mean"].values[0], morphed["u"].values.mean(axis=0), rtol=1e-12)


def test_shape_modes_use_the_vector_inner_product(inputs):
    morphed, common, mass = inputs
    out = reduce(morphed, common, modes={"default": 2}, shape_modes=4)
    modes = out["shape_modes"].values
    gram = sum(modes[:, :, a] @ (mass @ modes[:, :, a].T) for a in range(2))
    np.testing.assert_allclose(gram, np.eye(4), atol=1e-10)
    back = out["shape_mean"].values + np.einsum("sk,kna->sna", out["shape_coefficients"].values, modes)
    missed, whole = morphed["shape"].values - back, morphed["shape"].values - out["shape_mean"].values

    def norm(v):
        return np.sqrt(sum(np.einsum("sn,sn->s", v[:, :, a] @ mass, v[:, :, a]) for a in range(2)))

    np.testing.assert_allclose(out["shape_residual"], norm(missed) / norm(whole), rtol=1e-9)
    assert 0.05 < float(out["shape_residual"].min()) < 1.0


def test_samples_in_the_span_of_the_shapes_have_no_residual(build_case):
    case = build_case()
    assert float(case.reduced["shape_residual"].max()) < 1e-12


@pytest.mark.parametrize("chunks", [1, 3, 7, SAMPLES])
def test_chunks_change_no_bit(inputs, chunks):
    morphed, common, _ = inputs
    config = {"modes": {"default": 5}, "shape_modes": 3}
    whole = reduce(morphed, common, **config)
    xr.testing.assert_identical(whole, reduce(morphed.chunk(sample=chunks), common, **config))


def test_randomised_agrees_on_the_leading_modes(inputs):
    morphed, common, _ = inputs
    exact = reduce(morphed, common, modes={"default": 3}, shape_modes=2)
    drawn = reduce(
        morphed,
        common,
        modes={"default": 3},
        shape_modes=2,
        method="randomised",
        oversampling=12,
        power_iterations=6,
    )
    np.testing.assert_allclose(drawn["singular_value"], exact["singular_value"], rtol=1e-6)


def test_energy_is_reported_and_capped(inputs):
    morphed, common, _ = inputs
    out = reduce(
        morphed, common, modes={"default": {"energy": 0.9}, "p": {"energy": 0.9, "count": 2}}, shape_modes=2
    )
    counts = np.bincount(out["latent_field"].values)
    assert counts[1] == 2
    assert float(out["field_energy"][0]) >= 0.9
    fewer = reduce(morphed, common, modes={"default": int(counts[0]) - 1}, shape_modes=2)
    assert float(fewer["field_energy"][0]) < 0.9


def test_what_belongs_to_the_samples_passes_through(inputs):
    morphed, common, _ = inputs
    out = reduce(morphed, common, modes={"default": 2}, shape_modes=2)
    for name in ("load", "reaction", "sample_name", "split"):
        xr.testing.assert_identical(out[name].variable, morphed[name].variable)


def test_more_modes_than_samples_are_refused_with_the_counts(inputs):
    morphed, common, _ = inputs
    with pytest.raises(InputError, match="'u': 16 modes were asked for and 15 training samples were given"):
        reduce(morphed, common)


def test_bad_input_is_refused(inputs):
    morphed, common, _ = inputs
    with pytest.raises(InputError, match=r"modes are configured for \['q'\]"):
        reduce(morphed, common, modes={"default": 2, "q": 3})
    with pytest.raises(InputError, match="name neither 'p' nor 'default'"):
        reduce(morphed, common, modes={"u": 2})
    broken = morphed.copy(deep=True)
    broken["p"][6, 3] = np.nan
    with pytest.raises(InputError, match="sample 'c6': 'p' has values that are not finite"):
        reduce(broken, common, modes={"default": 2}, shape_modes=2)
    with pytest.raises(InputError, match="no variable of role 'field'"):
        reduce(morphed.drop_vars(["u", "p", "still"]), common)
    none = morphed.assign(split=variable("split", np.ones(SAMPLES, np.int8)))
    with pytest.raises(InputError, match="no sample has split 0"):
        reduce(none, common)
    with pytest.raises(ValidationError, match="at least one of count, energy, tolerance"):
        ReduceConfig(modes={"default": {}})


def test_residual_holds_what_modes_and_transfer_miss(inputs):
    """With one mode the spread of the rest is found, at every node; transfer errors add as variances."""
    morphed, common, _ = inputs
    config = ReduceConfig(modes={"default": 1}, shape_modes=1)
    out = STAGE(config, morphed=morphed, common=common)
    train = morphed["split"].values == 0
    mine = out["latent_field"].values == 0
    name = str(out["field"].values[0])
    rest = morphed[name].values - out["field_mean"].values[0]
    rest = rest - out["coefficients"].values[:, mine] @ out["modes"].values[mine]
    expected = np.sqrt((rest[train] ** 2).sum(axis=0) / (train.sum() - 2))
    np.testing.assert_allclose(out["field_residual"].values[0], expected, rtol=1e-9, atol=1e-14)
    sizes = (morphed.sizes["sample"], out.sizes["field"], morphed.sizes["common_node"])
    lossy = morphed.assign(transfer_error=variable("transfer_error", np.full(sizes, 0.5)))
    again = STAGE(config, morphed=lossy, common=common)
    np.testing.assert_allclose(again["field_residual"].values[0], np.hypot(expected, 0.5), rtol=1e-9)
