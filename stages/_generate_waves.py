"""Problems of the stage `generate` that evolve in time on a periodic grid: Burgers and Navier-Stokes."""

from collections.abc import Mapping
from functools import partial

import numpy as np

from kernels.errors import InputError
from kernels.fields.burgers import solve_burgers
from kernels.fields.exponential import check_times
from kernels.fields.navier_stokes import diagonal_forcing, solve_navier_stokes
from kernels.fields.random_fields import Covariance, draw
from stages._generate_base import Number, Problem, Setting
from stages._generate_grids import build_grid, field_numbers

_LI = "Z. Li et al., Fourier neural operator for parametric partial differential equations, ICLR 2021"
_ETD = (
    "S. M. Cox, P. C. Matthews, Exponential time differencing for stiff systems, J. Comput. Phys. 176, 2002"
)
_KASSAM = (
    "A.-K. Kassam, L. N. Trefethen, Fourth-order time-stepping for stiff PDEs, SIAM J. Sci. Comput. 26, 2005"
)


def _check(setting: Setting) -> None:
    points = setting.resolution * setting.refine
    if 3 * setting.modes >= points:
        raise InputError(
            f"resolution * refine is {points} with {setting.modes} modes, expected more than "
            f"{3 * setting.modes}, since products take the upper third of the waves: raise refine "
            "or lower modes"
        )
    check_times(setting.times)


def _start(
    setting: Setting, dimension: int, numbers: Mapping[str, float], random: np.random.Generator
) -> np.ndarray:
    points = setting.resolution * setting.refine
    covariance = Covariance(
        "periodic", dimension, numbers["tau"], numbers["alpha"], numbers["scale"], setting.modes
    )
    return draw(covariance, random).at(*[np.arange(points) / points] * dimension)


def _handed_out(start: np.ndarray, states: np.ndarray, refine: int) -> tuple[np.ndarray, np.ndarray]:
    coarse = (slice(None, None, refine),) * start.ndim
    states = states[(slice(None), *coarse)]
    return start[coarse], states[0] if len(states) == 1 else states


def _burgers(
    setting: Setting, numbers: Mapping[str, float], random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    u = _start(setting, 1, numbers, random)
    states = solve_burgers(u, numbers["viscosity"], setting.times, setting.time_step)
    return _handed_out(u, states, setting.refine)


def _navier_stokes(
    setting: Setting, numbers: Mapping[str, float], random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    w = _start(setting, 2, numbers, random)
    forcing = diagonal_forcing(len(w), numbers["forcing"])
    states = solve_navier_stokes(w, numbers["viscosity"], forcing, setting.times, setting.time_step)
    return _handed_out(w, states, setting.refine)


_BURGERS = ("initial_velocity", "u at time 0"), ("velocity", "u of u_t + (u^2 / 2)_x = viscosity u_xx")
_VORTICITY = (
    ("initial_vorticity", "w at time 0"),
    ("vorticity", "w of w_t + u . grad w = viscosity Laplace w + f"),
)

PROBLEMS: dict[str, Problem] = {
    "burgers": Problem(
        {"viscosity": Number(0.01, "viscosity"), **field_numbers(5.0, 2.0, 25.0)},
        _check, partial(build_grid, _burgers, "periodic", 1, _BURGERS),
        modes=32, resolution=128, refine=2, times=(1.0,), literature=(_LI, _ETD, _KASSAM),
    ),
    "navier_stokes": Problem(
        {"viscosity": Number(1e-3, "viscosity"),
         "forcing": Number(0.1, "size of forcing (sin 2 pi (x1 + x2) + cos 2 pi (x1 + x2))", above=-np.inf),
         **field_numbers(7.0, 2.5, 7.0**1.5)},
        _check, partial(build_grid, _navier_stokes, "periodic", 2, _VORTICITY),
        modes=16, resolution=64, refine=2, times=(10.0,), literature=(_LI, _ETD, _KASSAM),
    ),
}  # fmt: skip
