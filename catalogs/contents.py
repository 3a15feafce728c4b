"""What a dataset holds, sample by sample: digests, stored once and combined into the keys of parts."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import sqlalchemy as sa
import xarray as xr

from catalogs.database import insert_new, insert_rows
from catalogs.keys import KEY_LENGTH, is_text, stable
from catalogs.tables import artifacts, contents, pieces, samples, segments

_BLOCK_BYTES = 64 * 2**20
_ROWS = 500


@dataclass(frozen=True)
class Content:
    """Digests of a dataset: `shared` of all that belongs to no sample (attributes, names, dims, dtypes, and
    the values without a sample), `samples` of the values of each sample.
    """

    shared: str
    samples: tuple[str, ...]

    def digest(self, start: int, stop: int) -> str:
        """Digest of some consecutive samples with everything that belongs to them."""
        return hashlib.sha256("\n".join((self.shared, *self.samples[start:stop])).encode()).hexdigest()


def growing_dims(dataset: xr.Dataset) -> set[str]:
    """Dims along which samples are joined: `sample` and every ragged dim."""
    ragged = {
        str(v.attrs["sample_dimension"]) for v in dataset.variables.values() if "sample_dimension" in v.attrs
    }
    return {"sample", *ragged}


def content_of(dataset: xr.Dataset) -> Content:
    """Digests of a dataset, whatever the chunks are; lazy variables are read once, in blocks of samples.

    The order of the variables does not enter.
    """
    bounds = _bounds(dataset)
    shared = hashlib.sha256(repr(stable(dataset.attrs)).encode())
    hashes = [hashlib.sha256() for _ in range(dataset.sizes.get("sample", 0))]
    for name in sorted(map(str, dataset.variables)):
        variable = dataset.variables[name]
        dtype = "text" if is_text(variable.dtype) else variable.dtype.str
        head = (name, variable.dims, dtype, stable(variable.attrs), name in dataset.coords)
        shared.update(repr(head).encode())
        if not bounds.keys() & set(variable.dims):
            _add(shared, np.asarray(variable.values))
            continue
        for sample, values in _slices(variable, bounds):
            hashes[sample].update(name.encode())
            _add(hashes[sample], values)
    return Content(shared.hexdigest()[:KEY_LENGTH], tuple(h.hexdigest()[:KEY_LENGTH] for h in hashes))


def _bounds(dataset: xr.Dataset) -> dict[str, np.ndarray]:
    """Start of every sample along each dim that grows, and the end."""
    if "sample" not in dataset.dims:
        return {}
    counts = {"sample": np.ones(dataset.sizes["sample"], dtype=np.int64)}
    for variable in dataset.variables.values():
        if "sample_dimension" in variable.attrs:
            counts[str(variable.attrs["sample_dimension"])] = np.asarray(variable.values, dtype=np.int64)
    return {dim: np.concatenate(([0], np.cumsum(count))) for dim, count in counts.items()}


def _slices(variable: xr.Variable, bounds: Mapping[str, np.ndarray]) -> Iterator[tuple[int, np.ndarray]]:
    """Every sample's number and values."""
    dims = [str(dim) for dim in variable.dims]
    axis = next(i for i, dim in enumerate(dims) if dim in bounds)
    lead, own = (slice(None),) * axis, bounds[dims[axis]]
    count = len(own) - 1
    block = max(1, count * _BLOCK_BYTES // max(variable.nbytes, _BLOCK_BYTES))
    rest = {i: bounds[dim] for i, dim in enumerate(dims) if i != axis and dim in bounds}
    for first in range(0, count, block):
        last = min(first + block, count)
        values = np.asarray(variable[(*lead, slice(int(own[first]), int(own[last])))].values)
        for sample in range(first, last):
            cut = [*lead, slice(int(own[sample] - own[first]), int(own[sample + 1] - own[first]))]
            cut += [slice(None)] * (len(dims) - axis - 1)
            for i, edges in rest.items():
                cut[i] = slice(int(edges[sample]), int(edges[sample + 1]))
            yield sample, values[tuple(cut)]


def _add(digest: "hashlib._Hash", values: np.ndarray) -> None:
    digest.update(repr(values.shape).encode())
    if is_text(values.dtype):
        digest.update(json.dumps([str(item) for item in values.ravel()]).encode())
    elif values.size:
        digest.update(np.ascontiguousarray(values).data)


def joined(pieces: Sequence[Content]) -> Content:
    """Content of datasets joined along `sample`, which share all that belongs to no sample."""
    return Content(pieces[0].shared, tuple(digest for piece in pieces for digest in piece.samples))


def insert_content(
    connection: sa.Connection, key: str, content: Content, parts: Sequence[str | None] | None = None
) -> None:
    """Store the content of an artifact or a part, instead of what is there; `parts`: the part of each
    sample.
    """
    row = {"key": key, "shared": content.shared}
    if insert_new(connection, contents, row) is None:
        delete_contents(connection, [key])
        connection.execute(sa.insert(contents), row)
    rows = [
        {"key": key, "position": i, "digest": digest, "part": None if parts is None else parts[i]}
        for i, digest in enumerate(content.samples)
    ]
    insert_rows(connection, samples, rows)


def stored_contents(connection: sa.Connection, keys: Sequence[str]) -> dict[str, Content]:
    """Contents of those of the given artifacts and parts that have one."""
    found: dict[str, Content] = {}
    for start in range(0, len(keys), _ROWS):
        some = keys[start : start + _ROWS]
        query = sa.select(contents.c.key, contents.c.shared).where(contents.c.key.in_(some))
        shared = {row.key: row.shared for row in connection.execute(query)}
        digests = _digests(connection, list(shared))
        digests |= _digests_of_pieces(connection, list(shared))
        found |= {key: Content(value, tuple(digests.get(key, ()))) for key, value in shared.items()}
    return found


def _digests(connection: sa.Connection, keys: Sequence[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    query = sa.select(samples.c.key, samples.c.digest).where(samples.c.key.in_(keys))
    for row in connection.execute(query.order_by(samples.c.key, samples.c.position)):
        found.setdefault(row.key, []).append(row.digest)
    return found


def _digests_of_pieces(connection: sa.Connection, keys: Sequence[str]) -> dict[str, list[str]]:
    query = (
        sa.select(artifacts.c.key, segments.c.content, pieces.c.start, pieces.c.stop)
        .join(pieces, pieces.c.artifact == artifacts.c.id)
        .join(segments, segments.c.id == pieces.c.segment)
        .where(artifacts.c.key.in_(keys))
        .order_by(artifacts.c.key, pieces.c.position)
    )
    rows = connection.execute(query).all()
    stored = _digests(connection, sorted({row.content for row in rows}))
    found: dict[str, list[str]] = {}
    for row in rows:
        found.setdefault(row.key, []).extend(stored.get(row.content, [])[row.start : row.stop])
    return found


def delete_contents(connection: sa.Connection, keys: Sequence[str]) -> None:
    """Forget the contents of artifacts and parts."""
    for start in range(0, len(keys), _ROWS):
        some = keys[start : start + _ROWS]
        for table in (contents, samples):
            connection.execute(sa.delete(table).where(table.c.key.in_(some)))
