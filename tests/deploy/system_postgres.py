"""A PostgreSQL server of the system, with the extension pg_trgm that Prefect needs and the wheel lacks."""

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path


def binaries() -> Path | None:
    """Folder of initdb and postgres, None where there is no server with pg_trgm."""
    found = shutil.which("initdb")
    candidates = [Path(found).resolve().parent] if found else []
    candidates += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    for folder in candidates:
        shared = Path("/usr/share/postgresql") / folder.parent.name
        for place in (shared, folder.parent / "share", folder.parent / "share" / "postgresql"):
            if (folder / "initdb").is_file() and (place / "extension" / "pg_trgm.control").is_file():
                return folder
    return None


@contextlib.contextmanager
def server(folder: Path, port: int, owner: str, password: str) -> Iterator[None]:
    """A server on the loopback with one superuser and a database of its name, as the container has them."""
    programs = binaries()
    assert programs is not None
    user = {"user": "postgres", "extra_groups": []} if os.getuid() == 0 else {}
    secret = folder / "password"
    secret.write_text(password)
    if user:
        shutil.chown(folder, "postgres")
        shutil.chown(secret, "postgres")
    data = str(folder / "data")
    options = ["--auth-host=scram-sha-256", "--auth-local=trust", "--encoding=UTF8", "--no-sync"]
    subprocess.run(
        [programs / "initdb", "-D", data, f"--username={owner}", f"--pwfile={secret}", *options],
        check=True, capture_output=True, cwd=folder, **user,
    )  # fmt: skip
    serve = ["-h", "127.0.0.1", "-p", str(port), "-k", str(folder), "-F"]
    started = subprocess.Popen(
        [programs / "postgres", "-D", data, *serve],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder, **user,
    )  # fmt: skip
    try:
        for command in (["pg_isready", "--timeout=20"], ["createdb", owner]):
            _until(programs, command, folder, port, owner)
        yield
    finally:
        started.terminate()
        started.wait(20)


def _until(programs: Path, command: list[str], folder: Path, port: int, owner: str) -> None:
    deadline = time.monotonic() + 20
    where = [f"--host={folder}", f"--port={port}", f"--username={owner}"]
    while subprocess.run(
        [programs / command[0], *command[1:], *where], capture_output=True, check=False
    ).returncode:
        assert time.monotonic() < deadline, f"{command[0]} does not succeed"
        time.sleep(0.1)
