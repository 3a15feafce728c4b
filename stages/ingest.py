"""Stage `ingest`: simulations as files hold them become the canonical ragged set of linear meshes, fields
and scalars.
"""

import hashlib
from typing import Any, Literal

import numpy as np
import xarray as xr
from pydantic import Field

from kernels.errors import InputError
from kernels.mesh.cell_types import dimensions
from stages.base import Stage, StageConfig, by_role, schema, variable
from stages.ingest_mesh import LARGEST, Mesh, MeshRules, canonical_mesh
from stages.operator_data import check_marked
from stages.ragged import offsets, sample_names
from stages.variables import FIELD, INPUT, OK, PARAMETER, SCALAR, TEST, TRAIN, VARIABLES

_METRES = {"m": 1.0, "cm": 1e-2, "mm": 1e-3, "um": 1e-6, "km": 1e3, "in": 0.0254, "ft": 0.3048}
_RAW = ("x", "cell_type", "cell_size", "cell_node", "cell_entry_count")
_COUNTS = {
    "split_cells": "quadrilaterals cut into two triangles",
    "flipped_cells": "cells whose orientation was turned",
    "dropped_cells": "cells of lower dimension that were left out",
    "dropped_nodes": "nodes that were left out",
}
_TAKEN = {*VARIABLES, *_COUNTS, *(dim for entry in VARIABLES.values() for dim in entry.dims)}


class SplitRule(StageConfig):
    """Train and test parts where the source has none: by the hash of seed and sample name, so cutting
    changes nothing.

    `test_fraction` is the probability of each sample to be a test sample; small sets deviate from it.
    """

    test_fraction: float = Field(default=0.2, ge=0.0, lt=1.0)
    seed: int = 0


class IngestConfig(StageConfig):
    """What to keep of the raw set and how to mend it.

    fields: names (of variables or vectors) to keep, all by default. units: name -> unit for what the files
    leave open (which is "1" otherwise). outputs: scalars to predict; all other scalars are then parameters.
    cell_to_node: cell fields become nodal by the average weighted with cell measures. unused_nodes: nodes
    of no cell are refused or dropped. quadratic: higher-order cells are refused, or reduced to their
    corners, which loses their mid-side nodes and the field values there. planar: triangle meshes with
    constant z in all samples become plane. length_units: of the coordinates in the files; they become metres.
    For operators, inputs: fields (or vectors) that go in, all others come out; dirichlet: nodal field that is
    not zero at the nodes where outputs are prescribed, as zero or, prescribes: input -> output, by an input.
    """

    fields: tuple[str, ...] | None = None
    units: dict[str, str] = Field(default_factory=dict)
    outputs: tuple[str, ...] | None = None
    cell_to_node: bool = False
    unused_nodes: Literal["refuse", "drop"] = "refuse"
    quadratic: Literal["refuse", "linearise"] = "refuse"
    planar: Literal["auto", "keep"] = "auto"
    inputs: tuple[str, ...] = ()
    dirichlet: str | None = None
    prescribes: dict[str, str] = Field(default_factory=dict)
    length_units: Literal["m", "cm", "mm", "um", "km", "in", "ft"] = "m"
    split: SplitRule = SplitRule()


def run(config: StageConfig, *, raw: xr.Dataset) -> xr.Dataset:
    """The canonical ragged set of the raw samples, in their order.

    Quadrilaterals are cut along the shorter diagonal, cell fields follow to both halves; cells are turned
    to positive measure (on surfaces: to agree with their neighbours), counted in `flipped_cells`. Facts of
    the whole set (attributes topological_dimension and planar, attribute identically_zero of vector
    components) come from the reader; where they are absent those of the given samples count. Raises
    InputError naming the sample for: NaN or infinite coordinates, fields or scalars; cells of no measure,
    given twice, or of a type that is not handled; nodes of no cell; edges of more than two cells; units
    that disagree. Not handled: hexahedra, wedges, pyramids, polygons of more than four corners, meshes of
    lines.
    """
    if not isinstance(config, IngestConfig):
        raise InputError(
            f"stage 'ingest' got {type(config).__name__}, expected IngestConfig: pass that config"
        )
    missing = [name for name in _RAW if name not in raw]
    if missing:
        raise InputError(f"raw has no {missing}, expected a raw set: read the files with read_files")
    raw = raw.compute()
    names = sample_names(raw)
    rules = _rules(config, raw)
    starts = {dim: offsets(raw, dim) for dim in ("node", "cell", "cell_entry", "facet")}
    meshes = [canonical_mesh(name, _slices(raw, starts, i), rules) for i, name in enumerate(names)]
    node_names, cell_names = _chosen(config, raw, rules)
    data = _mesh_variables(meshes, raw, rules)
    data |= _fields(raw, starts, meshes, names, node_names, cell_names, config)
    data |= _marks(config, raw, starts, meshes, data, names)
    data |= _scalars(config, raw, names)
    data |= _samples(config, raw, names, meshes)
    return xr.Dataset(data, attrs=dict(raw.attrs))


def _rules(config: IngestConfig, raw: xr.Dataset) -> MeshRules:
    top = raw.attrs.get("topological_dimension")
    if top is None:
        top = int(dimensions(raw["cell_type"].values).max(initial=-1))
    planar = raw.attrs.get("planar")
    x = np.asarray(raw["x"].values)
    if planar is None:
        planar = bool(x.shape[1] == 3 and top == 2 and len(x) and np.ptp(x[:, 2]) == 0.0)
    return MeshRules(
        dimension=int(top),
        flatten=bool(planar) and config.planar == "auto",
        scale=_METRES[config.length_units],
        linearise=config.quadratic == "linearise",
        drop_unused=config.unused_nodes == "drop",
    )


def _slices(raw: xr.Dataset, starts: dict[str, np.ndarray], i: int) -> dict[str, np.ndarray]:
    """Everything of the mesh of sample i."""
    wanted = ("x", "cell_type", "cell_size", "cell_node", "facet_node", "facet_tag")
    result = {}
    for name in wanted:
        bounds = starts[str(raw[name].dims[0])]
        result[name] = np.asarray(raw[name].values[bounds[i] : bounds[i + 1]])
    return result


def _chosen(config: IngestConfig, raw: xr.Dataset, rules: MeshRules) -> tuple[list[str], list[str]]:
    """Names of the nodal and cell fields to keep; the third component of a plane vector goes where it is
    zero.
    """
    everything = [name for name in by_role(raw, FIELD) if name != config.dirichlet]
    known = {
        *everything,
        *(str(raw[name].attrs["vector"]) for name in everything if "vector" in raw[name].attrs),
    }
    for option, names in {"fields": config.fields or (), "inputs": config.inputs}.items():
        unknown = sorted(set(names) - known)
        if unknown:
            raise InputError(f"{option} {unknown} are not in the set, expected some of {sorted(known)}")
    kept = []
    for name in everything:
        attrs = raw[name].attrs
        if config.fields is not None and not {name, attrs.get("vector")} & set(config.fields):
            continue
        third = attrs.get("component") == 3 and attrs.get("components") == 3
        if rules.flatten and third and attrs.get("identically_zero") == 1:
            continue
        kept.append(name)
    return [n for n in kept if raw[n].dims == ("node",)], [n for n in kept if raw[n].dims == ("cell",)]


def _mesh_variables(meshes: list[Mesh], raw: xr.Dataset, rules: MeshRules) -> dict[str, Any]:
    corners = rules.dimension + 1
    axes = 2 if rules.flatten else raw.sizes["axis"]
    tags = {
        key: raw["facet_tag"].attrs[key]
        for key in ("flag_values", "flag_meanings")
        if key in raw["facet_tag"].attrs
    }
    cells = [np.empty((0, corners), np.int32), *(mesh.cells for mesh in meshes)]
    facets = [np.empty((0, corners - 1), np.int32), *(mesh.facets for mesh in meshes)]
    return {
        "node_count": variable("node_count", [len(mesh.points) for mesh in meshes]),
        "cell_count": variable("cell_count", [len(mesh.cells) for mesh in meshes]),
        "facet_count": variable("facet_count", [len(mesh.facets) for mesh in meshes]),
        "x": variable("x", np.concatenate([np.empty((0, axes)), *(mesh.points for mesh in meshes)])),
        "connectivity": variable("connectivity", np.concatenate(cells)),
        "facet_node": variable("facet_node", np.concatenate(facets)),
        "facet_tag": variable(
            "facet_tag",
            np.concatenate([np.empty(0, np.int32), *(mesh.facet_tags for mesh in meshes)]),
            **tags,
        ),
    }


def _fields(
    raw: xr.Dataset,
    starts: dict[str, np.ndarray],
    meshes: list[Mesh],
    names: list[str],
    node_names: list[str],
    cell_names: list[str],
    config: IngestConfig,
) -> dict[str, xr.Variable]:
    result = {}
    for dim, fields in (("node", node_names), ("cell", cell_names)):
        bounds = starts[dim]
        for field in fields:
            values = np.asarray(raw[field].values, dtype=np.float64)
            parts = [np.empty(0)]
            for i, (name, mesh) in enumerate(zip(names, meshes, strict=True)):
                own = values[bounds[i] : bounds[i + 1]][
                    mesh.kept_nodes if dim == "node" else mesh.cell_source
                ]
                _refuse_nan(own, field, name)
                parts.append(mesh.to_nodes(own) if dim == "cell" and config.cell_to_node else own)
            keep = ("vector", "component")
            attrs = {key: raw[field].attrs[key] for key in keep if key in raw[field].attrs}
            taken = {field, str(attrs.get("vector", ""))} & set(config.inputs)
            attrs |= {
                "role": INPUT if taken else FIELD,
                "units": _units(config, raw, field),
                "long_name": raw[field].attrs.get("long_name", field),
            }
            if field in config.prescribes:
                attrs["prescribes"] = _free(config.prescribes[field])
            target = "node" if config.cell_to_node else dim
            result[_free(field)] = xr.Variable((target,), np.concatenate(parts), attrs)
    return result


def _prescribing(config: IngestConfig, data: dict[str, Any]) -> dict[str, str]:
    """Output -> input that holds its values; raises InputError where they are no such fields."""
    roles = {name: getattr(one, "attrs", {}).get("role") for name, one in data.items()}
    for given, output in config.prescribes.items():
        if (roles.get(_free(given)), roles.get(_free(output))) != (INPUT, FIELD):
            known = {role: [n for n, r in roles.items() if r == role] for role in (INPUT, FIELD)}
            raise InputError(
                f"prescribes says {given!r} -> {output!r}, expected one of the inputs {known[INPUT]} -> one "
                f"of the outputs {known[FIELD]}: correct it, or `inputs`"
            )
    return {_free(output): _free(given) for given, output in config.prescribes.items()}


def _marks(
    config: IngestConfig, raw: xr.Dataset, starts: dict[str, np.ndarray], meshes: list[Mesh],
    data: dict[str, Any], names: list[str],
) -> dict[str, xr.Variable]:  # fmt: skip
    """The variable `dirichlet`, checked against the outputs."""
    said = _prescribing(config, data)
    if said and config.dirichlet is None:
        raise InputError(
            f"{list(said.values())} prescribe outputs, but no nodes are marked: name the field that marks "
            "them with `dirichlet`, or leave out `prescribes`"
        )
    if config.dirichlet is None:
        return {}
    if config.dirichlet not in raw or raw[config.dirichlet].dims != ("node",):
        nodal = [name for name in by_role(raw, FIELD) if raw[name].dims == ("node",)]
        raise InputError(
            f"dirichlet is {config.dirichlet!r}, expected one of the nodal fields {nodal}: correct it"
        )
    values, bounds = np.asarray(raw[config.dirichlet].values), starts["node"]
    parts = [
        (values[bounds[i] : bounds[i + 1]][mesh.kept_nodes] != 0).astype(np.int8)
        for i, mesh in enumerate(meshes)
    ]
    ends = np.concatenate([[0], np.cumsum([len(part) for part in parts])])
    for field, one in data.items():
        if getattr(one, "attrs", {}).get("role") != FIELD or one.dims != ("node",):
            continue
        given = data[said[field]].values if field in said else None
        for i, (name, marks) in enumerate(zip(names, parts, strict=True)):
            own = slice(ends[i], ends[i + 1])
            check_marked(field, one.values[own], None if given is None else given[own], marks, name)
    return {"dirichlet": variable("dirichlet", np.concatenate([np.empty(0, np.int8), *parts]))}


def _free(name: str) -> str:
    """The name, with `_value` behind it where the pipeline uses that name for a variable or dim of its
    own.
    """
    return f"{name}_value" if name in _TAKEN else name


def _refuse_nan(values: np.ndarray, field: str, name: str) -> None:
    bad = int(np.sum(~(np.abs(values) <= LARGEST)))
    if bad:
        raise InputError(
            f"sample {name!r}: field {field!r} has {bad} of {values.size} values that are NaN or "
            f"infinite, expected "
            f"numbers up to {LARGEST:g}: mend the sample, leave it out, or leave the field out with fields"
        )


def _units(config: IngestConfig, raw: xr.Dataset, name: str) -> str:
    """Unit of a variable: of the raw set, or of the config where the set leaves it open."""
    attrs = raw[name].attrs
    stated = str(attrs.get("units", "1"))
    given = config.units.get(name, config.units.get(str(attrs.get("vector", ""))))
    if given is None or given == stated:
        return stated
    if stated != "1":
        raise InputError(
            f"{name!r} has units {stated!r} in the files and {given!r} in the config, expected the same: "
            f"correct one of "
            "them"
        )
    return given


def _scalars(config: IngestConfig, raw: xr.Dataset, names: list[str]) -> dict[str, xr.Variable]:
    found = [*by_role(raw, SCALAR), *by_role(raw, PARAMETER)]
    unknown = sorted(set(config.outputs or ()) - set(found))
    if unknown:
        raise InputError(f"outputs {unknown} are not in the set, expected some of {found}")
    fields = by_role(raw, FIELD)
    known = {*found, *fields, *(str(raw[n].attrs["vector"]) for n in fields if "vector" in raw[n].attrs)}
    unknown = sorted(set(config.units) - known)
    if unknown:
        raise InputError(
            f"units are given for {unknown}, which are not in the set: expected some of {sorted(known)}"
        )
    result = {}
    for key in found:
        values = np.asarray(raw[key].values, dtype=np.float64)
        bad = np.flatnonzero(~(np.abs(values) <= LARGEST))
        if bad.size:
            raise InputError(
                f"sample {names[bad[0]]!r}: scalar {key!r} is {values[bad[0]]}, expected a finite number "
                f"({bad.size} samples in all): mend or leave out these samples"
            )
        role = raw[key].attrs["role"]
        if config.outputs is not None:
            role = SCALAR if key in config.outputs else PARAMETER
        attrs = {
            "role": role,
            "units": _units(config, raw, key),
            "long_name": raw[key].attrs.get("long_name", key),
        }
        result[_free(key)] = xr.Variable(("sample",), values, attrs)
    return result


def _samples(
    config: IngestConfig, raw: xr.Dataset, names: list[str], meshes: list[Mesh]
) -> dict[str, xr.Variable]:
    if "split" in raw:
        split = np.asarray(raw["split"].values)
    else:
        split = np.array([_part(name, config.split) for name in names], dtype=np.int8)
    result = {
        "sample_name": variable("sample_name", np.array(names, dtype=object)),
        "split": variable("split", split),
        "status": variable("status", np.full(len(names), OK)),
        "reason": variable("reason", np.full(len(names), "", dtype=object)),
    }
    for count, meaning in _COUNTS.items():
        values = np.array([getattr(mesh, count) for mesh in meshes], dtype=np.int64)
        result[count] = xr.Variable(("sample",), values, {"units": "1", "long_name": meaning})
    return result


def _part(name: str, rule: SplitRule) -> int:
    digest = hashlib.sha256(f"{rule.seed}:{name}".encode()).digest()
    position = int.from_bytes(digest[:8], "big") / 2.0**64
    return TEST if position < rule.test_fraction else TRAIN


_OUTPUT = (
    "sample_name", "split", "status", "reason", "node_count", "cell_count", "facet_count",
    "x", "connectivity", "facet_node", "facet_tag",
)  # fmt: skip
_INPUT = ("sample_name", "node_count", "cell_count", "facet_count", "facet_node", "facet_tag")
# x is checked in `run`: the schema would refuse NaN without naming the sample

STAGE = Stage(
    name="ingest",
    version=1,
    config=IngestConfig,
    inputs={"raw": schema(*_INPUT, optional=("split",))},
    output=schema(*_OUTPUT, optional=("dirichlet",)),
    run=run,
    split_over="raw",
    batch=50,
)
