"""The catalog that settings name."""

from typing import Any

from catalogs.catalog import Catalog
from pipelines.settings import Settings


def open_catalog(settings: Settings, create: bool = True) -> Catalog:
    """The catalog of a project, with its database and its store.

    Raises InputError where one of them cannot be used.
    """
    url = getattr(settings, "store_url", None)
    store: dict[str, Any] = {} if url is None else {"store": url}
    return Catalog(settings.project, settings.database_url, create, **store)
