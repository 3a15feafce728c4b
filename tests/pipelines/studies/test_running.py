"""Running studies: nothing twice, failures apart, two drivers share, cancelled studies go on."""

import threading
import time

import numpy as np
import pytest
from study_cases import catalog_of, study
from study_stages import LATER, POINT, SUMMED, PointConfig

from catalogs import studies, study_queries
from kernels.errors import InputError
from pipelines.runner import Runner
from pipelines.studies.definition import parse_study
from pipelines.studies.driver import run_study
from pipelines.studies.plan import extended
from pipelines.studies.report import report
from pipelines.studies.results import definition_of, result_table


def test_points_are_computed_once_whoever_asks(where, counter):
    first = run_study(study(samples=20), where, stage=POINT)
    assert (first.computed, first.counts["done"]) == (20, 20)
    assert run_study(study(samples=20), where, stage=POINT).computed == 0
    more = run_study(study(samples=27), where, stage=POINT)
    assert (more.computed, more.counts["done"]) == (7, 27)
    other = run_study(study("other", samples=30), where, stage=POINT)
    assert (other.computed, other.counts["done"]) == (3, 30)
    assert run_study(study(samples=20), where, stage=POINT).counts["done"] == 27
    assert len(counter()) == 30
    catalog = catalog_of(where)
    table = result_table(catalog, "other")
    np.testing.assert_allclose(table["y"], table["a"] ** 2 + 1.0 + table["inner.shift"])
    assert catalog.open(table["result"][25])["y"].item() == table["y"][25]
    shown = catalog.show(table["key"][3])
    assert (shown["metrics"]["y"], shown["literature"]) == (table["y"][3], ["A 2020"])
    assert shown["config"]["inner"]["shift"] == table["inner.shift"][3]
    assert catalog.content(table["key"][3]).samples == ()
    catalog.close()


def test_a_plain_run_and_a_study_share_points(local, counter):
    with Runner(local) as runner:
        key = runner.step(POINT, PointConfig(a=1.0), {})
    outcome = run_study(study(method="grid", parameters={"a": [1.0, 2.0]}), local, stage=POINT)
    assert (outcome.computed, outcome.counts["done"]) == (1, 2)
    catalog = catalog_of(local)
    table = result_table(catalog, "s")
    assert (table["key"][0], table["y"].tolist()) == (key, [2.0, 5.0])
    assert table["quality"].tolist() == [0.0, 0.0]
    catalog.close()


def test_extending_by_some_runs_exactly_those(local, counter):
    for method, samples in (("latin_hypercube", 12), ("sobol", 12), ("random", 12), ("saltelli", 4)):
        run_study(study(method, method, samples=samples), local, stage=POINT)
        before = len(counter())
        catalog = catalog_of(local)
        longer = extended(definition_of(studies.get(catalog.engine, method)), 4)
        catalog.close()
        assert run_study(longer, local, stage=POINT).computed == 4 * (4 if method == "saltelli" else 1)
        assert len(counter()) - before == 4 * (4 if method == "saltelli" else 1)
    with pytest.raises(
        InputError, match="method 'grid', which has no samples: add values or rows at the end"
    ):
        extended(study(method="grid", parameters={"a": [1]}), 3)
    with pytest.raises(InputError, match="a power of two"):
        extended(study(method="saltelli", samples=4), 3)


def test_another_design_or_version_is_refused(local):
    run_study(study(samples=5), local, stage=POINT)
    with pytest.raises(InputError, match="study 's' is there with another design or config: its point 0"):
        run_study(study(samples=5, seed=1), local, stage=POINT)
    with pytest.raises(InputError, match="Give the new study a name of its own"):
        run_study(study(samples=5), local, stage=LATER)


def test_same_work_twice_in_a_design_is_done_once(local, counter):
    outcome = run_study(study(method="list", points=[{"a": 1}, {"a": 2}, {"a": 1.0}]), local, stage=POINT)
    assert (outcome.counts["done"], outcome.counts["skipped"], len(counter())) == (2, 1, 2)
    catalog = catalog_of(local)
    assert result_table(catalog, "s")["y"].tolist() == [2.0, 5.0, 2.0]
    catalog.close()


def test_failures_are_kept_apart_and_retried(where, counter):
    kinds = ["plain", "refuse", "bug", "refuse"]
    one = study(method="zip", parameters={"a": [1.0, 2.0, 3.0, 4.0], "kind": kinds})
    outcome = run_study(one, where, stage=POINT)
    assert (outcome.counts["done"], outcome.counts["failed"]) == (1, 3)
    assert outcome.failed == {
        ("InputError", "no result at a = #: take another"): 2, ("ZeroDivisionError", "n is #"): 1,
    }  # fmt: skip
    assert run_study(one, where, stage=POINT).computed == 0
    assert run_study(one, where, stage=POINT, retry_failed=True).computed == 3
    assert len(counter()) == 7
    with pytest.raises(InputError, match=r"was stopped: [23] points failed, allowed are 1 \(max_failures\)"):
        run_study(one, where, stage=POINT, retry_failed=True, max_failures=1)
    catalog = catalog_of(where)
    table = result_table(catalog, "s")
    assert table["attempts"].tolist()[0] == 1
    assert "take another" in report(catalog, "s")
    catalog.close()


def test_a_point_that_hangs_dies_or_prints_stops_no_other(local):
    kinds = ["plain", "hang", "die", "print", "bug", "plain"]
    one = study(
        method="zip", parameters={"a": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0], "kind": kinds},
        run={"timeout": 3.0, "batch_seconds": 1000.0},
    )  # fmt: skip
    outcome = run_study(one, local, stage=POINT)
    assert (outcome.counts["done"], outcome.counts["failed"]) == (3, 3)
    catalog = catalog_of(local)
    table = result_table(catalog, "s").set_index("a")
    assert table["failure"].dropna().tolist() == ["TimeOut", "ProcessDied", "ZeroDivisionError"]
    assert "longer than 3 s" in table["error"][2.0]
    assert "killed by SIGKILL" in table["error"][3.0]
    logs = {a: (local.project / log).read_text() for a, log in table["log"].dropna().items()}
    assert set(logs) == {2.0, 4.0, 5.0}
    assert "about to hang" in logs[2.0]
    assert "in point" in logs[2.0]
    assert logs[4.0] == "hello from the point\n"
    assert "ZeroDivisionError: n is 0" in logs[5.0]
    catalog.close()


def test_nothing_runs_where_something_is_wrong(local, counter):
    cases = [
        ({"c": [1]}, "unknown field 'c'; known are: a, b, n"),
        ({"inner.shif": [1]}, "unknown field 'inner.shif'; did you mean 'shift'"),
        ({"iner.shift": [1]}, "the config has no section 'iner'; did you mean 'inner'"),
        ({"n": [1, "x"]}, r"1 of 2 points have a wrong config: point 1 \(n = 'x'\): field 'n' is 'x'"),
        ({"inputs.mesh": ["k"]}, "parameter 'inputs.mesh' is no input of 'point'"),
    ]
    for parameters, message in cases:
        with pytest.raises(InputError, match=message):
            run_study(study(method="grid", parameters=parameters), local, stage=POINT)
    with pytest.raises(InputError, match=r"there is no stage 'simulat'; did you mean 'simulate'"):
        run_study(parse_study({**study(samples=3).model_dump(), "stage": "simulat"}), local)
    with pytest.raises(InputError, match=r"stage 'summed' takes the inputs .* missing: .'first'."):
        run_study(study(samples=3), local, stage=SUMMED)
    with pytest.raises(InputError, match=r"run.gpus is 1, and this machine has no GPU|no worker offers"):
        run_study(study(samples=3, run={"gpus": 1}), local, stage=POINT)
    assert counter() == []


def test_a_dry_run_writes_nothing(local, counter):
    outcome = run_study(study(samples=6), local, stage=POINT, dry_run=True)
    assert (outcome.counts["pending"], outcome.estimate) == (6, None)
    assert not local.project.exists()
    run_study(study(samples=6, config={"sleep": 0.01}), local, stage=POINT)
    outcome = run_study(study(samples=9, config={"sleep": 0.01}), local, stage=POINT, dry_run=True)
    assert (outcome.counts["done"], outcome.counts["pending"]) == (6, 3)
    assert outcome.estimate > 3 * 0.01
    assert len(counter()) == 6


def test_inputs_may_vary_and_metrics_alone_may_be_kept(local):
    with Runner(local) as runner:
        keys = [runner.step(POINT, PointConfig(a=a), {}) for a in (1.0, 2.0)]
    both = study(method="grid", parameters={"inputs.first": keys, "a": [0.5, 1.5]}, run={"keep": "metrics"})
    assert run_study(both, local, stage=SUMMED).computed == 4
    assert run_study(both, local, stage=SUMMED).computed == 0
    catalog = catalog_of(local)
    table = result_table(catalog, "s")
    assert table["y"].tolist() == [2.5, 3.5, 5.5, 6.5]
    with pytest.raises(InputError, match="is a record without data"):
        catalog.open(table["result"][0])
    assert not catalog.exists(table["key"][0])
    assert catalog.show(table["result"][0])["inputs"] == {"first": keys[0]}
    catalog.close()
    whole = both.model_copy(update={"name": "whole", "run": both.run.model_copy(update={"keep": "all"})})
    assert run_study(whole, local, stage=SUMMED).computed == 4


def test_large_results_lie_in_the_store(local):
    run_study(study(method="grid", parameters={"a": [1.0, 2.0]}, config={"size": 20_000}), local, stage=POINT)
    catalog = catalog_of(local)
    table = result_table(catalog, "s")
    assert catalog.open(table["result"][1])["big"].values.tolist() == [5.0] * 20_000
    catalog.close()


def test_two_drivers_share_the_points(where, counter):
    one = study(samples=40, config={"sleep": 0.01}, run={"batch_seconds": 0.05})
    outcomes = []
    owners = iter(("elsewhere:1:1", "elsewhere:2:2"))
    from pipelines.studies import driver

    class Driver(driver._Driver):
        def __init__(self, *given):
            super().__init__(*given, owner=next(owners))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(driver, "_Driver", Driver)
        run_study(study(samples=1, config={"sleep": 0.01}), where, stage=POINT, dry_run=True)
        threads = [
            threading.Thread(target=lambda: outcomes.append(run_study(one, where, stage=POINT)))
            for _ in range(2)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sum(outcome.computed for outcome in outcomes) == 40
    assert min(outcome.computed for outcome in outcomes) > 0
    assert len(counter()) == 40


def test_a_cancelled_study_stops_and_goes_on(local, counter):
    run_study(study(samples=4), local, stage=POINT)
    catalog = catalog_of(local)
    engine = catalog.engine
    longer = study(samples=60, config={"sleep": 0.02}, run={"batch_seconds": 0.05})
    longer = longer.model_copy(update={"name": "t"})
    thread = threading.Thread(target=run_study, args=(longer, local), kwargs={"stage": POINT})
    thread.start()
    deadline = time.monotonic() + 30
    while len(counter()) < 6 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert studies.cancel(engine, studies.get(engine, "t").number) > 0
    thread.join(60)
    counts = study_queries.counts(engine, studies.get(engine, "t").number)
    assert counts["cancelled"] > 0
    assert counts["pending"] == counts["running"] == 0
    assert run_study(longer, local, stage=POINT).counts["done"] == 60
    assert len(counter()) == 64
    catalog.close()
