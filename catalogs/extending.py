"""A data set that grows: the samples of an artifact and new ones as the next version."""

from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Literal

import numpy as np
import sqlalchemy as sa
import xarray as xr
from sqlalchemy.engine import Connection

from catalogs.arrays import check_fits
from catalogs.contents import Content, content_of, joined
from catalogs.database import writing
from catalogs.growing import Incoming, publish_samples
from catalogs.keys import artifact_key
from catalogs.locks import hold
from catalogs.marks import next_version
from catalogs.rows import Record
from catalogs.sources import Blocks, Chain, taken
from catalogs.tables import artifacts, names
from kernels.errors import InputError

if TYPE_CHECKING:
    from catalogs.catalog import Catalog

_TRIES = 20


class _Overtaken(Exception):
    """The name has a later version than the one that was extended."""


def extend(
    catalog: "Catalog", base: str, dataset: xr.Dataset, record: Record | None,
    duplicates: Literal["refuse", "skip"],
) -> str:  # fmt: skip
    """See `Catalog.extend`."""
    if duplicates not in ("refuse", "skip"):
        raise InputError(f"duplicates={duplicates!r} is not known; expected 'refuse' or 'skip'")
    if "sample" not in dataset.dims:
        raise InputError(f"the dataset has the dims {sorted(map(str, dataset.dims))}; expected 'sample' too")
    added = content_of(dataset)
    for _ in range(_TRIES):
        name, key = _latest(catalog, base), catalog.resolve(base)
        old = catalog.content(key)
        if old.shared != added.shared:
            raise _misfit(catalog.open(key), dataset, key)
        new = _new(old, added, dataset, duplicates)
        if not new.any():
            return key
        content = joined([old, _some(added, new)])
        about = record or _recipe(catalog, key, content)
        made = artifact_key(about.stage, about.version, about.config, about.inputs)
        chosen = dataset if new.all() else taken(dataset, np.flatnonzero(new))
        parts = Chain([Blocks(catalog.open(key)), Blocks(chosen)])
        given = Incoming(content, parts, parts.counts)
        also = None if name is None else partial(_become_next, name, key)
        try:
            if not catalog.exists(made):
                publish_samples(catalog, made, about, given, also)
            elif also is not None:
                with writing(catalog.engine) as connection:
                    mine = sa.select(artifacts.c.id).where(artifacts.c.key == made)
                    also(connection, connection.execute(mine).scalar_one())
        except _Overtaken:
            continue
        return made
    raise InputError(f"{base!r} is extended by others again and again: try again")


def _latest(catalog: "Catalog", base: str) -> str | None:
    """The name, where the address is the latest version of one."""
    name, _, version = base.partition("@")
    if version not in ("", "latest"):
        return None
    with catalog.engine.connect() as connection:
        known = sa.select(names.c.number).where(names.c.name == name).limit(1)
        return name if connection.execute(known).first() is not None else None


def _become_next(name: str, before: str, connection: Connection, number: int) -> None:
    hold(connection, "name", name)
    query = sa.select(artifacts.c.key).join(names, names.c.artifact == artifacts.c.id)
    last = connection.execute(query.where(names.c.name == name).order_by(names.c.number.desc()).limit(1))
    if last.scalar() != before:
        raise _Overtaken
    next_version(connection, name, number)


def _new(old: Content, added: Content, dataset: xr.Dataset, duplicates: str) -> np.ndarray:
    """Which samples are to be added.

    Raises InputError naming those that are there already, where they are not to be skipped.
    """
    seen = set(old.samples)
    new = np.zeros(len(added.samples), dtype=bool)
    for number, digest in enumerate(added.samples):
        new[number] = digest not in seen
        seen.add(digest)
    if duplicates == "refuse" and not new.all():
        names = dataset["sample_name"].values if "sample_name" in dataset else np.arange(len(new))
        shown = ", ".join(str(name) for name in names[~new][:5])
        raise InputError(
            f"{int((~new).sum())} of {len(new)} samples are there already, with the same values ({shown}): "
            "leave them out, or give duplicates='skip'"
        )
    return new


def _some(content: Content, chosen: np.ndarray) -> Content:
    return Content(
        content.shared, tuple(one for one, keep in zip(content.samples, chosen, strict=True) if keep)
    )


def _misfit(base: xr.Dataset, dataset: xr.Dataset, key: str) -> InputError:
    """What differs in all that belongs to no sample."""
    try:
        check_fits(base, dataset, 1)
        check_fits(dataset, base, 1)
    except InputError as error:
        return InputError(f"the dataset (part 1) does not fit artifact {key[:12]} (part 0): {error}")
    return InputError(
        f"the dataset does not fit artifact {key[:12]}: attributes, of the set or of a variable, or values "
        "of variables without `sample` differ; expected the same"
    )


def _recipe(catalog: "Catalog", key: str, content: Content) -> Record:
    with catalog.engine.connect() as connection:
        mine = sa.select(artifacts.c.stage, artifacts.c.version).where(artifacts.c.key == key)
        row = connection.execute(mine).one()
    config = {"content": content.digest(0, len(content.samples))}
    return Record(row.stage, row.version, config, {}, datetime.now(UTC), 0.0)
