"""Ragged sets for the tests of segments: small, with every kind of variable."""

from datetime import UTC, datetime

import numpy as np
import xarray as xr

from catalogs.catalog import Record
from catalogs.keys import artifact_key


def ragged(samples, **attrs):
    """A set of the given sample numbers; a sample is the same in whatever set it is."""
    samples = list(samples)
    counts = np.array([2 + i % 3 for i in samples], dtype=np.int64)
    chance = [np.random.default_rng(i).random((n, 2)) for i, n in zip(samples, counts, strict=True)]
    return xr.Dataset(
        {
            "sample_name": ("sample", np.array([f"é{i}" for i in samples], dtype=object)),
            "node_count": ("sample", counts, {"sample_dimension": "node"}),
            "u": (("node", "axis"), np.concatenate([np.empty((0, 2)), *chance]), {"units": "m"}),
            "w": (("axis", "sample"), np.array([[i, -i] for i in samples], np.float32).reshape(-1, 2).T),
            "load": ("sample", np.array(samples, float), {"role": "parameter", "units": "Pa"}),
            "mesh": (("axis",), np.array([1.0, np.nan])),
            "flag": ((), np.int8(3)),
        },
        coords={"axis": ["x", "y"], "time": ("sample", np.array(samples) * 0.5)},
        attrs={"limit": 0.25, **attrs},
    )


def record(**config):
    return Record("make", 1, config, {}, datetime.now(UTC), 0.1)


def put(catalog, samples, **config):
    key = artifact_key("make", 1, config, {})
    catalog.publish(key, ragged(samples), record(**config))
    return key


def same(catalog, key, samples):
    """Whether the artifact holds these samples: values, dtypes, attributes, order of the dims."""
    found, wanted = catalog.open(key).load(), ragged(samples)
    xr.testing.assert_identical(found, wanted)
    for name, variable in wanted.variables.items():
        assert found[name].dims == variable.dims
        assert found[name].dtype == variable.dtype or variable.dtype.kind == "U"  # text is of dtype object
    return True


def groups(catalog):
    return sorted(path.name for path in catalog.data.folder.glob("*.zarr"))
