"""Which step made what, when and how fast, as a dataset for the report."""

from collections.abc import Mapping

import numpy as np
import xarray as xr

from catalogs.keys import artifact_key
from pipelines.runner import Runner

_NAME, _VERSION = "provenance", 1


def provenance_key(keys: Mapping[str, str]) -> str:
    """Key of the provenance of these steps: their keys alone, so that no timing enters."""
    return artifact_key(_NAME, _VERSION, {"content": "keys"}, keys)


def publish_provenance(runner: Runner, keys: Mapping[str, str]) -> str:
    """Publish the provenance of published steps; the timings are those of the runs that made them.

    Variables on `step`: label, of the step in its pipeline, stage, key, stage_version, started, seconds,
    host, code_version, inputs, literature.
    """
    if runner.catalog.exists(provenance_key(keys)):
        return provenance_key(keys)
    rows = [runner.catalog.show(key) for key in keys.values()]
    data: dict[str, xr.Variable] = {
        name: _text([str(row[column]) for row in rows])
        for name, column in (
            ("stage", "stage"),
            ("key", "key"),
            ("stage_version", "version"),
            ("started", "started"),
            ("host", "host"),
            ("code_version", "code"),
        )
    }
    data["label"] = _text([*keys])
    data["seconds"] = xr.Variable(("step",), np.array([row["seconds"] for row in rows]), {"units": "s"})
    data["bytes"] = xr.Variable(("step",), np.array([row["bytes"] for row in rows], dtype=np.int64))
    data["inputs"] = _text([", ".join(f"{n}={k}" for n, k in row["inputs"].items()) for row in rows])
    data["literature"] = _text(["\n".join(row["literature"]) for row in rows])
    packages = [f"{name} {version}" for name, version in rows[-1]["packages"].items()]
    return runner.add(_NAME, xr.Dataset(data, attrs={"packages": packages}), keys, "keys")


def _text(values: list[str]) -> xr.Variable:
    return xr.Variable(("step",), np.array(values, dtype=object))
