"""The commands `pushforward study ...`: run a parameter study, look at it, compare, extend, cancel."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter

from kernels.errors import InputError

if TYPE_CHECKING:
    from catalogs.catalog import Catalog
    from pipelines.studies.driver import Outcome

Format = Literal["table", "json", "csv"]
Project = Annotated[
    Path | None, Parameter(help="Project folder; default PUSHFORWARD_PROJECT or pushforward_project.")
]
Workers = Annotated[int | None, Parameter(help="Worker processes; 0 runs in this one. Default 2.")]
Retry = Annotated[bool, Parameter(help="Also the points that failed.", negative=())]
Most = Annotated[int | None, Parameter(help="Stop when more points than this have failed.")]
Quiet = Annotated[bool, Parameter(help="No progress.", negative=())]

study_app = App(name="study", help="Parameter studies: any stage or pipeline over a design of points.")


@study_app.command
def run(
    file: Annotated[str, Parameter(help="TOML file of the study, or a shipped one by its name.")],
    *,
    dry_run: Annotated[bool, Parameter(help="Only count, and estimate the time.", negative=())] = False,
    retry_failed: Retry = False,
    max_failures: Most = None,
    workers: Workers = None,
    project: Project = None,
    quiet: Quiet = False,
) -> None:
    """Compute what is not there yet of a study; the same command goes on after a crash."""
    from pipelines.settings import settings
    from pipelines.studies.definition import load_study
    from pipelines.studies.driver import estimate_text, run_study

    where = settings(project=project, workers=workers, quiet=quiet or None)
    study = _with_workers(load_study(file), workers)
    outcome = run_study(study, where, retry_failed=retry_failed, max_failures=max_failures, dry_run=dry_run)
    if dry_run:
        _print(f"study {outcome.name}: {estimate_text(outcome)}; nothing was run")
        return
    _finish(outcome)


@study_app.command
def status(name: str | None = None, *, project: Project = None, format: Format = "table") -> None:
    """Points of a study in every state, with the failures grouped by kind; without a name all studies."""
    import pandas as pd

    from catalogs import studies, study_queries
    from pipelines.studies.live import group_of
    from pipelines.tables import print_frame

    with _catalog(project) as catalog:
        names = [name] if name is not None else studies.names(catalog.engine)
        rows = []
        for one in names:
            study = studies.get(catalog.engine, one)
            counts = study_queries.counts(catalog.engine, study.number)
            mean = study_queries.mean_seconds(catalog.engine, study.number, study.target)
            rows.append({"study": one, "target": study.target, **counts, "seconds a point": mean})
        print_frame(pd.DataFrame(rows), format)
        if name is None or format != "table":
            return
        failed = study_queries.failures(catalog.engine, studies.get(catalog.engine, name).number)
    groups: dict[tuple[str, str], list[Any]] = {}
    for number, kind, error, log in failed:
        groups.setdefault(group_of(kind, error), [0, number, error, log])[0] += 1
    lines = [(n, kind, error[:200], first, log or "") for (kind, _), (n, first, error, log) in groups.items()]
    if lines:
        columns = ["points", "kind", "message of the first", "first", "its log"]
        print_frame(pd.DataFrame(lines, columns=columns), format, "Failures")


@study_app.command
def show(
    name: str,
    *,
    output: Annotated[
        Path | None, Parameter(help="File to write: .parquet, .csv, .nc, or .html for the report.")
    ] = None,
    project: Project = None,
    format: Format = "table",
) -> None:
    """The table of results: a row a point with its parameters and metrics."""
    from pipelines.studies.files import write_results
    from pipelines.studies.results import result_table
    from pipelines.tables import print_frame

    with _catalog(project) as catalog:
        if output is not None:
            write_results(catalog, name, output)
            _print(f"written: {output}")
            return
        table = result_table(catalog, name)
        if format == "table":
            shown = ["point", "state", *table.attrs["parameters"], *table.attrs["metrics"], "seconds"]
            table = table[[*shown, "failure"]] if table["failure"].notna().any() else table[shown]
        print_frame(table, format)


@study_app.command
def diff(first: str, second: str, *, project: Project = None, format: Format = "table") -> None:
    """Points that only one of two studies has, and metrics that differ at the same parameters."""
    from pipelines.studies.results import diff as compare
    from pipelines.tables import print_frame

    with _catalog(project) as catalog:
        print_frame(compare(catalog, first, second), format)


@study_app.command
def extend(
    name: str,
    *,
    samples: Annotated[int, Parameter(help="How many points to add.")],
    workers: Workers = None,
    project: Project = None,
    quiet: Quiet = False,
) -> None:
    """Add samples to a study and run them; points that are there are not computed again."""
    from catalogs import studies
    from pipelines.settings import settings
    from pipelines.studies.driver import run_study
    from pipelines.studies.plan import extended
    from pipelines.studies.results import definition_of

    with _catalog(project) as catalog:
        study = extended(definition_of(studies.get(catalog.engine, name)), samples)
    where = settings(project=project, workers=workers, quiet=quiet or None)
    _finish(run_study(_with_workers(study, workers), where))


@study_app.command
def cancel(name: str, *, project: Project = None) -> None:
    """Stop a study, wherever it runs, after the batches in flight; `study run` goes on with it."""
    from catalogs import studies

    with _catalog(project) as catalog:
        count = studies.cancel(catalog.engine, studies.get(catalog.engine, name).number)
    _print(f"study {name}: {count} points cancelled")


def _with_workers(study: Any, workers: int | None) -> Any:
    """The study with the option, which is stronger than its file."""
    if workers is None:
        return study
    return study.model_copy(update={"run": study.run.model_copy(update={"workers": workers})})


def _finish(outcome: "Outcome") -> None:
    shown = ", ".join(f"{count} {state}" for state, count in outcome.counts.items() if count)
    _print(f"study {outcome.name}: {shown}; computed now: {outcome.computed}")
    if outcome.counts["failed"]:
        kinds = "; ".join(f"{n} x {kind}: {text}" for (kind, text), n in outcome.failed.items())
        raise InputError(
            f"{outcome.counts['failed']} points failed{': ' + kinds if kinds else ''}. See `pushforward "
            f"study status {outcome.name}`, mend the cause, and run again with --retry-failed"
        )


@contextmanager
def _catalog(project: Path | None) -> "Iterator[Catalog]":
    from pipelines.catalog_access import open_catalog
    from pipelines.settings import settings

    catalog = open_catalog(settings(project=project), create=False)
    try:
        yield catalog
    finally:
        catalog.close()


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")
