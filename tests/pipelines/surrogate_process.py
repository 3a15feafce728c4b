"""`pushforward run surrogate` as a process of its own on a tiny set, to be killed, and what it left."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from bars import simulated_toml

from catalogs.catalog import Catalog

_COMMAND = "import sys; from pipelines.command_line import main; sys.exit(main())"
_MARK = "PUSHFORWARD_KILLED_RUN"


def _environment() -> dict[str, str]:
    """That of a new terminal: runs in this process leave settings of Prefect behind."""
    ours = ("PREFECT_", "PUSHFORWARD_")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}


class Run:
    """One run with two workers in `project`; every process it starts carries its mark. Output goes to files
    beside the project, since a process that is left over would keep a pipe open.
    """

    def __init__(self, project: Path, text: str | None = None) -> None:
        project.parent.mkdir(parents=True, exist_ok=True)
        config = project.with_suffix(".toml")
        config.write_text(text or simulated_toml(8, 4))
        self.project, self._log = project, project.with_suffix(f".{time.monotonic_ns()}.log")
        self._mark = f"{_MARK}={self._log}"
        options = ["--config", str(config), "--project", str(project), "--workers", "2"]
        with self._log.open("wb") as log:
            self.driver = subprocess.Popen(
                [sys.executable, "-c", _COMMAND, "run", "surrogate", *options],
                env={**_environment(), _MARK: str(self._log)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def log(self) -> str:
        """What the run has written so far, on either stream."""
        return self._log.read_text()

    def others(self) -> dict[int, str]:
        """Living processes that the run started: process id -> command line."""
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                marked = self._mark.encode() in (folder / "environ").read_bytes().split(b"\0")
                if marked and int(folder.name) != self.driver.pid:
                    found[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
        return found

    def workers(self) -> list[int]:
        """Process ids of the workers: copies, with the command line of the process they are copies of."""
        server = {pid for pid, command in self.others().items() if "multiprocessing.forkserver" in command}
        return sorted(pid for pid in server if _parent(pid) in server)

    def wait(self, seconds: float = 300.0) -> int:
        """Status of the driver when it has ended."""
        try:
            return self.driver.wait(seconds)
        finally:
            self.driver.kill()

    def signal(self, number: signal.Signals, group: bool = False) -> None:
        """Send a signal to the driver alone, or to its group as a terminal does."""
        (os.killpg if group else os.kill)(self.driver.pid, number)

    def seconds_until_alone(self, limit: float = 60.0) -> float:
        """Time until no process of the run is left, `limit` where some stay."""
        start = time.monotonic()
        while self.others() and time.monotonic() - start < limit:
            time.sleep(0.02)
        return min(time.monotonic() - start, limit)


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def parts(project: Path) -> dict[str, int]:
    """Finished parts: name -> time of the file's last change, in ns."""
    return {path.stem: path.stat().st_mtime_ns for path in (project / "store" / "parts").glob("*.zip")}


def created(project: Path) -> dict[str, str]:
    """Visible artifacts: key -> time of creation."""
    if not (project / "catalog.db").is_file():
        return {}
    catalog = Catalog(project)
    try:
        table = catalog.list()
        return dict(zip(table["key"], table["created"], strict=True))
    finally:
        catalog.close()


def differences(project: Path, wanted: Path) -> list[str]:
    """What of the visible artifacts of a project differs from an undisturbed run, bit for bit; opening them
    reads every chunk against its checksum.

    The report holds times and the provenance the day and the machine; the two are opened only.
    """
    found: list[str] = []
    one, two = Catalog(project), Catalog(wanted)
    stages = dict(one.list()[["key", "stage"]].itertuples(index=False))
    known = set(two.list()["key"])
    for key, stage in stages.items():
        here = one.open(key).load()
        if key not in known:
            found.append(f"{stage}: unknown key {key}")
        elif stage not in ("report", "provenance"):
            there = two.open(key).load()
            found += [f"{stage}.{name}" for name in set(here.variables) ^ set(there.variables)]
            for name in set(here.variables) & set(there.variables):
                if _bits(here[name].values) != _bits(there[name].values):
                    found.append(f"{stage}.{name}")
    one.close()
    two.close()
    return found


def _bits(values: np.ndarray) -> bytes:
    kind = values.dtype.kind
    return repr(values.tolist()).encode() if kind in "OUST" else values.tobytes() + str(values.dtype).encode()
