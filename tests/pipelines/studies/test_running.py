"""Running studies: nothing twice, failures apart, two drivers share, kills survived, results as tables."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
import sqlalchemy as sa
import xarray as xr
from killed_study import study as killed_study
from study_stages import LATER, POINT, SUMMED, PointConfig

from catalogs import studies, study_queries
from catalogs.catalog import Catalog
from catalogs.tables import artifacts, points
from kernels.errors import InputError
from pipelines.runner import Runner
from pipelines.settings import settings
from pipelines.studies.definition import parse_study
from pipelines.studies.designs import columns
from pipelines.studies.driver import run_study
from pipelines.studies.files import write_results
from pipelines.studies.plan import extended
from pipelines.studies.report import report
from pipelines.studies.results import definition_of, diff, result_dataset, result_table
from pipelines.studies.sensitivity import sensitivity


@pytest.fixture
def counter(tmp_path, monkeypatch):
    path = tmp_path / "counter"
    monkeypatch.setenv("STUDY_COUNTER", str(path))
    return lambda: path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def where(tmp_path, database_url):
    return settings(project=tmp_path / "p", workers=0, quiet=True, database_url=database_url)


@pytest.fixture
def local(tmp_path):
    return settings(project=tmp_path / "p", workers=0, quiet=True)


def study(name="s", method="random", run=None, config=None, **design):
    if method not in ("list", "table"):
        design.setdefault(
            "parameters", {"a": {"low": 0.0, "high": 2.0}, "inner.shift": {"low": 0.0, "high": 1.0}}
        )
    values = {"name": name, "config": config or {}, "design": {"method": method, **design}, "run": run or {}}
    return parse_study(values)


def catalog_of(where):
    return Catalog(where.project, where.database_url)


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
    assert delta.table["delta"].argmax() == 1
    for design, message in (
        ({"method": "random", "samples": 20}, "not possible from 20 points with 'y', at least 64"),
        ({"method": "random", "samples": 99, "where": "a < 0.5"}, "without where and repeats"),
    ):
        with pytest.raises(InputError, match=message):
            sensitivity(*ishigami(design), "y")


def test_the_report_shows_effects_and_indices(local):
    run_study(study(method="saltelli", samples=8), local, stage=POINT)
    catalog = catalog_of(local)
    page = report(catalog, "s")
    for text in ("Main effects", "y against inner.shift", "Sobol indices, 8 base points", "32 done"):
        assert text in page
    assert "http" not in page.split("<body>")[1]
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


def test_leases_end_and_dead_owners_lose_theirs(where, counter):
    one = study(samples=6)
    run_study(study("none", samples=1, seed=5), where, stage=POINT)
    catalog = catalog_of(where)
    engine = catalog.engine
    run_study(one, where, stage=POINT)
    number = studies.get(engine, "s").number
    with studies.writing(engine) as connection:
        connection.execute(sa.delete(artifacts))
        now = {"state": "pending", "result": None}
        connection.execute(sa.update(points).where(points.c.study == number).values(**now))
    leased, found = studies.lease(engine, number, "elsewhere:1:1", 4, 30.0, False)
    assert ([point.number for point in leased], found) == ([0, 1, 2, 3], 0)
    assert [p.number for p in studies.lease(engine, number, "elsewhere:2:2", 9, 30.0, False)[0]] == [4, 5]
    assert studies.lease(engine, number, "elsewhere:3:3", 9, 30.0, False)[0] == []
    studies.renew(engine, number, "elsewhere:1:1", -1.0)
    assert [p.number for p in studies.lease(engine, number, "elsewhere:3:3", 2, 30.0, False)[0]] == [0, 1]
    assert studies.still_leased(engine, number, "elsewhere:1:1", [0, 1, 2, 3]) == {2, 3}
    dead = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    owner = studies.environment.process_name(dead.pid)
    studies.renew(engine, number, "elsewhere:2:2", -1.0)
    assert len(studies.lease(engine, number, owner, 2, 30.0, False)[0]) == 2
    studies.reopen(engine, number)
    assert study_queries.counts(engine, number)["pending"] == 0
    dead.communicate()
    studies.reopen(engine, number)
    assert study_queries.counts(engine, number)["pending"] == 2
    catalog.close()


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


def start(folder, counter_file, workers, count):
    here = Path(__file__).parent
    paths = os.pathsep.join([str(here), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": paths, "STUDY_COUNTER": str(counter_file)}
    command = [sys.executable, str(here / "killed_study.py"), str(folder), str(workers), str(count)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def lines_of(path):
    return path.read_text().splitlines() if path.exists() else []


@pytest.mark.xdist_group("workers")
def test_kills_of_a_worker_and_of_the_driver_are_survived(tmp_path):
    counter_file, count = tmp_path / "counter", 80
    first = start(tmp_path / "p", counter_file, 1, count)
    waited = time.monotonic() + 120
    while len(lines_of(counter_file)) < 20 and first.poll() is None and time.monotonic() < waited:
        time.sleep(0.01)
    family = psutil.Process(first.pid).children(recursive=True)
    workers = [p for p in family if any("point_process" in word for word in p.cmdline())]
    os.kill(psutil.Process(workers[0].pid).ppid(), signal.SIGKILL)  # the worker that owns a point process
    while len(lines_of(counter_file)) < 45 and first.poll() is None and time.monotonic() < waited:
        time.sleep(0.01)
    first.kill()
    first.communicate()
    psutil.wait_procs(family, timeout=30)
    assert not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in family)
    second = start(tmp_path / "p", counter_file, 1, count)
    errors = second.communicate(timeout=200)[1]
    assert second.returncode == 0, errors.decode()
    catalog = Catalog(tmp_path / "p")
    table = result_table(catalog, "killed")
    assert table["state"].tolist() == ["done"] * count
    with catalog.engine.connect() as connection:
        keys = list(connection.execute(sa.select(artifacts.c.key)).scalars())
    assert sorted(keys) == sorted(table["key"])
    clean = settings(project=tmp_path / "clean", workers=0, quiet=True)
    undisturbed = killed_study(count)
    run_study(undisturbed.model_copy(update={"config": {"sleep": 0.0}}), clean, stage=POINT)
    other = Catalog(tmp_path / "clean")
    wanted = result_table(other, "killed")
    assert table["a"].tolist() == wanted["a"].tolist()
    assert table["y"].tolist() == wanted["y"].tolist()
    catalog.close()
    other.close()
