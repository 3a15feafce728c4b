import numpy as np
import pytest
import xarray as xr
from pydantic import ValidationError

from kernels.errors import InputError
from kernels.regression.draws import standard_normals
from kernels.regression.gaussian_process import predict as posterior
from kernels.regression.von_mises import von_mises
from stages import reduce, train_gp
from stages.base import variable
from stages.gp_model import processes_of
from stages.predict import STAGE, PredictConfig, run
from stages.ragged import concat, offsets, take

SIDE, SAMPLES = 9, 30
STRESS = ("stress_11", "stress_22", "stress_12")
ALL = PredictConfig(samples="all", threads=1)


def common_mesh() -> xr.Dataset:
    x, y = np.meshgrid(np.linspace(0.0, 1.0, SIDE), np.linspace(0.0, 1.0, SIDE), indexing="ij")
    corner = (np.arange(SIDE - 1)[:, None] * SIDE + np.arange(SIDE - 1)).ravel()
    lower = np.stack([corner, corner + SIDE, corner + 1], axis=1)
    upper = np.stack([corner + SIDE, corner + SIDE + 1, corner + 1], axis=1)
    points = np.stack([x.ravel(), y.ravel()], axis=1)
    return xr.Dataset(
        {
            "common_x": variable("common_x", points),
            "common_connectivity": variable("common_connectivity", np.concatenate([lower, upper])),
            "reference_x": variable("reference_x", points),
        },
        attrs={"method": "rbf"},
    )


def morphed_set() -> xr.Dataset:
    """Plates stretched and sheared under a load, each with 20 to 40 own nodes; the last one is far out."""
    generator = np.random.default_rng(0)
    points = common_mesh()["common_x"].values
    stretch, shear, load = generator.uniform(-1.0, 1.0, (3, SAMPLES))
    load, stretch[-1] = 2.0 + load, 4.0
    x, y = points.T
    shape = np.stack(
        [x * (1.0 + 0.2 * stretch[:, None]), y + 0.3 * shear[:, None] * np.sin(np.pi * x)], axis=2
    )
    wave = np.sin(np.pi * x) * np.cos(np.pi * y)
    bend = load * np.exp(0.3 * stretch)
    stress = [
        bend[:, None] * (1.0 + x) + (load * shear)[:, None] * wave,
        np.tanh(shear)[:, None] * y + 0.1 * (load**2)[:, None] * wave,
        (0.2 * load * stretch)[:, None] * x * y + 0.1 * shear[:, None],
    ]
    counts = generator.integers(20, 40, SAMPLES)
    counts[0] = len(points)
    own = generator.uniform(0.0, 1.0, (counts.sum(), 2))
    own[: counts[0]] = points
    field = {"role": "field", "units": "Pa"}
    return xr.Dataset(
        {
            "node_count": variable("node_count", counts),
            "mapped_x": variable("mapped_x", own),
            "shape": variable("shape", shape),
            **{
                name: xr.Variable(("sample", "common_node"), s, field)
                for name, s in zip(STRESS, stress, strict=True)
            },
            "load": xr.Variable(("sample",), load, {"role": "parameter", "units": "N"}),
            "peak": xr.Variable(("sample",), 2.0 * bend, {"role": "scalar", "units": "Pa"}),
            "split": variable("split", (np.arange(SAMPLES) >= 24).astype(np.int8)),
            "sample_name": xr.Variable(("sample",), np.array([f"plate{i}" for i in range(SAMPLES)])),
        }
    )


def basis_of(morphed: xr.Dataset) -> xr.Dataset:
    config = reduce.ReduceConfig(modes={"default": 3}, shape_modes=2)
    return reduce.STAGE(config, morphed=morphed, common=common_mesh())


@pytest.fixture(scope="module")
def morphed() -> xr.Dataset:
    return morphed_set()


@pytest.fixture(scope="module")
def model(morphed) -> xr.Dataset:
    basis = basis_of(morphed)
    config = train_gp.TrainGpConfig(restarts=1, max_iterations=60, threads=1)
    return train_gp.STAGE(config, basis=basis, common=common_mesh())


@pytest.fixture(scope="module")
def predictions(morphed, model) -> xr.Dataset:
    return STAGE(ALL.model_copy(update={"von_mises_from": STRESS}), morphed=morphed, model=model)


def test_fields_are_near_the_truth_on_own_nodes(morphed, predictions):
    bounds = offsets(predictions, "node")
    first = slice(bounds[0], bounds[1])
    for name in STRESS:  # the own nodes of sample 0 are the common nodes, row by row
        truth = morphed[name].values[0]
        error = predictions[f"{name}_mean"].values[first] - truth
        assert np.abs(error).max() < 0.05 * np.abs(morphed[name].values).max()
        assert predictions[f"{name}_mean"].attrs == {
            "role": "field", "units": "Pa", "long_name": f"posterior mean of {name}",
        }  # fmt: skip
    np.testing.assert_allclose(
        predictions["peak_mean"].values[24:29], morphed["peak"].values[24:29], rtol=0.1
    )
    assert predictions["peak_std"].attrs["units"] == "Pa"


def test_field_posterior_is_the_closed_form_on_own_nodes(morphed, model, predictions):
    """At nodes of the common mesh Q is a selection: modes and latents alone decide."""
    for f, name in enumerate(STRESS):
        mine = model["latent_field"].values == f
        modes = model["modes"].values[mine]
        mean = predictions["latent_mean"].values[0, : mine.size][mine]
        std = predictions["latent_std"].values[0, : mine.size][mine]
        expected = model["field_mean"].values[f] + mean @ modes
        spread = np.sqrt(std**2 @ modes**2 + model["field_residual"].values[f] ** 2)
        np.testing.assert_allclose(
            predictions[f"{name}_mean"].values[: SIDE**2], expected, rtol=1e-10, atol=1e-12
        )
        np.testing.assert_allclose(
            predictions[f"{name}_std"].values[: SIDE**2], spread, rtol=1e-10, atol=1e-14
        )


def test_missed_part_grows_with_the_field_and_is_the_variance_of_draws(morphed, model):
    """Own nodes of sample 0 are the common nodes: variance = closed form = 10,000 draws within 5 %."""
    rough = model.copy(deep=True)
    generator = np.random.default_rng(9)
    size = rough["field_residual"].shape
    rough["field_residual"].values[:] = generator.uniform(0.1, 0.3, size)
    rough["residual_scale"].values[:] = generator.uniform(0.5, 3.0, size)
    rough["residual_scale"].values[:, 7] = 0.0
    knots = np.linspace(0.0, 4.0, rough.sizes["knot"])
    rough["residual_knot"].values[:] = knots
    rough["residual_growth"].values[:] = [0.2 + knots, 3.0 - 0.5 * knots, np.full(knots.size, 1.0)]
    few = take(morphed, [0])
    found = STAGE(ALL, morphed=few, model=rough)
    bare = STAGE(ALL.model_copy(update={"include_residual": False}), morphed=few, model=rough)
    for f, name in enumerate(STRESS):
        mean, latent = found[f"{name}_mean"].values, bare[f"{name}_std"].values ** 2
        scale = rough["residual_scale"].values[f]
        ratio = np.divide(np.abs(mean), scale, out=np.zeros_like(mean), where=scale > 0.0)
        slope, start = ((1.0, 0.2), (-0.5, 3.0), (0.0, 1.0))[f]
        missed = rough["field_residual"].values[f] ** 2 * (start + slope * np.minimum(ratio, 4.0))
        np.testing.assert_allclose(found[f"{name}_std"].values ** 2, latent + missed, rtol=1e-9)
        mine = np.flatnonzero(model["latent_field"].values == f)
        drawn = standard_normals(10_000, mine.size, 1, f) * found["latent_std"].values[0, mine]
        rest = standard_normals(10_000, missed.size, 2, f) * np.sqrt(missed)
        variance = (drawn @ model["modes"].values[mine] + rest).var(axis=0)
        np.testing.assert_allclose(variance, latent + missed, rtol=0.05)


def test_deviation_inside_a_cell_is_that_of_interpolated_draws(morphed, model, predictions):
    """Interpolated deviations would be too large; matplotlib interpolates every mode here."""
    from matplotlib.tri import LinearTriInterpolator, Triangulation

    common = common_mesh()
    grid = Triangulation(*common["common_x"].values.T, common["common_connectivity"].values)
    bounds = offsets(morphed, "node")
    own = morphed["mapped_x"].values[bounds[5] : bounds[6]]
    mine = model["latent_field"].values == 1
    modes = np.stack([LinearTriInterpolator(grid, mode)(*own.T).data for mode in model["modes"].values[mine]])
    variance = predictions["latent_std"].values[5, : mine.size][mine] ** 2
    found = predictions["stress_22_std"].values[bounds[5] : bounds[6]]
    np.testing.assert_allclose(found, np.sqrt(variance @ modes**2), rtol=1e-8)


def test_latents_are_the_posterior_at_the_projected_shape(morphed, model, predictions):
    basis = basis_of(morphed)
    features = np.column_stack([basis["shape_coefficients"].values, morphed["load"].values])
    mean, std = posterior(processes_of(model), features, include_noise=True)
    np.testing.assert_allclose(predictions["latent_mean"].values, mean, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(predictions["latent_std"].values, std, rtol=1e-3, atol=1e-9)
    np.testing.assert_allclose(
        predictions["shape_residual"].values, basis["shape_residual"].values, atol=1e-8
    )


def test_noise_is_part_of_the_deviation_by_default_only(morphed, model):
    few = take(morphed, [3])
    noisy = STAGE(ALL, morphed=few, model=model)["latent_std"].values
    smooth = STAGE(ALL.model_copy(update={"include_noise": False}), morphed=few, model=model)[
        "latent_std"
    ].values
    noise = model["noise_variance"].values * model["target_scale"].values ** 2
    np.testing.assert_allclose(noisy**2 - smooth**2, noise[None], rtol=1e-6, atol=1e-14)


@pytest.mark.parametrize("cut", [1, 7, 29])
def test_any_cut_gives_the_same_bits(morphed, model, predictions, cut):
    config = ALL.model_copy(update={"von_mises_from": STRESS})
    parts = [take(morphed, np.arange(cut)), take(morphed, np.arange(cut, SAMPLES))]
    joined = concat([STAGE(config, morphed=part, model=model) for part in parts])
    xr.testing.assert_identical(joined, predictions)


def test_model_rebuilt_from_its_arrays_and_lazy_inputs_predict_the_same(morphed, model, predictions):
    def rebuilt(names) -> dict:
        return {n: (model[n].dims, np.array(model[n].values), dict(model[n].attrs)) for n in names}

    again = xr.Dataset(rebuilt(model.data_vars), coords=rebuilt(model.coords), attrs=dict(model.attrs))
    config = ALL.model_copy(update={"von_mises_from": STRESS})
    xr.testing.assert_identical(STAGE(config, morphed=morphed, model=again), predictions)
    lazy = STAGE(config, morphed=morphed.chunk({"sample": 7}), model=model.chunk())
    xr.testing.assert_identical(lazy.compute(), predictions)


def test_test_samples_only_and_a_cut_without_any(morphed, model, predictions):
    chosen = STAGE(PredictConfig(threads=1), morphed=morphed, model=model)
    names = [name for name in chosen.data_vars if not str(name).startswith("von_mises")]
    xr.testing.assert_identical(chosen, take(predictions, np.arange(24, SAMPLES))[names])
    none = STAGE(PredictConfig(threads=1), morphed=take(morphed, [0, 1]), model=model)
    assert dict(none.sizes) == {"sample": 0, "output": 7, "node": 0}
    xr.testing.assert_identical(concat([none, chosen]), chosen)
    new = STAGE(PredictConfig(threads=1), morphed=take(morphed, [0, 1]).drop_vars("split"), model=model)
    assert new.sizes["sample"] == 2


def test_far_shape_and_far_load_are_flagged(morphed, model, predictions):
    flags = predictions["extrapolation"].values
    assert flags[:24].sum() == 0
    assert flags[-1] == 1
    heavy = take(morphed, [2]).copy(deep=True)
    heavy["load"].values[:] = 30.0
    found = STAGE(ALL, morphed=heavy, model=model)
    assert found["extrapolation"].values.tolist() == [1]
    assert found["shape_distance"].values[0] > 10.0
    wavy = take(morphed, [2]).copy(deep=True)
    wavy["shape"].values[0, ::2] += 0.1
    found = STAGE(ALL, morphed=wavy, model=model)
    assert found["shape_residual"].values[0] > model.attrs["shape_residual_limit"]
    assert found["extrapolation"].values.tolist() == [1]


def test_von_mises_by_draws_against_many_plain_draws(morphed, model, predictions):
    generator = np.random.default_rng(5)
    mean, std = predictions["latent_mean"].values[0], predictions["latent_std"].values[0]
    coefficients = mean + std * generator.standard_normal((20_000, mean.size))
    parts = []
    for f in range(3):
        mine = np.flatnonzero(model["latent_field"].values == f)
        parts.append(model["field_mean"].values[f] + coefficients[:, mine] @ model["modes"].values[mine])
    a, b, c = parts
    plain = np.sqrt(a**2 - a * b + b**2 + 3.0 * c**2)
    nodes = slice(0, SIDE**2)
    np.testing.assert_allclose(predictions["von_mises_mean"].values[nodes], plain.mean(axis=0), rtol=2e-3)
    np.testing.assert_allclose(predictions["von_mises_std"].values[nodes], plain.std(axis=0), rtol=0.1)
    top = plain.max(axis=1)
    assert predictions["von_mises_max_mean"].values[0] == pytest.approx(top.mean(), rel=2e-3)
    assert predictions["von_mises_max_std"].values[0] == pytest.approx(top.std(), rel=0.1)


def test_von_mises_of_known_states():
    one, zero = np.ones(1), np.zeros(1)
    assert von_mises([3.0 * one, zero, zero])[0] == pytest.approx(3.0)
    assert von_mises([zero, zero, one])[0] == pytest.approx(np.sqrt(3.0))
    assert von_mises([one, one, zero, one])[0] == pytest.approx(0.0)
    assert von_mises([one, one, one, zero, 2.0 * one, zero])[0] == pytest.approx(2.0 * np.sqrt(3.0))


def test_refusals_name_what_is_wrong(morphed, model):
    few = take(morphed, [0, 1])
    solid = few.drop_vars(["mapped_x", "shape"]).assign(
        mapped_x=variable("mapped_x", np.zeros((few.sizes["node"], 3))),
        shape=variable("shape", np.zeros((2, SIDE**2, 3))),
    )
    with pytest.raises(InputError, match=r"axis of size 3, the model 2 \(dimension of space\)"):
        STAGE(ALL, morphed=solid, model=model)
    with pytest.raises(InputError, match="common_node of size 80, the model 81"):
        STAGE(ALL, morphed=few.isel(common_node=slice(0, 80)), model=model)
    with pytest.raises(InputError, match=r"parameters \['load'\] are missing"):
        STAGE(ALL, morphed=few.drop_vars("load"), model=model)
    other = few.copy(deep=True)
    other["load"].attrs["units"] = "kN"
    with pytest.raises(InputError, match=r"parameter 'load' has .* units 'kN'"):
        STAGE(ALL, morphed=other, model=model)
    torn = few.copy(deep=True)
    torn["shape"].values[1, 3, 0] = np.nan
    with pytest.raises(InputError, match="'shape' of sample 'plate1' is not finite"):
        run(ALL, torn, model)
    unknown = ALL.model_copy(update={"von_mises_from": ("stress_11", "stress_22", "stress_21")})
    with pytest.raises(InputError, match=r"von_mises_from names \['stress_21'\]"):
        STAGE(unknown, morphed=few, model=model)
    with pytest.raises(ValidationError, match="2 stress fields; expected 3, 4 or 6"):
        PredictConfig(von_mises_from=("stress_11", "stress_22"))
    scarce = ALL.model_copy(update={"von_mises_from": STRESS, "draws": 6})
    with pytest.raises(InputError, match="6 draws of 6 normal variables"):
        STAGE(scarce, morphed=few, model=model)
