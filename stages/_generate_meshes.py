"""Problems of the stage `generate` on meshes: a plate with a hole, mapped by its numbers or meshed anew."""

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import xarray as xr

from kernels.elliptic.plate import Hole, Plate, free_plate, mapped_plate
from kernels.elliptic.triangles import halved, solve_poisson
from kernels.errors import InputError
from kernels.fields.random_fields import Covariance, draw
from stages._generate_base import Number, Problem, Samples, Setting, at_once
from stages.base import variable
from stages.variables import FIELD, INPUT

Meshes = Callable[[Setting, Hole, np.random.Generator], tuple[Plate, Plate, np.ndarray]]
"""The mesh handed out, the mesh solved on, and the nodes of the second that are those of the first."""

_NUMBERS = {
    "hole_radius": Number(0.15, "radius of the hole", units="m"),
    "hole_x1": Number(0.5, "centre of the hole along axis 1", units="m"),
    "hole_x2": Number(0.5, "centre of the hole along axis 2", units="m"),
    "source": Number(1.0, "mean of f", above=-np.inf),
    "tau": Number(3.0, "inverse length in the covariance scale^2 (-Laplace + tau^2)^(-alpha) of f"),
    "alpha": Number(2.0, "smoothness in the covariance"),
    "scale": Number(6.0, "size in the covariance"),
}


def _mapped(setting: Setting, hole: Hole, random: np.random.Generator) -> tuple[Plate, Plate, np.ndarray]:
    sides, layers, k = setting.resolution, max(setting.resolution // 2, 2), setting.refine
    node = np.arange((k * layers + 1) * 4 * k * sides).reshape(k * layers + 1, 4 * k * sides)
    return (
        mapped_plate(hole, sides, layers),
        mapped_plate(hole, k * sides, k * layers),
        node[::k, ::k].ravel(),
    )


def _free(setting: Setting, hole: Hole, random: np.random.Generator) -> tuple[Plate, Plate, np.ndarray]:
    size = random.uniform(0.8, 1.25) / setting.resolution
    coarse = fine = free_plate(hole, size)
    for _ in range(setting.refine.bit_length() - 1):
        fine = Plate(*halved(fine.x, fine.cells, fine.boundary))
    return coarse, fine, np.arange(len(coarse.x))


def _timeless(setting: Setting) -> None:
    if setting.times or setting.time_step is not None:
        raise InputError("times or time_step are given, but the problem has no time: drop them")


def _halving(setting: Setting) -> None:
    _timeless(setting)
    if setting.refine & (setting.refine - 1):
        raise InputError(
            f"refine is {setting.refine}, expected a power of two, since triangles are halved: use "
            f"{1 << setting.refine.bit_length()}"
        )


def _solved(
    meshes: Meshes, setting: Setting, numbers: Mapping[str, float], random: np.random.Generator
) -> tuple[Plate, np.ndarray, np.ndarray]:
    """Mesh, f and u at its nodes."""
    hole = Hole(numbers["hole_radius"], numbers["hole_x1"], numbers["hole_x2"])
    covariance = Covariance("neumann", 2, numbers["tau"], numbers["alpha"], numbers["scale"], setting.modes)
    field = draw(covariance, random)
    coarse, fine, picked = meshes(setting, hole, random)
    f = numbers["source"] + field.near(fine.x)
    return coarse, f[picked], solve_poisson(fine.x, fine.cells, f, fine.boundary)[picked]


def _build(meshes: Meshes, setting: Setting, samples: Samples) -> xr.Dataset:
    cases = at_once(samples, partial(_solved, meshes, setting))
    plates = [case[0] for case in cases]
    data = {
        "node_count": variable("node_count", [len(plate.x) for plate in plates]),
        "cell_count": variable("cell_count", [len(plate.cells) for plate in plates]),
        "x": variable("x", np.concatenate([plate.x for plate in plates])),
        "connectivity": variable("connectivity", np.concatenate([plate.cells for plate in plates])),
        "dirichlet": variable("dirichlet", np.concatenate([plate.boundary for plate in plates])),
    }
    for k, name, role, units, meaning in (
        (1, "source_density", INPUT, "1 m-2", "right side f of -Laplace u = f"),
        (2, "potential", FIELD, "1", "solution u, zero on the boundary"),
    ):
        values = np.concatenate([case[k] for case in cases])
        data[name] = xr.Variable(("node",), values, {"role": role, "units": units, "long_name": meaning})
    return xr.Dataset(data)


_LITERATURE = ("A. Ern, J.-L. Guermond, Finite Elements II, Springer, 2021",)

PROBLEMS: dict[str, Problem] = {
    "poisson_moving": Problem(
        _NUMBERS,
        _timeless,
        partial(_build, _mapped),
        modes=16,
        resolution=16,
        refine=3,
        literature=_LITERATURE,
    ),
    "poisson_meshes": Problem(
        _NUMBERS, _halving, partial(_build, _free), modes=16, resolution=16, refine=4, literature=_LITERATURE
    ),
}
