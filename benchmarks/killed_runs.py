"""Kill `pushforward run surrogate` at random moments, start it again, and compare with an undisturbed run.

Run from the repository: python benchmarks/killed_runs.py [--moments 20] [--victim driver|worker|group]
[--signal SIGKILL|SIGTERM|SIGINT] [--seed 0] [--at-once 2]. `driver`: its process only; `group`: as a terminal
sends Ctrl-C; `worker`: one worker process, after which the same run has to end well. The moments are spread
over the time of an undisturbed run, one in each of as many equal intervals, and are met again by the lines of
progress that had been written by then and the time since the last, so that a loaded machine shifts none.
A line a moment:

at        seconds from the start in the undisturbed run, and `during`: the last line that the run had written
status    of the run that was hit; leftovers: seconds until no process of it was left
parts     finished when it was hit; again: parts or artifacts that the next run wrote once more
wrong     artifacts visible after the hit, or at the end, that cannot be read or differ from the undisturbed
          run in a key or in one bit of a variable
"""

import argparse
import importlib
import os
import random
import signal
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[_name] = "1"


def helpers() -> ModuleType:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "pipelines"))
    return importlib.import_module("surrogate_process")


SURROGATE = helpers()
HEAD = ("at", "during", "status", "leftovers", "parts", "again", "wrong")
ROW = "{:>6} {:38} {:>6} {:>9} {:>5} {:>5}  {}"


def lines(run) -> list[str]:
    return [line for line in run.log().splitlines() if ": " in line]


def timeline(run) -> list[tuple[int, float]]:
    """Lines written, and since when, from the start of a run to its end."""
    start, events = time.monotonic(), [(0, 0.0)]
    while run.driver.poll() is None:
        if (count := len(lines(run))) > events[-1][0]:
            events.append((count, time.monotonic() - start))
        time.sleep(0.02)
    return [*events, (sys.maxsize, time.monotonic() - start)]


def hit(run, moment: tuple[int, float], victim: str, number: signal.Signals, chance: random.Random) -> str:
    """Wait for lines and for seconds, and send the signal; what the run said last."""
    while len(lines(run)) < moment[0] and run.driver.poll() is None:
        time.sleep(0.02)
    time.sleep(moment[1])
    during = (lines(run) or ["starting"])[-1][:38]
    if run.driver.poll() is not None:
        return "ended already"
    if victim == "worker":
        workers = run.workers()
        if not workers:
            return f"{during[:27]} (no worker)"
        os.kill(chance.choice(workers), number)
    else:
        run.signal(number, group=victim == "group")
    return during


def wrong_things(project: Path, wanted: Path) -> list[str]:
    """Unreadable or different artifacts and parts of a project; none where there is no catalog yet."""
    if not (project / "catalog.db").is_file():
        return []
    try:
        return SURROGATE.differences(project, wanted)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the finding
        return [f"{type(error).__name__}: {error}"[:200]]


def one_moment(
    project: Path,
    wanted: Path,
    at: float,
    events: list[tuple[int, float]],
    options: argparse.Namespace,
    seed: int,
) -> list:
    moment = max((count, at - since) for count, since in events if since <= at)
    run = SURROGATE.Run(project)
    number = signal.Signals[options.signal]
    during = hit(run, moment, options.victim, number, random.Random(seed))
    status = run.wait()
    leftovers = run.seconds_until_alone()
    parts, artifacts = SURROGATE.parts(project), SURROGATE.created(project)
    wrong = wrong_things(project, wanted)
    if "Traceback" in run.log():
        wrong.append("traceback of the run that was hit")
    again = SURROGATE.Run(project)
    if again.wait() != 0:
        wrong.append(f"started again: status {again.driver.returncode}: {again.log()[-300:]}")
    wrong += wrong_things(project, wanted)
    final = SURROGATE.created(project)
    if set(final) != set(SURROGATE.created(wanted)):
        wrong.append("other keys at the end")
    if SURROGATE.parts(project).keys() != SURROGATE.parts(wanted).keys():
        wrong.append("other parts at the end")
    twice = sum(SURROGATE.parts(project).get(key) != changed for key, changed in parts.items())
    twice += sum(final.get(key) != day for key, day in artifacts.items())
    if again.seconds_until_alone() >= 60.0:
        wrong.append("processes left at the end")
    return [f"{at:.1f}", during, status, f"{leftovers:.1f} s", len(parts), twice, "; ".join(wrong) or "-"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--moments", type=int, default=20)
    parser.add_argument("--victim", choices=["driver", "worker", "group"], default="driver")
    parser.add_argument("--signal", choices=["SIGKILL", "SIGTERM", "SIGINT"], default="SIGKILL")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--at-once", type=int, default=1)
    options = parser.parse_args()
    chance = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(options.at_once) as pool:
        wanted = Path(folder) / "undisturbed"
        run = SURROGATE.Run(wanted)
        events = timeline(run)
        assert run.wait() == 0, run.log()
        seconds = events[-1][1]
        print(f"undisturbed: {seconds:.1f} s, {len(SURROGATE.parts(wanted))} parts; seed {options.seed}")
        print(ROW.format(*HEAD), flush=True)
        moments = [(i + chance.random()) * seconds / options.moments for i in range(options.moments)]
        jobs = [
            pool.submit(one_moment, Path(folder) / f"run_{i}" / "p", wanted, at, events, options, i)
            for i, at in enumerate(moments)
        ]
        rows = []
        for job in jobs:
            rows.append(job.result())
            print(ROW.format(*rows[-1]), flush=True)
        bad = [row for row in rows if row[-1] != "-" or row[-2]]
        slowest = max(float(row[3].split()[0]) for row in rows)
        print(f"{len(rows)} moments, {len(bad)} with a finding; slowest leftovers {slowest:.1f} s")
    return bool(bad)


if __name__ == "__main__":
    sys.exit(main())
