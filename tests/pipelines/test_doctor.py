"""The doctor: each check says what is wrong and what to do, and none can break the others."""

import collections
import importlib.util
import json
import sys
import threading
import types
from pathlib import Path

import pytest

from pipelines import _doctor_gpu as gpu
from pipelines import _doctor_machine as machine
from pipelines import _doctor_packages as packages
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


def _write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
