"""Hostile text in marks, addresses and records, on both databases: a message or what was given back."""

import contextlib
import string
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from catalogs import studies
from catalogs.catalog import Catalog, Record
from catalogs.database import engine_for
from catalogs.tables import artifacts
from catalogs.where import storable_text
from kernels.errors import InputError

TEXT = st.one_of(
    st.text(max_size=40),
    st.text(alphabet=string.printable + "\0\ud800\udfffé", max_size=40),
    st.sampled_from(
        ["", "x" * 20_000, "a" * 32, "set@" + "9" * 30, "set@latest", "@", "'; DROP TABLE tags; --",
         "../../x", "%s", "%(a)s", ":a", "E'\\x00'", "$$", "{0}", "\0", "a\0", "\ud800", "\udcff",
         "9223372036854775808"]
    ),
)  # fmt: skip


def record(**given):
    return Record(
        "make", 1, given.get("config", {}), {}, datetime.now(UTC), 0.1, metrics=given.get("metrics")
    )


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def catalog(request, tmp_path_factory):
    url = None if request.param == "sqlite" else request.getfixturevalue("postgres")()
    catalog = Catalog(tmp_path_factory.mktemp("hostile") / "project", url)
    catalog.publish("a" * 32, xr.Dataset({"u": ((), 1.0)}), record(config={"kind": "x"}))
    yield catalog
    catalog.close()


quick = settings(
    derandomize=True, deadline=None, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip


@settings(quick, max_examples=60)
@given(text=TEXT)
def test_marks_and_addresses(catalog, text):
    key = "a" * 32
    for act in (
        lambda: catalog.tag(key, text),
        lambda: catalog.untag(key, text),
        lambda: catalog.move_tag(text, key),
        lambda: catalog.tagged(text),
        lambda: catalog.name(key, text),
        lambda: catalog.lineage(text),
        lambda: catalog.show(text),
        lambda: catalog.list(stage=text),
        lambda: studies.get(catalog.engine, text),
    ):
        with contextlib.suppress(InputError):
            act()
    with contextlib.suppress(InputError):
        catalog.note(key, text)
        assert catalog.show(key)["note"] == text
    assert list(catalog.list()["key"]) == [key]


@settings(quick, max_examples=15)
@given(text=TEXT)
def test_records_come_back_as_they_were(catalog, text):
    key, config = "b" * 32, {"kind": text, text or "name": 3, "inner": {"list": [text]}}
    data = xr.Dataset({"u": ((), 1.0)})
    try:
        catalog.publish(key, data, record(config=config, metrics={text: 0.5}))
    except InputError:
        assert not catalog.exists(key)
        return
    shown = catalog.show(key)
    if storable_text(text):
        assert shown["config"] == config
        assert shown["metrics"] == {text: 0.5}
    assert catalog.search(stage="make").facets()["stage"] == {"make": 2}
    catalog.remove(key)


@pytest.mark.parametrize("text", ["a\0b", "\ud800"])
def test_what_no_database_holds_is_refused_at_the_last(catalog, text):
    if catalog.engine.dialect.name == "sqlite" and "\0" in text:
        pytest.skip("SQLite holds it")
    with (
        catalog.engine.connect() as connection,
        pytest.raises(InputError, match="database cannot hold a value that was given"),
    ):
        connection.execute(sa.select(artifacts.c.id).where(artifacts.c.stage == text))
    with (
        catalog.engine.connect() as connection,
        pytest.raises(InputError, match=r"cannot hold a value that was given .*take smaller numbers"),
    ):
        connection.execute(sa.update(artifacts).values(version=2**70))
    assert len(catalog.list()) == 1


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:geheim@h/d", "postgresql+psycopg://u:geheim@h:abc/d", "mysql+nothing://u:ge:heim@h@h/d",
        "postgresql+psycopg://u:geheim@[::1/d", "sqlite+aiosqlite:///x", "x", "", "a\0b",
    ],
)  # fmt: skip
def test_a_wrong_database_url_is_a_message_without_its_password(tmp_path, url):
    with pytest.raises(InputError, match=r"database URL .* cannot be used .* expected one like") as caught:
        engine_for(url, tmp_path)
    assert "heim" not in str(caught.value)
