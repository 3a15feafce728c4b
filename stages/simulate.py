"""Stage `simulate`: elasto-plastic stretching of notched bars, one case a sample, each on its own mesh."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from pydantic import Field

from kernels.errors import InputError
from kernels.solids.elastoplastic import Control
from kernels.solids.specimen import TAGS
from kernels.solids.tensile import FIELDS, OPTIONAL, PARAMETERS, SCALARS, Case, check_names, simulate
from stages.base import Stage, StageConfig, by_role, schema, variable
from stages.ragged import sample_names
from stages.variables import FAILED, FIELD, OK, PARAMETER, SCALAR


class SimulateConfig(StageConfig):
    """Size of the bar (m), mesh, Newton control, and constants for parameters that the design does not vary.

    The defaults give 5,000 to 10,000 nodes a case; mesh_size = 0.004 with notch_segments = 14 gives about
    1,700.
    """

    length: float = Field(default=0.1, gt=0.0)
    height: float = Field(default=0.04, gt=0.0)
    mesh_size: float = Field(default=0.0018, gt=0.0)
    notch_segments: int = Field(default=32, ge=4, le=1000)
    load_steps: int = Field(default=5, ge=1)
    tolerance: float = Field(default=1e-8, gt=0.0, lt=1e-2)
    max_iterations: int = Field(default=12, ge=1)
    max_halvings: int = Field(default=6, ge=0, le=20)
    largest_plastic_strain: float = Field(default=0.2, gt=0.0)
    constants: dict[str, float] = Field(default_factory=dict)


def _inputs(config: SimulateConfig, design: xr.Dataset) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """Values of the varied parameters and of the constants; InputError where names or units do not fit."""
    names = by_role(design, PARAMETER)
    both = sorted(set(names) & set(config.constants))
    if both:
        raise InputError(f"{both} are in the design and in constants, expected one of the two: drop one")
    check_names({**dict.fromkeys(names), **config.constants})
    units = PARAMETERS | {name: unit for name, (unit, _) in OPTIONAL.items()}
    for name in names:
        given = design[name].attrs.get("units")
        if given != units[name]:
            raise InputError(f"parameter {name!r} has units {given!r}, expected {units[name]!r}: convert it")
    return {name: np.asarray(design[name].values, dtype=np.float64) for name in names}, dict(config.constants)


def _case(config: SimulateConfig, values: Mapping[str, float]) -> tuple[Case | None, str]:
    """The case, or None and the reason why it failed."""
    control = Control(
        config.load_steps,
        config.tolerance,
        config.max_iterations,
        config.max_halvings,
        config.largest_plastic_strain,
    )
    try:
        return simulate(
            values, config.length, config.height, config.mesh_size, config.notch_segments, control
        ), ""
    except (ValueError, ArithmeticError, RuntimeError, MemoryError) as error:
        return None, str(error) or type(error).__name__


def _joined(cases: list[Case | None], part: str, empty: np.ndarray) -> np.ndarray:
    return np.concatenate([empty, *(getattr(case, part) for case in cases if case is not None)])


def _dataset(cases: list[Case | None], reasons: list[str]) -> dict[str, Any]:
    def counts(part: str) -> list[int]:
        return [0 if case is None else len(getattr(case, part)) for case in cases]

    tags = {"flag_values": list(TAGS.values()), "flag_meanings": " ".join(TAGS)}
    data: dict[str, Any] = {
        "status": variable("status", [FAILED if case is None else OK for case in cases]),
        "reason": variable("reason", np.array(reasons, dtype=np.str_)),
        "node_count": variable("node_count", counts("x")),
        "cell_count": variable("cell_count", counts("connectivity")),
        "facet_count": variable("facet_count", counts("facet_node")),
        "x": variable("x", _joined(cases, "x", np.empty((0, 2)))),
        "connectivity": variable("connectivity", _joined(cases, "connectivity", np.empty((0, 3), np.int32))),
        "facet_node": variable("facet_node", _joined(cases, "facet_node", np.empty((0, 2), np.int32))),
        "facet_tag": variable("facet_tag", _joined(cases, "facet_tag", np.empty(0, np.int32)), **tags),
    }
    for name, (units, meaning) in FIELDS.items():
        values = np.concatenate([np.empty(0), *(case.fields[name] for case in cases if case is not None)])
        data[name] = xr.Variable(("node",), values, {"role": FIELD, "units": units, "long_name": meaning})
    for name, (units, meaning) in SCALARS.items():
        numbers = np.array(
            [np.nan if case is None else case.scalars[name] for case in cases], dtype=np.float64
        )
        data[name] = xr.Variable(("sample",), numbers, {"role": SCALAR, "units": units, "long_name": meaning})
    return data


def run(config: StageConfig, *, design: xr.Dataset) -> xr.Dataset:
    """Simulate every sample of the design: `div sigma = 0`, `sigma = C : (e - e_p)`, J2 flow, plane strain.

    Bar, load and support: `kernels.solids.tensile.simulate`; elements: quadratic triangles, given out as
    linear triangles on all their nodes; update: radial return (Simo and Hughes 1998, box 3.2). Input:
    parameters on `sample` with the names and units of `kernels.solids.tensile.PARAMETERS`. Output: the ragged
    set with nodal fields (displacement in m, stress in Pa, equivalent plastic strain), scalars, and the
    parameters as given. A case without mesh or equilibrium gets status `failed`, a reason, no nodes, and NaN
    scalars; it stops nothing. Raises InputError where names or units of parameters do not fit. Not handled:
    unloading, large strain.
    """
    if not isinstance(config, SimulateConfig):
        raise InputError(
            f"stage 'simulate' got {type(config).__name__}, expected SimulateConfig: pass that config"
        )
    varied, constants = _inputs(config, design)
    cases: list[Case | None] = []
    reasons: list[str] = []
    for i, _ in enumerate(sample_names(design)):
        case, reason = _case(config, constants | {name: float(values[i]) for name, values in varied.items()})
        cases.append(case)
        reasons.append(reason)
    data = {name: design[name].variable.copy() for name in ("sample_name", "split")}
    data |= _dataset(cases, reasons)
    data |= {name: design[name].variable.copy() for name in varied}
    return xr.Dataset(data)


STAGE = Stage(
    name="simulate",
    version=1,
    config=SimulateConfig,
    inputs={"design": schema("sample_name", "split")},
    output=schema(
        "sample_name",
        "split",
        "status",
        "reason",
        "node_count",
        "cell_count",
        "facet_count",
        "x",
        "connectivity",
        "facet_node",
        "facet_tag",
    ),
    run=run,
    split_over="design",
    batch=1,
    literature=("J. C. Simo, T. J. R. Hughes, Computational Inelasticity, Springer, 1998",),
)
