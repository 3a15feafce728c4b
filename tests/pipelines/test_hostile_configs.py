"""Config files of every kind, hostile or damaged: a message or a config, nothing run, nothing written."""

import random
import sys

import pytest
from hostile_configs import CANARY, LOADERS, document, outcome
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kernels.errors import InputError
from pipelines.command_line import main
from pipelines.config import load_config
from pipelines.schedules import load_deployments
from pipelines.studies.definition import load_study, parse_study
from pipelines.studies.designs import columns

STARTED: list[str] = []
_watched = ("os.system", "os.exec", "os.posix_spawn", "subprocess.Popen", "socket.connect", "os.fork")
sys.addaudithook(lambda event, _: STARTED.append(event) if event in _watched else None)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    (folder / "points.csv").write_text("train,seed\n4,1\n5,2\n")
    return folder


@pytest.mark.parametrize("kind", LOADERS)
def test_a_hostile_config_gives_a_message_or_a_config(kind, folder, monkeypatch):
    monkeypatch.chdir(folder)
    outcome(kind, document(kind, random.Random(0)), folder)  # what it imports starts processes
    started = len(STARTED)

    @settings(max_examples=200, derandomize=True, deadline=None, database=None,
              suppress_health_check=[HealthCheck.too_slow])  # fmt: skip
    @given(seed=st.integers(0, 2**32))
    def attempt(seed):
        outcome(kind, document(kind, random.Random(seed)), folder)

    attempt()
    assert STARTED[started:] == []
    assert not list(folder.rglob(CANARY))
    assert {path.name for path in folder.iterdir()} - {f"{kind}.toml" for kind in LOADERS} == {"points.csv"}


DEEP = "a" + ".a" * 3000 + " = 1"
TEXTS = [
    ("a = " + "9" * 5000, "is not a TOML file: Exceeds the limit"),
    ("a = 0x" + "f" * 500, "holds a whole number of more than 64 bits"),
    (DEEP, "has more than 20 tables and lists inside one another"),
    ("a = " + "[" * 3000 + "]" * 3000, "is not a TOML file"),
    ("a = '\x01'", "is not a TOML file: Found invalid character|is not a TOML file: Illegal character"),
    (b"a = '\xff'", "is not a TOML file: 'utf-8' codec"),
]


@pytest.mark.parametrize(("text", "message"), TEXTS)
@pytest.mark.parametrize("load", [load_config, load_deployments, load_study])
def test_files_that_are_not_what_toml_allows(tmp_path, load, text, message):
    file = tmp_path / "c.toml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError, match=message):
        load(file)


def test_long_values_and_many_mistakes_are_cut(tmp_path):
    (tmp_path / "c.toml").write_text(f'source = "{"x" * 9999}"\n' + "\n".join(f"k{i} = 1" for i in range(99)))
    with pytest.raises(InputError, match=r"x\.\.\. \(10001 characters\).*; and 90 more") as caught:
        load_config(tmp_path / "c.toml")
    assert len(str(caught.value)) < 6000


def test_names_that_are_no_files(tmp_path):
    for name in ("y" * 5000, "a\\u0000b", "../" * 2000):
        (tmp_path / "d.toml").write_text(
            f'[[deployment]]\nname = "n"\npipeline = "surrogate"\nconfig = "{name}"'
        )
        with pytest.raises(InputError, match="deployment 'n': there is no config file"):
            load_deployments(tmp_path / "d.toml")


@pytest.mark.parametrize("name", ["../../evil", "/abs", "", ".", "a/b", "a\0", "\udc80", "x" * 101, "a\n"])
def test_the_name_of_a_study_is_that_of_a_folder(name):
    design = {"method": "grid", "parameters": {"seed": [1]}}
    with pytest.raises(InputError, match=r"study: field 'name' is .*: String should match pattern|unicode"):
        parse_study({"name": name, "stage": "design", "design": design})


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "surrogate", "--config", "CONFIG"], ["run", "nightly", "--config", "CONFIG"],
        ["study", "run", "CONFIG", "--dry-run"], ["serve", "CONFIG"],
    ],
)  # fmt: skip
def test_the_command_line_shows_a_message(arguments, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    for text in (DEEP, "a = " + "9" * 5000, 'name = "../../evil"'):
        (tmp_path / "c.toml").write_text(text)
        assert main(["c.toml" if word == "CONFIG" else word for word in arguments]) == 1
        written = capfd.readouterr().err
        assert written.startswith("error: c.toml")
        assert "Traceback" not in written
    assert [path.name for path in tmp_path.iterdir()] == ["c.toml"]


@pytest.mark.parametrize(
    ("design", "message"),
    [
        ({"method": "random", "samples": 2**53}, "has 9007199254740992 points, expected at most 10000000"),
        ({"method": "latin_hypercube", "samples": [4, 2**40]}, "expected at most 10000000"),
        ({"method": "saltelli", "samples": 2**23}, "has 25165824 points, expected at most 10000000"),
        ({"method": "grid", "count": 2**63 - 1}, "less than or equal to 10000000"),
        ({"method": "grid", "count": 4000}, "the grid has 16000000 points, expected at most 10000000"),
    ],
)
def test_designs_too_large_for_any_memory(design, message):
    entry = {"low": 0.0, "high": 1.0}
    if "count" in design:
        entry["count"] = design.pop("count")
    names = ["seed"] if design["method"] != "grid" else ["seed", "train"]
    with pytest.raises(InputError, match=message):
        columns(
            parse_study({"name": "s", "design": {**design, "parameters": dict.fromkeys(names, entry)}}).design
        )
