"""Runner: nothing twice, the dependents again, cuts and workers change nothing, kills are survived."""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from fake_stages import COUNTED, PAIRS, SOURCE, TOTAL, WORK, SourceConfig, SumConfig, WorkConfig, source

from catalogs.catalog import Catalog
from catalogs.collect import gc
from catalogs.keys import dataset_digest
from kernels.errors import InputError
from pipelines.runner import Runner, step_key
from pipelines.settings import settings
from stages.ragged import take


@pytest.fixture
def counter(tmp_path, monkeypatch):
    path = tmp_path / "counter"
    monkeypatch.setenv("FAKE_COUNTER", str(path))
    return lambda: path.read_text().splitlines() if path.exists() else []


def chain(runner, work=WORK, made=None, worked=None, total=None):
    a = runner.step(SOURCE, made or SourceConfig(), {})
    b = runner.step(work, worked or WorkConfig(), {"meshes": a})
    return a, b, runner.step(TOTAL, total or SumConfig(), {"worked": b})


def runner_in(folder, workers=0):
    return Runner(settings(project=folder, workers=workers, quiet=True))


def test_second_run_computes_nothing(tmp_path, counter):
    with runner_in(tmp_path / "p") as runner:
        keys = chain(runner)
        total = float(runner.catalog.open(keys[2])["total"])
        assert runner.catalog.show(keys[2])["metrics"] == {"quality": 0.5, "total": total}
    before = counter()
    with runner_in(tmp_path / "p") as runner:
        assert chain(runner) == keys
        assert runner.computed == []
    assert counter() == before


def test_one_field_recomputes_exactly_the_dependents(tmp_path, counter):
    with runner_in(tmp_path / "p") as runner:
        first = chain(runner)
        second = chain(runner, total=SumConfig(scale=2.0))
        assert second[:2] == first[:2]
        assert runner.computed[3:] == [second[2]]
        third = chain(runner, worked=WorkConfig(power=3.0))
        assert third[0] == first[0]
        assert runner.computed[4:] == [third[1], third[2]]
        assert len({first[2], second[2], third[2]}) == 3


def test_every_config_field_enters_the_key():
    base = WorkConfig()
    changes = {"power": 1.0, "refuse": "x", "die_once": True, "seconds": 1.0}
    assert set(changes) == set(WorkConfig.model_fields)
    keys = {step_key(WORK, base.model_copy(update={name: value}), {}) for name, value in changes.items()}
    assert len(keys | {step_key(WORK, base, {})}) == 5
    with pytest.raises(InputError, match="stage 'work' takes a WorkConfig, got a SumConfig"):
        step_key(WORK, SumConfig(), {})


def test_more_samples_reuse_finished_parts(tmp_path, counter):
    with runner_in(tmp_path / "p") as runner:
        whole = source(SourceConfig(samples=7))
        few = take(whole, range(4))
        assert dataset_digest(take(few, [1])) == dataset_digest(take(whole, [1]))
        small, large = runner.add("few", few, {}), runner.add("whole", whole, {})
        runner.step(WORK, WorkConfig(), {"meshes": small})
        runner.step(WORK, WorkConfig(), {"meshes": large})
    assert sorted(line for line in counter() if "work" in line) == [f"work case_{i}" for i in range(7)]


@pytest.mark.parametrize("work", [WORK, PAIRS])
def test_a_grown_set_writes_what_is_new_and_is_that_of_a_first_run(tmp_path, counter, monkeypatch, work):
    monkeypatch.setattr("catalogs.growing.WORTH_BYTES", 0)
    whole = source(SourceConfig(samples=9))
    order = [0, 1, 2, 3, 4, 7, 8, 5, 6]  # new ones come before the last old ones
    keys = []
    for project, sets in (("grown", ([0, 1, 2, 3, 4, 5, 6], order)), ("first", (order,))):
        with runner_in(tmp_path / project) as runner:
            for picks in sets:
                meshes = runner.add("meshes", take(whole, picks), {})
                keys.append(runner.step(work, WorkConfig(), {"meshes": meshes}))
            pieces = [(p.start, p.stop) for p in runner.catalog.place(keys[-1]).pieces]
            assert pieces == ([(0, 5), (0, 2), (5, 7)] if project == "grown" else [])
            found = runner.catalog.open(keys[-1]).load()
            digests = runner.catalog.content(keys[-1])
            if project == "grown":
                wanted = found, digests
    assert keys[1] == keys[2]
    assert found.identical(wanted[0])
    assert digests == wanted[1]


def test_a_changed_sample_is_computed_again_and_twins_once(tmp_path, counter):
    whole = source(SourceConfig(samples=5))
    changed = whole.copy(deep=True)
    changed["x"].values[-1, 0] = np.nextafter(changed["x"].values[-1, 0], 2.0)
    twins = take(whole, [0, 1, 1, 0])
    with runner_in(tmp_path / "p") as runner:
        for name, dataset in (("twins", twins), ("whole", whole), ("changed", changed)):
            key = runner.step(WORK, WorkConfig(), {"meshes": runner.add(name, dataset, {})})
            assert list(runner.catalog.open(key)["sample_name"].values) == list(dataset["sample_name"].values)
    done = [line.split("_")[1] for line in counter() if line.startswith("work")]
    assert done == ["0", "1", "2", "3", "4", "4"]


def test_a_stage_reports_its_steps(tmp_path, counter, capsys, monkeypatch):
    monkeypatch.setattr("pipelines.progress._LINE_EVERY", 0.0)
    with Runner(settings(project=tmp_path / "p", workers=0)) as runner:
        worked = runner.step(WORK, WorkConfig(), {"meshes": runner.step(SOURCE, SourceConfig(), {})})
        key = runner.step(COUNTED, SumConfig(), {"worked": worked})
        assert runner.catalog.exists(key)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(",")[0] for line in lines if line.startswith("counted: ")][:4] == [
        "counted: running",
        "counted: 1 of 3",
        "counted: 2 of 3",
        "counted: 3 of 3",
    ]


@pytest.mark.xdist_group("workers")
def test_cuts_and_workers_change_no_number(tmp_path, counter):
    results = {}
    for name, workers, work in (
        ("inline", 0, WORK),
        ("one", 1, PAIRS),
        ("two", 2, WORK),
        ("inline3", 0, PAIRS),
    ):
        with runner_in(tmp_path / name, workers) as runner:
            keys = chain(runner, work)
            results[name] = (keys, runner.catalog.open(keys[1]).load())
    keys, reference = results["inline"]
    for other_keys, other in results.values():
        assert other_keys == keys
        np.testing.assert_array_equal(other["y"].values, reference["y"].values)
        assert list(other["sample_name"].values) == list(reference["sample_name"].values)


@pytest.mark.xdist_group("workers")
def test_workers_refuse_by_name_and_survive_a_death(tmp_path, counter):
    with runner_in(tmp_path / "p", 2) as runner:
        meshes = runner.step(SOURCE, SourceConfig(), {})
        with pytest.raises(InputError, match="stage 'work' on sample case_4: the mesh is folded"):
            runner.step(WORK, WorkConfig(refuse="case_4"), {"meshes": meshes})
        assert list(runner.catalog.list()["stage"]) == ["source"]
        key = runner.step(WORK, WorkConfig(die_once=True), {"meshes": meshes})
        assert runner.catalog.open(key).sizes["sample"] == 7


@pytest.mark.xdist_group("workers")
def test_a_given_scheduler_gives_the_same_numbers(tmp_path, counter, monkeypatch):
    from distributed import LocalCluster

    here = str(Path(__file__).parent)
    monkeypatch.setenv("PYTHONPATH", here)
    with LocalCluster(
        n_workers=1, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0", memory_limit=0
    ) as cluster:
        address = cluster.scheduler_address
        with Runner(settings(project=tmp_path / "far", workers=0, quiet=True, scheduler=address)) as runner:
            keys = chain(runner)
            far = runner.catalog.open(keys[1]).load()
    with runner_in(tmp_path / "near") as runner:
        assert chain(runner) == keys
        np.testing.assert_array_equal(runner.catalog.open(keys[1])["y"].values, far["y"].values)
    lonely = settings(project=tmp_path / "none", workers=0, quiet=True, scheduler="tcp://127.0.0.1:9")
    with Runner(lonely) as runner, pytest.raises(InputError, match=r"no Dask scheduler answers at tcp://127"):
        chain(runner)


def test_a_refused_step_says_which_of_its_stage_it_is(tmp_path):
    with runner_in(tmp_path / "p") as runner:
        meshes = runner.step(SOURCE, SourceConfig(), {})
        with pytest.raises(InputError, match=r"^step 'work\.second\.1': .*case_4"):
            runner.step(WORK, WorkConfig(refuse="case_4"), {"meshes": meshes}, "work.second.1")
        with pytest.raises(InputError, match=r"^(?!step).*case_4"):
            runner.step(WORK, WorkConfig(refuse="case_4"), {"meshes": meshes}, "work")


def test_refused_sample_is_named_inline(tmp_path, counter):
    with runner_in(tmp_path / "p") as runner:
        meshes = runner.step(SOURCE, SourceConfig(), {})
        with pytest.raises(
            InputError, match="stage 'work' on sample case_0, case_1, case_2: the mesh is folded"
        ):
            runner.step(PAIRS, WorkConfig(refuse="case_1"), {"meshes": meshes})
        empty = runner.step(SOURCE, SourceConfig(samples=0), {})
        with pytest.raises(InputError, match="has no samples"):
            runner.step(WORK, WorkConfig(), {"meshes": empty})


def start(folder, counter_file, workers, seconds):
    here = Path(__file__).parent
    environment = {**os.environ, "PYTHONPATH": str(here), "FAKE_COUNTER": str(counter_file)}
    command = [sys.executable, str(here / "killed_run.py"), str(folder), str(workers), str(seconds)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def finished_parts(folder):
    parts = folder / "store" / "parts"
    return {path.name for path in parts.glob("*.zip")} if parts.is_dir() else set()


@pytest.mark.xdist_group("workers")
def test_killed_runs_go_on_where_they_were(tmp_path):
    chance = random.Random(3)
    folder, seconds = tmp_path / "killed", 0.05
    kept: set[str] = set()
    for attempt, (workers, lines) in enumerate([(0, 0), (0, 3), (2, 2), (0, 2), (0, 1)]):
        counter_file = tmp_path / f"counter_{attempt}"
        process = start(folder, counter_file, workers, seconds)
        deadline = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline:
            if counter_file.exists() and len(counter_file.read_text().splitlines()) > lines:
                break
            time.sleep(0.01)
        time.sleep(chance.random() * 0.08)
        process.kill()
        process.communicate()
        time.sleep(1.5 if workers else 0.0)
        assert kept <= finished_parts(folder)
        kept = finished_parts(folder)
    process = start(folder, tmp_path / "counter_last", 0, seconds)
    errors = process.communicate(timeout=60)[1].decode()
    assert process.returncode == 0, errors
    last = tmp_path / "counter_last"
    lines_last = last.read_text().splitlines() if last.exists() else []
    assert sum(line.startswith("work") for line in lines_last) == 24 - len(kept)
    with runner_in(tmp_path / "clean") as runner:
        clean = chain(runner, made=SourceConfig(samples=24), worked=WorkConfig(seconds=seconds))
        wanted = runner.catalog.open(clean[1]).load()
    catalog = Catalog(folder)
    assert sorted(catalog.list()["key"]) == sorted(clean)
    np.testing.assert_array_equal(catalog.open(clean[1])["y"].values, wanted["y"].values)
    gc(catalog)
    assert list(catalog.private.iterdir()) == []
    catalog.close()
