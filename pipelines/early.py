"""Processes that a run needs, started before the run itself is imported, which takes seconds."""

import contextlib
import shutil
from collections.abc import Iterator

from pipelines import embedded_prefect, fork_server
from pipelines.settings import Settings


@contextlib.contextmanager
def early(settings: Settings, prefect: bool) -> Iterator[None]:
    """Context of a run: its worker processes and its Prefect server start at once where the project has no
    catalog, so that all is still to be computed; else when the run knows that something is. A run that ends
    before it has a catalog, on a wrong config, leaves no folder.
    """
    catalog, home = settings.project / "catalog.db", settings.project / ".prefect"
    there = [path for path in (settings.project, home) if path.exists()]
    try:
        if settings.database_url is None and not catalog.exists():
            if settings.workers and settings.scheduler is None:
                fork_server.start()
            if prefect:
                with contextlib.suppress(OSError):  # the catalog says what is wrong with the folder
                    embedded_prefect.begin(settings.project)
        yield
    finally:
        embedded_prefect.end()
        if home not in there and not catalog.exists():
            shutil.rmtree(home, ignore_errors=True)
            if settings.project not in there:
                with contextlib.suppress(OSError):
                    settings.project.rmdir()
