"""A lost database from what lies beside the data: the records of their keys."""

import json
import re
from datetime import UTC, datetime
from typing import Any

import pandas as pd
import sqlalchemy as sa

from catalogs.catalog import Catalog
from catalogs.claims import News, place_in
from catalogs.contents import Content
from catalogs.database import writing
from catalogs.keys import artifact_key
from catalogs.rows import Description, Record
from catalogs.tables import artifacts
from kernels.errors import InputError

_RECORD = re.compile(r"[0-9a-f]{32}\.json")


def recover(catalog: Catalog) -> pd.DataFrame:
    """Enter data of the store that have a record and no entry, such as after the database was lost; one row
    each: key, stage, result, reason.

    result: `recovered`, or `left` with the reason. All data are read. Artifacts below SMALL_BYTES were in the
    database and are gone: an input that is not there leaves what was made from it without that arrow, and a
    run computes it anew under the same key. In a folder this catalog then is the only one that uses the data.
    Raises InputError where the store cannot be read.
    """
    with catalog.errors("recovering the catalog"):
        records = _records(catalog)
        rows = [_recovered(catalog, key, records[key]) for key in _inputs_first(records)]
    return pd.DataFrame(rows, columns=["key", "stage", "result", "reason"])


def _records(catalog: Catalog) -> dict[str, dict[str, Any]]:
    with catalog.engine.connect() as connection:
        known = set(connection.execute(sa.select(artifacts.c.key)).scalars())
    found = {}
    for name in catalog.data.tops():
        key = name.removesuffix(".json")
        if not _RECORD.fullmatch(name) or key in known:
            continue
        try:
            about = dict(json.loads(catalog.data.get(name) or b""))
        except (ValueError, TypeError):
            about = {"address": "damaged"}
        if about.get("address") is not None:  # else the artifact was removed, and others use its data
            found[key] = about
    return found


def _inputs_first(records: dict[str, dict[str, Any]]) -> list[str]:
    order: dict[str, None] = {}

    def visit(key: str, path: tuple[str, ...]) -> None:
        for used in dict(records[key].get("inputs") or {}).values():
            if used in records and used not in path:
                visit(used, (*path, used))
        order[key] = None

    for key in records:
        if key not in order:
            visit(key, (key,))
    return list(order)


def _recovered(catalog: Catalog, key: str, about: dict[str, Any]) -> tuple[str, str, str, str]:
    try:
        stage, inputs = str(about["stage"]), dict(about["inputs"])
        if artifact_key(stage, about["version"], about["config"], inputs) != key:
            return key, stage, "left", "its key is not that of its record"
        place = place_in(about)
        if place is None:
            return key, stage, "left", "its record does not say where its data lie"
        there = {name: used for name, used in inputs.items() if _known(catalog, used)}
        record = Record(
            stage, about["version"], about["config"], there, datetime.fromtimestamp(about["started"], UTC),
            about["seconds"], about["metrics"], about["literature"],
        )  # fmt: skip
        news = catalog.adopted(place, News(record, Description({}, {}, {}), Content("", ()), 0))
    except InputError as error:
        return key, str(about.get("stage", "")), "left", str(error)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        return key, str(about.get("stage", "")), "left", f"its record is damaged ({error!r})"
    numbers = catalog.writer.numbers(news.about)
    with catalog.data.alone():
        if catalog.records.take_over(key, place, instead=not catalog.data.remote):
            with writing(catalog.engine) as connection:
                number = catalog.insert(connection, key, news, place.address, numbers)
                if number is not None:
                    catalog.insert_data(connection, key, number, place, news)
        else:
            return key, stage, "left", "another catalog removed its data meanwhile"
    lost = sorted(set(inputs) - set(there))
    return key, stage, "recovered", f"without the inputs {', '.join(lost)}, which are gone" if lost else ""


def _known(catalog: Catalog, key: str) -> bool:
    with catalog.engine.connect() as connection:
        query = sa.select(artifacts.c.id).where(artifacts.c.key == key)
        return connection.execute(query).first() is not None
