"""Tables: what the migrations build is what the code expects, old catalogs are carried over, once."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from catalogs import upgrade
from catalogs.catalog import Catalog
from catalogs.database import engine_for, writing
from catalogs.tables import metadata
from kernels.errors import InputError


@pytest.fixture
def engine(tmp_path, database_url):
    made = engine_for(database_url, tmp_path)
    yield made
    made.dispose()


def first_version(engine, versioned):
    """The tables of version 0.1, with rows, as that version wrote them."""
    from alembic import command

    with writing(engine) as connection:
        command.upgrade(upgrade.configuration(connection), "0001")
        old = sa.MetaData()
        old.reflect(connection)
        row = {
            "stage_version": 2, "config": {"modes": {"default": 8}, "kind": "tutte"},
            "started": "2026-01-02T03:04:05.5+00:00", "created": "2026-01-02T03:04:06+00:00",
            "seconds": 0.5, "host": "h", "user": "u", "code_version": "0.1", "packages": {"numpy": "2"},
            "metrics": {"rmse": 0.25}, "literature": ["B 1999"], "bytes": 12,
            "schema": {"dims": {"sample": 3}, "variables": {"u": {"dims": ["sample"], "dtype": "float64"}}},
        }  # fmt: skip
        rows = [
            {**row, "key": letter * 32, "stage": stage} for letter, stage in (("a", "make"), ("b", "use"))
        ]
        connection.execute(sa.insert(old.tables["artifacts"]), rows)
        edge = {"key": "b" * 32, "name": "mesh", "input_key": "a" * 32}
        connection.execute(sa.insert(old.tables["edges"]), [edge])
        part = {
            "key": "c" * 32, "stage": "make", "artifact": "a" * 32, "owner": "h:1:2", "seconds": 1.0,
            "created": "2026-01-02T03:04:06+00:00", "sizes": {"sample": 1}, "bytes": 5,
        }  # fmt: skip
        connection.execute(sa.insert(old.tables["parts"]), [part])
        connection.execute(sa.insert(old.tables["contents"]), [{"key": "a" * 32, "shared": "s"}])
        digests = [{"key": "a" * 32, "position": i, "digest": f"d{i}", "part": None} for i in range(3)]
        connection.execute(sa.insert(old.tables["samples"]), digests)
        if not versioned:
            connection.execute(sa.text("DROP TABLE alembic_version"))


def test_migrations_build_the_tables_of_the_code(engine):
    upgrade.upgrade(engine)
    with engine.connect() as connection:
        differences = compare_metadata(MigrationContext.configure(connection), metadata)
        assert upgrade.version(connection) == upgrade.LATEST
        assert upgrade.known(upgrade.configuration(connection))[0] == upgrade.LATEST
    assert differences == []


@pytest.mark.parametrize("versioned", [True, False])
def test_an_old_catalog_is_carried_over(tmp_path, database_url, versioned):
    engine = engine_for(database_url, tmp_path)
    first_version(engine, versioned)
    engine.dispose()
    catalog = Catalog(tmp_path, database_url)
    shown = catalog.show("b")
    assert shown["inputs"] == {"mesh": "a" * 32}
    assert (shown["stage"], shown["version"], shown["metrics"]) == ("use", 2, {"rmse": 0.25})
    assert (shown["started"], shown["host"]) == ("2026-01-02T03:04:05.500+00:00", "h")
    assert shown["schema"]["variables"]["u"]["dtype"] == "float64"
    assert catalog.path("a" * 32).name == catalog.show("a")["location"]
    assert catalog.content("a" * 32).samples == ("d0", "d1", "d2")
    assert catalog.part_sizes(["c" * 32]) == {"c" * 32: {"sample": 1}}
    assert list(catalog.list()["samples"]) == [3, 3]
    with catalog.engine.connect() as connection:
        found = {
            name: sorted(tuple(row) for row in connection.execute(sa.text(f"SELECT {columns} FROM {name}")))
            for name, columns in (("settings", "name, number, text"), ("metrics", "name, value"))
        }
        assert [t for t in sa.inspect(connection).get_table_names() if t.endswith("_0001")] == []
    assert found["settings"] == sorted([("kind", 0.0, "tutte"), ("modes.default", 8.0, "")] * 2)
    assert found["metrics"] == [("rmse", 0.25)] * 2
    catalog.close()


def test_later_tables_are_refused(tmp_path, database_url):
    catalog = Catalog(tmp_path, database_url)
    with writing(catalog.engine) as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    catalog.close()
    with pytest.raises(
        InputError, match=r"have version 9999, .* a later pushforward made them; install that"
    ):
        Catalog(tmp_path, database_url)


def test_two_that_open_at_once_upgrade_once(tmp_path, database_url):
    engine = engine_for(database_url, tmp_path)
    first_version(engine, True)
    engine.dispose()
    with ThreadPoolExecutor(4) as pool:
        catalogs = list(pool.map(lambda _: Catalog(tmp_path, database_url), range(4)))
    assert [list(c.list()["stage"]) for c in catalogs] == [["make", "use"]] * 4
    for catalog in catalogs:
        catalog.close()


def test_a_failing_upgrade_changes_nothing(tmp_path, database_url, monkeypatch):
    engine = engine_for(database_url, tmp_path)
    first_version(engine, True)
    with monkeypatch.context() as patch:
        patch.setattr("sqlalchemy.insert", None)
        with pytest.raises(TypeError, match="'NoneType' object is not callable"):
            upgrade.upgrade(engine)
    with engine.connect() as connection:
        assert upgrade.version(connection) == "0001"
        assert connection.execute(sa.text("SELECT count(*) FROM artifacts")).scalar() == 2
        assert not sa.inspect(connection).has_table("artifacts_0001")
    upgrade.upgrade(engine)
    engine.dispose()
