"""The commands `pushforward catalog ...`: what was computed, from what, with which result."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter

from kernels.errors import InputError

if TYPE_CHECKING:
    from catalogs.catalog import Catalog

Format = Literal["table", "json", "csv"]
Project = Annotated[
    Path | None, Parameter(help="Project folder; default PUSHFORWARD_PROJECT or pushforward_project.")
]
Stage = Annotated[tuple[str, ...], Parameter(help="Only this stage; may be given again.", negative=())]
Tag = Annotated[
    tuple[str, ...], Parameter(help="Only what has this tag; given again, all of them.", negative=())
]
Where = Annotated[
    str, Parameter(help="Filter, as in 'metrics.rmse < 0.02 and config.modes >= 12 and not \"old\" in tags'.")
]
Range = Annotated[
    tuple[str, ...],
    Parameter(
        name="--parameter",
        help="NAME=LOW:HIGH, all values inside; NAME=VALUE, all equal; an end may be left out.",
        negative=(),
    ),
]
Name = Annotated[str | None, Parameter(help="Versions of this name; NAME@3 is one of them.")]

catalog_app = App(name="catalog", help="What was computed, from what, with which result.")


def open_catalog(project: Path | None) -> "Catalog":
    """The catalog of a project that exists."""
    from pipelines import catalog_access
    from pipelines.settings import settings

    return catalog_access.open_catalog(settings(project=project), create=False)


@catalog_app.command(name="list")
def list_artifacts(*, stage: str | None = None, project: Project = None, format: Format = "table") -> None:
    """All artifacts, oldest first; --stage shows one stage."""
    from pipelines.tables import print_frame

    print_frame(_short(open_catalog(project).list(stage), format), format)


@catalog_app.command
def search(
    *,
    stage: Stage = (),
    tag: Tag = (),
    where: Where = "",
    parameter: Range = (),
    name: Name = None,
    limit: Annotated[int, Parameter(help="Most rows shown; 0 shows all.")] = 50,
    order: Annotated[
        str, Parameter(help="created, metrics.NAME, ...; -NAME is the largest first.")
    ] = "-created",
    columns: Annotated[
        tuple[str, ...], Parameter(help="Also show metrics.NAME, config.NAME, parameters.NAME.", negative=())
    ] = (),
    project: Project = None,
    format: Format = "table",
) -> None:
    """Find artifacts: those that fit everything that is given."""
    from catalogs.facets import plural
    from pipelines.tables import print_frame

    found = _found(project, stage, tag, where, parameter, name, order)
    shown = found if limit == 0 or len(found) <= limit else _found(
        project, stage, tag, where, parameter, name, order, limit
    )  # fmt: skip
    frame = shown.to_pandas(columns)
    if format != "json":
        frame["tags"] = [", ".join(tags) for tags in frame["tags"]]
    title = plural(len(found)) + (f", the first {limit}" if len(shown) < len(found) else "")
    print_frame(_short(frame, format), format, title)


@catalog_app.command
def facets(
    *,
    stage: Stage = (),
    tag: Tag = (),
    where: Where = "",
    parameter: Range = (),
    name: Name = None,
    exact: Annotated[bool, Parameter(help="Count all, not the first 10,000 only.")] = False,
    project: Project = None,
    format: Format = "table",
) -> None:
    """What the artifacts have that fit: counts by stage, tag and name, ranges of metrics and settings."""
    from pipelines.tables import print_frame

    found = _found(project, stage, tag, where, parameter, name).facets(exact)
    print_frame(found.table, format, found.head().capitalize())


@catalog_app.command
def show(key: str, *, project: Project = None, format: Format = "table") -> None:
    """Everything recorded about one artifact; KEY may be its first characters, NAME or NAME@3."""
    from pipelines.tables import print_record

    print_record(open_catalog(project).show(key), format)


@catalog_app.command(name="open")
def open_artifact(
    key: str,
    *,
    output: Annotated[Path | None, Parameter(help="Write it: .vtu (one sample), .nc, .zarr.")] = None,
    sample: Annotated[int | None, Parameter(help="Only this sample, from 0.")] = None,
    project: Project = None,
    format: Format = "table",
) -> None:
    """The variables of an artifact's dataset, with dims and units; a dim with * has its own length in every
    sample.
    """
    import pandas as pd

    from catalogs.views import summary
    from pipelines.tables import print_frame

    catalog = open_catalog(project)
    dataset = catalog.open(key)
    if sample is not None:
        from catalogs.views import one_sample

        if not 0 <= sample < dataset.sizes.get("sample", 0):
            raise InputError(
                f"--sample {sample}: artifact {key} has {dataset.sizes.get('sample', 0)} samples, from 0"
            )
        dataset = one_sample(dataset, sample)
    if output is not None:
        from catalogs.views import write

        sys.stdout.write(f"written: {write(dataset, output)}\n")
        return
    names = ["variable", "dims", "dtype", "units", "role"]
    print_frame(pd.DataFrame(summary(dataset), columns=names), format, catalog.resolve(key)[:12])


@catalog_app.command
def lineage(
    key: str,
    *,
    up: Annotated[int | None, Parameter(help="At most so many steps towards what made it.")] = None,
    down: Annotated[int | None, Parameter(help="At most so many steps towards what uses it.")] = None,
    mermaid: Annotated[bool, Parameter(help="As a Mermaid diagram.", negative=())] = False,
    project: Project = None,
    format: Format = "table",
) -> None:
    """What made an artifact, and what was made from it."""
    from pipelines.tables import print_frame

    table = open_catalog(project).lineage(key, up, down)
    if mermaid:
        sys.stdout.write(table.mermaid())
    else:
        print_frame(table, format)


@catalog_app.command
def tag(
    key: str,
    *changes: Annotated[str, Parameter(allow_leading_hyphen=True)],
    move: Annotated[str | None, Parameter(help="Take this tag off all others and put it here.")] = None,
    note: Annotated[str | None, Parameter(help="Write the note, in place of the one it has.")] = None,
    name: Annotated[str | None, Parameter(help="Make it the latest version of this name.")] = None,
    project: Project = None,
    format: Format = "table",
) -> None:
    """Tags, names and notes of an artifact: +TAG puts a tag on, -TAG takes it off; without changes it shows
    them.
    """
    from pipelines.tables import print_record

    wrong = [change for change in changes if change[:1] not in ("+", "-")]
    if wrong:
        raise InputError(f"{wrong[0]!r} is no change of a tag; expected +TAG to put it on or -TAG")
    catalog = open_catalog(project)
    full = catalog.resolve(key)
    if added := [change[1:] for change in changes if change[0] == "+"]:
        catalog.tag(full, *added)
    if taken := [change[1:] for change in changes if change[0] == "-"]:
        catalog.untag(full, *taken)
    if move is not None:
        catalog.move_tag(move, full)
    if name is not None:
        catalog.name(full, name)
    if note is not None:
        catalog.note(full, note)
    record = catalog.show(full)
    print_record({name: record[name] for name in ("key", "stage", "tags", "names", "note")}, format)


@catalog_app.command
def gc(
    *,
    dry_run: Annotated[bool, Parameter(help="Only show what would go.")] = False,
    all_parts: Annotated[bool, Parameter(help="Also the parts that a larger study could reuse.")] = False,
    remove: Annotated[
        str | None, Parameter(help="Remove this artifact and all that was made from it.")
    ] = None,
    project: Project = None,
    format: Format = "table",
) -> None:
    """Remove what killed runs left; safe beside a running one."""
    from catalogs.collect import gc as collect
    from pipelines.tables import print_frame

    catalog = open_catalog(project)
    if remove is not None and dry_run:
        affected = catalog.lineage(remove)
        print_frame(affected[affected["direction"] != "input"], format, "Would be removed")
        return
    if remove is not None:
        sys.stdout.write(f"removed: {', '.join(key[:12] for key in catalog.remove(remove))}\n")
    print_frame(collect(catalog, dry_run, all_parts), format, "Would be removed" if dry_run else "Removed")


def _found(
    project: Path | None, stage: tuple[str, ...], tag: tuple[str, ...], where: str,
    parameter: tuple[str, ...], name: str | None, order: str = "-created", limit: int | None = None,
) -> Any:  # fmt: skip
    return open_catalog(project).search(
        stage=stage or None, tags=tag, where=where, name=name, order=order, limit=limit,
        parameters=dict(map(_range, parameter)),
    )  # fmt: skip


def _range(entry: str) -> tuple[str, Any]:
    name, _, text = entry.partition("=")
    low, colon, high = text.partition(":")
    try:
        if not colon:
            return name.strip(), float(low)
        return name.strip(), tuple(float(end) if end.strip() else None for end in (low, high))
    except ValueError as error:
        raise InputError(
            f"--parameter {entry!r}: expected NAME=LOW:HIGH or NAME=VALUE, as in --parameter reynolds=1e4:1e5"
        ) from error


def _short(frame: Any, format: Format) -> Any:
    if format == "table":
        frame["key"] = frame["key"].str.slice(0, 12)
        frame["created"] = frame["created"].str.slice(0, 19)
    return frame
