"""One mesh onto the common mesh: the four morphing methods behind one pair of functions."""

from dataclasses import dataclass, field

import numpy as np

from kernels.errors import InputError
from kernels.mesh.boundary import (
    PinRule,
    Walk,
    arc_coordinate,
    arc_shares,
    mesh_loops,
    positions_at,
    walk_loop,
)
from kernels.mesh.control_points import counter_clockwise, pair_loops
from kernels.mesh.laplacian import laplacian_morph
from kernels.mesh.rbf import rbf_morph
from kernels.mesh.tutte import disk_loop, disk_map

METHODS = ("tutte", "rbf", "laplacian", "identity")


@dataclass(frozen=True)
class Mesh:
    """Nodes (n, d), simplices (c, k), tagged facets (f, k - 1) or None, and the name used in messages."""

    points: np.ndarray
    cells: np.ndarray
    name: str = "mesh"
    facet_node: np.ndarray | None = None
    facet_tag: np.ndarray | None = None


@dataclass(frozen=True)
class MorphSettings:
    """Method and its settings; radius in bounding box diagonals of the reference."""

    method: str = "tutte"
    weights: str = "mean_value"
    rule: PinRule = field(default_factory=PinRule)
    pin_spacing: str = "equal"
    controls: str = "boundary"
    radius: float = 0.5
    shared: str = "connectivity"


@dataclass(frozen=True)
class Reference:
    """The reference mesh, its nodes on the common mesh (n, e), its boundary walks with their shares,
    its control nodes."""

    points: np.ndarray
    cells: np.ndarray
    common: np.ndarray
    settings: MorphSettings
    walks: tuple[Walk, ...] = ()
    shares: tuple[np.ndarray, ...] = ()
    controls: np.ndarray | None = None


def build_reference(mesh: Mesh, settings: MorphSettings) -> Reference:
    """The common mesh from one mesh: its image in the unit disk for "tutte", the mesh itself for the
    other methods.

    Raises InputError naming the sample where the method does not fit the mesh's topology.
    """
    if settings.method == "tutte":
        loop = disk_loop(mesh.points, mesh.cells, mesh.name)
        walk = _walk(mesh, loop, settings.rule, None)
        count = walk.pins.size
        equal = settings.pin_spacing == "equal"
        shares = np.full(count, 1.0 / count) if equal else arc_shares(mesh.points, walk)
        reference = Reference(mesh.points, mesh.cells, mesh.points, settings, (walk,), (shares,))
        return Reference(mesh.points, mesh.cells, map_mesh(mesh, reference), settings, (walk,), (shares,))
    if settings.method == "identity":
        return Reference(mesh.points, mesh.cells, mesh.points, settings)
    if settings.controls == "corresponding":
        return Reference(mesh.points, mesh.cells, mesh.points, settings, controls=_facet_controls(mesh))
    walks = tuple(_walk(mesh, loop, settings.rule, None) for loop in _plane_loops(mesh))
    shares_all = tuple(arc_shares(mesh.points, walk) for walk in walks)
    return Reference(mesh.points, mesh.cells, mesh.points, settings, walks, shares_all)


def map_mesh(mesh: Mesh, reference: Reference) -> np.ndarray:
    """Nodes of a mesh mapped onto the common mesh, (n, e).

    tutte: see `disk_map`. rbf, laplacian: boundary nodes go to the reference's boundary at equal arc
    length between pins ("boundary", plane meshes), or the k-th distinct facet node to the reference's
    k-th ("corresponding"), and the others follow: see `rbf_morph`, `laplacian_morph`. identity:
    connectivity is shared, nodes go to the reference's. Raises InputError naming the sample where it
    does not fit the reference.
    """
    settings = reference.settings
    if settings.method == "tutte":
        shares, pattern = reference.shares[0], reference.walks[0].tags
        facets = (mesh.facet_node, mesh.facet_tag)
        found = disk_map(
            mesh.points, mesh.cells, settings.rule, settings.weights, shares, pattern, *facets, mesh.name
        )  # fmt: skip
        return found.mapped
    if settings.method == "identity":
        check_shared(mesh, reference)
        return reference.common.copy()
    nodes, targets = _control_targets(mesh, reference)
    displacements = targets - mesh.points[nodes]
    if settings.method == "laplacian":
        return laplacian_morph(mesh.points, mesh.cells, nodes, displacements, mesh.name)[0]
    if settings.method == "rbf":
        radius = settings.radius * float(np.linalg.norm(np.ptp(reference.points, axis=0)))
        return rbf_morph(mesh.points, mesh.points[nodes], displacements, radius, mesh.name)[0]
    raise InputError(f"method {settings.method!r} is not known: choose one of {METHODS}")


def check_shared(mesh: Mesh, reference: Reference) -> None:
    """Raise InputError naming the sample where it does not share what the settings say with the reference.

    shared = "connectivity": the same cells in the same order; "nodes": the same number of nodes, which
    the user declares to correspond by number although some cells differ, as after edge flips.
    """
    if mesh.points.shape == reference.points.shape:
        same = mesh.cells.shape == reference.cells.shape
        differing = len(mesh.cells)
        if same:
            differing = int((mesh.cells != reference.cells).any(axis=1).sum())
        if reference.settings.shared == "nodes" or differing == 0:
            return
        how = f"{differing} of {len(mesh.cells)} cells differ: use shared = 'nodes' if nodes correspond"
    else:
        how = f"it has {len(mesh.points)} nodes, {len(mesh.cells)} cells: use 'tutte', 'rbf' or 'laplacian'"
    raise InputError(
        f"{mesh.name}: method 'identity' needs the connectivity of the reference "
        f"({len(reference.points)} nodes, {len(reference.cells)} cells), but {how}"
    )


def _walk(mesh: Mesh, loop: np.ndarray, rule: PinRule, pattern: np.ndarray | None) -> Walk:
    return walk_loop(mesh.points, loop, rule, mesh.name, mesh.facet_node, mesh.facet_tag, pattern)


def _plane_loops(mesh: Mesh) -> list[np.ndarray]:
    if mesh.points.shape[1] != 2 or mesh.cells.shape[1] != 3:
        raise InputError(
            f"{mesh.name}: controls = 'boundary' matches boundary curves of plane triangle meshes, got "
            "cells of "
            f"{mesh.cells.shape[1]} nodes on {mesh.points.shape[1]} axes: give facets and use controls = "
            "'corresponding'"
        )
    return [counter_clockwise(mesh.points, loop) for loop in mesh_loops(mesh.cells, mesh.name)]


def _facet_controls(mesh: Mesh) -> np.ndarray:
    if mesh.facet_node is None or len(mesh.facet_node) == 0:
        raise InputError(f"{mesh.name}: controls = 'corresponding' needs boundary facets, the mesh has none")
    flat = np.asarray(mesh.facet_node, dtype=np.int64).ravel()
    return flat[np.sort(np.unique(flat, return_index=True)[1])]


def _control_targets(mesh: Mesh, reference: Reference) -> tuple[np.ndarray, np.ndarray]:
    if reference.controls is not None:
        nodes = _facet_controls(mesh)
        if nodes.size != reference.controls.size:
            raise InputError(
                f"{mesh.name}: {nodes.size} control nodes on its facets, the reference has "
                f"{reference.controls.size}: "
                "controls = 'corresponding' needs the same facets in the same order on every mesh"
            )
        return nodes, reference.points[reference.controls]
    loops = _plane_loops(mesh)
    polygons = [reference.points[walk.nodes] for walk in reference.walks]
    nodes_of, targets = [], []
    for walk, k in zip(reference.walks, pair_loops(mesh.points, loops, polygons, mesh.name), strict=True):
        own = _walk(mesh, loops[k], reference.settings.rule, walk.tags)
        nodes_of.append(own.nodes)
        targets.append(positions_at(reference.points, walk, arc_coordinate(mesh.points, own)))
    return np.concatenate(nodes_of), np.concatenate(targets)
