"""One tensile case: parameters of the notched bar in, mesh, fields and scalars out."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from kernels.errors import InputError
from kernels.solids.elastoplastic import Control, State, solve
from kernels.solids.return_map import Material, von_mises
from kernels.solids.specimen import TAGS, Specimen, mesh_specimen
from kernels.solids.stiffness import Stiffness
from kernels.solids.triangles import QuadraticMesh, edge_force, recover, split

PARAMETERS = {
    "notch_1_radius": "m",
    "notch_1_position": "m",
    "notch_2_radius": "m",
    "notch_2_position": "m",
    "load": "Pa",
    "young": "Pa",
    "poisson": "1",
    "yield_stress": "Pa",
    "hardening": "Pa",
}
"""Parameters that every case needs, and their units."""

OPTIONAL = {"saturation_stress": ("Pa", 0.0), "saturation_rate": ("1", 0.0)}
"""Parameters of the Voce part of the hardening: unit and value where not given."""

FIELDS = {
    "displacement_1": ("m", "displacement along the bar"),
    "displacement_2": ("m", "displacement across the bar"),
    "stress_11": ("Pa", "normal stress along the bar"),
    "stress_22": ("Pa", "normal stress across the bar"),
    "stress_12": ("Pa", "shear stress in the plane"),
    "stress_33": ("Pa", "normal stress out of the plane"),
    "plastic_strain": ("1", "equivalent plastic strain"),
}
"""Nodal outputs: unit and meaning."""

SCALARS = {
    "max_von_mises": ("Pa", "largest equivalent stress over the nodes"),
    "max_displacement": ("m", "largest length of the displacement over the nodes"),
    "reaction": ("N/m", "resultant of the support per unit thickness, positive in tension"),
}
"""Scalar outputs: unit and meaning."""


@dataclass(frozen=True)
class Case:
    """Mesh, nodal fields and scalars of one case, on the linear mesh of all nodes of the quadratic one.

    x (nodes, 2) in m; connectivity (cells, 3) and facet_node (facets, 2) counter-clockwise; facet_tag
    (facets,) as in `specimen.TAGS`; fields and scalars as in FIELDS and SCALARS. factorisations: linear
    systems factored.
    """

    x: np.ndarray
    connectivity: np.ndarray
    facet_node: np.ndarray
    facet_tag: np.ndarray
    fields: dict[str, np.ndarray]
    scalars: dict[str, float]
    factorisations: int


def simulate(
    values: Mapping[str, float],
    length: float = 0.1,
    height: float = 0.04,
    mesh_size: float = 0.0018,
    notch_segments: int = 32,
    control: Control | None = None,
) -> Case:
    """Stretch one notched bar: plane strain, J2 plasticity with isotropic hardening, small strain.

    The end x1 = length carries the uniform traction `load`; the end x1 = 0 slides on a frictionless wall (u1
    = 0) and its corner (0, 0) is pinned, which carries no force; all other sides are free. values: the
    numbers of PARAMETERS, and of OPTIONAL where given, in their units. max_von_mises is taken from the nodal
    (recovered) stress. Raises InputError for parameters or a mesh that are out of range, NotConverged where
    there is no equilibrium. Not handled: unloading, contact, plane stress.
    """
    check_names(values)
    number = {name: float(values[name]) for name in PARAMETERS}
    number |= {name: float(values.get(name, default)) for name, (_, default) in OPTIONAL.items()}
    material = Material(
        number["young"], number["poisson"], number["yield_stress"], number["hardening"],
        number["saturation_stress"], number["saturation_rate"],
    )  # fmt: skip
    notches = {name: number[name] for name in PARAMETERS if name.startswith("notch")}
    mesh = mesh_specimen(Specimen(length, height, **notches), mesh_size, notch_segments)
    held = np.zeros(mesh.x.shape, dtype=bool)
    held[mesh.nodes_of(TAGS["left"]), 0] = True
    held[0, 1] = True
    system = Stiffness(mesh, held)
    state = solve(system, material, edge_force(mesh, TAGS["right"], (number["load"], 0.0)), control)
    return _outputs(mesh, system, state, held)


def check_names(values: Mapping[str, object]) -> None:
    """Raise InputError where a parameter is missing or unknown."""
    missing = sorted(set(PARAMETERS) - set(values))
    unknown = sorted(set(values) - set(PARAMETERS) - set(OPTIONAL))
    if missing or unknown:
        raise InputError(
            f"parameters missing: {missing or 'none'}, unknown: {unknown or 'none'}; expected "
            f"{sorted(PARAMETERS)} and "
            f"optionally {sorted(OPTIONAL)}: correct the design or give constants"
        )


def _outputs(mesh: QuadraticMesh, system: Stiffness, state: State, held: np.ndarray) -> Case:
    nodal = recover(mesh, np.concatenate([state.stress, state.equivalent[..., None]], axis=2))
    connectivity, facet_node, facet_tag = split(mesh)
    fields = {
        "displacement_1": state.u[:, 0],
        "displacement_2": state.u[:, 1],
        "stress_11": nodal[:, 0],
        "stress_22": nodal[:, 1],
        "stress_12": nodal[:, 3],
        "stress_33": nodal[:, 2],
        "plastic_strain": np.maximum(
            nodal[:, 4], 0.0
        ),  # extrapolation may fall below zero at the elastic front
    }
    scalars = {
        "max_von_mises": float(von_mises(nodal[:, :4]).max()),
        "max_displacement": float(np.hypot(state.u[:, 0], state.u[:, 1]).max()),
        "reaction": -float(system.force(state.stress)[held[:, 0], 0].sum()),
    }
    return Case(mesh.x, connectivity, facet_node, facet_tag, fields, scalars, state.factorisations)
