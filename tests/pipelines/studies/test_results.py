"""Results of studies: tables, files, differences, indices, the report."""

import warnings

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from study_cases import catalog_of, study
from study_stages import POINT

from kernels.errors import InputError
from pipelines.studies.designs import columns
from pipelines.studies.driver import run_study
from pipelines.studies.files import write_results
from pipelines.studies.report import report
from pipelines.studies.results import diff, result_dataset
from pipelines.studies.sensitivity import sensitivity


def test_results_as_files_and_as_a_grid(local, tmp_path):
    grid = {"a": [1.0, 2.0, 3.0], "kind": ["plain", "refuse"]}
    run_study(
        study(
            method="grid", parameters=grid, repeats={"count": 2, "field": "n"},
            where="a < 3 or kind != 'refuse'"
        ),
        local, stage=POINT,
    )  # fmt: skip
    catalog = catalog_of(local)
    dataset = result_dataset(catalog, "s")
    assert dict(dataset.sizes) == {"a": 3, "kind": 2, "n": 2}
    np.testing.assert_array_equal(dataset["y"].sel(kind="plain", n=1), [2.0, 5.0, 10.0])
    assert np.isnan(dataset["y"].sel(kind="refuse")).all()
    np.testing.assert_array_equal(dataset["quality"].sel(kind="plain", a=2.0), [0.0, 0.5])
    for name in ("t.csv", "t.parquet", "t.nc", "t.html"):
        write_results(catalog, "s", tmp_path / name)
    read = pd.read_parquet(tmp_path / "t.parquet")
    assert read["y"].dropna().tolist() == [2.0, 2.0, 5.0, 5.0, 10.0, 10.0]
    assert pd.read_csv(tmp_path / "t.csv")["state"].tolist() == read["state"].tolist()
    with xr.open_dataset(tmp_path / "t.nc") as stored:
        xr.testing.assert_equal(stored["y"].load(), dataset["y"])
    assert "points of method 'grid' are no sample" in (tmp_path / "t.html").read_text().replace("&#x27;", "'")
    with pytest.raises(InputError, match=r"expected a name ending in .parquet"):
        write_results(catalog, "s", tmp_path / "t.xls")
    catalog.close()


def test_differences_of_two_studies(local):
    run_study(study("one", "grid", parameters={"a": [1, 2, 3]}), local, stage=POINT)
    run_study(study("two", "grid", parameters={"a": [2, 3, 4]}, config={"b": 3.0}), local, stage=POINT)
    catalog = catalog_of(local)
    table = diff(catalog, "one", "two")
    assert table["what"].tolist() == ["only in one", "metric", "metric", "only in two"]
    assert table["change"].dropna().tolist() == [2.0, 2.0]
    assert diff(catalog, "one", "one").empty
    with pytest.raises(InputError, match="there is no study 'three'; there are: one, two"):
        diff(catalog, "one", "three")
    catalog.close()


FIRST, TOTAL = [0.3139, 0.4424, 0.0], [0.5576, 0.4424, 0.2437]
"""Sobol indices of the Ishigami function in closed form (Sobol and Levitan 1999)."""
DELTA = [0.219, 0.286, 0.175]
"""Its delta indices over six classes of each input, as 1,000 points have, by histograms of 4e6 points."""


def ishigami(design):
    unit = {name: {"low": 0.0, "high": 1.0} for name in ("a", "b", "inner.shift")}
    one = study(parameters=unit, **design)
    table = pd.DataFrame(columns(one.design)[1])
    x, y, z = (np.pi * (2 * table[name] - 1) for name in unit)
    table["y"] = np.sin(x) + 7 * np.sin(y) ** 2 + 0.1 * z**4 * np.sin(x)
    return one, table


def test_indices_of_the_ishigami_function():
    (found,) = sensitivity(*ishigami({"method": "saltelli", "samples": 4096}), "y")
    np.testing.assert_allclose(found.table["first order"], FIRST, atol=0.03)
    np.testing.assert_allclose(found.table["total"], TOTAL, atol=0.03)
    one, table = ishigami({"method": "saltelli", "samples": 4096, "second_order": True})
    table.loc[7, "y"] = np.nan
    (found,) = sensitivity(one, table, "y")
    assert found.how == "Sobol indices, 4095 base points"
    np.testing.assert_allclose(found.table["total"], TOTAL, atol=0.03)
    fast, delta = sensitivity(*ishigami({"method": "latin_hypercube", "samples": 1000}), "y")
    np.testing.assert_allclose(fast.table["first order"], FIRST, atol=0.1)
    np.testing.assert_allclose(delta.table["delta"], DELTA, atol=0.05)
    again = sensitivity(*ishigami({"method": "latin_hypercube", "samples": 1000}), "y")
    assert again[0].table.equals(fast.table)
    assert again[1].table.equals(delta.table)
    for design, message in (
        ({"method": "random", "samples": 20}, "not possible from 20 points with 'y', at least 64"),
        ({"method": "random", "samples": 99, "where": "a < 0.5"}, "without where and repeats"),
    ):
        with pytest.raises(InputError, match=message):
            sensitivity(*ishigami(design), "y")


def test_indices_come_without_warnings_and_leave_those_of_others_alone():
    one, table = ishigami({"method": "latin_hypercube", "samples": 100})
    table["y"] = np.exp(table["y"])
    before = warnings.formatwarning
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        sensitivity(one, table, "y")
    assert [str(one.message) for one in said] == []
    assert warnings.formatwarning is before


def test_labels_of_many_values_are_some_of_them_cut_to_their_room(local):
    kinds = [f"kind {i}" for i in range(10)] + ["much longer than there is room for"]
    run_study(study(method="grid", parameters={"kind": kinds, "n": [1, 2]}), local, stage=POINT)
    catalog = catalog_of(local)
    plots = report(catalog, "s").split("Sensitivity")[0]
    catalog.close()
    for label in ("kind 0", "kind 4", "kind 8", "much l\u2026"):
        assert f">{label}</text>" in plots
    assert ">kind 1<" not in plots


def test_the_report_shows_effects_and_indices(local):
    run_study(study(method="saltelli", samples=8), local, stage=POINT)
    catalog = catalog_of(local)
    page = report(catalog, "s")
    for text in ("Main effects", "y against inner.shift", "Sobol indices, 8 base points", "32 done"):
        assert text in page
    assert "http" not in page.split("<body>")[1]
    catalog.close()
