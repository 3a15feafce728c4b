"""The closure pipeline: the small config end to end, what a change of it recomputes, what it may not say."""

import numpy as np
import pytest

from kernels.errors import InputError
from pipelines.catalog_access import open_catalog
from pipelines.closure_config import ClosureConfig
from pipelines.config import SHIPPED, load_config
from pipelines.diagram import planned_keys
from pipelines.pipeline import run_pipeline
from pipelines.settings import settings
from stages.variables import TEST

SMALL = (SHIPPED / "closure_small.toml").read_text()


def _config(folder, text=SMALL):
    file = folder / "own.toml"
    file.write_text(text)
    return load_config(file, ClosureConfig)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    where = settings(project=tmp_path_factory.mktemp("closure"), workers=0, quiet=True)
    return where, run_pipeline(load_config("closure_small", ClosureConfig), where, prefect=False)


@pytest.mark.parametrize("name", ["closure", "closure_small"])
def test_shipped_configs_load_and_every_step_has_a_key_of_its_own(name):
    keys = planned_keys(load_config(name, ClosureConfig))
    assert len(set(keys.values())) == len(keys)


def test_the_small_pipeline_scores_every_closure_and_makes_a_page(done):
    where, outcome = done
    assert list(outcome.scores["closure"]) == ["kinetic", "strain.0", "strain.1", "strain_run", "bingham"]
    assert outcome.report.read_text().startswith("<!DOCTYPE html>")
    catalog = open_catalog(where)
    try:
        truth = catalog.open(outcome.keys["moments"])
        assert truth.sizes == {"sample": 4, "time": 9, "x": 12, "y": 12}
        runs = catalog.open(outcome.keys["close.bingham.0"])
        names = truth["sample_name"].values[truth["split"].values == TEST]
        assert runs["sample_name"].values.tolist() == names.tolist()
        # mean |z_2| at t = 4 from seed 2, with the Bingham closure and of the kinetic model
        z2 = np.hypot(2.0 * runs["D_xx"] - runs["concentration"], 2.0 * runs["D_xy"]).isel(sample=0, time=-1)
        true = np.hypot(2.0 * truth["D_xx"] - truth["concentration"], 2.0 * truth["D_xy"])
        assert float(z2.mean()) == pytest.approx(0.7655809, rel=1e-5)
        assert float(true.isel(sample=2, time=-1).mean()) == pytest.approx(0.8420564, rel=1e-5)
        short = catalog.open(outcome.keys["close.strain_run.0.short"])
        assert short.sizes["sample"] == 4
        assert sorted(set(short["start"].values.tolist())) == [1.0, 2.0]
    finally:
        catalog.close()


def test_a_second_run_computes_nothing(done):
    where, outcome = done
    again = run_pipeline(load_config("closure_small", ClosureConfig), where, prefect=False)
    assert again.computed == 0
    assert again.keys == outcome.keys


def test_a_candidate_changes_its_own_steps_and_those_that_start_from_it(tmp_path):
    base = planned_keys(_config(tmp_path))
    other = planned_keys(_config(tmp_path, SMALL.replace("\nseeds = [0, 1]", "\nseeds = [0, 3]")))
    same = {label for label in base if base[label] == other.get(label)}
    assert {
        "moments",
        "train_closure.strain.0",
        "train_closure.strain_run.0",
        "close.bingham.0.short",
    } <= same
    assert "close.strain.3" in other
    assert "close.strain.1" not in other
    wider = planned_keys(
        _config(tmp_path, SMALL.replace("seeds = [0, 1]", "seeds = [0, 1]\nsettings = { width = 8 }"))
    )
    assert wider["train_closure.strain_run.0"] != base["train_closure.strain_run.0"]
    assert wider["train_closure.bingham.0"] == base["train_closure.bingham.0"]


def test_forecasts_alone_may_be_left_out(tmp_path):
    keys = planned_keys(_config(tmp_path, SMALL.replace("starts = [1.0, 2.0]", "")))
    assert not [label for label in keys if label.endswith(".short")]


def test_active_learning_adds_runs_before_the_closures_are_trained(tmp_path):
    text = SMALL + '\n[active]\nrounds = 2\nlearner = "strain"\n[acquire]\nbegin = 2.0\n'
    base, keys = planned_keys(_config(tmp_path)), planned_keys(_config(tmp_path, text))
    assert {f"{s}.{r}" for s in ("acquire", "simulate_kinetic", "moments") for r in (1, 2)} <= set(keys)
    assert keys["train_closure.strain.0.before_1"] == base["train_closure.strain.0"]
    members = [keys[f"train_closure.strain.0{end}"] for end in (".before_1", ".before_2", "")]
    assert len(set(members)) == 3
    assert keys["moments"] == base["moments"]
    assert keys["close.bingham.0"] == base["close.bingham.0"]


def test_estimates_are_of_test_runs_and_calibrated_where_other_runs_are_enough(tmp_path):
    text = 'infer = "bingham"\n' + SMALL
    few = planned_keys(_config(tmp_path, text))
    assert "infer_parameters.known" not in few
    enough = _config(tmp_path, text.replace("train_seeds = [0]", "train_seeds = [0, 4, 5]"))
    keys = planned_keys(enough)
    assert keys["infer_parameters.known"] != keys["infer_parameters"]
    assert enough.section("infer_parameters").parts == ("test",)
    assert enough.section("infer_parameters.known").parts == ("train", "validation")
    assert keys["infer_parameters"] != few["infer_parameters"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('family = "bingham"', 'family = "binghamm"', "candidate 'bingham': family: .*there is no closure"),
        ('name = "bingham"', 'name = "strain"', r"the names \['strain'\] of candidates are given twice"),
        ('start = "strain"', 'start = "later"', r"starts from 'later', expected one before it: \['strain'\]"),
        ('start = "strain"', 'seeds = [2]\nstart = "strain"', "expected the same family and seeds"),
        ('name = "bingham"', 'name = "other"', "evaluate_closure.baseline is 'bingham', expected one of"),
        ("starts = [1.0, 2.0]", "starts = [1.25]", "short.starts has 1.25, expected a time of a frame"),
        ("\ntime = 1.0", "\n", "short: .*starts are given and time is not"),
        ("test_seeds = [2, 3]", "test_seeds = []", "conditions.test_seeds is empty"),
        (
            "train_seeds = [0]",
            "train_seeds = []",
            "conditions.train_seeds is empty and a candidate learns",
        ),
        ("test_seeds = [2, 3]", "test_seeds = [1, 2]", r"the seeds \[1\] come more than once"),
        ("every = 0.5", "every = 0.35", "time is 4 and every 0.35, expected a multiple"),
        ("[conditions]", "infer = 'x'\n[conditions]", "infer is 'x', expected one of the candidates"),
        (
            "[conditions]",
            "[active]\nrounds = 1\n[conditions]",
            "active.learner is '' with 0 seeds, expected a",
        ),
        (
            "[conditions]",
            "[active]\nrounds = 1\nlearner = 'strain_run'\n[conditions]",
            "with 1 seeds, expected",
        ),
    ],
)
def test_what_a_config_may_not_say(tmp_path, old, new, message):
    assert old in SMALL
    with pytest.raises(InputError, match=message):
        _config(tmp_path, SMALL.replace(old, new, 1))


ACTIVE = "[active]\nrounds = 1\nlearner = 'strain'\n"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[close]\ntime_step = 0.05", "[close]\ntime_step = 0.03", "close: every is 0.5 and time_step 0.03"),
        ("[close]", "[close]\ntime = 4.3", "close: time is 4.3 and every 0.5, expected a multiple"),
        ("\ntime = 1.0", "\ntime = 1.3", "short: time is 1.3 and every 0.5, expected a multiple"),
        ("[close]", "[close]\ntime = 1.0", "late is 2 and the runs of section close have frames from 0 to 1"),
        ("late = 2.0", "late = 9.0", "the kinetic runs end at t = 4 and late times run from 9 to 4"),
        (
            "late = 2.0",
            "late = 3.8",
            "late is 3.8 and the kinetic runs have frames from 0 to 4, fewer than two",
        ),
        ("[close]", "[moments]\nthin = 5\n[close]", "moments.thin is 5 for 12 points a side, expected a div"),
        (
            "[close]",
            "[moments]\nstart = 4.0\n[close]",
            "moments keeps 1 of 9 frames, from start = 4 with stride = 1, exp",
        ),
        (
            "horizons = [1, 2]",
            "horizons = [1, 9]",
            "'strain_run': horizons end at 9 and runs have 9 frames from",
        ),
        (
            "horizons = [1, 2]",
            "horizons = [1, 2], time_step = 0.03",
            "'strain_run': frames are 0.5 apart and its time_step is 0.03, expected a divisor",
        ),
        ("epochs = 2", "epochs = 2\nbegin = 5.0", "'strain': no frame is at or after begin = 5, the last is"),
        (
            "epochs = 2",
            "epochs = 2\nseed = 3",
            r"train_closure has \['seed'\], which each candidate says itself",
        ),
        (
            "training = {",
            "training = { mode = 'apriori',",
            r"'strain_run': training has \['mode'\], which the",
        ),
        (
            'start = "strain"',
            'start = "strain"\nsettings = { width = 8 }',
            "has settings and starts from 'strain'",
        ),
        ('family = "bingham"', 'family = "bingham"\nsettings = { width = 8 }', "'bingham' has no setting"),
        (
            'name = "strain_run"',
            'name = "kinetic"',
            "a candidate is called 'kinetic', as tables call the truth",
        ),
        ("\nseeds = [0, 1]", "\nseeds = [0, 0]", r"'strain' has the seeds \[0, 0\], expected each once"),
        ("\nseeds = [0, 1]", "\nsettings = { width = 0 }", "'strain' has width = 0, expected at least 1"),
        (
            "\nseeds = [0, 1]",
            "\nsettings = { parameters = ['speed'] }",
            r"no number \['speed'\], expected some",
        ),
        (
            'family = "bingham"',
            'family = "cnn"\nsettings = { points = 4 }',
            "points = 4, expected an odd number",
        ),
        (
            'family = "bingham"',
            'family = "fno"\nsettings = { modes = 14 }',
            "'bingham': fno has 14 modes and the moments 12 points a side: lower settings.modes",
        ),
        ("late = 2.0", "late = 2.0\nuntrained = ['binham']", r"untrained has \['binham'\], expected some of"),
        ("frames = 4", "frames = 4\nclosure = 'x'", "report_closure.closure is 'x', expected one of"),
        (
            "[close]",
            f"{ACTIVE}[acquire]\nbegin = 1.0\ntrain_seeds = [2]\n[close]",
            r"test_seeds share \[2\], exp",
        ),
        (
            "[close]",
            f"{ACTIVE}[acquire]\nbegin = 1.0\ntrain_seeds = [1]\n[close]",
            r"validation_seeds share \[1\]",
        ),
        (
            "[close]",
            f"{ACTIVE}[close]",
            "acquire.begin is 5 and the last frame of the runs is at 4: lower begin",
        ),
        ("[close]", f"{ACTIVE}[acquire]\nbegin = 1.0\ncount = 82\n[close]", "there are 81 candidates: raise"),
    ],
)
def test_what_sections_may_not_say_together_is_told_before_any_run(tmp_path, old, new, message):
    assert old in SMALL
    with pytest.raises(InputError, match=message) as caught:
        _config(tmp_path, SMALL.replace(old, new, 1))
    assert "{'conditions'" not in str(caught.value)  # the message is not the whole file
