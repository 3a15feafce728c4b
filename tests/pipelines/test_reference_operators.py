"""Cheap operators on real sets, as the configs of the benchmark describe them, reach the known errors."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.operators.study import config_of
from pipelines.catalog_access import open_catalog
from pipelines.pipeline import run_pipeline
from pipelines.settings import settings

pytestmark = pytest.mark.reference_data


def errors(name: str, reference: Path, folder: Path, *candidates: str) -> tuple[dict[str, float], str, dict]:
    """Relative L2 error of every candidate on the test samples, the chosen one, sizes of the parts."""
    config = config_of(name, reference, list(candidates))
    where = settings(project=folder, workers=0, quiet=True)
    outcome = run_pipeline(config, where, prefect=False)
    catalog = open_catalog(where)
    try:
        scores = catalog.open(outcome.keys["evaluate_operator"])
        found = scores["score"].sel(metric="relative_l2").squeeze("quantity")
        parts = catalog.open(outcome.keys["split"]).attrs["samples"]
        values = zip(found["candidate"].values, found.values, strict=True)
        return {str(one): float(value) for one, value in values}, scores.attrs["chosen"], parts
    finally:
        catalog.close()


@pytest.mark.parametrize(("name", "most"), [("laplace", 1e-6), ("advection_diffusion", 1e-6)])
def test_a_linear_equation_is_solved_by_the_linear_operator_which_is_chosen(
    reference_data, tmp_path, name, most
):
    found, chosen, parts = errors(f"greens_{name}", reference_data, tmp_path, "linear", "kernel_ridge")
    assert found["linear"] < most
    assert chosen == "linear"
    assert (parts["train"], parts["test"]) == (70, 20)


def test_the_cubic_helmholtz_equation_takes_more_than_a_linear_operator(reference_data, tmp_path):
    found, chosen, _ = errors("greens_cubic_helmholtz", reference_data, tmp_path, "linear", "kernel_ridge")
    assert found["kernel_ridge"] < 0.031 < found["linear"]
    assert chosen == "kernel_ridge"


def test_burgers_by_kernel_ridge_is_at_the_bar(reference_data, tmp_path):
    found, chosen, parts = errors("burgers", reference_data, tmp_path, "linear", "kernel_ridge")
    assert found["kernel_ridge"] < 0.0025
    assert 0.2 < found["linear"] < 0.3
    assert chosen == "kernel_ridge"
    assert (parts["train"], parts["validation"], parts["calibration"], parts["test"]) == (640, 60, 100, 400)


def test_darcy_at_two_resolutions(reference_data, tmp_path):
    found, _, parts = errors("darcy", reference_data, tmp_path, "kernel_ridge", "mean")
    assert 0.10 < found["kernel_ridge"] < 0.16
    assert 0.45 < found["mean"] < 0.53
    assert (parts["train"], parts["test"]) == (850, 50)


@pytest.mark.parametrize(
    "name", ["darcy", "burgers", "greens_laplace", "greens_advection_diffusion", "greens_cubic_helmholtz"]
)
def test_every_candidate_of_a_reference_set_is_a_config(reference_data, name):
    config = config_of(name, reference_data, [])
    assert len({one.name for one in config.candidates} & {"linear", "kernel_ridge", "mean"}) == 3
    networks = [one for one in config.candidates if one.name not in {"linear", "kernel_ridge", "mean"}]
    assert networks
    assert max(np.unique(one.all_seeds).size for one in networks) == 3
