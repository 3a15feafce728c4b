"""Nights: the first model, nothing new, a better one, a worse one, and a failure at every stage."""

from datetime import UTC, datetime

import numpy as np
import pytest
import xarray as xr

from catalogs.catalog import Catalog, Record
from catalogs.keys import artifact_key
from kernels.errors import InputError
from pipelines.nightly import NightlyConfig, nightly, told


class Nights:
    """Stages that publish nothing but their recipe; `errors` of each model are given by the night."""

    def __init__(self, catalog):
        self.catalog, self.errors, self.data = catalog, {}, "monday"
        self.fails, self.computed = "", []

    def step(self, stage, **inputs):
        if stage == self.fails:
            raise InputError(f"stage {stage!r} failed")
        config = {"data": self.data} if not inputs else {}
        key = artifact_key(stage, 1, config, inputs)
        if not self.catalog.exists(key):
            self.computed.append(stage)
            record = Record(stage, 1, config, inputs, datetime.now(UTC), 0.0)
            self.catalog.publish(key, self.result(stage, inputs), record)
        return key

    def result(self, stage, inputs):
        if stage != "evaluate":
            return xr.Dataset({"x": ((), 1.0)})
        error = self.errors[inputs["model"]] if inputs["model"] in self.errors else self.errors[self.data]
        values = np.full((1, 1, 1), error)
        return xr.Dataset(
            {
                "score": (("quantity", "row", "metric"), values),
                "sample_name": ("sample", np.array([self.data], dtype=object)),
            },
            coords={"quantity": ["u"], "row": ["gp"], "metric": ["nrmse"]},
        )

    def night(self, data, error, old=None):
        self.data, self.errors[data] = data, error
        if old is not None:
            self.errors[self.catalog.tagged("in-use")] = old
        self.computed.clear()
        return nightly(NightlyConfig(), self.catalog, self.step, lambda keys: self.step("provenance", **keys))


@pytest.fixture
def nights(tmp_path):
    catalog = Catalog(tmp_path / "project")
    yield Nights(catalog)
    catalog.close()


def test_the_better_model_is_in_use_and_every_model_a_version(nights):
    first = nights.night("monday", 0.1)
    assert (first.verdict.decision, first.before, first.version) == ("first", None, 1)
    assert told(first, "in-use") == f"model {first.after[:12]} is the first and is now in use (in-use)"
    again = nights.night("monday", 0.1)
    assert (again.verdict.decision, nights.computed, again.version) == ("unchanged", [], 1)
    worse = nights.night("tuesday", 0.2, old=0.1)
    assert (worse.verdict.decision, worse.after, worse.version) == ("kept", first.after, 2)
    assert nights.catalog.tagged("in-use") == first.after
    assert worse.verdict.ratio == pytest.approx(2.0)
    better = nights.night("wednesday", 0.04, old=0.08)
    assert (better.verdict.decision, better.version) == ("promoted", 3)
    assert nights.catalog.tagged("in-use") == better.after == better.keys["train_gp"]
    assert nights.catalog.resolve("surrogate") == better.after
    assert "its errors are 0.5 times those of" in told(better, "in-use")


def test_the_old_model_is_judged_on_its_own_mesh_and_the_new_samples(nights):
    first = nights.night("monday", 0.1)
    second = nights.night("tuesday", 0.2, old=0.1)
    lineage = nights.catalog.lineage(first.after, up=0, down=1)
    judged = lineage[lineage["stage"] == "evaluate"]["key"]
    inputs = [nights.catalog.show(key)["inputs"] for key in judged]
    rival = next(one for one in inputs if one["meshes"] == second.keys["simulate"])
    morphed = nights.catalog.show(rival["morphed"])["inputs"]
    assert morphed == {"meshes": second.keys["simulate"], "common": first.keys["common_mesh"]}


@pytest.mark.parametrize("stage", ["simulate", "morph", "train_gp", "predict", "evaluate", "report"])
def test_whatever_fails_the_old_model_stays(nights, stage):
    first = nights.night("monday", 0.1)
    nights.fails = stage
    with pytest.raises(InputError, match=f"stage '{stage}' failed"):
        nights.night("tuesday", 0.01, old=0.1)
    assert nights.catalog.tagged("in-use") == first.after
    nights.fails = ""
    assert nights.night("tuesday", 0.01, old=0.1).verdict.decision == "promoted"


def test_a_rival_that_cannot_be_judged_keeps_the_old_model(nights):
    first = nights.night("monday", 0.1)
    real = nights.result
    nights.result = lambda stage, inputs: (
        real(stage, inputs).assign(sample_name=("sample", np.array(["other"], dtype=object)))
        if stage == "evaluate" and inputs["model"] == first.after
        else real(stage, inputs)
    )
    with pytest.raises(InputError, match=r"judged on different samples \(other, tuesday\)"):
        nights.night("tuesday", 0.01, old=0.1)
    assert nights.catalog.tagged("in-use") == first.after
