"""The catalog that settings name, and the heartbeat of a run that uses it."""

import threading

import sqlalchemy as sa

from catalogs.catalog import Catalog
from kernels.errors import InputError
from pipelines.settings import Settings

BEAT_SECONDS = 30.0
"""Time between two heartbeats; `catalogs.liveness` waits much longer before it takes a process for dead."""


def open_catalog(settings: Settings, create: bool = True) -> Catalog:
    """The catalog of a project, with its database and its store.

    Raises InputError where one of them cannot be used.
    """
    return Catalog(settings.project, settings.database_url, create, settings.store_url)


class Heart:
    """Tells other machines, in a thread of its own, that this process lives and needs what it wrote."""

    def __init__(self, catalog: Catalog, seconds: float = BEAT_SECONDS) -> None:
        self._catalog, self._seconds = catalog, seconds
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to beat; nothing happens where it does."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()

    def _beat(self) -> None:
        while not self._stopped.wait(self._seconds):
            try:
                self._catalog.beat()
            except (InputError, sa.exc.SQLAlchemyError):
                continue  # the run itself says what is wrong with the database, where it matters
