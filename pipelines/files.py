"""Simulations from files: only those are read that no earlier run has read."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path

import xarray as xr

from catalogs.catalog import Catalog, Record
from catalogs.contents import Content, content_of
from catalogs.formats.reader import file_keys, fingerprint, read_files
from catalogs.keys import artifact_key
from pipelines.config import MeshFiles
from pipelines.runner import Runner
from stages.ragged import take


def files_key(config: MeshFiles) -> str:
    """Key of the files as read: their contents and the options.

    Raises InputError where a file is missing.
    """
    return artifact_key("files", 1, {"content": fingerprint(config.files, config.read)}, {})


def add_files(config: MeshFiles, runner: Runner) -> str:
    """Read the files and publish them as one raw dataset, unless they are there; their key.

    A file is known by its content: those that an earlier run read are taken from what it published, where
    what is true of the whole set stays so. Raises InputError naming the file that cannot be used.
    """
    key, catalog = files_key(config), runner.catalog
    if catalog.exists(key):
        return key
    recipe = {"content": fingerprint(config.files, config.read)}
    record = Record("files", 1, recipe, {}, datetime.now(UTC), 0.0)
    keys = file_keys(config.files, config.read)
    if keys is None:  # a sample is not a file of its own
        return runner.add("files", read_files(config.files, config.read), {}, recipe["content"])
    known = _known(catalog, keys)
    joined = None if known is None else _grown(catalog, config, keys, *known)
    if joined is None:
        raw = read_files(config.files, config.read)
        joined = [raw], [content_of(raw)]
    catalog.publish_joined(key, *joined, record, list(keys.values()))
    runner.computed.append(key)
    return key


def _known(catalog: Catalog, keys: Mapping[Path, str]) -> tuple[str, dict[str, int]] | None:
    """The latest set of files that has some of these, and the place of each of them in it."""
    for found in catalog.search(stage="files", order="-created", limit=5).to_pandas()["key"]:
        places = {origin: i for i, origin in enumerate(catalog.origin(found)) if origin is not None}
        places = {one: places[one] for one in keys.values() if one in places}
        if places:
            return str(found), places
    return None


def _grown(
    catalog: Catalog, config: MeshFiles, keys: Mapping[Path, str], earlier: str, places: dict[str, int]
) -> tuple[list[xr.Dataset], list[Content]] | None:
    """The set in order, old samples lazy; None where new files change what is true of the whole set.

    Attributes say what holds for all samples together (tags, dimension, whether a component is zero). Where
    the new files alone have the same ones as the old set, so has any set of old samples with the new ones.
    """
    new = [file for file, key in keys.items() if key not in places]
    if not new:  # what is true of the whole set may have rested on a file that is gone
        return None
    old, content = catalog.open(earlier), catalog.content(earlier)
    read = read_files(new, config.read, [file for file in keys if file not in new])
    added = content_of(read)
    if added.shared != content.shared or _widths(read) != _widths(old):
        return None
    numbers = {keys[file]: i for i, file in enumerate(new)}
    datasets, contents = [], []
    for is_old, some in groupby(keys.values(), lambda key: key in places):
        picks = [places[key] if is_old else numbers[key] for key in some]
        source, digests = (old, content) if is_old else (read, added)
        datasets.append(take(source, picks))
        contents.append(_some(digests, picks))
    return datasets, contents


def _some(content: Content, picks: Sequence[int]) -> Content:
    return Content(content.shared, tuple(content.samples[i] for i in picks))


def _widths(dataset: xr.Dataset) -> dict[str, int]:
    """Length of the dims that all samples share."""
    growing = {"sample", *(v.attrs.get("sample_dimension") for v in dataset.variables.values())}
    return {str(dim): int(size) for dim, size in dataset.sizes.items() if dim not in growing}
