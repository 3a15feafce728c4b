"""The report of a run as a file beside the catalog."""

from pathlib import Path

from catalogs.catalog import Catalog


def write_report(catalog: Catalog, key: str) -> Path:
    """Write the page of a report's artifact unless it is there; its path."""
    path = catalog.project / "reports" / f"{key}.html"
    page = catalog.open(key)["page"].values.tobytes()
    if not path.is_file() or path.stat().st_size != len(page):
        path.parent.mkdir(exist_ok=True)
        private = path.with_suffix(".part")
        private.write_bytes(page)
        private.rename(path)
    return path
