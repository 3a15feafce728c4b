"""Running a study: lease points, hand them to workers in batches, keep the leases alive, to the end."""

import contextlib
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import cloudpickle
import sqlalchemy as sa

from catalogs import environment, studies, study_leases, study_queries, study_results
from catalogs.catalog import Catalog
from catalogs.failures import outlasted, storage_errors
from catalogs.studies import Study
from kernels.errors import InputError
from pipelines.catalog_access import open_catalog
from pipelines.progress import say
from pipelines.settings import Settings
from pipelines.studies.batches import Batch, Report
from pipelines.studies.definition import Definition, load_study
from pipelines.studies.inputs import make_inputs
from pipelines.studies.live import Monitor, duration, group_of, shown
from pipelines.studies.plan import Plan, plan, store
from pipelines.studies.target import target_of
from pipelines.studies.workers import Lost, Workers
from stages.base import Stage

LARGEST_BATCH = 1000
"""Points of a batch, which is what a killed worker may have to do again in part."""

_POLL = 0.5

_Value = TypeVar("_Value")


@dataclass(frozen=True)
class Outcome:
    """What a run of a study gives: points in every state, how many this run computed, and the failures.

    failed: (kind, message without numbers) -> how many. estimate: seconds, of a dry run.
    """

    name: str
    counts: dict[str, int]
    computed: int
    seconds: float
    failed: dict[tuple[str, str], int]
    estimate: float | None = None


def run_study(
    study: Definition | Path | str,
    settings: Settings,
    stage: Stage | None = None,
    retry_failed: bool = False,
    max_failures: int | None = None,
    dry_run: bool = False,
) -> Outcome:
    """Run what is not done yet of a study; `stage` any Stage where the definition names none.

    A point that is in the catalog, whoever computed it, is not computed again. With `dry_run` nothing is
    written and nothing runs. Raises InputError where the definition or a config is wrong, before anything
    runs; where more than `max_failures` points fail; where results cannot be published. What is finished is
    kept.
    """
    definition = study if isinstance(study, Definition) else load_study(study)
    workers = settings.workers if definition.run.workers is None else definition.run.workers
    settings = settings.model_copy(update={"workers": workers})
    limit = definition.run.max_failures if max_failures is None else max_failures
    with _catalog(settings, dry_run) as catalog, storage_errors("running the study", settings.project):
        planned, stored = _planned(definition, catalog, stage)
        if dry_run:
            return _dry(planned, stored, catalog, settings, retry_failed)
        assert catalog is not None
        make_inputs(planned.target.steps, settings)
        stored = store(catalog.engine, planned, stored)
        studies.reopen(catalog.engine, stored.number, retry_failed)
        return _Driver(catalog, stored, planned, settings, limit).run()


@contextmanager
def _catalog(settings: Settings, dry_run: bool) -> Iterator[Catalog | None]:
    if dry_run and settings.database_url is None and not (settings.project / "catalog.db").is_file():
        yield None
        return
    catalog = open_catalog(settings)
    try:
        yield catalog
    finally:
        catalog.close()


def _planned(
    definition: Definition, catalog: Catalog | None, stage: Stage | None
) -> tuple[Plan, Study | None]:
    target = target_of(definition, catalog, stage)
    # the study holds all that it needs: no file and no name that may change meanwhile
    frozen = {"config": dict(target.base), "inputs": dict(target.inputs)}
    stored = None if catalog is None else studies.find(catalog.engine, definition.name)
    return plan(definition.model_copy(update=frozen), target, stored), stored


def _dry(
    planned: Plan, stored: Study | None, catalog: Catalog | None, settings: Settings, retry_failed: bool
) -> Outcome:
    points = planned.points()
    states = dict.fromkeys(studies.STATES, 0)
    failed: set[int] = set()
    found: set[str] = set()
    mean = None
    if catalog is not None:
        records = planned.definition.run.keep == "metrics"
        found = set(study_queries.known_results(catalog.engine, [point.key for point in points], records))
        if stored is not None and not retry_failed:
            failed = {number for number, *_ in study_queries.failures(catalog.engine, stored.number)}
        number = None if stored is None else stored.number
        mean = study_queries.mean_seconds(catalog.engine, number, planned.target.name)
    seen: set[str] = set()
    for point in points:
        state = "skipped" if point.key in seen else "done" if point.key in found else "pending"
        states["failed" if state == "pending" and point.number in failed else state] += 1
        seen.add(point.key)
    estimate = None if mean is None else mean * states["pending"] / max(settings.workers, 1)
    return Outcome(planned.definition.name, states, 0, 0.0, {}, estimate)


@dataclass
class _Driver:
    catalog: Catalog
    study: Study
    planned: Plan
    settings: Settings
    max_failures: int | None
    owner: str = field(default_factory=environment.process_name)

    def run(self) -> Outcome:
        """Run until no point is left that this study could compute."""
        engine, number = self.catalog.engine, self.study.number
        self.monitor = Monitor(self.study.name, self._counts())
        self.failed: Counter[tuple[str, str]] = Counter()
        self.point_seconds = 0.0
        self.stopping = False
        if self._left() == 0:
            failed = self.monitor.counts["failed"]
            rest = f" but {failed} points that failed (--retry-failed)" if failed else ""
            say(f"study {self.study.name}: everything is there already{rest}", self.settings.quiet)
            return self._outcome()
        run = self.planned.definition.run
        workers = Workers(self.settings, run.gpus, run.patience)
        try:
            with self._heartbeat(), shown(self.monitor, self.settings.quiet):
                self._loop(workers)
        finally:
            workers.close()
            # where that fails the leases end by themselves, or with this process
            with contextlib.suppress(sa.exc.SQLAlchemyError):
                study_leases.release(engine, number, self.owner)
        if self._too_many():
            raise InputError(
                f"study {self.study.name!r} was stopped: {sum(self.failed.values())} points failed, allowed "
                f"are {self.max_failures} (max_failures); {self._grouped()}. Mend the cause and run again "
                "with --retry-failed; what is finished is kept"
            )
        return self._outcome()

    def _loop(self, workers: Workers) -> None:
        setup = self._setup()
        while True:
            dry = self._fill(workers, setup)
            if workers.running:
                ended = workers.next(_POLL if dry else 5.0)
                if ended is not None:
                    self._take(*ended)
            elif self.stopping or self._left() == 0:
                return
            else:
                # another process computes the rest, and its leases may end; or an answer of the database was
                # lost, and with it what this process has leased
                self._ask(study_leases.release, self.owner)
                self.over.wait(_POLL)
                self.monitor.add(self._counts(), 0)

    def _fill(self, workers: Workers, setup: bytes) -> bool:
        """Lease and submit until every worker has a batch and the next one; whether there is none left."""
        run = self.planned.definition.run
        while not self.stopping and workers.running < 2 * workers.count:
            points, _ = self._ask(
                study_leases.lease, self.owner, self._size(workers), run.lease_seconds, run.keep == "metrics"
            )
            if not points:
                return True
            workers.submit(
                Batch(
                    settings=self.where,
                    study=self.study.number,
                    logs=f"studies/{self.study.name}/logs",
                    owner=self.owner,
                    setup=setup,
                    points=tuple(points),
                    timeout=run.timeout,
                    inline=self.settings.workers == 0 and self.settings.scheduler is None,
                    patience=run.patience,
                )
            )
        return False

    def _setup(self) -> bytes:
        definition = self.planned.definition
        keep_data = definition.run.keep == "all"
        return bytes(cloudpickle.dumps((self.planned.target, self.where, keep_data, definition.run.patience)))

    @property
    def where(self) -> Settings:
        """The settings as other processes need them."""
        return self.settings.model_copy(update={"project": self.settings.project.resolve()})

    def _ask(self, call: Callable[..., _Value], *given: Any) -> _Value:
        """What a function of the catalog gives for this study, as soon as the database answers."""
        run = self.planned.definition.run
        return outlasted(
            "running the study", self.settings.project, run.patience,
            lambda: call(self.catalog.engine, self.study.number, *given),
        )  # fmt: skip

    def _counts(self) -> dict[str, int]:
        return self._ask(study_queries.counts)

    def _size(self, workers: Workers) -> int:
        """Points of the next batch: so many as take `batch_seconds`, and no more than leaves work for all."""
        if self.point_seconds == 0.0:
            return 1
        wanted = self.planned.definition.run.batch_seconds / self.point_seconds
        share = -(-self.monitor.counts["pending"] // (2 * workers.count))
        return max(1, min(int(wanted), share, LARGEST_BATCH))

    def _take(self, batch: Batch, report: Report | Lost) -> None:
        numbers = [point.number for point in batch.points]
        failed: tuple[tuple[str, str], ...] = ()
        done = 0
        if report == "lost":  # its scheduler went away: it is leased again
            self._ask(study_leases.release, self.owner, numbers)
        elif report == "died":
            mine = self._ask(study_leases.still_leased, self.owner, numbers)
            lost = [
                study_results.Failed(point, "WorkersDied", _DIED, 0.0, 0.0)
                for point in batch.points
                if point.number in mine
            ]
            self._ask(study_results.mark_failed, self.owner, lost)
            failed = tuple((one.kind, one.error) for one in lost)
            done = len(batch.points) - len(lost)
        else:
            assert isinstance(report, Report)
            failed, done = report.failed, report.done
            ended = max(done + len(failed), 1)
            now = report.seconds / ended
            # the latest batches count most: points of a design may grow dearer along it
            self.point_seconds = now if self.point_seconds == 0.0 else 0.5 * (now + self.point_seconds)
        self.failed.update(group_of(kind, error) for kind, error in failed)
        self.monitor.add(self._counts(), done + len(failed), failed)
        self.stopping = self.stopping or self._too_many() or self.cancelled

    def _too_many(self) -> bool:
        return self.max_failures is not None and sum(self.failed.values()) > self.max_failures

    def _left(self) -> int:
        counts = self._counts()
        return counts["pending"] + counts["running"]

    @contextmanager
    def _heartbeat(self) -> Iterator[None]:
        self.over, self.cancelled = threading.Event(), False
        lease = self.planned.definition.run.lease_seconds

        def beat() -> None:
            while not self.over.wait(min(lease / 4, 5.0)):
                try:
                    cancelled = study_leases.renew(self.catalog.engine, self.study.number, self.owner, lease)
                except sa.exc.SQLAlchemyError:
                    continue  # the loop says what is wrong with the database
                self.cancelled = self.cancelled or cancelled
                self.stopping = self.stopping or cancelled

        thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self.over.set()
            thread.join()

    def _grouped(self) -> str:
        return "; ".join(f"{n} x {kind}: {text}" for (kind, text), n in self.failed.most_common(5))

    def _outcome(self) -> Outcome:
        return Outcome(
            self.study.name, self._counts(), self.monitor.ended, self.monitor.seconds, dict(self.failed)
        )


_DIED = (
    "the worker processes of the batch died again and again, most often because memory ran out: use fewer "
    "workers"
)


def estimate_text(outcome: Outcome) -> str:
    """What a dry run says."""
    shown_counts = ", ".join(f"{count} {state}" for state, count in outcome.counts.items() if count)
    if outcome.estimate is None:
        return f"{shown_counts}; no finished point to estimate the time from"
    return f"{shown_counts}; about {duration(outcome.estimate)}"
