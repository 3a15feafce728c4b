"""Morphing of every sample to the common mesh: fields on many meshes become rectangular arrays."""

from dataclasses import dataclass

import numpy as np
import xarray as xr
from pydantic import Field

from kernels.errors import InputError
from kernels.mesh.locate import Locator
from kernels.mesh.mapping import Mesh, Reference, map_mesh
from kernels.mesh.quality import morph_quality
from kernels.mesh.transfer import interpolation_operator
from stages.base import Stage, StageConfig, by_role, schema, variable
from stages.common_mesh import mesh_of, reference_from
from stages.ragged import offsets, sample_names
from stages.variables import FIELD, OK, PARAMETER, SCALAR, VARIABLES

_MESH = (
    "sample_name", "node_count", "cell_count", "facet_count", "x", "connectivity", "facet_node", "facet_tag",
)  # fmt: skip


class MorphConfig(StageConfig):
    """Limits beyond which a sample is refused by name.

    max_inverted: cells turned over; min_area_ratio: smallest growth of a cell over the median growth;
    max_roundtrip: RRMSE of own -> common -> own transfer of any field; max_outside_fraction: clamped
    points over all points, both ways; max_outside_distance: of a clamped point to the mesh, in half
    diagonals of the common mesh's bounding box.
    """

    max_inverted: int = Field(default=0, ge=0)
    min_area_ratio: float = 0.0
    max_roundtrip: float = Field(default=0.5, gt=0.0)
    max_outside_fraction: float = Field(default=0.5, ge=0.0, le=1.0)
    max_outside_distance: float = Field(default=0.05, ge=0.0)


@dataclass(frozen=True)
class Morphed:
    """One sample on the common mesh, and the figures that say whether to trust it."""

    mapped: np.ndarray
    shape: np.ndarray
    fields: list[np.ndarray]
    inverted: int
    smallest_ratio: float
    outside: int
    outside_fraction: float
    outside_distance: float
    roundtrip: np.ndarray
    transfer_error: np.ndarray


def run(config: MorphConfig, meshes: xr.Dataset, common: xr.Dataset) -> xr.Dataset:
    """Bring every sample onto the common mesh: s_i = P_i u_i for each nodal field u_i and for the
    coordinates.

    mapped_x: own nodes on the common mesh (see `map_mesh`); P_i (common, node) and Q_i (node, common): P1
    interpolation on the mapped mesh at the common nodes and back, points outside clamped to the nearest
    boundary point and counted. roundtrip_error: sqrt(mean((u - Q P u)^2) / max|u|^2) (Casenave, Staber,
    Roynard, arXiv 2305.12871, section 3.2 and RRMSE of appendix). transfer_error: sqrt(P (u - Q P u)^2),
    what the transfer loses around each common node. Fields keep name, unit, dtype and
    attributes on (sample, common_node); scalars, parameters, names and split pass through; samples that
    failed are left out. Each sample is worked on by itself. Raises InputError naming the samples with
    their figures where a limit is passed, and for fields that are not finite or not scalar. Not
    handled: cell fields, which are left out; vector fields, to be given by component.
    """
    kept = np.arange(meshes.sizes["sample"])
    if "status" in meshes:
        kept = kept[np.asarray(meshes["status"].values) == OK]
    names = _field_names(meshes)
    reference, _ = reference_from(common)
    identity = reference.settings.method == "identity"
    locator = None if identity else Locator(reference.common, reference.cells)
    node = offsets(meshes, "node")
    # Only the mesh, since cutting a sample out of a dataset costs time for every variable in it.
    bare = meshes[[name for name in _MESH if name in meshes]]
    done, problems = [], []
    for i in kept:
        mesh = mesh_of(bare, int(i))
        own = slice(int(node[i]), int(node[i + 1]))
        fields = [_finite(meshes[name][own].values, name, mesh.name) for name in names]
        done.append(morph_sample(mesh, fields, reference, locator))
        problems += _beyond(config, done[-1], mesh.name, names)
    if problems:
        raise InputError(
            f"{len(problems)} limits of the morphing are passed: "
            + "; ".join(problems)
            + ": leave out these samples, change "
            "the method of 'common_mesh', or raise the limits of 'morph'"
        )
    return _assemble(meshes, kept, names, done, reference, dict(common.attrs))


def morph_sample(
    mesh: Mesh, fields: list[np.ndarray], reference: Reference, locator: Locator | None
) -> Morphed:
    """One mesh with its fields, each (n,), onto the reference's common mesh; `locator` of the common
    mesh, None for
    "identity", which copies."""
    mapped = map_mesh(mesh, reference)
    quality = morph_quality(mesh.points, mesh.cells, mapped)
    if locator is None:
        zero = np.zeros(len(fields))
        return Morphed(
            mapped, mesh.points, fields, quality.inverted, quality.smallest_ratio, 0, 0.0, 0.0, zero,
            np.zeros((len(fields), len(reference.common)), dtype=np.float32),
        )  # fmt: skip
    forward = interpolation_operator(Locator(mapped, mesh.cells), reference.common, outside="clamp")
    back = interpolation_operator(locator, mapped, outside="clamp")
    outside = np.concatenate([forward.distance[forward.outside], back.distance[back.outside]])
    diagonal = float(np.linalg.norm(np.ptp(reference.common, axis=0)))
    on_common = [forward.matrix @ values for values in fields]
    returned = [back.matrix @ values for values in on_common]
    errors = [_rrmse(u, v) for u, v in zip(fields, returned, strict=True)]
    missed = [np.sqrt(forward.matrix @ (u - v) ** 2) for u, v in zip(fields, returned, strict=True)]
    return Morphed(
        mapped,
        forward.matrix @ mesh.points,
        on_common,
        quality.inverted,
        quality.smallest_ratio,
        int(outside.size),
        outside.size / (len(reference.common) + len(mapped)),
        2.0 * float(outside.max(initial=0.0)) / diagonal,
        np.array(errors),
        np.array(missed, dtype=np.float32).reshape(len(fields), len(reference.common)),
    )


def _rrmse(given: np.ndarray, back: np.ndarray) -> float:
    error = float(np.sqrt(np.mean((given.astype(np.float64) - back) ** 2)))
    scale = float(np.abs(given).max())
    return error / scale if scale > 0.0 else error


def _field_names(meshes: xr.Dataset) -> list[str]:
    names = by_role(meshes, FIELD, ("node",))
    vectors = [n for n in by_role(meshes, FIELD) if meshes[n].dims[0] == "node" and n not in names]
    if vectors:
        raise InputError(
            f"the fields {vectors} have more dims than ('node',): give each component as a field of its own"
        )
    taken = [name for name in names if name in VARIABLES]
    if taken:
        raise InputError(
            f"the fields {taken} carry names that the pipeline uses for other things: rename them"
        )
    return names


def _finite(values: np.ndarray, field: str, sample: str) -> np.ndarray:
    bad = np.count_nonzero(~np.isfinite(values))
    if bad:
        raise InputError(
            f"{sample}: field {field!r} is not finite at {bad} of {values.size} nodes: repair it or leave "
            "out the sample"
        )
    return values


def _beyond(config: MorphConfig, morphed: Morphed, name: str, fields: list[str]) -> list[str]:
    found = []
    if morphed.inverted > config.max_inverted:
        found.append(f"{name}: {morphed.inverted} inverted cells (limit {config.max_inverted})")
    if morphed.smallest_ratio < config.min_area_ratio and morphed.inverted == 0:
        found.append(
            f"{name}: smallest area ratio {morphed.smallest_ratio:.3g} (limit {config.min_area_ratio:g})"
        )
    if morphed.outside_fraction > config.max_outside_fraction:
        found.append(
            f"{name}: {morphed.outside} points outside, a share of {morphed.outside_fraction:.3g} "
            f"(limit {config.max_outside_fraction:g})"
        )
    if morphed.outside_distance > config.max_outside_distance:
        found.append(
            f"{name}: a point lies {morphed.outside_distance:.3g} outside (limit "
            f"{config.max_outside_distance:g})"
        )
    for field, error in zip(fields, morphed.roundtrip, strict=True):
        if error > config.max_roundtrip:
            found.append(
                f"{name}: round trip of {field!r} has RRMSE {error:.3g} (limit {config.max_roundtrip:g})"
            )
    return found


def _assemble(
    meshes: xr.Dataset,
    kept: np.ndarray,
    names: list[str],
    done: list[Morphed],
    reference: Reference,
    attrs: dict,
) -> xr.Dataset:
    common_nodes, axes = reference.points.shape
    mapped = [m.mapped for m in done] or [np.empty((0, reference.common.shape[1]))]
    counts = [len(m.mapped) for m in done]
    data = {
        "node_count": variable("node_count", np.array(counts, dtype=np.int64)),
        "mapped_x": variable("mapped_x", np.concatenate(mapped)),
        "shape": variable("shape", np.array([m.shape for m in done]).reshape(-1, common_nodes, axes)),
        "inverted_cells": variable("inverted_cells", [m.inverted for m in done]),
        "smallest_area_ratio": variable("smallest_area_ratio", [m.smallest_ratio for m in done]),
        "points_outside": variable("points_outside", [m.outside for m in done]),
        "roundtrip_error": variable(
            "roundtrip_error", np.array([m.roundtrip for m in done]).reshape(len(done), len(names))
        ),
        "transfer_error": variable(
            "transfer_error",
            np.array([m.transfer_error for m in done]).reshape(len(done), len(names), common_nodes),
        ),
    }
    for k, name in enumerate(names):
        values = np.array([m.fields[k] for m in done]).reshape(-1, common_nodes)
        source = meshes[name].variable
        data[name] = xr.Variable(
            ("sample", "common_node"), values.astype(source.dtype, copy=False), source.attrs
        )
    passed = {"sample_name", "split", *by_role(meshes, SCALAR), *by_role(meshes, PARAMETER)}
    for key, entry in meshes.variables.items():
        if key in passed and entry.dims == ("sample",):
            data[str(key)] = entry.isel(sample=kept)
    if "sample_name" not in data:
        kept_names = np.array([sample_names(meshes)[i] for i in kept], dtype=object)
        data["sample_name"] = variable("sample_name", kept_names)
    return xr.Dataset(
        data, coords={"field": ("field", np.array(names, dtype=str))}, attrs={**meshes.attrs, **attrs}
    )


STAGE = Stage(
    name="morph",
    version=1,
    config=MorphConfig,
    inputs={
        "meshes": schema(
            "node_count", "cell_count", "x", "connectivity",
            optional=("sample_name", "split", "status", "facet_count", "facet_node", "facet_tag"),
        ),
        "common": schema("common_x", "common_connectivity", "reference_x"),
    },
    output=schema(
        "node_count", "mapped_x", "shape", "inverted_cells", "smallest_area_ratio", "points_outside",
        "roundtrip_error", "transfer_error", "sample_name", optional=("split",),
    ),
    run=run,
    split_over="meshes",
    batch=25,
    literature=(
        "arXiv:2305.12871", "doi:10.1112/plms/s3-13.1.743", "doi:10.1016/S0167-8396(03)00002-5",
        "doi:10.1016/j.compstruc.2007.01.013", "doi:10.2514/3.25229",
    ),
)  # fmt: skip
