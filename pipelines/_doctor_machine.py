"""What the machine gives a run: processors, memory, disk, permissions, system libraries."""

import ctypes
import importlib.metadata
import os
import resource
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from pipelines._doctor_finding import Finding

DISTRIBUTION = "pushforward"
GIB = 2**30
WORKER_MEMORY = GIB
"""Bytes below which a worker process is likely to be killed in the shipped configs."""
LIBRARIES = {"libGL.so.1": "libgl1", "libXrender.so.1": "libxrender1", "libEGL.so.1": "libegl1"}
"""Shared libraries that VTK and netgen load, with their Debian packages; as in deploy/check_system.py."""
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


def libraries() -> Finding:
    """Whether the shared libraries of VTK and netgen can be loaded."""
    missing = []
    for library, package in LIBRARIES.items():
        try:
            ctypes.CDLL(library)
        except OSError:
            missing.append((library, package))
    if missing:
        return Finding(
            "system libraries",
            "failure",
            f"missing: {', '.join(library for library, _ in missing)}",
            f"apt-get install -y {' '.join(package for _, package in missing)}",
        )
    return Finding("system libraries", "ok", ", ".join(LIBRARIES))


def cores(cgroups: Path = Path("/sys/fs/cgroup")) -> float:
    """Processors this process may use: those it is bound to, or the smaller share of its control group."""
    bound = float(len(os.sched_getaffinity(0)))
    shares = [bound]
    for folder in _groups(cgroups, "cpu"):
        quota, period = _words(folder / "cpu.max", 2)
        quota = quota or _words(folder / "cpu.cfs_quota_us", 1)[0]
        period = period or _words(folder / "cpu.cfs_period_us", 1)[0]
        if quota and period and quota.isdigit() and int(period) > 0:
            shares.append(int(quota) / int(period))
    return min(shares)


def threads(workers: int, available: float | None = None) -> Finding:
    """Whether worker processes times their threads fit the processors this process may use."""
    usable = cores() if available is None else available
    given = {name: os.environ[name] for name in THREAD_VARIABLES if name in os.environ}
    for name, value in given.items():
        if not value.isdigit() or int(value) < 1:
            return Finding(
                "threads", "failure", f"{name}={value!r}, expected a whole number from 1", f"export {name}=1"
            )
    found = f"{usable:g} processors usable, {workers} workers" + "".join(
        f", {name}={value}" for name, value in given.items()
    )
    if workers > max(1.0, usable):
        remedy = f"PUSHFORWARD_WORKERS={max(1, int(usable))}: more processes than processors only cost memory"
        return Finding("threads", "warning", found, remedy)
    for name, value in given.items():
        if int(value) > max(1.0, usable):
            return Finding("threads", "warning", found, f"export {name}={max(1, int(usable))}")
    numba_threads = len(os.sched_getaffinity(0))
    if "NUMBA_NUM_THREADS" not in given and numba_threads > usable:
        found += f"; numba would start {numba_threads} threads"
        return Finding("threads", "warning", found, f"export NUMBA_NUM_THREADS={max(1, int(usable))}")
    return Finding("threads", "ok", found)


def memory_limit(cgroups: Path = Path("/sys/fs/cgroup")) -> tuple[int, str]:
    """Bytes this process and its workers may use, and what sets that limit."""
    limits = [(_available_memory(), "free memory")]
    for folder in _groups(cgroups, "memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            value = _words(folder / name, 1)[0]
            if value.isdigit() and int(value) < 2**60:
                limits.append((int(value), "control group"))
    soft = resource.getrlimit(resource.RLIMIT_AS)[0]
    if soft != resource.RLIM_INFINITY:
        limits.append((soft, "ulimit -v"))
    return min(limits)


def memory(workers: int, limit: tuple[int, str] | None = None) -> Finding:
    """Whether every worker process has the memory of a usual case."""
    size, source = memory_limit() if limit is None else limit
    share = size // max(1, workers)
    found = f"{size / GIB:.1f} GiB ({source}), {share / GIB:.1f} GiB for each of {max(1, workers)} processes"
    if share < WORKER_MEMORY // 4:
        return Finding("memory", "failure", found, "raise the memory limit, or free memory")
    if share < WORKER_MEMORY:
        fitting = max(1, size // WORKER_MEMORY)
        return Finding(
            "memory", "warning", found, f"PUSHFORWARD_WORKERS={fitting}, or raise the memory limit"
        )
    return Finding("memory", "ok", found)


def open_files() -> Finding:
    """Whether enough files may be open at once for a chunked store and its workers."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < 1024:
        top = "unlimited" if hard == resource.RLIM_INFINITY else str(hard)
        return Finding("open files", "warning", f"at most {soft} (hard limit {top})", "ulimit -n 4096")
    return Finding("open files", "ok", f"at most {soft}")


def writable(name: str, folder: Path) -> Finding:
    """Whether a file can be made, renamed and removed in the folder, or in the one that would hold it."""
    place = existing(folder)
    if not place.is_dir():
        return Finding(name, "failure", f"{place} is a file", "name a folder with PUSHFORWARD_PROJECT")
    try:
        with tempfile.TemporaryDirectory(prefix=".pushforward-doctor-", dir=place) as probe:
            file = Path(probe) / "a"
            file.write_bytes(b"x")
            file.rename(Path(probe) / "b")
    except OSError as error:
        remedy = f"chown -R {os.getuid()} {place}, or choose another folder with PUSHFORWARD_PROJECT"
        return Finding(name, "failure", f"cannot write in {place}: {error.strerror}", remedy)
    foreign = [
        entry.name for entry in _entries(folder) if not os.access(entry, os.W_OK, follow_symlinks=False)
    ]
    if foreign:
        remedy = f"chown -R {os.getuid()} {folder}: it was written by another user"
        return Finding(name, "failure", f"not writable in {folder}: {', '.join(foreign[:5])}", remedy)
    mode = place.stat().st_mode
    if folder == place and mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
        return Finding(name, "warning", f"{folder} can be written by every user", f"chmod o-w {folder}")
    made = "" if folder.exists() else f" (will be made in {place})"
    return Finding(name, "ok", f"{folder.absolute()}{made}")


def space(name: str, folder: Path, low: int = 10 * GIB) -> Finding:
    """Whether the file system of the folder has room for data and for files; `low` bytes are a warning."""
    place = existing(folder)
    free = shutil.disk_usage(place).free
    status = os.statvfs(place)
    inodes = status.f_favail if status.f_files else None
    found = f"{free / GIB:.1f} GiB free at {place.absolute()}"
    if inodes is not None:
        found += f", room for {inodes} files"
    if free < low // 10 or (inodes is not None and inodes < 10_000):
        remedy = "free disk space (pushforward catalog gc), or move it: PUSHFORWARD_PROJECT, TMPDIR"
        return Finding(name, "failure", found, remedy)
    if free < low or (inodes is not None and inodes < 100_000):
        remedy = "a larger study will not fit: pushforward catalog gc, or move it"
        return Finding(name, "warning", found, remedy)
    return Finding(name, "ok", found)


def temporary() -> Path:
    """Folder for temporary files; the one that TMPDIR asks for, even where it does not exist."""
    return Path(os.environ.get("TMPDIR") or tempfile.gettempdir())


def numba_cache(package: Path | None = None) -> Finding:
    """Whether compiled kernels can be kept, and outside a checkout, where edits would leave them stale."""
    home = (package or Path(__file__).resolve().parents[1] / "kernels").resolve()
    given = os.environ.get("NUMBA_CACHE_DIR")
    outside = (
        Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        / f"{DISTRIBUTION}-numba-{_version()}"
    )
    if given:
        folder = Path(given).absolute()
        if folder.resolve().is_relative_to(home):
            found = f"NUMBA_CACHE_DIR={given} lies inside the package"
            return Finding("numba cache", "warning", found, f"export NUMBA_CACHE_DIR={outside}")
        state = writable("numba cache", folder)
        remedy = f"export NUMBA_CACHE_DIR={outside}"
        return state if state.state == "ok" else Finding("numba cache", state.state, state.found, remedy)
    inside = os.access(home, os.W_OK)
    if not inside and not os.access(existing(outside), os.W_OK):
        found = f"neither {home} nor {outside.parent} can be written: kernels would not compile"
        return Finding("numba cache", "failure", found, "export NUMBA_CACHE_DIR=/tmp/pushforward-numba")
    if inside and (home.parent / ".git").exists():
        found = f"kernels are kept in {home}, where numba does not see edits in imported helpers"
        remedy = f"export NUMBA_CACHE_DIR={outside}, and remove it after editing kernels"
        return Finding("numba cache", "warning", found, remedy)
    return Finding("numba cache", "ok", f"in {home if inside else outside.parent}")


def existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that exists."""
    place = folder.absolute()
    while not place.exists() and place != place.parent:
        place = place.parent
    return place


def _version() -> str:
    try:
        return importlib.metadata.version(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        return "0"


def _entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _groups(root: Path, controller: str, membership: str | None = None) -> Iterator[Path]:
    """Folders of this process's control group and those above it, of both kernel interfaces."""
    if membership is None:
        try:
            membership = Path("/proc/self/cgroup").read_text()
        except OSError:
            membership = "0::/"
    for line in membership.splitlines():
        number, controllers, path = line.split(":", 2)
        if number != "0" and controller not in controllers.split(","):
            continue
        top = root if number == "0" else root / controller
        folder = top / path.strip("/")
        yield folder
        while folder != top and top in folder.parents:
            folder = folder.parent
            yield folder


def _words(file: Path, count: int) -> list[str]:
    try:
        words = file.read_text().split()
    except OSError:
        words = []
    return (words + [""] * count)[:count]


def _available_memory() -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
