"""The report of a run as a file beside the catalog."""

from collections.abc import Mapping
from pathlib import Path

from catalogs.catalog import Catalog


def write_report(catalog: Catalog, keys: Mapping[str, str]) -> Path:
    """Write the page of the artifact `keys["report"]` unless it is there; its path."""
    path = catalog.project / "reports" / f"{keys['report']}.html"
    page = catalog.open(keys["report"])["page"].values.tobytes()
    if not path.is_file() or path.stat().st_size != len(page):
        path.parent.mkdir(exist_ok=True)
        private = path.with_suffix(".part")
        private.write_bytes(page)
        private.rename(path)
    return path
