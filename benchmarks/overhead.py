"""What a run costs beside its stages' own work.

Run from the repository: python benchmarks/overhead.py [--small] [--times 1]
[--ways plain,running,embedded,again]

Runs the surrogate pipeline (the config of `make demo`; `--small`: eight tiny cases) in new projects, each way
as a process of its own: `plain` without Prefect, `running` with a Prefect server that is up, `embedded` with
the server that the run starts itself; `again` repeats the last command of the way before it, which then
computes nothing. Every moment of the wall time, from the start of the process to its end, counts once, by
what is first in this list:

work                     a stage's function computes, in the run's process or in a worker; while it imports or
                         reads its lazy inputs in the run's process, that counts instead
imports to end           what the run's process does: importing, starting and ending workers and server,
                         opening and writing artifacts, asking the Prefect API, printing the table
parts read and written   workers open the inputs of parts and write their results, and none computes
workers import and wait  workers are there and none has a part
server starts            the run waits for the embedded server and computes nothing meanwhile
Prefect, other           inside the flow, and none of these
other                    in the program, and none of these
interpreter, exit        before the first line of the program, and after its last

"overhead" is all but work; "of it fixed": before the first work and after the last. "server boots": from
the start of the embedded server to when the run, which asks once it has imported Prefect, has its answer;
then how much of that was not beside work. "processor": what all processes of the run used together, which a
busy machine changes least. Medians over `--times`.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import overhead_probe

HERE = Path(__file__).resolve().parent
ORDER = (
    *("imports", "Dask start", "read inputs", "publish and join", "open the catalog", "keys and records"),
    *("Prefect API", "table", "end", "parts read and written", "workers import and wait"),
)
LAST = ("server starts", "Prefect", "program")
NAMES = {"Prefect": "Prefect, other", "program": "other", "": "interpreter, exit"}

Span = tuple[float, float]


def joined(spans: Iterable[Span]) -> list[Span]:
    """The union of intervals, in order."""
    union: list[Span] = []
    for start, end in sorted(spans):
        if union and start <= union[-1][1]:
            union[-1] = (union[-1][0], max(end, union[-1][1]))
        else:
            union.append((start, end))
    return union


def without(spans: Sequence[Span], others: Sequence[Span]) -> list[Span]:
    """What of disjoint intervals lies in none of the others."""
    left = []
    for start, end in spans:
        for low, high in others:
            if high <= start or low >= end:
                continue
            if low > start:
                left.append((start, low))
            start = max(start, high)
        if start < end:
            left.append((start, end))
    return left


def length(spans: Iterable[Span]) -> float:
    return sum(end - start for start, end in spans)


def split(rows: list[list], driver: int, whole: Span) -> dict[str, float]:
    """Seconds by kind, of every moment of `whole`."""

    def of(kind: str, inside: bool | None = None) -> list[Span]:
        return joined((r[3], r[4]) for r in rows if r[2] == kind and inside in (None, r[0] == driver))

    aside = joined([*of("imports", True), *of("read inputs", True)])
    work = joined([*without(of("work", True), aside), *of("work", False)])
    found = {"work": length(work)}
    left = without([whole], work)
    for kind in (*ORDER, *LAST):
        spans = of(kind, None if kind.startswith("parts") else True)
        rest = without(left, spans)
        found[NAMES.get(kind, kind)] = length(left) - length(rest)
        left = rest
    found[NAMES[""]] = length(left)
    overhead = length([whole]) - found["work"]
    first, last = (work[0][0], work[-1][1]) if work else whole[::-1]
    boots = of("server boots")
    return {
        "wall": length([whole]),
        **found,
        "overhead": overhead,
        "of it fixed": min(overhead, first - whole[0] + whole[1] - last),
        "server boots": length(boots),
        "of it not beside work": length(without(boots, work)),
    }


def run(project: Path, config: str, way: str, address: str) -> dict[str, float]:
    """One run of the command, split."""
    spans = project.with_suffix(f".{time.monotonic_ns()}.spans")
    spans.touch()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    environment |= {
        overhead_probe.TARGET: str(spans),
        "PYTHONPATH": os.pathsep.join([str(HERE.parent), str(HERE)]),
        "DASK_DISTRIBUTED__WORKER__PRELOAD": "overhead_probe",
        "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "2", "DO_NOT_TRACK": "1",
    }  # fmt: skip
    if way == "running":
        environment["PREFECT_API_URL"] = address
    command = [sys.executable, str(HERE / "overhead_probe.py"), "run", "surrogate", "--config", config]
    command += ["--project", str(project), *(["--no-prefect"] if way == "plain" else [])]
    log = project.with_suffix(".log")
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.monotonic()
    with log.open("ab") as output:
        process = subprocess.Popen(command, env=environment, cwd=HERE.parent, stdout=output, stderr=output)
        status = process.wait()
    end = time.monotonic()
    if status != 0:
        raise SystemExit(f"the run ended with status {status}:\n{log.read_text()[-2000:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - used.ru_utime - used.ru_stime
    rows = [json.loads(line) for line in spans.read_text().splitlines()]
    return {**split(rows, process.pid, (start, end)), "processor, all processes": processor}


@contextmanager
def server(folder: Path) -> Iterator[str]:
    """A Prefect server on the loopback; its address."""
    sys.path.insert(0, str(HERE.parent))
    from pipelines.local_server import _free_port

    port = _free_port()
    environment = {**os.environ, "PREFECT_HOME": str(folder), "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
    command = [sys.executable, "-m", "prefect", "server", "start", "--port", str(port), "--no-ui"]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}/api"
    try:
        for _ in range(600):
            try:
                with urllib.request.urlopen(f"{address}/health", timeout=2):
                    break
            except OSError:
                time.sleep(0.2)
        yield address
    finally:
        process.terminate()
        process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--times", type=int, default=1)
    parser.add_argument("--ways", default="plain,running,embedded,again")
    options = parser.parse_args()
    config, ways = "surrogate_small" if options.small else "surrogate", options.ways.split(",")
    found: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with server(folder / "prefect") as address:
            last = folder
            for way in ways:
                for number in range(options.times):
                    if way != "again":
                        last = folder / f"{way}-{number}"
                    found[way].append(run(last, config, way, address))
    print(f"config {config}, seconds, median of {options.times}; load {os.getloadavg()[0]:.1f}")
    print(f"{'':26s}" + "".join(f"{way:>10s}" for way in ways))
    for kind in found[ways[0]][0]:
        medians = [statistics.median(one[kind] for one in found[way]) for way in ways]
        print(f"{kind:26s}" + "".join(f"{seconds:10.2f}" for seconds in medians))


if __name__ == "__main__":
    main()
