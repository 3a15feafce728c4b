"""Commands that keep a service going: `serve`, `run nightly`, `doctor`."""

import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

Format = Literal["table", "json", "csv"]
Project = Annotated[
    Path | None, Parameter(help="Project folder; default PUSHFORWARD_PROJECT or pushforward_project.")
]
Workers = Annotated[int | None, Parameter(help="Worker processes; 0 runs in this one. Default 2.")]


def register(app: App, run_app: App) -> None:
    """Add the commands."""
    app.command(serve)
    app.command(doctor)
    run_app.command(nightly)


def serve(
    deployments: Annotated[
        Path, Parameter(help="TOML file, or the shipped one: deployments (a night at two, UTC).")
    ] = Path("deployments"),
    *,
    project: Project = None,
    workers: Workers = None,
    limit: Annotated[int, Parameter(help="Runs at a time on this machine.")] = 1,
    check: Annotated[bool, Parameter(help="Only check the file and its configs.", negative=())] = False,
) -> None:
    """Run pipelines at their times, until it is stopped.

    On the Prefect server of PREFECT_API_URL, or on one of its own that only this machine reaches. Runs of one
    deployment queue; a run whose process died is marked as crashed and goes on where it was.
    """
    from pipelines.schedules import load_deployments
    from pipelines.serve import serve as run_server
    from pipelines.settings import settings

    if check:
        stated = load_deployments(deployments)
        sys.stdout.write(f"{deployments}: {len(stated)} deployments, all configs are good\n")
        return
    run_server(deployments, settings(project=project, workers=workers), limit)


def nightly(
    *,
    config: Annotated[str, Parameter(help="TOML file, or the shipped config: nightly.")] = "nightly",
    project: Project = None,
    workers: Workers = None,
    quiet: Annotated[bool, Parameter(help="No progress.")] = False,
) -> None:
    """One night, now: take in what is new, retrain if it changed the data, promote a model that is better."""
    from pipelines.nightly import run_nightly, told
    from pipelines.schedules import load_nightly
    from pipelines.settings import settings
    from pipelines.tables import print_frame

    chosen = load_nightly(config)
    night = run_nightly(chosen, settings(project=project, workers=workers, quiet=quiet or None))
    print_frame(night.verdict.table, "table", "Errors on the same test samples, over the range of the set")
    sys.stdout.write(told(night, chosen.tag) + "\n")


def doctor(*, project: Project = None, workers: Workers = None, format: Format = "table") -> int:
    """What keeps a run from working here, with the remedy; status 1 where a run would stop."""
    from pipelines.doctor import diagnose, print_findings

    findings = diagnose(project=project, workers=workers)
    print_findings(findings, format)
    return int(any(finding.state == "failure" for finding in findings))
