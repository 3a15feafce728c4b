"""Command line: messages and exit codes."""

import json

import pytest

from pipelines.command_line import main
from pipelines.runner import Runner
from pipelines.settings import settings


@pytest.fixture
def project(tmp_path):
    from fake_stages import SOURCE, TOTAL, WORK, SourceConfig, SumConfig, WorkConfig

    with Runner(settings(project=tmp_path / "p", workers=0, quiet=True)) as runner:
        meshes = runner.step(SOURCE, SourceConfig(), {})
        worked = runner.step(WORK, WorkConfig(), {"meshes": meshes})
        runner.step(TOTAL, SumConfig(), {"worked": worked})
    return str(tmp_path / "p")


def test_catalog_list_show_lineage_gc(project, capsys):
    assert main(["catalog", "list", "--project", project, "--format", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["stage"] for row in rows] == ["source", "work", "total"]
    key = rows[1]["key"]
    assert main(["catalog", "show", key[:9], "--project", project, "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["literature"] == ["A 2020"]
    assert main(["catalog", "lineage", key[:9], "--project", project, "--format", "csv"]) == 0
    assert capsys.readouterr().out.splitlines()[2].startswith("self,0,")
    assert main(["catalog", "list", "--project", project, "--stage", "work"]) == 0
    assert key[:12] in capsys.readouterr().out
    assert main(["catalog", "gc", "--project", project, "--remove", key[:9]]) == 0
    assert "removed: " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["catalog", "list", "--project", "{tmp}/none"], 1, "there is no catalog in"),
        (["catalog", "show", "zzz", "--project", "{project}"], 1, "starts with 'zzz'"),
        (["catalog", "list", "--stage", "morf", "--project", "{project}"], 1, "no artifact of stage 'morf'"),
        (["frobnicate"], 2, "frobnicate"),
        (["catalog", "show"], 2, ""),
        (["catalog", "list", "--format", "xml"], 2, "xml"),
    ],
)
def test_failures_are_one_message(project, tmp_path, capsys, arguments, code, message):
    given = [argument.format(tmp=tmp_path, project=project) for argument in arguments]
    assert main(given) == code
    captured = capsys.readouterr()
    assert message in captured.err + captured.out
    assert "Traceback" not in captured.err


def test_interrupt_is_one_line(project, capsys, monkeypatch):
    def interrupt(*_args, **_kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("catalogs.catalog.Catalog.list", interrupt)
    assert main(["catalog", "list", "--project", project]) == 130
    assert capsys.readouterr().err.startswith("interrupted: ")


def test_wrong_setting_names_the_variable(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("PUSHFORWARD_WORKERS", "-1")
    assert main(["catalog", "list", "--project", str(tmp_path)]) == 1
    assert "wrong setting: workers = '-1'" in capsys.readouterr().err
