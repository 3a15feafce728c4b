"""Publishing beside others: the same key from two processes at once is one artifact."""

from datetime import UTC, datetime

import xarray as xr

from catalogs.catalog import Catalog, Record


def test_a_key_that_another_published_meanwhile_is_left_alone(tmp_path, database_url, monkeypatch):
    catalog = Catalog(tmp_path / "project", database_url)
    for value in (1.0, 2.0):
        record = Record("make", 1, {"n": 1}, {}, datetime.now(UTC), 0.1, metrics={"q": value})
        catalog.publish("a" * 32, xr.Dataset({"u": ((), value)}), record)
        monkeypatch.setattr("catalogs.catalog._is_there", lambda *_: False)
    assert float(catalog.open("a")["u"]) == 1.0
    assert catalog.search().one().show()["metrics"] == {"q": 1.0}
    assert catalog.search().facets()["metric"] == {"q": 1}
    catalog.close()
