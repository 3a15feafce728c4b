"""The commands `pushforward catalog verify | compact | export | import | recover`: the data behind it."""

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from pipelines.catalog_commands import Format, Project, open_catalog

store_app = App(name="store")


@store_app.command(name="verify")
def verify_data(
    *keys: Annotated[str, Parameter(help="Only these artifacts: keys, their first characters, or names.")],
    deep: Annotated[
        bool, Parameter(help="Also compare the values with their digests: finds exchanged files.")
    ] = False,
    project: Project = None,
    format: Format = "table",
) -> int:
    """Read every checksum again and name every damaged or missing chunk; the exit code is 1 where there is
    one.
    """
    from catalogs.verify import verify
    from pipelines.progress import counted
    from pipelines.tables import print_frame

    catalog = open_catalog(project)
    try:
        with counted("verifying", format != "table") as report:
            table = verify(catalog, keys or None, deep, report)
    finally:
        catalog.close()
    print_frame(table, format, "Damaged, missing or without an entry" if len(table) else "All is well")
    return 1 if len(table) else 0


@store_app.command(name="compact")
def compact_sets(
    *keys: Annotated[str, Parameter(help="Artifacts: keys, their first characters, or names.")],
    all: Annotated[bool, Parameter(help="All sets of more than 8 segments.", negative=())] = False,
    dry_run: Annotated[bool, Parameter(help="Only show what would be rewritten.")] = False,
    project: Project = None,
    format: Format = "table",
) -> None:
    """Rewrite growing sets as one group each; earlier versions move along. Who reads them reads on: `gc`
    removes the old data an hour later.
    """
    import pandas as pd

    from catalogs.compact import compact, compact_all
    from kernels.errors import InputError
    from pipelines.tables import print_frame

    if bool(keys) == all:
        raise InputError("nothing to compact: expected keys of artifacts, or --all")
    catalog = open_catalog(project)
    try:
        tables = [compact(catalog, key, dry_run) for key in keys] or [compact_all(catalog, dry_run)]
    finally:
        catalog.close()
    table = pd.concat(tables, ignore_index=True)
    print_frame(table, format, "Would be compacted" if dry_run else "Compacted")


@store_app.command(name="export")
def export_archive(
    *keys: Annotated[str, Parameter(help="Artifacts: keys, their first characters, or names.")],
    output: Annotated[Path, Parameter(name=("--output", "-o"), help="New file, such as model.zip.")],
    with_inputs: Annotated[
        bool, Parameter(help="Also the data of everything that they were made from.")
    ] = False,
    project: Project = None,
    format: Format = "table",
) -> None:
    """Write artifacts to one file, with their data, and what they were made from as records."""
    from catalogs.archive import export_artifact
    from kernels.errors import InputError
    from pipelines.tables import print_frame

    if not keys:
        raise InputError("nothing to export: give at least one key, as `pushforward catalog list` shows them")
    catalog = open_catalog(project)
    try:
        table = export_artifact(catalog, keys, output, with_inputs)
    finally:
        catalog.close()
    print_frame(table, format, f"Written to {output}")


@store_app.command(name="import")
def import_file(
    file: Path,
    *,
    largest_gb: Annotated[float, Parameter(help="Refuse archives that hold more data.")] = 4000.0,
    project: Project = None,
    format: Format = "table",
) -> None:
    """Take the artifacts of a file into the catalog, all or none; what is there stays as it is.

    Parameters
    ----------
    file: File that `pushforward catalog export` wrote.
    """
    from catalogs.archive import import_archive
    from pipelines.catalog_access import open_catalog as opened
    from pipelines.settings import settings
    from pipelines.tables import print_frame

    catalog = opened(settings(project=project))
    try:
        table = import_archive(catalog, file, int(largest_gb * 10**9))
    finally:
        catalog.close()
    print_frame(table, format, f"From {file}")


@store_app.command(name="recover")
def recover_entries(*, project: Project = None, format: Format = "table") -> None:
    """Enter data that lie in the store without an entry, such as after the database was lost."""
    from catalogs.recover import recover
    from pipelines.catalog_access import open_catalog as opened
    from pipelines.settings import settings
    from pipelines.tables import print_frame

    catalog = opened(settings(project=project))
    try:
        table = recover(catalog)
    finally:
        catalog.close()
    print_frame(table, format, "Data without an entry")
    if len(table) and (table["result"] == "left").any():
        sys.stderr.write("warning: what is left keeps its place in the store; see the reasons\n")


def add_store_commands(app: App) -> None:
    """Register the commands."""
    for name in ("verify", "compact", "export", "import", "recover"):
        app.command(store_app[name], name=name)
