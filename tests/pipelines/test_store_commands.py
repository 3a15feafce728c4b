"""The commands that verify, move and recover data."""

import json
from datetime import UTC, datetime

import numpy as np
import pytest
import xarray as xr
from cyclopts import App

from catalogs.catalog import Catalog, Record
from catalogs.keys import artifact_key
from kernels.errors import InputError
from pipelines.store_commands import add_store_commands


@pytest.fixture
def command():
    app = App(name="catalog")
    add_store_commands(app)
    return lambda *arguments: app(
        [str(a) for a in arguments], exit_on_error=False, print_error=False, result_action="return_value"
    )


def numbers():
    return xr.Dataset({"u": ("sample", np.random.default_rng(0).random(20_000))})


def test_verify_export_import_and_recover(tmp_path, command, capsys):
    catalog = Catalog(tmp_path / "p")
    key = artifact_key("make", 1, {"n": 1}, {})
    catalog.publish(key, numbers(), Record("make", 1, {"n": 1}, {}, datetime.now(UTC), 0.1))
    chunk = catalog.path(key) / "u" / "c" / "0"
    catalog.close()
    assert command("verify", "--project", tmp_path / "p", "--format", "json") == 0
    assert json.loads(capsys.readouterr().out) == []
    with pytest.raises(InputError, match="nothing to export: give at least one key"):
        command("export", "-o", tmp_path / "a.zip", "--project", tmp_path / "p")
    command("export", key[:8], "-o", tmp_path / "a.zip", "--project", tmp_path / "p")
    capsys.readouterr()
    command("import", tmp_path / "a.zip", "--project", tmp_path / "q", "--format", "json")
    assert [row["result"] for row in json.loads(capsys.readouterr().out)] == ["imported"]

    for file in (tmp_path / "p").glob("catalog.db*"):
        file.unlink()
    command("recover", "--project", tmp_path / "p", "--format", "json")
    assert [row["result"] for row in json.loads(capsys.readouterr().out)] == ["recovered"]
    catalog = Catalog(tmp_path / "p")
    xr.testing.assert_identical(catalog.open(key).load(), numbers())
    assert catalog.show(key)["config"] == {"n": 1}
    catalog.close()
    chunk.write_bytes(chunk.read_bytes()[:-1])
    assert command("verify", key[:8], "--project", tmp_path / "p", "--format", "json") == 1
    assert [row["variable"] for row in json.loads(capsys.readouterr().out)] == ["u"]


def test_compact(tmp_path, command, capsys, monkeypatch):
    monkeypatch.setattr("catalogs.growing.WORTH_BYTES", 0)
    catalog = Catalog(tmp_path / "p")
    key = artifact_key("make", 1, {}, {})
    catalog.publish(key, numbers(), Record("make", 1, {}, {}, datetime.now(UTC), 0.1))
    for night in range(2):
        catalog.name(key, "bars")
        key = catalog.extend("bars", xr.Dataset({"u": ("sample", [10.0 + night])}))
    with pytest.raises(InputError, match="nothing to compact: expected keys of artifacts, or --all"):
        command("compact", "--project", tmp_path / "p")

    def table(*arguments):
        command("compact", *arguments, "--project", tmp_path / "p", "--format", "json")
        return [(row["key"], row["segments"]) for row in json.loads(capsys.readouterr().out)]

    assert table("--all") == []
    assert table("bars", "--dry-run") == [(key, 3)]
    assert table("bars", "bars@1") == [(key, 3)]
    assert table("bars") == []
    np.testing.assert_array_equal(catalog.open("bars")["u"][-3:], [*numbers()["u"].values[-1:], 10.0, 11.0])
    catalog.close()
