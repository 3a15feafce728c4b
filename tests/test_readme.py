"""The README: every command in it exists as it is written, and what it says of the catalog runs."""

import re
import shlex
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from catalogs.catalog import Catalog, Record
from pipelines.command_line import app, main

README = (Path(__file__).resolve().parents[1] / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
COMMANDS = [
    line.split(" #")[0].replace(" ...", "").strip()
    for language, block in BLOCKS
    if not language
    for line in block.splitlines()
    if line.startswith("pushforward")
]


@pytest.fixture
def demo(tmp_path, monkeypatch):
    """A catalog with a model and its scores, in the folder that the README names."""
    monkeypatch.chdir(tmp_path)
    catalog = Catalog(tmp_path / "demo")
    for letter, stage, config, inputs in (
        ("a", "train_gp", {"restarts": 5}, {}),
        ("b", "evaluate", {"vanishing_fraction": 1e-3}, {"model": "a" * 32}),
    ):
        record = Record(
            stage, 1, config, inputs, datetime.now(UTC), 0.1, metrics={"rrmse.gp.max_von_mises": 0.05}
        )
        catalog.publish(letter * 32, xr.Dataset({"u": ("sample", np.arange(3.0))}), record)
    catalog.close()


def test_there_are_commands_of_all_three_ways():
    assert {command.split()[1] for command in COMMANDS} >= {"run", "predict", "catalog", "study", "serve"}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_exists_as_it_is_written(command):
    app.parse_args(shlex.split(command)[1:], exit_on_error=False, print_error=False)


def test_the_catalog_commands_run(demo, capsys):
    for command in COMMANDS:
        if " catalog " in command and "--project demo" in command:
            assert main(shlex.split(command.replace("KEY", "a" * 12))[1:]) == 0, command
    assert "flowchart LR" in capsys.readouterr().out


def test_the_python_of_the_catalog_runs(demo):
    (code,) = (block for language, block in BLOCKS if language == "python")
    names: dict[str, object] = {}
    exec(compile(code, "README.md", "exec"), names)
    assert len(names["models"]) == 1
