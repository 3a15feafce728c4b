"""Which kinetic runs there are: names that last, parts that do not meet, points as asked for."""

import numpy as np
import pytest
from pydantic import ValidationError

from stages.conditions import STAGE, AxisRange, ConditionsConfig
from stages.variables import TEST, TRAIN, VALIDATION


def made(**given):
    return STAGE(ConditionsConfig(**given))


def test_every_point_comes_with_every_seed_of_its_part():
    found = made(points=((-3.0, 1.0), (-1.0, 0.25)), train_seeds=(0, 4), test_seeds=(7,), validation_seeds=())
    assert list(found["sample_name"].values) == [
        "a-3_z1_s0", "a-3_z1_s4", "a-1_z0.25_s0", "a-1_z0.25_s4", "a-3_z1_s7", "a-1_z0.25_s7",
    ]  # fmt: skip
    assert found["split"].values.tolist() == [TRAIN] * 4 + [TEST] * 2
    assert found["alpha"].values.tolist() == [-3.0, -3.0, -1.0, -1.0, -3.0, -1.0]
    assert found["run_seed"].values.tolist() == [0, 4, 0, 4, 7, 7]


def test_test_points_are_where_the_test_seeds_run():
    found = made(points=((-3.0, 1.0),), test_points=((-2.0, 2.0), (-4.0, 0.5)))
    at = dict(zip(found["sample_name"].values, found["split"].values, strict=True))
    assert at == {
        "a-3_z1_s0": TRAIN, "a-3_z1_s1": TRAIN, "a-3_z1_s2": VALIDATION, "a-2_z2_s3": TEST,
        "a-4_z0.5_s3": TEST,
    }  # fmt: skip


@pytest.mark.parametrize("method", ["sobol", "random"])
def test_a_larger_count_and_further_seeds_keep_the_runs_of_a_smaller_set(method):
    few = made(method=method, count=5, seed=3)
    many = made(method=method, count=11, seed=3, train_seeds=(0, 1, 9))
    rows = [list(many["sample_name"].values).index(name) for name in few["sample_name"].values]
    for name in few.data_vars:
        np.testing.assert_array_equal(many[name].values[rows], few[name].values)
    other = made(method=method, count=5, seed=4)
    assert not set(few["sample_name"].values) & set(other["sample_name"].values)


def test_a_grid_has_its_ends_and_a_logarithmic_range_equal_ratios():
    found = made(
        method="grid", alpha=AxisRange(low=-4.0, high=-1.0, scale="log", levels=3),
        zeta=AxisRange(low=0.0, high=2.0, levels=2), train_seeds=(0,), validation_seeds=(), test_seeds=(),
    )  # fmt: skip
    pairs = list(zip(found["alpha"].values, found["zeta"].values, strict=True))
    assert pairs == [(-4.0, 0.0), (-4.0, 2.0), (-2.0, 0.0), (-2.0, 2.0), (-1.0, 0.0), (-1.0, 2.0)]


def test_two_numbers_never_share_a_name():
    found = made(points=((-3.0, 1.0), (-3.0, 1.0000001)), test_seeds=(), validation_seeds=())
    assert list(found["sample_name"].values)[-1] == "a-3_z1.0000001_s1"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"test_seeds": (1, 3)}, r"seeds \[1\] come more than once, in train_seeds and test_seeds"),
        ({"train_seeds": (1, 1)}, r"seeds \[1\] come more than once, in train_seeds: expected each once"),
        ({"train_seeds": (), "test_seeds": (), "validation_seeds": ()}, "no part has a seed"),
        ({"train_seeds": (-1,)}, "a seed is -1, expected 0 or more"),
        ({"points": ((-3.0, -0.5),)}, "points has zeta = -0.5, expected zero or more"),
        ({"points": ((-3.0, 1.0), (-3.0, 1.0))}, r"points holds \[\(-3.0, 1.0\)\] more than once"),
        ({"points": ()}, "points is empty: give at least one pair"),
        ({"test_points": ((-1.0, 1.0),), "test_seeds": ()}, "test_points are given and test_seeds is empty"),
        ({"method": "sobol", "zeta": {"low": -1.0, "high": 1.0}}, "zeta.low is -1.0, expected zero or more"),
        ({"alpha": {"low": -1.0, "high": 1.0, "scale": "log"}}, "from -1.0 to 1.0 holds zero"),
        ({"alpha": {"low": -1.0, "high": -1.0}}, "expected low < high"),
        ({"points": ((float("nan"), 1.0),)}, "finite number"),
    ],
)
def test_what_conditions_may_not_say(given, message):
    with pytest.raises(ValidationError, match=message):
        ConditionsConfig(**given)
