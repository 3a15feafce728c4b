"""Small-strain elasto-plastic equilibrium: load steps, Newton with the consistent tangent, step halving."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.sparse.linalg as spla

from kernels.errors import InputError
from kernels.solids.return_map import Material, update, von_mises
from kernels.solids.stiffness import Stiffness

FORCING = 1e-3
"""Relative residual of the linear solves by conjugate gradients; Newton's own tolerance is not touched by it.
"""
CG_LIMIT = 24
"""Conjugate-gradient iterations that cost about as much as a new factorisation."""


class NotConverged(ArithmeticError):
    """No equilibrium was found; the message says at which part of the load and why."""


@dataclass(frozen=True)
class Control:
    """Load steps, Newton tolerance on `|residual| / |load|`, iterations a step, halvings of a step, strain
    limit.

    Raises InputError where a value is out of range.
    """

    load_steps: int = 5
    tolerance: float = 1e-8
    max_iterations: int = 12
    max_halvings: int = 6
    largest_plastic_strain: float = 0.2

    def __post_init__(self) -> None:
        if self.load_steps < 1 or self.max_iterations < 1 or self.max_halvings < 0:
            raise InputError(
                f"load_steps {self.load_steps}, max_iterations {self.max_iterations}, max_halvings "
                f"{self.max_halvings}; "
                "expected at least 1, 1 and 0: raise them"
            )
        if not (self.tolerance > 0.0 and self.largest_plastic_strain > 0.0):
            raise InputError(
                f"tolerance {self.tolerance}, largest_plastic_strain {self.largest_plastic_strain}; "
                "expected positive numbers: raise them"
            )


@dataclass(frozen=True)
class State:
    """Equilibrium under a part `fraction` of the load.

    u (nodes, 2) in m; stress (cells, 3, 4) in Pa and plastic (cells, 3, 4): 11, 22, 33, 12; equivalent
    (cells, 3). factorisations counts the linear systems factored so far, steps the load steps that needed
    Newton.
    """

    fraction: float
    u: np.ndarray
    stress: np.ndarray
    plastic: np.ndarray
    equivalent: np.ndarray
    factorisations: int = 0
    steps: int = 0


def solve(system: Stiffness, material: Material, force: np.ndarray, control: Control | None = None) -> State:
    """Equilibrium `int B^T sigma dV = F` under the nodal forces force (nodes, 2) in N/m, from the unloaded
    state.

    The load grows in equal steps; each is solved by Newton with the consistent tangent (Simo and Taylor,
    Comput. Methods Appl. Mech. Eng. 48, 1985); a step that fails is halved. Steps below first yield are the
    scaled elastic solution, which is exact. Raises NotConverged where halving does not help (the load is past
    the plastic limit) or where plastic strain leaves the small-strain range, InputError for a force that is
    not finite. Not handled: non-zero prescribed displacements, unloading histories, large strain.
    """
    control = control or Control()
    if not np.all(np.isfinite(force)):
        raise InputError(
            "the force has values that are not finite, expected numbers in N/m: correct the load"
        )
    state, elastic_u, first_yield, solver = _start(system, material, force)
    ticks_in_step = 2**control.max_halvings
    total = control.load_steps * ticks_in_step
    done, width = 0, ticks_in_step
    direction = elastic_u  # displacement rate per unit of load fraction, for the first guess of a step
    while done < total:
        width = min(width, total - done)
        fraction = (done + width) / total
        if fraction <= first_yield:
            state = replace(
                _scaled(system, material, elastic_u, fraction), factorisations=state.factorisations
            )
            done += width
            continue
        after = _newton(system, material, force, state, fraction, direction, control, solver)
        if after is None:
            if width == 1:
                raise NotConverged(
                    f"Newton found no equilibrium between {state.fraction:.4g} and {fraction:.4g} of "
                    f"the load after "
                    f"{control.max_halvings} halvings: the load is near or past the plastic limit, lower it"
                )
            width //= 2
            continue
        direction = (after.u - state.u) / (after.fraction - state.fraction)
        state, done = after, done + width
        _check_range(state, control)
        width = min(2 * width, ticks_in_step)
    return replace(state, factorisations=solver.factorisations)


class _LinearSolver:
    """Tangent systems by conjugate gradients, preconditioned by the latest factorisation, which is renewed
    when old.
    """

    def __init__(self, system: Stiffness) -> None:
        self.system = system
        self.factorisations = 0
        self._factor: Any = None

    def renew(self, tangent: np.ndarray) -> Any:
        self._factor = self.system.factor(tangent)
        self.factorisations += 1
        return self._factor

    def solve(self, tangent: np.ndarray, residual: np.ndarray) -> np.ndarray:
        matrix = self.system.matrix(tangent)
        shape = matrix.shape
        before = spla.LinearOperator(shape, matvec=self._factor.solve, dtype=np.float64)
        change, flag = spla.cg(matrix, residual, rtol=FORCING, atol=0.0, maxiter=CG_LIMIT, M=before)
        if flag == 0 and np.all(np.isfinite(change)):
            return np.asarray(change)
        return np.asarray(self.renew(tangent).solve(residual))


def _start(
    system: Stiffness, material: Material, force: np.ndarray
) -> tuple[State, np.ndarray, float, _LinearSolver]:
    """Unloaded state, elastic displacement under full load, load fraction of first yield, elastic solver."""
    shape = system.mesh.weights.shape
    state = State(0.0, np.zeros_like(force), np.zeros((*shape, 4)), np.zeros((*shape, 4)), np.zeros(shape))
    rigid = replace(material, yield_stress=np.inf)
    _, tangent = _respond(system, rigid, state, state.u, 0.0)
    solver = _LinearSolver(system)
    u = np.zeros_like(force)
    u.ravel()[system.free] = solver.renew(tangent).solve(force.ravel()[system.free])
    loaded, _ = _respond(system, rigid, state, u, 1.0)
    largest = float(von_mises(loaded.stress).max())
    return state, u, material.yield_stress / largest if largest > 0.0 else np.inf, solver


def _scaled(system: Stiffness, material: Material, elastic_u: np.ndarray, fraction: float) -> State:
    shape = system.mesh.weights.shape
    zero = State(0.0, elastic_u, np.zeros((*shape, 4)), np.zeros((*shape, 4)), np.zeros(shape))
    return _respond(system, replace(material, yield_stress=np.inf), zero, fraction * elastic_u, fraction)[0]


def _respond(
    system: Stiffness, material: Material, state: State, u: np.ndarray, fraction: float
) -> tuple[State, np.ndarray]:
    """State at displacement u reached in one step from `state`, and the tangent (cells, 3, 6)."""
    strain = system.strain(u)
    shape = strain.shape[:2]
    stress, plastic, equivalent, tangent = update(
        strain.reshape(-1, 3), state.plastic.reshape(-1, 4), state.equivalent.ravel(), material
    )
    after = replace(
        state, fraction=fraction, u=u, stress=stress.reshape(*shape, 4),
        plastic=plastic.reshape(*shape, 4), equivalent=equivalent.reshape(shape),
    )  # fmt: skip
    return after, tangent.reshape(*shape, 6)


def _newton(
    system: Stiffness, material: Material, force: np.ndarray, state: State, fraction: float,
    direction: np.ndarray, control: Control, solver: _LinearSolver,
) -> State | None:  # fmt: skip
    """State under `fraction` of the load, None where Newton does not converge, and the factorisations
    spent."""
    free = system.free
    load = fraction * force.ravel()[free]
    scale = float(np.linalg.norm(load))
    u = state.u + (fraction - state.fraction) * direction
    for iteration in range(control.max_iterations + 1):
        trial, tangent = _respond(system, material, state, u, fraction)
        residual = load - system.force(trial.stress).ravel()[free]
        size = float(np.linalg.norm(residual))
        if size <= control.tolerance * scale:
            return replace(trial, steps=state.steps + 1)
        if not np.isfinite(size) or size > 1e3 * scale or iteration == control.max_iterations:
            return None
        change = np.zeros_like(u)
        try:
            change.ravel()[free] = solver.solve(tangent, residual)
        except RuntimeError:  # exactly singular: perfect plasticity at its limit
            return None
        u = u + change
    return None


def _check_range(state: State, control: Control) -> None:
    largest = float(state.equivalent.max())
    if largest > control.largest_plastic_strain:
        raise NotConverged(
            f"plastic strain reaches {largest:.3g} at {state.fraction:.4g} of the load, expected at most "
            f"{control.largest_plastic_strain:.3g} for small strain: lower the load or raise the hardening"
        )
