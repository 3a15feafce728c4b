"""Definitions of small studies, and the catalog that holds them."""

from catalogs.catalog import Catalog
from pipelines.studies.definition import parse_study


def study(name="s", method="random", run=None, config=None, **design):
    if method not in ("list", "table"):
        design.setdefault(
            "parameters", {"a": {"low": 0.0, "high": 2.0}, "inner.shift": {"low": 0.0, "high": 1.0}}
        )
    values = {"name": name, "config": config or {}, "design": {"method": method, **design}, "run": run or {}}
    return parse_study(values)


def catalog_of(where):
    return Catalog(where.project, where.database_url, store=where.store_url)
