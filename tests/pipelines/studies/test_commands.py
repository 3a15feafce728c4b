"""Commands of studies: what people see of one that runs, fails, hangs, goes on, is shown and compared."""

import json

import pytest
from study_stages import POINT

from pipelines.command_line import main
from stages.registry import STAGES

FAILING = """
name = "cli"
stage = "point"
[design]
method = "zip"
[design.parameters]
a = [1.0, 2.0, 3.0, 4.0]
kind = ["plain", "refuse", "bug", "refuse"]
"""
GROWING = """
name = "rand"
stage = "point"
[design]
method = "random"
samples = 4
[design.parameters]
a = { low = 0.1, high = 10.0, log = true }
"""


@pytest.fixture
def command(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(STAGES, "point", POINT)
    monkeypatch.setenv("PUSHFORWARD_WORKERS", "0")
    monkeypatch.setenv("PUSHFORWARD_PROJECT", str(tmp_path / "p"))
    for name, text in (("cli", FAILING), ("rand", GROWING)):
        (tmp_path / f"{name}.toml").write_text(text)

    def run(*given):
        words = [str(tmp_path / word) if word.endswith(".toml") else word for word in given]
        status = main(["study", *words])
        shown = capsys.readouterr()
        assert "Traceback" not in shown.out + shown.err
        return status, shown.out, shown.err

    return run


def test_a_study_that_fails_in_part(command):
    status, out, _ = command("run", "cli.toml", "--dry-run")
    assert status == 0
    assert out == "study cli: 4 pending; no finished point to estimate the time from; nothing was run\n"
    status, out, err = command("run", "cli.toml")
    assert status == 1
    assert out.endswith("study cli: 1 done, 3 failed; computed now: 4\n")
    assert "study cli: 1 done, 3 failed; " in err
    assert "error: 3 points failed: 2 x InputError: no result at a = #: take another; 1 x Zero" in err
    assert "See `pushforward study status cli`, mend the cause, and run again with --retry-failed" in err
    status, out, err = command("run", "cli.toml")
    assert (status, out) == (1, "study cli: 1 done, 3 failed; computed now: 0\n")
    assert "everything is there already but 3 points that failed (--retry-failed)" in err
    assert command("run", "cli.toml", "--retry-failed", "--quiet")[1].endswith("computed now: 3\n")
    status, _, err = command("run", "cli.toml", "--retry-failed", "--max-failures", "0")
    assert status == 1
    assert "error: study 'cli' was stopped: " in err
    assert "allowed are 0 (max_failures)" in err
    status, out, _ = command("status", "cli")
    assert status == 0
    for text in ("Failures", "no result at a = 2.0: take another", "ZeroDivisionError"):
        assert text in out
    rows = json.loads(command("status", "--format", "json")[1])
    assert (rows[0]["study"], rows[0]["done"], rows[0]["failed"] + rows[0]["pending"]) == ("cli", 1, 3)
    lines = command("show", "cli", "--format", "csv")[1].splitlines()
    assert lines[0].startswith("point,state,a,kind,quality,y,seconds,attempts,failure")
    assert lines[1].startswith("0,done,1.0,plain,0.0,2.0,")


def test_a_study_that_grows_and_is_cancelled_compared_and_reported(command, tmp_path):
    assert command("run", "rand.toml", "--quiet") == (0, "study rand: 4 done; computed now: 4\n", "")
    assert command("run", "rand.toml", "--dry-run")[1].startswith("study rand: 4 done; about 0 s")
    assert command("extend", "rand", "--samples", "3", "--quiet")[1] == (
        "study rand: 7 done; computed now: 3\n"
    )
    assert command("cancel", "rand")[1] == "study rand: 0 points cancelled\n"
    assert command("run", "cli.toml", "--quiet")[0] == 1
    table = json.loads(command("diff", "rand", "cli", "--format", "json")[1])
    assert [row["what"] for row in table] == ["only in rand"] * 7 + ["only in cli"] * 4
    report = tmp_path / "report.html"
    assert command("show", "rand", "--output", str(report)) == (0, f"written: {report}\n", "")
    assert "7 points: 7 done" in report.read_text()
    for given, message in (
        (["status", "none"], "there is no study 'none'; there are: rand, cli"),
        (["extend", "cli", "--samples", "3"], "has a design of method 'zip', which has no samples"),
        (["extend", "rand", "--samples", "0"], "--samples 0: expected how many to add, at least 1"),
        (["show", "rand", "--output", "x.xls"], "expected a name ending in .parquet, .csv, .nc or .html"),
        (["run", "nothere"], "there is no study file nothere: give a TOML file, or one of the shipped"),
    ):
        status, _, err = command(*given)
        assert (status, err[:7]) == (1, "error: ")
        assert message in err


def test_a_point_that_hangs(command, tmp_path):
    text = FAILING.replace('"refuse", "bug", "refuse"', '"hang", "plain", "print"') + "[run]\ntimeout = 3\n"
    (tmp_path / "slow.toml").write_text(text)
    status, out, err = command("run", "slow.toml", "--quiet")
    assert (status, out) == (1, "study cli: 3 done, 1 failed; computed now: 4\n")
    assert "1 x TimeOut: the point ran longer than # s: its process was ended; raise run.timeout" in err
    assert (
        "studies/cli/logs/000001.log" in json.loads(command("show", "cli", "--format", "json")[1])[1]["log"]
    )
