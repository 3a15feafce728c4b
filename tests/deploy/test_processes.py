"""The processes of the compose files, started by hand with exactly their commands."""

import base64
import contextlib
import os
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import system_postgres
from certificates import make_certificates, variables
from deploy_files import SECRETS, compose, free_ports, healthy, listening, process, replaced

from pipelines import _doctor_services as services

CERTIFICATES = "/certificates"


def _started(stack, service, folder, changes, extra=None):
    """The service's process, with the names and ports of its containers replaced by those of the test."""
    environment = {**replaced(service.get("environment", {}), changes), **(extra or {})}
    return stack.enter_context(process(replaced(service["command"], changes), environment, folder))


def _check(service, changes):
    return replaced(service["healthcheck"]["test"][1:], changes)


@pytest.fixture
def database():
    """Where the Prefect server keeps its runs: the container's PostgreSQL, or SQLite where there is none."""
    service = compose("compose.yaml")["prefect-database"]["environment"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)  # as root the server runs as a user of its own
        if system_postgres.binaries() is None:
            yield {"PREFECT_SERVER_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{folder}/prefect.db"}, {}
            return
        port = free_ports(1)[0]
        owner, password = service["POSTGRES_USER"], service["POSTGRES_PASSWORD"]
        with system_postgres.server(folder, port, owner, password):
            yield {}, {"prefect-database:5432": f"127.0.0.1:{port}"}


@pytest.mark.timeout(180)
def test_prefect_server_and_serve(database, tmp_path, monkeypatch):
    port, runner_port = free_ports(2)
    service = compose("compose.yaml")["prefect-server"]
    instead, moved = database
    changes = {"4200": str(port), "0.0.0.0": "127.0.0.1", **moved}
    auth = service["environment"]["PREFECT_SERVER_API_AUTH_STRING"]
    ui = {"PREFECT_SERVER_UI_STATIC_DIRECTORY": str(tmp_path / "ui"), "PREFECT_HOME": str(tmp_path / "home")}
    with contextlib.ExitStack() as stack:
        server = _started(stack, service, tmp_path / "server", changes, {**instead, **ui})
        healthy(_check(service, changes), server, tmp_path / "server", 120)
        serve = _serve(
            stack, tmp_path, {"prefect-server:4200": f"127.0.0.1:{port}", "8080": str(runner_port)}
        )
        assert listening(server) == {"127.0.0.1"}
        api = f"http://127.0.0.1:{port}/api"
        assert _status(f"{api}/flows/count", None) == 401
        assert _status(f"{api}/flows/count", "group:wrong") == 401
        assert _status(f"{api}/flows/count", auth) == 200
        monkeypatch.setenv("PREFECT_API_URL", api)
        assert "is not set" in services.prefect().found
        monkeypatch.setenv("PREFECT_API_AUTH_STRING", auth)
        assert services.prefect().state == "ok"

        healthy(
            _check(compose("compose.yaml")["serve"], {"8080": str(runner_port)}),
            serve,
            tmp_path / "serve",
            60,
        )
        assert listening(serve) == {"127.0.0.1"}


def _serve(stack, folder, changes):
    """`pushforward serve`, which the runner's own health check watches."""
    service = compose("compose.yaml")["serve"]
    names = ("PUSHFORWARD_DATABASE_URL", "PUSHFORWARD_STORE_URL", "PUSHFORWARD_SCHEDULER")
    service = {**service, "environment": {k: v for k, v in service["environment"].items() if k not in names}}
    extra = {"PUSHFORWARD_PROJECT": str(folder / "project"), "PREFECT_HOME": str(folder / "serve-home")}
    return _started(stack, service, folder / "serve", changes, extra)


def _status(url, auth):
    request = urllib.request.Request(
        url, data=b"{}", headers={"Content-Type": "application/json"}, method="POST"
    )
    if auth:
        request.add_header("Authorization", "Basic " + base64.b64encode(auth.encode()).decode())
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def _dask(stack, folder, files, certificates):
    """Scheduler and workers of the compose files; the scheduler's address."""
    port, health, worker_health = free_ports(3)
    both = compose(*files)
    changes = {
        "0.0.0.0": "127.0.0.1",
        "dask-scheduler:8786": f"127.0.0.1:{port}",
        "8786": str(port),
        "8787": str(health),
        "8790": str(worker_health),
        "/tmp": str(folder / "work"),
    }
    tls = {
        CERTIFICATES + "/" + name: str(certificates / name) for name in ("ca.pem", "dask.pem", "dask-key.pem")
    }
    (folder / "work").mkdir()
    scheduler = _started(stack, both["dask-scheduler"], folder / "scheduler", {**changes, **tls})
    healthy(_check(both["dask-scheduler"], changes), scheduler, folder / "scheduler")
    worker = both["dask-worker"]
    command = [*worker["command"], "--host", "127.0.0.1"]
    worker = _started(stack, {**worker, "command": command}, folder / "worker", {**changes, **tls})
    healthy(_check(both["dask-worker"], changes), worker, folder / "worker")
    assert listening(scheduler) == {"127.0.0.1"}
    assert listening(worker) == {"127.0.0.1"}
    protocol = "tls" if "compose.tls.yaml" in files else "tcp"
    return f"{protocol}://127.0.0.1:{port}"


def _asked(address, environment):
    """State and text of the doctor's finding on Dask, in a process with that environment."""
    ask = f"from pipelines._doctor_services import dask; f = dask({address!r}); print(f.state, f.found)"
    bare = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    done = subprocess.run(
        [sys.executable, "-W", "error::RuntimeWarning", "-c", ask],
        env={**bare, **environment, "PYTHONPATH": str(Path(services.__file__).parents[1])},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return done.stdout.partition(" ")[::2]


@pytest.mark.timeout(120)
def test_dask_without_tls(tmp_path):
    with contextlib.ExitStack() as stack:
        address = _dask(stack, tmp_path, ("compose.yaml",), tmp_path)
        state, found = _asked(address, {})
    assert (state, found.strip()) == ("ok", f"{address}: 2 workers")


@pytest.mark.timeout(120)
def test_dask_with_tls_lets_in_who_has_a_certificate(tmp_path):
    from distributed import Client, Security

    make_certificates(tmp_path / "ours", ["127.0.0.1"])
    make_certificates(tmp_path / "theirs", ["127.0.0.1"])
    ours = variables(tmp_path / "ours")
    with contextlib.ExitStack() as stack:
        address = _dask(stack, tmp_path, ("compose.yaml", "compose.tls.yaml"), tmp_path / "ours")
        with Client(address, security=_security(tmp_path / "ours", Security), timeout=20) as client:
            assert client.submit(pow, 7, 2).result(timeout=20) == 49
        authority = {name: value for name, value in ours.items() if "CLIENT" not in name}
        asking = [
            (address, ours),
            (address, variables(tmp_path / "theirs")),
            (address, authority),
            (address.replace("tls", "tcp"), {}),
        ]
        with ThreadPoolExecutor(len(asking)) as pool:
            answers = [entry.result() for entry in [pool.submit(_asked, *question) for question in asking]]
    assert [state for state, _ in answers] == ["ok", "failure", "failure", "failure"]
    assert answers[0][1].strip() == f"{address}: 2 workers"


def _security(folder, kind):
    return kind(
        require_encryption=True,
        tls_ca_file=str(folder / "ca.pem"),
        tls_client_cert=str(folder / "dask.pem"),
        tls_client_key=str(folder / "dask-key.pem"),
    )


def test_certificates_are_private_and_not_overwritten(tmp_path):
    make_certificates(tmp_path / "c", ["node7", "10.0.0.7"])
    assert {file.stat().st_mode & 0o777 for file in (tmp_path / "c").iterdir()} == {0o600}
    with pytest.raises(FileExistsError, match=r"holds ca\.pem"):
        make_certificates(tmp_path / "c", ["node7"])


def test_every_secret_of_these_tests_is_one_of_the_compose_file():
    text = "".join(str(service) for service in compose("compose.yaml", "compose.tls.yaml").values())
    assert all(value in text for value in SECRETS.values())
