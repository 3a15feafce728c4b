"""Studies in the catalog: points are stored once, leased to one owner, and published with their states."""

import subprocess
import sys
import time
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa
import xarray as xr

from catalogs import environment, studies, study_leases, study_queries
from catalogs.catalog import Catalog, Record
from catalogs.contents import content_of
from catalogs.keys import artifact_key
from catalogs.rows import Item, describe
from catalogs.studies import Point
from catalogs.study_results import Done, Failed, Small, mark_failed, publish_points
from catalogs.tables import artifacts, points
from kernels.errors import InputError


@pytest.fixture
def catalog(tmp_path, database_url):
    made = Catalog(tmp_path / "p", database_url)
    yield made
    made.close()


def new(catalog, name="s", count=6, seed=0):
    study = studies.create(catalog.engine, name, "make", 1, {"seed": seed})
    some = [Point(n, artifact_key("make", 1, {"n": n + seed}, {}), {"n": n + seed}) for n in range(count)]
    studies.add_points(catalog.engine, study.number, some, False)
    return study.number, some


def done(point, inputs=None):
    result = xr.Dataset({"y": ((), float(point.number))})
    record = Record(
        "make", 1, dict(point.parameters), inputs or {}, datetime.now(UTC), 0.1, {"y": float(point.number)}
    )
    item = Item(point.key, record, describe(result), 8, "")
    return Done(point, point.key, record.metrics, time.time(), 0.1, Small(item, b"data", content_of(result)))


def states(catalog, number):
    return [row["state"] for row in study_queries.rows(catalog.engine, number)]


def numbers(leased):
    return [point.number for point in leased[0]]


def test_leases_end_and_dead_owners_lose_theirs(catalog):
    engine = catalog.engine
    number, _ = new(catalog)
    new(catalog, "other", 1, seed=99)
    assert numbers(study_leases.lease(engine, number, "elsewhere:1:1", 4, 30.0, False)) == [0, 1, 2, 3]
    assert numbers(study_leases.lease(engine, number, "elsewhere:2:2", 9, 30.0, False)) == [4, 5]
    assert numbers(study_leases.lease(engine, number, "elsewhere:3:3", 9, 30.0, False)) == []
    study_leases.renew(engine, number, "elsewhere:1:1", -1.0)
    assert numbers(study_leases.lease(engine, number, "elsewhere:3:3", 2, 30.0, False)) == [0, 1]
    assert study_leases.still_leased(engine, number, "elsewhere:1:1", [0, 1, 2, 3]) == {2, 3}
    dead = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    owner = environment.process_name(dead.pid)
    study_leases.renew(engine, number, "elsewhere:2:2", -1.0)
    assert len(study_leases.lease(engine, number, owner, 2, 30.0, False)[0]) == 2
    studies.reopen(engine, number)
    assert study_queries.counts(engine, number)["pending"] == 0
    dead.communicate()
    studies.reopen(engine, number)
    assert study_queries.counts(engine, number)["pending"] == 2


def test_points_with_results_are_done_and_repeated_ones_skipped(catalog):
    number, some = new(catalog, count=3)
    leased, _ = study_leases.lease(catalog.engine, number, "me", 2, 30.0, False)
    assert publish_points(catalog.engine, catalog.writer, number, "me", [done(p) for p in leased]) == (2, 0)
    other = studies.create(catalog.engine, "t", "make", 1, {})
    again = [*some, Point(3, some[2].key, {"n": 2})]
    studies.add_points(catalog.engine, other.number, again, False)
    assert states(catalog, other.number) == ["done", "done", "pending", "skipped"]
    studies.add_points(catalog.engine, other.number, again, False)
    assert len(states(catalog, other.number)) == 4


def test_a_point_that_another_study_computes_is_left_for_later_and_done_by_it(catalog):
    one, some = new(catalog, count=2)
    two, _ = new(catalog, "t", count=2)
    leased = study_leases.lease(catalog.engine, one, "a", 1, 30.0, False)
    assert numbers(study_leases.lease(catalog.engine, two, "b", 5, 30.0, False)) == [1]
    publish_points(catalog.engine, catalog.writer, one, "a", [done(p) for p in leased[0]])
    assert states(catalog, two) == ["done", "running"]
    assert catalog.exists(some[0].key)


def test_publishing_twice_changes_nothing_and_a_lost_lease_fails_nothing(catalog):
    number, _ = new(catalog, count=3)
    leased, _ = study_leases.lease(catalog.engine, number, "a", 3, 30.0, False)
    for _ in range(2):
        publish_points(catalog.engine, catalog.writer, number, "a", [done(leased[0])])
    study_leases.release(catalog.engine, number, "a", [1])
    mark_failed(catalog.engine, number, "a", [Failed(p, "Late", "late\0", 0.0, 0.1) for p in leased])
    assert states(catalog, number) == ["done", "pending", "failed"]
    assert study_queries.failures(catalog.engine, number) == [(2, "Late", "late", None)]
    with catalog.engine.connect() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(artifacts)).scalar() == 1


def test_results_and_states_are_published_together_or_not_at_all(catalog):
    number, _ = new(catalog, count=2)
    leased, _ = study_leases.lease(catalog.engine, number, "a", 2, 30.0, False)
    outcomes = [done(leased[0]), done(leased[1], {"x": "f" * 32})]
    with pytest.raises(InputError, match=r"the inputs x = f+ of stage 'make' are not in the catalog"):
        publish_points(catalog.engine, catalog.writer, number, "a", outcomes)
    assert states(catalog, number) == ["running", "running"]
    assert catalog.list().empty


def test_what_others_published_is_found_by_metrics_and_parameters(catalog):
    study = studies.create(catalog.engine, "s", "make", 1, {})
    point = Point(0, "e" * 32, {"reduce.modes": 3, "text": "x", "n": 1, "inputs.a": "f" * 32})
    studies.add_points(catalog.engine, study.number, [point], False)
    record = Record("make", 1, {"n": 1}, {}, datetime.now(UTC), 0.1, {"old": 1.0})
    catalog.publish(point.key, xr.Dataset({"y": ((), 1.0)}), record)
    leased, found = study_leases.lease(catalog.engine, study.number, "a", 1, 30.0, False)
    assert (leased, found) == ([], 1)
    for _ in range(2):
        outcome = Done(point, point.key, {"rmse": 0.25, "old": 1.0, "nan": float("nan")}, 0.0, 0.1, None)
        publish_points(catalog.engine, catalog.writer, study.number, "a", [outcome])
    wanted = "metrics.rmse < 0.3 and metrics.old == 1 and config.reduce.modes == 3 and config.text == 'x'"
    assert [one.key for one in catalog.search(where=wanted)] == [point.key]
    assert len(catalog.search(where="metrics.rmse > 0.3")) == 0
    shown = catalog.show(point.key)
    assert (shown["config"], shown["metrics"]["rmse"]) == ({"n": 1}, 0.25)


def test_names_of_studies_are_checked(catalog):
    for name in ("", "1a", "a/b", "../x", "a" * 101):
        with pytest.raises(InputError, match="expected a letter, then at most 99 letters"):
            studies.create(catalog.engine, name, "make", 1, {})
    with pytest.raises(InputError, match="there is no study 'x'; there is none yet"):
        studies.get(catalog.engine, "x")
    number, _ = new(catalog)
    assert studies.cancel(catalog.engine, number) == 6
    with catalog.engine.connect() as connection:
        assert set(connection.execute(sa.select(points.c.state)).scalars()) == {"cancelled"}
