"""What begins before Prefect is there: the first steps, the process workers are copies of, the server."""

import os
import signal
import threading

import pytest
from fake_stages import SOURCE, WORK, SourceConfig, WorkConfig

from kernels.errors import InputError
from pipelines import embedded_prefect, fork_server, local_server
from pipelines.cluster import Cluster
from pipelines.command_line import main
from pipelines.early import early
from pipelines.head_start import HeadStart
from pipelines.runner import Runner
from pipelines.settings import settings


class Steps:
    """A pipeline of the steps a, b and c, where `b` waits until the test says so."""

    def __init__(self, monkeypatch, failing=""):
        self.done, self.entered, self.go_on = [], threading.Event(), threading.Event()
        self._failing = failing
        monkeypatch.setattr("pipelines.head_start.diagram", self._diagram)
        monkeypatch.setattr("pipelines.head_start.stepper", lambda config, runner: self._step)

    def _diagram(self, config, step, provenance):
        for name in "abc":
            step(name)
        provenance({})

    def _step(self, name):
        if name == self._failing:
            raise InputError("refused")
        if name == "b":
            self.entered.set()
            assert self.go_on.wait(60)
        self.done.append(name)


def test_the_step_that_is_on_goes_on_and_none_begins_after_it(monkeypatch):
    steps = Steps(monkeypatch)
    ahead = HeadStart(None, None)
    assert steps.entered.wait(60)
    ahead.over()
    steps.go_on.set()
    ahead.join()
    assert steps.done == ["a", "b"]


def test_an_error_is_left_to_the_flow(monkeypatch):
    steps = Steps(monkeypatch, failing="b")
    HeadStart(None, None).join()
    assert steps.done in ([], ["a"])


def test_a_step_that_two_threads_ask_for_is_computed_once(tmp_path, monkeypatch):
    counter = tmp_path / "counter"
    monkeypatch.setenv("FAKE_COUNTER", str(counter))
    with Runner(settings(project=tmp_path / "p", workers=0, quiet=True)) as runner:
        meshes = runner.step(SOURCE, SourceConfig(), {})
        entered, keys = threading.Event(), []
        compute = runner._compute

        def slowly(*given):
            entered.set()
            second.start()
            compute(*given)

        def ask():
            keys.append(runner.step(WORK, WorkConfig(), {"meshes": meshes}))

        second = threading.Thread(target=ask)
        monkeypatch.setattr(runner, "_compute", slowly)
        ask()
        second.join(60)
    assert entered.is_set()
    assert len(keys) == 2
    assert len(set(keys)) == 1
    done = [line for line in counter.read_text().splitlines() if line.startswith("work")]
    assert sorted(done) == [f"work case_{i}" for i in range(7)]


def _state(names):
    import sys

    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    return {name: os.environ.get(name) for name in names}, "stages.registry" in sys.modules, blocked


@pytest.mark.xdist_group("workers")
def test_workers_are_copies_with_the_environment_of_the_day(monkeypatch):
    fork_server.start()
    monkeypatch.setenv("FAKE_VARIABLE", "after the server")
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    cluster = Cluster(1, copies=True)
    try:
        client = cluster.client()
        (answer,) = client.run(_state, ["FAKE_VARIABLE", *fork_server.THREADS]).values()
    finally:
        cluster.close()
    variables, imported, blocked = answer
    assert variables == {"FAKE_VARIABLE": "after the server", **fork_server.THREADS}
    assert imported, "the copy has what a part needs"
    assert signal.SIGINT in blocked, "the run ends its workers; the terminal's Ctrl-C is for the run"
    assert os.environ["OMP_NUM_THREADS"] == "7", "the run itself is as it was"


@pytest.fixture
def begun(monkeypatch):
    """What `early` starts, instead of starting it."""
    started = []
    monkeypatch.setattr(fork_server, "start", lambda: started.append("workers"))
    monkeypatch.setattr(embedded_prefect, "LocalServer", lambda: started.append("server"))
    monkeypatch.setattr(embedded_prefect, "prepare", lambda project: None)
    monkeypatch.setenv("PREFECT_HOME", "nowhere")
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    return started


def test_only_what_a_new_project_needs_begins_early(tmp_path, begun, monkeypatch):
    monkeypatch.chdir(tmp_path)
    new = tmp_path / "new"
    for given, prefect, wanted in (
        ({"workers": 2}, True, ["workers", "server"]),
        ({"workers": 0}, True, ["server"]),
        ({"workers": 2}, False, ["workers"]),
        ({"workers": 2, "scheduler": "tcp://127.0.0.1:9"}, False, []),
        ({"workers": 2, "database_url": "postgresql://x"}, True, []),
    ):
        with early(settings(project=new, **given), prefect):
            assert begun == wanted
        begun.clear()
    new.mkdir()
    (new / "catalog.db").touch()
    with early(settings(project=new, workers=2), True):
        assert begun == [], "all may be there already"


def test_a_wrong_config_leaves_nothing(tmp_path, begun, capsys, monkeypatch):
    config = tmp_path / "config.toml"
    config.write_text("[simulat]\n")
    (tmp_path / "mine").mkdir()
    for name in ("new", "mine"):
        project = tmp_path / name
        monkeypatch.setattr(embedded_prefect, "LocalServer", (project / ".prefect").mkdir)
        monkeypatch.setattr(embedded_prefect, "prepare", lambda folder: folder.mkdir(exist_ok=True))
        arguments = ["run", "surrogate", "--config", str(config), "--project", str(project)]
        assert main([*arguments, "--workers", "0"]) == 1
        assert "unknown field 'simulat'; did you mean 'simulate'?" in capsys.readouterr().err
        assert project.exists() == (name == "mine")
        assert not (project / ".prefect").exists()


def test_a_server_that_is_named_is_used(tmp_path, begun, monkeypatch):
    monkeypatch.chdir(tmp_path)
    where = settings(project=tmp_path / "new", workers=0)
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    with early(where, True):
        assert begun == []
    monkeypatch.delenv("PREFECT_API_URL")
    (tmp_path / "pyproject.toml").write_text('[project]\ndependencies = ["prefect"]\n')
    with early(where, True):
        assert begun == ["server"], "a file that says nothing of servers"


def test_a_server_that_does_not_start_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    tried = []

    def start(command, environment):
        tried.append(command)
        return start_server(["no_such_module"], environment)

    start_server = local_server.start_server
    monkeypatch.setattr(local_server, "start_server", start)
    server = local_server.LocalServer()
    with pytest.raises(InputError, match=r"server did not start .* see .*server\.log, or name a running"):
        server.address()
    server.stop()
    assert len(tried) == local_server._TRIES
    assert "no_such_module" in (tmp_path / "server.log").read_text()
