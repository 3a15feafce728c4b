"""Contents: one digest a sample, stored where the data are written, the same however they are cut."""

import itertools
from datetime import UTC, datetime

import numpy as np
import pytest
import sqlalchemy as sa
import xarray as xr

from catalogs.catalog import Catalog, Record
from catalogs.contents import content_of, joined
from catalogs.database import writing
from catalogs.tables import contents, samples
from kernels.errors import InputError

_BOUNDS = [0, 2, 5, 5, 9]


def ragged(first=0, last=4):
    count = np.diff(_BOUNDS)
    node, sample = slice(_BOUNDS[first], _BOUNDS[last]), slice(first, last)
    generator = np.random.default_rng(0)
    x, cross = generator.random((9, 2)), generator.random((3, 4))
    names = np.array(["a", "é", "c", "d"], dtype=object)
    return xr.Dataset(
        {
            "sample_name": ("sample", names[sample]),
            "node_count": ("sample", count[sample], {"sample_dimension": "node"}),
            "x": (("node", "axis"), x[node], {"units": "m"}),
            "across": (("mode", "sample"), cross[:, sample]),
            "shared": ("mode", np.arange(3.0)),
        },
        coords={"axis": ["x", "y"]},
        attrs={"limit": 0.25},
    )


@pytest.fixture
def catalog(tmp_path, database_url):
    made = Catalog(tmp_path / "project", database_url)
    yield made
    made.close()


def record():
    return Record("make", 1, {}, {}, datetime.now(UTC), 0.1)


def publish_parts(catalog, pieces):
    keys = [f"{i:032x}" for i in range(len(pieces))]
    for key, piece in zip(keys, pieces, strict=True):
        catalog.publish_part(key, piece, "make", "f" * 32, "nobody", 0.1)
    catalog.publish_parts("f" * 32, keys, record())
    return keys


def set_value(dataset, name, index, value):
    changed = dataset.copy(deep=True)
    changed[name].values[index] = value
    return changed


@pytest.mark.parametrize("cut", [(0, 4), (0, 1, 2, 3, 4), (0, 3, 4)])
def test_cuts_chunks_and_storage_change_no_digest(catalog, cut, monkeypatch):
    whole = content_of(ragged())
    pieces = [ragged(a, b) for a, b in itertools.pairwise(cut)]
    assert joined([content_of(piece) for piece in pieces]) == whole
    assert content_of(ragged().chunk({"node": 2, "sample": 1})) == whole
    monkeypatch.setattr("catalogs.contents._BLOCK_BYTES", 40)
    assert content_of(ragged()) == whole
    keys = publish_parts(catalog, pieces)
    assert catalog.content("f" * 32) == whole
    assert content_of(catalog.open("f" * 32)) == whole
    with catalog.engine.connect() as connection:
        query = sa.select(samples.c.part).where(samples.c.key == "f" * 32).order_by(samples.c.position)
        origin = list(connection.execute(query).scalars())
    assert origin == [
        key for key, (a, b) in zip(keys, itertools.pairwise(cut), strict=True) for _ in range(a, b)
    ]
    for name, dataset in (("e", ragged()), ("d", ragged().chunk({"node": 2}))):
        catalog.publish(name * 32, dataset, record())
        assert catalog.content(name * 32) == whole


@pytest.mark.parametrize(
    ("changed", "samples_hit"),
    [
        (set_value(ragged(), "x", (4, 1), np.nextafter(ragged()["x"].values[4, 1], 1.0)), [1]),
        (set_value(ragged(), "across", (2, 3), -0.0), [3]),
        (set_value(ragged(), "sample_name", 2, "C"), [2]),
        (set_value(ragged(), "node_count", slice(0, 2), [3, 2]), [0, 1]),
        (set_value(ragged(), "shared", 1, 7.0), None),
        (ragged().assign_attrs(limit=0.5), None),
        (ragged().assign(x=ragged()["x"].assign_attrs(units="mm")), None),
        (ragged().rename(x="y"), None),
        (ragged().set_coords("across"), None),
        (ragged().assign(across=ragged()["across"].astype(">f8")), None),
    ],
)
def test_every_difference_shows_where_it_is(changed, samples_hit):
    before, after = content_of(ragged()), content_of(changed)
    if samples_hit is None:
        assert after.shared != before.shared
        assert all(after.digest(i, i + 1) != before.digest(i, i + 1) for i in range(4))
        return
    assert after.shared == before.shared
    hit = [i for i, pair in enumerate(zip(before.samples, after.samples, strict=True)) if pair[0] != pair[1]]
    assert hit == samples_hit


def test_digest_of_a_range_depends_on_order_and_extent():
    one = content_of(ragged())
    ranges = [one.digest(a, b) for a in range(4) for b in range(a + 1, 5)]
    assert len(set(ranges)) == len(ranges)


def test_parts_that_disagree_on_what_no_sample_owns_are_refused(catalog):
    with pytest.raises(InputError, match="part 1 and part 0 disagree on the attributes"):
        publish_parts(catalog, [ragged(0, 2), ragged(2, 4).assign_attrs(limit=1.0)])
    assert catalog.list().empty
    assert list(catalog.private.iterdir()) == []


def test_a_catalog_without_digests_computes_them(catalog):
    catalog.publish("e" * 32, ragged(), record())
    with writing(catalog.engine) as connection:
        for table in (contents, samples):
            connection.execute(sa.delete(table))
    assert catalog.content("e" * 32) == content_of(ragged())
    assert catalog.remove("e" * 32) == ["e" * 32]


def test_removing_forgets_the_digests(catalog):
    catalog.publish("e" * 32, ragged(), record())
    catalog.remove("e" * 32)
    with catalog.engine.connect() as connection:
        assert connection.execute(sa.select(samples)).first() is None
        assert connection.execute(sa.select(contents)).first() is None
