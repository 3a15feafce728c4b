"""Promotion: the better model on the same samples, and nothing else."""

import numpy as np
import pytest
import xarray as xr

from kernels.errors import InputError
from pipelines.promotion import compare, without_rival


def scores(errors, samples=("a", "b")):
    rows = ["gp", "linear"]
    values = np.full((len(errors), 2, 2), 9.0)
    values[:, 0, 1] = list(errors.values())
    return xr.Dataset(
        {
            "score": (("quantity", "row", "metric"), values),
            "sample_name": ("sample", np.array(samples, dtype=object)),
        },
        coords={"quantity": list(errors), "row": rows, "metric": ["rrmse", "nrmse"]},
    )


@pytest.mark.parametrize(
    ("new", "margin", "decision", "ratio"),
    [
        ({"u": 0.1, "p": 0.2}, 0.0, "kept", 1.0),
        ({"u": 0.05, "p": 0.2}, 0.0, "promoted", 0.5**0.5),
        ({"u": 0.05, "p": 0.2}, 0.4, "kept", 0.5**0.5),
        ({"u": 0.05, "p": 0.41}, 0.0, "kept", 1.025**0.5),
        ({"u": 0.0, "p": 0.2}, 0.0, "promoted", 0.0),
        ({"u": 0.01, "p": float("nan")}, 0.0, "kept", float("inf")),
    ],
)
def test_the_geometric_mean_of_the_ratios_decides(new, margin, decision, ratio):
    verdict = compare(scores(new), scores({"u": 0.1, "p": 0.2}), margin)
    assert verdict.decision == decision
    assert verdict.ratio == pytest.approx(ratio)
    assert list(verdict.table["in use"]) == [0.1, 0.2]


def test_a_quantity_without_error_in_both_counts_for_nothing():
    verdict = compare(scores({"u": 0.05, "p": 0.0}), scores({"u": 0.1, "p": 0.0}), 0.0)
    assert verdict.ratio == pytest.approx(0.5**0.5)


def test_models_judged_on_different_things_are_not_compared():
    with pytest.raises(InputError, match=r"judged on different samples \(b, c\); expected the same"):
        compare(scores({"u": 0.1}), scores({"u": 0.2}, ("a", "c")), 0.0)
    with pytest.raises(InputError, match=r"judged on different quantities \(p\); expected the same"):
        compare(scores({"u": 0.1, "p": 0.1}), scores({"u": 0.2}), 0.0)


def test_without_a_rival_the_errors_stand_alone():
    verdict = without_rival(scores({"u": 0.1}), "first")
    assert (verdict.decision, list(verdict.table["new"])) == ("first", [0.1])
