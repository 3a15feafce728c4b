"""Samples of any formats joined into the raw ragged dataset that the stage `ingest` reads."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from catalogs.formats.sample import MeshSample, listed
from kernels.errors import InputError

RESERVED = frozenset(
    (
        *("sample_name", "split", "node_count", "cell_count", "cell_entry_count", "facet_count", "x"),
        *("cell_type", "cell_size", "cell_node", "facet_node", "facet_tag"),
        *("sample", "node", "cell", "cell_entry", "facet", "axis", "facet_corner"),
    )
)
"""Names of the raw set's own variables and dims; a field or scalar of such a name gets `_value` behind it."""

_PLANAR_TOLERANCE = 1e-12


def assemble(
    samples: Sequence[MeshSample],
    units: Mapping[str, str],
    fields: Sequence[str] | None,
    roles: Mapping[str, str],
) -> xr.Dataset:
    """The raw ragged dataset of the samples, in their order.

    units: variable or vector name -> unit, for what the files do not say. fields: names to keep, all by
    default. roles: scalar name -> `scalar` or `parameter` (default: scalar for what the files hold).
    Attributes hold what is true of the whole set: topological_dimension, planar (z is constant in every
    sample), notes. Raises InputError where samples have different fields, units or dimension.
    """
    for sample in samples:
        sample.node_fields = _components(sample, sample.node_fields)
        sample.cell_fields = {
            f"{name}_cell" if name in sample.node_fields else name: values
            for name, values in _components(sample, sample.cell_fields).items()
        }
    _check_names(samples)
    axes = max(sample.points.shape[1] for sample in samples)
    points = [np.pad(s.points, ((0, 0), (0, axes - s.points.shape[1]))) for s in samples]
    top = _common_dimension(samples)
    data = _mesh(samples, points) | _facets(samples, top)
    given = dict(units)
    used: set[str] = set()
    for dim, attribute in (("node", "node_fields"), ("cell", "cell_fields")):
        data |= _fields(samples, dim, attribute, fields, given, used)
    data |= _scalars(samples, given, used, roles)
    unknown = sorted(set(given) - used)
    if unknown:
        raise InputError(
            f"units are given for {listed(unknown)}, expected names among {listed(sorted(_known(data)))}"
        )
    if all(sample.split is not None for sample in samples):
        flags = {"flag_values": [0, 1], "flag_meanings": "train test", "units": "1"}
        data["split"] = xr.Variable(("sample",), np.array([s.split for s in samples], np.int8), flags)
    planar = axes == 3 and top == 2 and all(_is_planar(p) for p in points)
    notes = _notes(samples)
    return xr.Dataset(data, attrs={"topological_dimension": top, "planar": int(planar), "notes": notes})


def _notes(samples: Sequence[MeshSample]) -> list[str]:
    """The notes of all samples, each text once with the number of samples that share it."""
    found: dict[str, list[str]] = {}
    for sample in samples:
        for note in sample.notes:
            found.setdefault(note.removeprefix(f"{sample.name}: "), []).append(sample.name)
    more = {
        text: f" (and {len(names) - 1} more samples)" if len(names) > 1 else ""
        for text, names in found.items()
    }
    return [f"{names[0]}: {text}{more[text]}" for text, names in found.items()]


def _known(data: Mapping[str, xr.Variable]) -> list[str]:
    return [name for name, variable in data.items() if "role" in variable.attrs]


def _components(sample: MeshSample, fields: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Every array as columns: (n,) arrays of their own name, others as (n, components) under `name` kept
    for later.
    """
    taken: dict[str, np.ndarray] = {}
    for name, values in fields.items():
        array = values.reshape(len(values), -1)
        label = f"{name}_value" if name in RESERVED else name
        if label != name and name in sample.units:
            sample.units[label] = sample.units.pop(name)
        taken[label] = array[:, 0] if array.shape[1] == 1 else array
    return taken


def _check_names(samples: Sequence[MeshSample]) -> None:
    seen: dict[str, MeshSample] = {}
    for sample in samples:
        if sample.name in seen:
            raise InputError(
                f"two samples are called {sample.name!r} ({seen[sample.name].source} and {sample.source}), "
                "expected different names: rename a file"
            )
        seen[sample.name] = sample


def _common_dimension(samples: Sequence[MeshSample]) -> int:
    top = samples[0].dimension
    for sample in samples:
        if sample.dimension != top:
            raise InputError(
                f"sample {sample.name!r} has cells of dimension {sample.dimension}, sample "
                f"{samples[0].name!r} of "
                f"dimension {top}: expected one dimension in a set, read them apart"
            )
    return top


def _is_planar(points: np.ndarray) -> bool:
    extent = float(np.nanmax(np.ptp(points, axis=0), initial=0.0))
    return bool(np.ptp(points[:, 2]) <= _PLANAR_TOLERANCE * extent)


def _mesh(samples: Sequence[MeshSample], points: Sequence[np.ndarray]) -> dict[str, xr.Variable]:
    def count(values: list[int], dim: str, meaning: str) -> xr.Variable:
        attrs = {"units": "1", "long_name": meaning, "sample_dimension": dim}
        return xr.Variable(("sample",), np.array(values, np.int64), attrs)

    def joined(part: str, dtype: type, dim: str, meaning: str) -> xr.Variable:
        values = np.concatenate([np.asarray(getattr(s, part), dtype) for s in samples])
        return xr.Variable((dim,), values, {"units": "1", "long_name": meaning})

    names = np.array([s.name for s in samples], dtype=object)
    return {
        "sample_name": xr.Variable(("sample",), names, {"units": "1", "long_name": "name of the sample"}),
        "node_count": count([len(p) for p in points], "node", "nodes of the sample"),
        "cell_count": count([len(s.cell_type) for s in samples], "cell", "cells of the sample"),
        "cell_entry_count": count([len(s.cell_node) for s in samples], "cell_entry", "entries of cell_node"),
        "x": xr.Variable(
            ("node", "axis"), np.concatenate(points), {"units": "m", "long_name": "node coordinates"}
        ),
        "cell_type": joined("cell_type", np.int32, "cell", "VTK type code of each cell"),
        "cell_size": joined("cell_size", np.int64, "cell", "nodes of each cell"),
        "cell_node": joined(
            "cell_node", np.int64, "cell_entry", "nodes of the cells, numbered within the sample"
        ),
    }


def _facets(samples: Sequence[MeshSample], top: int) -> dict[str, xr.Variable]:
    """Facets of all samples with one numbering of the tags; a facet with fewer corners ends in -1."""
    names: list[str] = []
    for sample in samples:
        sample.facets = [("_".join(tag.split()), rows) for tag, rows in sample.facets]
        names += sorted({tag for tag, rows in sample.facets if len(rows)} - set(names))
    names.sort()
    width = max([top, *(rows.shape[1] for s in samples for _, rows in s.facets if len(rows))])
    nodes, tags, counts = [np.empty((0, width), np.int64)], [np.empty(0, np.int32)], []
    for sample in samples:
        kept = [(tag, rows) for tag, rows in sample.facets if len(rows)]
        nodes += [np.pad(rows, ((0, 0), (0, width - rows.shape[1])), constant_values=-1) for _, rows in kept]
        tags += [np.full(len(rows), names.index(tag), np.int32) for tag, rows in kept]
        counts.append(sum(len(rows) for _, rows in kept))
    flags = {"flag_values": list(range(len(names))), "flag_meanings": " ".join(names), "units": "1"}
    return {
        "facet_count": xr.Variable(
            ("sample",), np.array(counts, np.int64), {"units": "1", "sample_dimension": "facet"}
        ),
        "facet_node": xr.Variable(
            ("facet", "facet_corner"), np.concatenate(nodes).astype(np.int32), {"units": "1"}
        ),
        "facet_tag": xr.Variable(("facet",), np.concatenate(tags), flags),
    }


def _fields(
    samples: Sequence[MeshSample],
    dim: str,
    attribute: str,
    wanted: Sequence[str] | None,
    units: Mapping[str, str],
    used: set[str],
) -> dict[str, xr.Variable]:
    have = _same(samples, lambda s: set(getattr(s, attribute)), f"{dim} fields", wanted)
    order = [name for name in getattr(samples[0], attribute) if name in have]
    result: dict[str, xr.Variable] = {}
    for name in order:
        arrays = [getattr(s, attribute)[name] for s in samples]
        shapes = {a.shape[1:] for a in arrays}
        if len(shapes) > 1:
            raise InputError(
                f"field {name!r} has different numbers of components in the samples: expected one number"
            )
        values = np.concatenate(arrays)
        columns = [values] if values.ndim == 1 else list(values.T)
        for i, column in enumerate(columns, start=1):
            label = name if values.ndim == 1 else f"{name}_{i}"
            unit = _unit(samples, (label, name), units, used)
            attrs: dict[str, Any] = {"role": "field", "units": unit, "long_name": label}
            if values.ndim > 1:
                attrs |= {"vector": name, "component": i, "components": len(columns)}
                attrs |= {"identically_zero": int(not np.any(column))}
            if label in result:
                raise InputError(
                    f"{samples[0].source}: an array and a component of a vector are both called {label!r}, "
                    "expected different names: rename one"
                )
            result[label] = xr.Variable((dim,), np.ascontiguousarray(column), attrs)
    return result


def _same(
    samples: Sequence[MeshSample],
    names: Callable[[MeshSample], set[str]],
    what: str,
    wanted: Sequence[str] | None = None,
) -> set[str]:
    """The names that all samples have; InputError naming a sample that lacks one, unless it is not wanted."""
    union = set().union(*(names(sample) for sample in samples))
    if wanted is not None:
        union &= set(wanted)
    for sample in samples:
        lacking = sorted(union - names(sample))
        if lacking:
            other = next(s.name for s in samples if lacking[0] in names(s))
            raise InputError(
                f"sample {sample.name!r} ({sample.source}) has no {what[:-1]} "
                f"{listed(map(repr, lacking))}, which sample "
                f"{other!r} has: expected the same {what} in all samples, export them or choose common "
                f"ones with fields"
            )
    return union


def _unit(
    samples: Sequence[MeshSample], names: tuple[str, ...], given: Mapping[str, str], used: set[str]
) -> str:
    """The unit of a variable: what the files say, else what is given, else `1`; InputError where they
    disagree.
    """
    stated = next((given[name] for name in names if name in given), None)
    used.update(name for name in names if name in given)
    found = [(s, next((s.units[name] for name in names if name in s.units), None)) for s in samples]
    first = next((pair for pair in found if pair[1] is not None), None)
    if first is None:
        return stated or "1"
    for sample, unit in found:
        if unit != first[1] and not (unit is None and stated is not None):
            raise InputError(
                f"{names[-1]!r} has units {unit or 'none'!r} in sample {sample.name!r} and {first[1]!r} "
                f"in sample "
                f"{first[0].name!r}: expected one unit, convert the values or state the unit in both files"
            )
    if stated is not None and stated != first[1]:
        raise InputError(
            f"{names[-1]!r} has units {first[1]!r} in {first[0].source} and {stated!r} in the given units: "
            "expected the same, correct one of them"
        )
    return str(first[1])


def _scalars(
    samples: Sequence[MeshSample], units: Mapping[str, str], used: set[str], roles: Mapping[str, str]
) -> dict[str, xr.Variable]:
    result = {}
    for attribute, role in (("scalars", "scalar"), ("parameters", "parameter")):
        have = _same(samples, lambda s, a=attribute: set(getattr(s, a)), attribute)  # type: ignore[misc]
        for name in [n for n in getattr(samples[0], attribute) if n in have]:
            label = f"{name}_value" if name in RESERVED or _is_field(samples[0], name) else name
            values = np.array([getattr(s, attribute)[name] for s in samples], np.float64)
            unit = _unit(samples, (name,), units, used)
            attrs = {"role": roles.get(name, role), "units": unit, "long_name": name}
            result[label] = xr.Variable(("sample",), values, attrs)
    return result


def _is_field(sample: MeshSample, name: str) -> bool:
    return name in sample.node_fields or name in sample.cell_fields
