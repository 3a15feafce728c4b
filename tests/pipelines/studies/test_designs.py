"""Designs: a longer one begins with the shorter one, ranges and levels are kept, constraints and repeats."""

import numpy as np
import pandas as pd
import pytest
from SALib.sample import sobol as salib_sobol

from kernels.errors import InputError
from pipelines.studies.constraints import keep
from pipelines.studies.definition import load_study, parse_study
from pipelines.studies.designs import columns, unit_points

RANGES = {"a": {"low": 1.0, "high": 3.0}, "b": {"low": 0.01, "high": 100.0, "log": True}}


def design(method="random", **values):
    given = {"method": method, **values}
    if "parameters" not in given and method not in ("list", "table"):
        given["parameters"] = RANGES
    return parse_study({"name": "s", "stage": "design", "design": given}).design


@pytest.mark.parametrize(
    ("method", "few", "many"),
    [("random", 7, 30), ("sobol", 5, 21), ("saltelli", 4, 16), ("latin_hypercube", [6], [6, 9])],
)
def test_a_longer_design_begins_with_the_shorter(method, few, many):
    (n, short), (m, long) = (columns(design(method, samples=samples)) for samples in (few, many))
    assert len(m) > len(n)
    for name, values in short.items():
        assert long[name][: len(n)] == values
    other = columns(design(method, samples=few, seed=1))[1]
    assert other["a"] != short["a"]


def test_every_block_is_a_latin_hypercube():
    unit = unit_points(design("latin_hypercube", samples=[6, 9]))
    for block in (unit[:6], unit[6:]):
        cells = np.sort((block * len(block)).astype(int), axis=0)
        np.testing.assert_array_equal(cells, np.arange(len(block))[:, None].repeat(2, axis=1))


def test_another_parameter_changes_no_random_value():
    more = {"z": {"low": 0, "high": 1}, **RANGES}
    assert columns(design(samples=9, parameters=more))[1]["b"] == columns(design(samples=9))[1]["b"]


@pytest.mark.parametrize("second", [False, True])
def test_saltelli_rows_are_in_the_order_of_salib(second):
    unit = unit_points(design("saltelli", samples=8, second_order=second))
    problem = {"num_vars": 2, "names": ["a", "b"], "bounds": [[0, 1]] * 2}
    wanted = salib_sobol.sample(problem, 8, calc_second_order=second, scramble=False)
    group = len(wanted) // 8
    assert unit.shape == wanted.shape
    for ours, theirs in ((unit, wanted),):
        first, second_base = ours[::group], ours[group - 1 :: group]
        base, other = theirs[::group], theirs[group - 1 :: group]
        for row in range(group):
            for j in range(2):
                from_first = np.array_equal(theirs[row::group, j], base[:, j])
                source = first if from_first else second_base
                assert from_first or np.array_equal(theirs[row::group, j], other[:, j])
                np.testing.assert_array_equal(ours[row::group, j], source[:, j])


def test_ranges_are_kept_and_spread():
    parameters = {
        **RANGES, "n": {"low": 2, "high": 4, "integer": True}, "k": ["x", "y"],
        "m": {"low": 1, "high": 8, "integer": True, "log": True},
    }  # fmt: skip
    values = columns(design(samples=600, parameters=parameters))[1]
    assert 1.0 <= min(values["a"]) < 1.1 < 2.9 < max(values["a"]) <= 3.0
    assert abs(np.mean(np.log10(values["b"]))) < 0.2
    counts = pd.Series(values["n"]).value_counts()
    assert sorted(counts.index) == [2, 3, 4]
    assert counts.min() > 150
    assert sorted(set(values["m"])) == list(range(1, 9))
    assert sorted(set(values["k"])) == ["x", "y"]
    assert {type(v) for v in values["n"]} == {int}


def test_grid_zip_list_and_table(tmp_path):
    grid = {"a": {"low": 1, "high": 100, "log": True, "count": 3}, "sub": {"b": [True, "x"]}}
    numbers, values = columns(design("grid", parameters=grid))
    assert numbers.tolist() == list(range(6))
    np.testing.assert_allclose(values["a"], [1, 1, 10, 10, 100, 100])
    assert values["sub.b"] == [True, "x"] * 3
    assert columns(design("zip", parameters={"a": [1, 2], "b": [3.5, 4]}))[1] == {"a": [1, 2], "b": [3.5, 4]}
    assert columns(design("list", points=[{"a": 1, "b": 2}, {"b": 3, "a": 4}]))[1] == {
        "a": [1, 4],
        "b": [2, 3],
    }
    table = pd.DataFrame({"a": [1, 2], "k": ["x", "y"]})
    table.to_csv(tmp_path / "t.csv", index=False)
    table.to_parquet(tmp_path / "t.parquet")
    for name in ("t.csv", "t.parquet"):
        assert columns(design("table", file=tmp_path / name))[1] == {"a": [1, 2], "k": ["x", "y"]}


def test_repeats_and_where_keep_the_numbers():
    grid = {"a": [1, 2, 3], "b": [10, 20]}
    numbers, values = columns(
        design("grid", parameters=grid, where="a * 10 <= b", repeats={"count": 2, "field": "seed"})
    )
    assert numbers.tolist() == [0, 1, 2, 3, 6, 7]
    assert values == {"a": [1, 1, 1, 1, 2, 2], "b": [10, 10, 20, 20, 20, 20], "seed": [0, 1] * 3}


COLUMNS = {"a": np.array([1.0, 2.0, 3.0]), "b.c": np.array([3.0, 2.0, 0.0]), "k": np.array(["x", "y", "x"])}


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("a < b.c", [1, 0, 0]),
        ("1 < a <= 3 and not k == 'y'", [0, 0, 1]),
        ("a in (1, 2) or b.c / b.c > 0", [1, 1, 0]),
        ("a - 1 - 1 == 0", [0, 1, 0]),
        ("-a + 4 > 2 * 1 / 2", [1, 1, 0]),
        ("k in ['x'] and (a > 1 or b.c == 3)", [1, 0, 1]),
    ],
)
def test_constraints(text, kept):
    assert keep(text, COLUMNS).tolist() == [bool(one) for one in kept]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("d > 1", r"'d' is no parameter of the study; it has a, b.c, k \(character 1"),
        ("a >", "'the end' where a parameter or a value is expected"),
        ("a", "is no condition"),
        ("a + 1 and a > 1", "join comparisons"),
        ("__import__('os')", "'__import__' is no parameter"),
        ("a > 1; b", "';' is not understood here"),
        ("(" * 200 + "a", "more than 100 brackets"),
        ("not " * 200 + "a > 1", "more than 100 brackets"),
        ("k < 1", "mixes texts and numbers"),
        ("a > 1 2", "'2' where 'and', 'or' or the end is expected"),
    ],
)
def test_wrong_constraints_are_one_message(text, message):
    with pytest.raises(InputError, match=message):
        keep(text, COLUMNS)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"method": "random"}, "samples is None with method 'random', expected a number of points"),
        (
            {"method": "grid", "parameters": RANGES},
            "'a' is a range with count None: method 'grid' needs count",
        ),
        (
            {"method": "zip", "parameters": {"a": [1], "b": [1, 2]}},
            r"lists of one length, got \{'a': 1, 'b': 2\}",
        ),
        ({"method": "saltelli", "samples": 6}, "a power of two"),
        ({"method": "sobol", "samples": [4, 4]}, "which only latin_hypercube takes"),
        ({"method": "list"}, "method 'list' needs points"),
        (
            {"samples": 3, "parameters": {"a": {"low": 2, "high": 1}}},
            "low is 2.0 and high is 1.0, expected low < high",
        ),
        ({"samples": 3, "parameters": {"a": []}}, "parameter 'a' has no values"),
        ({"samples": 3, "sample": 4}, "unknown field 'design.sample'"),
    ],
)
def test_wrong_designs_are_one_message(values, message):
    with pytest.raises(InputError, match=message):
        design(**values)


def test_wrong_files_are_one_message(tmp_path):
    with pytest.raises(
        InputError, match="there is no study file nothing: give a TOML file, or one of the shipped"
    ):
        load_study("nothing")
    (tmp_path / "s.toml").write_text("name = ")
    with pytest.raises(InputError, match=r"s.toml is not a TOML file"):
        load_study(tmp_path / "s.toml")
    with pytest.raises(InputError, match="leaves none of the 2 points"):
        columns(design("grid", parameters={"a": [1, 2]}, where="a > 2"))
    (tmp_path / "t.csv").write_text("a,b\n1,\n")
    with pytest.raises(InputError, match=r"the columns \['b'\] have empty cells"):
        columns(design("table", file=tmp_path / "t.csv"))
