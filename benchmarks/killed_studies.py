"""Kill a worker, the scheduler, the driver or the database server of a study at random moments, and compare
what comes out with an undisturbed run.

Run from the repository: python benchmarks/killed_studies.py [--victim worker|scheduler|driver|database]
[--moments 20] [--points 400] [--seed 0]; without --victim all four. SIGKILL strikes one study again and
again, each time when a random number of further points were begun and after a random time. The scheduler is
that of `dask scheduler` with two `dask worker` processes, the database a PostgreSQL server of its own, whose
every process is killed. After the first fifth of the kills these two are started again only when the driver
has ended by itself, and then the same study; after the others at once, and the driver has to go on. A line a
kill:

begun     points that had been begun when it was hit
went on   the driver lived on, or how it ended and after how many seconds; what it started ends within these
wrong     half-visible things in the catalog after the kill, see tests/pipelines/studies/study_processes.py;
          a traceback; any other end than an error in one line
"""

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "pipelines" / "studies"))

from killed_study import study
from study_processes import Database, Driver, Scheduler, wrong_things
from study_stages import POINT

from catalogs.catalog import Catalog
from pipelines.settings import settings
from pipelines.studies.driver import run_study
from pipelines.studies.results import result_table

VICTIMS = ("worker", "scheduler", "driver", "database")
ROW = "{:9} {:>3} {:>6}  {:28} {}"
SLEEP, SHORT, LONG = 0.05, 1.0, 120.0


class Campaign:
    """One study that is hit again and again, and the server that is hit or used; `short`: how many of the
    first kills the driver does not outlast.
    """

    def __init__(self, victim: str, folder: Path, points: int, short: int, chance: random.Random) -> None:
        self.victim, self.folder, self.points, self.chance = victim, folder, points, chance
        self.short = short
        self.project = folder / "p"
        self.database = Database(folder / "postgres") if victim == "database" else None
        self.scheduler = None
        if victim == "scheduler":
            self.scheduler = Scheduler(folder, self.project.with_suffix(".counter"), 2)
            self.scheduler.start()
        self.url = None if self.database is None else self.database.url
        self.start()

    @property
    def server(self) -> Database | Scheduler | None:
        return self.database or self.scheduler

    def start(self) -> None:
        """Start the study; it waits for a lost server long, or shortly."""
        more = {}
        if self.url is not None:
            more["PUSHFORWARD_DATABASE_URL"] = self.url
        if self.scheduler is not None:
            more["PUSHFORWARD_SCHEDULER"] = self.scheduler.address
        self.patience = SHORT if self.short > 0 else LONG
        self.short -= 1
        self.driver = Driver(self.project, self.points, SLEEP, patience=self.patience, **more)

    def strike(self) -> tuple[str, list[str]]:
        """Kill, and start again what does not come back by itself; how it went on, and what is wrong."""
        begun = time.monotonic()
        if self.victim == "worker":
            self.chance.choice(self.driver.workers()).kill()
            return "lived on", []
        if self.victim == "driver":
            family = self.driver.family()
            self.driver.process.kill()
            self.driver.process.wait()
            left = psutil.wait_procs(family, timeout=60)[1]
            return f"rest ended, {time.monotonic() - begun:.1f} s", [f"left over: {one}" for one in left]
        self.server.kill()
        if self.patience == LONG:
            time.sleep(2.0 * self.chance.random())
            self.server.start()
            return f"server back, {time.monotonic() - begun:.1f} s", []
        status = self.driver.end(90)
        went, last = time.monotonic() - begun, self.driver.log().splitlines()[-1]
        wrong = [] if status == 1 and last.startswith("error: ") else [f"status {status}: {last}"]
        self.server.start()
        return f"error in one line, {went:.1f} s", wrong

    def moment(self, more: int) -> list[str | int] | None:
        """One kill; None where the study was over before."""
        if not self.driver.wait_for(self.driver.begun() + more):
            return None
        time.sleep(self.chance.random())
        while self.victim == "worker" and not self.driver.workers() and self.driver.process.poll() is None:
            time.sleep(0.3)
        if self.driver.process.poll() is not None:
            return None
        begun = self.driver.begun()
        went, wrong = self.strike()
        wrong += wrong_things(self.project, self.url)
        if self.driver.process.poll() is not None:
            wrong += ["traceback"] if "Traceback" in self.driver.log() else []
            self.start()
        return [begun, went, "; ".join(wrong) or "-"]

    def end(self, wanted: list[tuple[float, float]]) -> list[str]:
        """Let the study end, and compare; what is wrong."""
        if self.driver.end(300) != 0:
            self.start()
            self.driver.end(300)
        wrong = [] if self.driver.process.returncode == 0 else [self.driver.log()[-300:]]
        wrong += ["traceback"] if "Traceback" in self.driver.log() else []
        wrong += wrong_things(self.project, self.url, ended=True)
        if results(self.project, self.url) != wanted:
            wrong.append("other results than those of an undisturbed run")
        return wrong

    def stop(self) -> None:
        self.driver.process.kill()
        self.driver.process.wait()
        if self.server is not None:
            self.server.stop()


def results(project: Path, url: str | None) -> list[tuple[float, float]]:
    catalog = Catalog(project, url)
    table = result_table(catalog, "killed")
    catalog.close()
    return list(table[["a", "y"]].itertuples(index=False, name=None))


def campaign(victim: str, moments: int, points: int, seed: int) -> int:
    """All kills of one victim; how many findings."""
    chance, findings, rows = random.Random(f"{victim} {seed}"), 0, 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        undisturbed = settings(project=folder / "undisturbed", workers=0, quiet=True)
        run_study(study(points, 0.0), undisturbed, stage=POINT)
        wanted = results(folder / "undisturbed", None)
        (folder / "hit").mkdir()
        one = Campaign(victim, folder / "hit", points, moments // 5, chance)
        try:
            for number in range(moments):
                row = one.moment(chance.randrange(points // moments))
                if row is None:
                    print("  the study was over: more --points are needed", flush=True)
                    break
                print(ROW.format(victim, number + 1, *row), flush=True)
                rows += 1
                findings += row[-1] != "-"
            wrong = one.end(wanted)
            findings += len(wrong)
            begun = one.driver.begun()
        finally:
            one.stop()
    print(
        f"{victim}: {rows} kills, {points} points, {begun} begun, {findings} findings; at the end "
        f"{'; '.join(wrong) or 'every point done once, results equal to those of an undisturbed run'}",
        flush=True,
    )
    return findings


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--victim", choices=VICTIMS, action="append")
    parser.add_argument("--moments", type=int, default=20)
    parser.add_argument("--points", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print(ROW.format("victim", "", "begun", "went on", "wrong"))
    victims = options.victim or VICTIMS
    return sum(campaign(one, options.moments, options.points, options.seed) for one in victims) > 0


if __name__ == "__main__":
    sys.exit(main())
