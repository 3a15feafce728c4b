"""The operator pipeline: the small config end to end, and what a config may not say."""

import pytest

from kernels.errors import InputError
from pipelines.catalog_access import open_catalog
from pipelines.config import SHIPPED, load_config
from pipelines.diagram import planned_keys
from pipelines.operator_config import OperatorConfig
from pipelines.pipeline import run_pipeline
from pipelines.settings import settings

SMALL = (SHIPPED / "operator_small.toml").read_text()


def _config(folder, text=SMALL):
    file = folder / "own.toml"
    file.write_text(text)
    return load_config(file, OperatorConfig)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    where = settings(project=tmp_path_factory.mktemp("operator"), workers=0, quiet=True)
    return where, run_pipeline(load_config("operator_small", OperatorConfig), where, prefect=False)


@pytest.mark.parametrize("name", ["operator", "operator_small"])
def test_shipped_configs_load_and_every_step_has_a_key_of_its_own(name):
    keys = planned_keys(load_config(name, OperatorConfig))
    assert len(set(keys.values())) == len(keys)


def test_the_small_pipeline_scores_every_candidate_on_every_set_and_makes_a_page(done):
    where, outcome = done
    assert {name.removesuffix(" *") for name in outcome.scores["candidate"]} >= {
        "mgno",
        "mgno ensemble",
        "linear",
    }
    assert outcome.report.read_text().startswith("<!DOCTYPE html>")
    catalog = open_catalog(where)
    try:
        finer = catalog.open(outcome.keys["evaluate_operator.finer"])
        assert "mgno ensemble interpolated" in finer["candidate"].values
        assert finer.attrs["samples"] == 4
        model = catalog.open(outcome.keys["ensemble.mgno"])
        assert model.sizes["member"] == 2
    finally:
        catalog.close()


def test_a_second_run_computes_nothing(done):
    where, outcome = done
    again = run_pipeline(load_config("operator_small", OperatorConfig), where, prefect=False)
    assert again.computed == 0
    assert again.keys == outcome.keys


def test_a_seed_of_one_candidate_changes_its_own_steps_only(tmp_path):
    base = planned_keys(_config(tmp_path))
    other = planned_keys(_config(tmp_path, SMALL.replace("seeds = [0, 1]", "seeds = [0, 2]")))
    assert "train_operator.mgno.2" in other
    same = {label for label in base if base[label] == other.get(label)}
    assert {"generate", "split", "normalise", "train_operator.mgno.0", "ensemble.linear"} <= same
    assert not {"ensemble.mgno", "evaluate_operator", "report_operator"} & same


def test_a_family_in_closed_form_is_fitted_once(tmp_path):
    text = SMALL.replace('model = "linear"', 'model = "linear"\nseeds = [4, 5, 6]')
    keys = planned_keys(_config(tmp_path, text))
    assert [label for label in keys if label.startswith("train_operator.linear")] == [
        "train_operator.linear.4"
    ]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('model = "mgno"', 'model = "mgnoo"', "there is no operator 'mgnoo': choose one of"),
        ("levels = 2 }", "levels = 2, depth = 3 }", r"'mgno' has no setting \['depth'\]"),
        ('name = "linear"', 'name = "mgno"', r"the names \['mgno'\] of candidates are given twice"),
        ('name = "finer"', 'name = "main"', r"the names \['main'\] of data sets are given twice"),
        ('source = "generate"', 'source = "arrays"', "there is no section arrays"),
        ("resolution = 16", "resolution = -16", "further set 'finer', generate: resolution"),
        ('source = "generate"', 'source = "files"', "others are generated, but source is 'files'"),
    ],
)
def test_what_a_config_may_not_say(tmp_path, old, new, message):
    with pytest.raises(InputError, match=message):
        _config(tmp_path, SMALL.replace(old, new, 1))
