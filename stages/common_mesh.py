"""The common mesh that all samples are morphed to, made from one training sample."""

from typing import Literal

import numpy as np
import xarray as xr
from pydantic import Field

from kernels.errors import InputError
from kernels.mesh.boundary import PinRule, Walk
from kernels.mesh.check import check_mesh
from kernels.mesh.mapping import Mesh, MorphSettings, Reference, build_reference
from kernels.mesh.quality import morph_quality, refuse_inverted
from stages.base import Stage, StageConfig, schema, variable
from stages.ragged import offsets, sample_names
from stages.variables import OK, TRAIN


class CommonMeshConfig(StageConfig):
    """How meshes are morphed, and which training sample is the reference.

    method: "tutte" (disk-like triangle meshes, in the plane or open surfaces, to the unit disk), "rbf" or
    "laplacian" (to the reference's own geometry), "identity" (shared connectivity).
    reference: "densest" (most nodes), "median" (node count nearest the median) or a training sample's name.
    weights: of the Tutte map, see `interior_map`. "mean_value" had the lower round-trip error in trials.
    pins: see `PinRule`; corner_angle in degrees; start_direction: the walk starts at the pin farthest in it,
    lower left where empty.
    pin_spacing: arcs between pins "equal" on the circle, or in the "reference" sample's shares of arc
    length. On plates of 8 : 1 "equal" had a smallest area ratio of .029 against .004, at the same
    round-trip error. controls: "boundary" (plane meshes, by arc length) or "corresponding" (facet nodes
    correspond by order). radius: of the Wendland function, in bounding box diagonals of the reference.
    shared: what "identity" demands, see `check_shared`.
    """

    method: Literal["tutte", "rbf", "laplacian", "identity"] = "tutte"
    reference: str = "densest"
    weights: Literal["uniform", "mean_value"] = "mean_value"
    pins: Literal["none", "corners", "tags"] = "corners"
    corner_angle: float = Field(default=30.0, gt=0.0, lt=180.0)
    pin_spacing: Literal["equal", "reference"] = "equal"
    start_direction: tuple[float, ...] = ()
    controls: Literal["boundary", "corresponding"] = "boundary"
    radius: float = Field(default=0.5, gt=0.0)
    shared: Literal["connectivity", "nodes"] = "connectivity"


def settings_of(config: CommonMeshConfig) -> MorphSettings:
    """The settings of the morphing kernels."""
    rule = PinRule(config.pins, config.corner_angle, config.start_direction)
    return MorphSettings(
        config.method, config.weights, rule, config.pin_spacing, config.controls, config.radius, config.shared
    )


def mesh_of(meshes: xr.Dataset, sample: int) -> Mesh:
    """Mesh number `sample` of a ragged set, checked; raises InputError naming it where it is not a
    simplex mesh."""
    name = sample_names(meshes.isel(sample=slice(sample, sample + 1)))[0]
    node, cell = offsets(meshes, "node"), offsets(meshes, "cell")
    points = np.ascontiguousarray(meshes["x"][node[sample] : node[sample + 1]].values, dtype=np.float64)
    cells = np.ascontiguousarray(
        meshes["connectivity"][cell[sample] : cell[sample + 1]].values, dtype=np.int64
    )
    if (
        len(cells) == 0
        or cells.min() < 0
        or cells.shape[1] != 3 + (points.shape[1] == 3 and cells.shape[1] == 4)
    ):
        raise InputError(
            f"{name}: {len(cells)} cells of {cells.shape[1]} nodes on {points.shape[1]} axes (-1 fills "
            "smaller cells): "
            "morphing needs triangles, or tetrahedra on 3 axes: split other cells first"
        )
    check_mesh(points, cells, name)
    if "facet_count" not in meshes or "facet_node" not in meshes or "facet_tag" not in meshes:
        return Mesh(points, cells, name)
    facet = offsets(meshes, "facet")
    own = slice(int(facet[sample]), int(facet[sample + 1]))
    return Mesh(points, cells, name, meshes["facet_node"][own].values, meshes["facet_tag"][own].values)


def choose_reference(config: CommonMeshConfig, meshes: xr.Dataset) -> int:
    """Position of the reference among the training samples that did not fail; ties go to the first.

    Raises InputError where there is none, or where the named sample is not one of them.
    """
    samples = meshes.sizes["sample"]
    usable = np.asarray(meshes["split"].values) == TRAIN
    if "status" in meshes:
        usable &= np.asarray(meshes["status"].values) == OK
    training = np.flatnonzero(usable)
    if training.size == 0:
        raise InputError(
            f"none of {samples} samples is a training sample that was computed: expected at least one"
        )
    names = sample_names(meshes)
    count = np.asarray(meshes["node_count"].values)[training]
    if config.reference == "densest":
        return int(training[np.argmax(count)])
    if config.reference == "median":
        return int(training[np.argmin(np.abs(count - np.median(count)))])
    if config.reference not in names:
        raise InputError(
            f"reference {config.reference!r} is not a sample: give 'densest', 'median' or a training "
            "sample, such as "
            f"{names[training[0]]!r}"
        )
    place = names.index(config.reference)
    if not usable[place]:
        raise InputError(
            f"reference {config.reference!r} is a test sample or failed: choose a training sample, such as "
            f"{names[training[0]]!r}"
        )
    return place


def run(config: CommonMeshConfig, meshes: xr.Dataset) -> xr.Dataset:
    """Nodes and cells of the common mesh, and what `morph` needs to bring other meshes onto it.

    tutte: the reference's image in the unit disk (Casenave, Staber, Roynard, arXiv 2305.12871, section
    3.1); other methods: the reference itself. common_x has no unit on the disk and the unit of `x`
    otherwise. The walks of the reference's boundary loops are kept as walk_node with walk_loop,
    pin_position, pin_tag, pin_share with pin_loop; the control nodes that correspond by order as
    control_node; the config in the attribute `morphing`. Raises InputError naming the sample where the
    reference does not fit the method or its cells turn over.
    """
    place = choose_reference(config, meshes)
    mesh = mesh_of(meshes, place)
    reference = build_reference(mesh, settings_of(config))
    refuse_inverted(morph_quality(mesh.points, mesh.cells, reference.common), len(mesh.cells), mesh.name)
    data = {
        "common_x": variable("common_x", reference.common),
        "common_connectivity": variable("common_connectivity", reference.cells),
        "reference_x": variable("reference_x", reference.points),
        **_walk_variables(reference),
    }
    if reference.controls is not None:
        data["control_node"] = _extra(
            "control", reference.controls, np.int32, "control nodes of the reference, in order"
        )
    return xr.Dataset(data, attrs={"morphing": config.model_dump_json(), "reference_sample": mesh.name})


def _extra(dim: str, values: np.ndarray, dtype: type, meaning: str) -> xr.Variable:
    return xr.Variable((dim,), np.asarray(values, dtype=dtype), {"units": "1", "long_name": meaning})


def _walk_variables(reference: Reference) -> dict[str, xr.Variable]:
    if not reference.walks:
        return {}
    walks = reference.walks
    node_loop = np.concatenate([np.full(w.nodes.size, k) for k, w in enumerate(walks)])
    pin_loop = np.concatenate([np.full(w.pins.size, k) for k, w in enumerate(walks)])
    join = np.concatenate
    return {
        "walk_node": _extra(
            "walk", join([w.nodes for w in walks]), np.int32, "boundary nodes in the order of the walk"
        ),
        "walk_loop": _extra("walk", node_loop, np.int32, "boundary loop that a node of the walk belongs to"),
        "pin_position": _extra(
            "pin", join([w.pins for w in walks]), np.int32, "position of the pin in its loop's walk"
        ),
        "pin_loop": _extra("pin", pin_loop, np.int32, "boundary loop that a pin belongs to"),
        "pin_tag": _extra(
            "pin",
            join([w.tags for w in walks]),
            np.int32,
            "boundary tag after the pin; -1 for a corner, -2 for a start that is none",
        ),
        "pin_share": _extra(
            "pin", join(reference.shares), np.float64, "share of the loop up to the next pin"
        ),
    }


def reference_from(common: xr.Dataset) -> tuple[Reference, CommonMeshConfig]:
    """What `run` stored; raises InputError where the dataset is not a common mesh."""
    if "morphing" not in common.attrs:
        raise InputError(
            "the common mesh has no attribute 'morphing': give the output of the stage 'common_mesh'"
        )
    config = CommonMeshConfig.model_validate_json(common.attrs["morphing"])
    walks, shares = [], []
    if "walk_node" in common:
        arrays = {
            n: np.asarray(common[n].values)
            for n in common.data_vars
            if common[n].dims in (("walk",), ("pin",))
        }
        for loop in range(int(arrays["pin_loop"].max()) + 1):
            own = arrays["pin_loop"] == loop
            nodes = arrays["walk_node"][arrays["walk_loop"] == loop].astype(np.int64)
            walks.append(
                Walk(
                    nodes,
                    arrays["pin_position"][own].astype(np.int64),
                    arrays["pin_tag"][own].astype(np.int64),
                )
            )
            shares.append(arrays["pin_share"][own])
    controls = common["control_node"].values.astype(np.int64) if "control_node" in common else None
    reference = Reference(
        np.ascontiguousarray(common["reference_x"].values),
        np.ascontiguousarray(common["common_connectivity"].values, dtype=np.int64),
        np.ascontiguousarray(common["common_x"].values),
        settings_of(config), tuple(walks), tuple(shares), controls,
    )  # fmt: skip
    return reference, config


STAGE = Stage(
    name="common_mesh",
    version=1,
    config=CommonMeshConfig,
    inputs={
        "meshes": schema(
            "split", "node_count", "cell_count", "x", "connectivity",
            optional=("sample_name", "status", "facet_count", "facet_node", "facet_tag"),
        )
    },
    output=schema("common_x", "common_connectivity", "reference_x"),
    run=run,
    literature=("arXiv:2305.12871", "doi:10.1112/plms/s3-13.1.743", "doi:10.1016/S0167-8396(03)00002-5"),
)  # fmt: skip
