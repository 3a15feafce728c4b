"""Stage `normalise`: from the training samples alone, the same bits in any blocks and chunks."""

import numpy as np
import pytest
import xarray as xr

from kernels.errors import InputError
from stages.normalise import STAGE, NormaliseConfig, channel_moments
from stages.operator_data import Samples
from stages.parts import rows_of
from stages.ragged import concat, take
from stages.split import STAGE as SPLIT
from stages.split import SplitConfig
from stages.variables import TRAIN
from tests.stages.operator_sets import grid_set, mesh_set

COUNTS = SplitConfig(validation=2, calibration=2, test=2)


def scales(data: xr.Dataset, split: xr.Dataset | None = None, **config) -> xr.Dataset:
    split = SPLIT(COUNTS, data=data) if split is None else split
    return STAGE(NormaliseConfig(**config), data=data, split=split)


def test_training_samples_have_mean_zero_and_deviation_one():
    for data in (grid_set(), mesh_set(10)):
        split = SPLIT(COUNTS, data=data)
        rows = rows_of(data, split, TRAIN)
        batch = Samples(data, rows, scales(data, split)).read(np.arange(rows.size))
        for values in (batch.a, batch.u, batch.parameters):
            if values.numel():
                assert abs(float(values.mean())) < 1e-12
                np.testing.assert_allclose(float(values.std(correction=0)), 1.0, rtol=1e-12)


def test_range_puts_the_training_values_between_minus_one_and_one():
    data = grid_set()
    split = SPLIT(COUNTS, data=data)
    rows = rows_of(data, split, TRAIN)
    found = scales(data, split, inputs="range", outputs="none")
    batch = Samples(data, rows, found).read(np.arange(rows.size))
    np.testing.assert_allclose([float(batch.a.min()), float(batch.a.max())], [-1.0, 1.0], rtol=1e-12)
    assert (float(found["output_mean"][0]), float(found["output_scale"][0])) == (0.0, 1.0)
    assert float(found["parameter_scale"][0]) != 1.0


@pytest.mark.parametrize("build", [grid_set, mesh_set])
@pytest.mark.parametrize("method", ["standard", "range"])
def test_what_does_not_train_changes_nothing(build, method):
    data = build(12)
    split = SPLIT(COUNTS, data=data)
    method = dict.fromkeys(("inputs", "outputs", "parameters"), method)
    before = scales(data, split, **method)
    other = data.copy(deep=True)
    train = np.isin(np.arange(12), rows_of(data, split, TRAIN))
    for name in ("a", "u", "load", "f"):
        if name in other:
            per_value = train if other[name].dims[0] == "sample" else np.repeat(train, data["node_count"])
            other[name].values[~per_value] = 1e9
    xr.testing.assert_identical(scales(other, split, **method), before)


def test_neither_blocks_nor_chunks_nor_the_order_of_samples_change_a_bit():
    data = grid_set(40, 13)
    split = SPLIT(COUNTS, data=data)
    whole = scales(data, split)
    for chunks in ({"sample": 1}, {"sample": 7, "x": 3}, {"y": 2}):
        xr.testing.assert_identical(scales(data.chunk(chunks), split), whole)
    rows = rows_of(data, split, TRAIN)
    for size in (1, 5000, 10**9):
        found = channel_moments(data, ["a"], rows, size)["a"]
        assert (found.mean, found.std) == (float(whole["input_mean"][0]), float(whole["input_scale"][0]))
    order = np.random.default_rng(0).permutation(40)
    xr.testing.assert_identical(scales(take(data, order), take(split, order)), whole)
    assert whole["input_channel"].values.tolist() == ["a"]
    assert whole["output_units"].values.tolist() == ["Pa"]


def test_a_constant_output_is_refused_by_name():
    data = grid_set()
    split = SPLIT(COUNTS, data=data)
    still = data["u"].copy(data=np.full(data["u"].shape, 101325.0))
    noisy = still + 1e-11 * data["u"]
    for values in (still, noisy):
        data["p"] = values.assign_attrs(data["u"].attrs)
        with pytest.raises(
            InputError, match=r"do not change in the training samples: 'p' is 101325 everywhere"
        ):
            scales(data, split)


def test_an_output_that_varies_only_outside_training_is_constant():
    data = grid_set()
    split = SPLIT(COUNTS, data=data)
    data["u"].values[rows_of(data, split, TRAIN)] = 1.0
    with pytest.raises(InputError, match="'u' is 1 everywhere"):
        scales(data, split)


def test_constant_inputs_keep_their_scale_and_are_named():
    data = grid_set()
    data["a"].values[:] = 4.0
    data["load"].values[:] = 2.0
    found = scales(data, SPLIT(SplitConfig(validation=2, calibration=2, test=2, duplicates="together"),
                               data=grid_set()))  # fmt: skip
    assert found.attrs["constant_inputs"] == ["a", "load"]
    assert (float(found["input_mean"][0]), float(found["input_scale"][0])) == (4.0, 1.0)
    assert (float(found["parameter_mean"][0]), float(found["parameter_scale"][0])) == (2.0, 1.0)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.nan, r"'u' of sample run_\d+ has values that are not finite"),
        (1e200, r"'u' of sample run_\d+ has the value 1e\+200, which is too large to be squared"),
    ],
)
def test_values_that_cannot_be_scaled_are_refused_by_sample(value, message):
    data = grid_set()
    split = SPLIT(COUNTS, data=data)
    row = int(rows_of(data, split, TRAIN)[1])
    data["u"].values[row, 0, 0] = value
    with pytest.raises(InputError, match=message) as error:
        scales(data, split)
    assert str(data["sample_name"].values[row]) in str(error.value)


def test_values_too_small_to_be_squared_are_refused():
    data = grid_set()
    data["u"].values *= 1e-200
    with pytest.raises(InputError, match=r"'u' runs from .* too small to be squared; give it in other units"):
        scales(data, outputs="standard")


def test_a_split_of_other_samples_is_refused():
    data = grid_set()
    with pytest.raises(InputError, match="the split is of 12 samples, the data set has 24"):
        scales(concat([data, grid_set(name="more")]), SPLIT(COUNTS, data=data))


@pytest.mark.parametrize("build", [grid_set, mesh_set])
def test_inputs_are_left_as_they_were(build):
    data = build(12)
    before = data.copy(deep=True)
    split = SPLIT(COUNTS, data=data)
    kept = split.copy(deep=True)
    scales(data, split)
    xr.testing.assert_identical(data, before)
    xr.testing.assert_identical(split, kept)


def test_the_logarithm_is_scaled_where_it_is_asked_for():
    data = grid_set()
    name = next(str(n) for n in data.data_vars if data[n].attrs.get("role") == "input")
    raised = data.assign({name: np.exp(3.0 * data[name]).assign_attrs(data[name].attrs)})
    split = SPLIT(COUNTS, data=raised)
    rows = rows_of(raised, split, TRAIN)
    found = scales(raised, split, logarithm=(name,))
    batch = Samples(raised, rows, found).read(np.arange(rows.size))
    plain = data.assign({name: (3.0 * data[name]).assign_attrs(data[name].attrs)})
    expected = Samples(plain, rows, scales(plain, split)).read(np.arange(rows.size))
    np.testing.assert_allclose(batch.a.numpy(), expected.a.numpy(), rtol=1e-10, atol=1e-10)
    with pytest.raises(
        InputError, match=f"'{name}' of sample .* has the value .*leave it out of `logarithm`"
    ):
        scales(data, split, logarithm=(name,))
    with pytest.raises(InputError, match=f"'{name}' of sample .* not positive, but its logarithm"):
        Samples(data, rows, found).read(np.arange(rows.size))


def test_a_logarithm_of_an_unknown_channel_is_refused():
    with pytest.raises(InputError, match=r"logarithm names \['nothing'\], expected inputs or parameters"):
        scales(grid_set(), logarithm=("nothing",))


def test_data_in_single_precision_give_no_warning_and_scales_in_double():
    data = grid_set()
    single = data.assign(a=data["a"].astype(np.float32), u=data["u"].astype(np.float32))
    found = scales(single)
    assert found["input_scale"].dtype == np.float64
    np.testing.assert_allclose(found["input_scale"].values, scales(data)["input_scale"].values, rtol=1e-6)
