import numpy as np
import pytest
from pydantic import ValidationError

from stages.base import by_role
from stages.design import STAGE, DesignConfig

TWO = {
    "a": {"low": 1.0, "high": 2.0, "units": "m"},
    "b": {"low": 1.0, "high": 100.0, "units": "Pa", "scale": "log"},
}


def config(**changes):
    return DesignConfig.model_validate({"parameters": TWO, "train": 10, "test": 4} | changes)


@pytest.mark.parametrize("method", ["sobol", "latin_hypercube", "grid"])
def test_parameters_are_in_range_with_role_units_and_split(method):
    design = STAGE(config(method=method, train=9))
    assert by_role(design, "parameter") == ["a", "b"]
    assert design["b"].attrs["units"] == "Pa"
    for name, low, high in (("a", 1.0, 2.0), ("b", 1.0, 100.0)):
        assert design[name].dtype == np.float64
        assert float(design[name].min()) >= low
        assert float(design[name].max()) <= high
    assert list(design["split"].values) == [0] * 9 + [1] * 4
    assert design["sample_name"].values[8] == "case-00008"
    assert design["sample_name"].values[9] == "test-00000"


def test_neither_count_changes_the_other_part_and_sobol_grows_from_its_prefix():
    small, large = STAGE(config()), STAGE(config(train=37, test=9))
    for name in ("a", "b"):
        np.testing.assert_array_equal(small[name].values[:10], large[name].values[:10])
        np.testing.assert_array_equal(small[name].values[10:], large[name].values[37:41])
    hyper = [STAGE(config(method="latin_hypercube", train=n)) for n in (10, 20)]
    np.testing.assert_array_equal(hyper[0]["a"].values[10:], hyper[1]["a"].values[20:])


def test_latin_hypercube_has_one_point_a_stratum_also_in_the_logarithm():
    design = STAGE(config(method="latin_hypercube", train=25, test=0))
    assert sorted(np.floor((design["a"].values - 1.0) * 25).astype(int)) == list(range(25))
    assert sorted(np.floor(np.log10(design["b"].values) / 2.0 * 25).astype(int)) == list(range(25))


def test_grid_is_the_full_tensor_grid():
    design = STAGE(config(method="grid", train=9, test=0))
    np.testing.assert_allclose(np.unique(design["a"]), [1.0, 1.5, 2.0])
    np.testing.assert_allclose(np.unique(np.round(design["b"], 9)), [1.0, 10.0, 100.0])
    assert len(np.unique(np.stack([design["a"], design["b"]]), axis=1).T) == 9


def test_seed_decides():
    same, again, other = STAGE(config()), STAGE(config()), STAGE(config(seed=1))
    np.testing.assert_array_equal(same["a"], again["a"])
    assert not np.array_equal(same["a"], other["a"])
    assert not np.array_equal(same["a"].values[:4], same["a"].values[10:])


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"method": "grid", "train": 10}, r"train is 10 with method 'grid' in 2 parameters.*\[9, 16\]"),
        ({"parameters": {"a": {"low": 2.0, "high": 1.0}}}, "expected low < high"),
        ({"parameters": {"a": {"low": 0.0, "high": 1.0, "scale": "log"}}}, "with scale 'log'"),
        ({"parameters": {"two words": {"low": 0.0, "high": 1.0}}}, "expected identifiers"),
        ({"parameters": {"split": {"low": 0.0, "high": 1.0}}}, "parameter names"),
        ({"train": 0, "test": 0}, "train and test are both 0"),
        ({"tarin": 3}, "tarin"),
    ],
)
def test_wrong_configs_are_named(changes, match):
    with pytest.raises(ValidationError, match=match):
        config(**changes)


@pytest.mark.parametrize("method", ["sobol", "latin_hypercube", "grid"])
def test_a_design_without_parameters_is_names_and_split_alone(method):
    design = STAGE(config(parameters={}, method=method))
    assert set(design.data_vars) == {"sample_name", "split"}
    assert design.sizes["sample"] == 14
    assert int(design["split"].sum()) == 4
