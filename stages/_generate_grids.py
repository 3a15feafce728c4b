"""Problems of the stage `generate` on tensor grids: coefficients and solvers, sample by sample."""

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import xarray as xr

from kernels.elliptic import coefficients
from kernels.elliptic.finite_volumes import cell_centres, solve_darcy
from kernels.elliptic.helmholtz import opening, solve_helmholtz
from kernels.errors import InputError
from kernels.fields.random_fields import Covariance, draw
from stages._generate_base import Number, Problem, Samples, Setting, at_once
from stages.variables import FIELD, INPUT

Solve = Callable[[Setting, Mapping[str, float], np.random.Generator], tuple[np.ndarray, ...]]
"""Input and outputs of a sample on the grid that is handed out."""


def field_numbers(tau: float, alpha: float, scale: float) -> dict[str, Number]:
    """The numbers of a Gaussian random field, with these defaults."""
    return {
        "tau": Number(tau, "inverse length in the covariance scale^2 (-Laplace + tau^2)^(-alpha)"),
        "alpha": Number(alpha, "smoothness in the covariance"),
        "scale": Number(scale, "size in the covariance"),
    }


_SOURCE = {"source": Number(1.0, "right side f", above=-np.inf)}


def _odd(setting: Setting) -> None:
    """Cell centres nest by odd factors only."""
    if setting.refine % 2 == 0:
        raise InputError(
            f"refine is {setting.refine}, expected an odd number, since cell centres of a grid are among "
            f"those of a grid 1, 3, 5 ... times finer: use {setting.refine + 1}"
        )
    if setting.times or setting.time_step is not None:
        raise InputError("times or time_step are given, but the problem has no time: drop them")


def _fine_enough(setting: Setting) -> None:
    _odd(setting)
    coefficients.check_factors(setting.refine * setting.resolution, setting.modes)


def _centres(setting: Setting) -> np.ndarray:
    return cell_centres(setting.refine * setting.resolution)


def _coarse(values: np.ndarray, setting: Setting) -> np.ndarray:
    """The values at the cell centres of the grid that is handed out."""
    return values[(slice(setting.refine // 2, None, setting.refine),) * values.ndim]


def _darcy(
    coefficient: Callable[[Setting, Mapping[str, float], np.random.Generator], np.ndarray],
    setting: Setting,
    numbers: Mapping[str, float],
    random: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    a = coefficient(setting, numbers, random)
    return _coarse(a, setting), _coarse(solve_darcy(a, numbers["source"]), setting)


def _gaussian(setting: Setting, numbers: Mapping[str, float], random: np.random.Generator) -> np.ndarray:
    covariance = Covariance("neumann", 2, numbers["tau"], numbers["alpha"], numbers["scale"], setting.modes)
    return draw(covariance, random).at(_centres(setting), _centres(setting))


def _smooth(setting: Setting, numbers: Mapping[str, float], random: np.random.Generator) -> np.ndarray:
    return coefficients.log_normal(_gaussian(setting, numbers, random), numbers["amplitude"])


def _rough(setting: Setting, numbers: Mapping[str, float], random: np.random.Generator) -> np.ndarray:
    return coefficients.two_valued(_gaussian(setting, numbers, random), numbers["low"], numbers["contrast"])


def _multiscale(setting: Setting, numbers: Mapping[str, float], random: np.random.Generator) -> np.ndarray:
    x = _centres(setting)
    return coefficients.multiscale(x, x, setting.modes, random)


def _helmholtz(
    setting: Setting, numbers: Mapping[str, float], random: np.random.Generator
) -> tuple[np.ndarray, ...]:
    g = _gaussian(setting, numbers, random)
    speed = numbers["speed"] * (1.0 + numbers["contrast"] * np.tanh(g))
    if not speed.min() > 0.0:
        raise InputError(
            f"the speed of sound reaches {speed.min():.4g} with contrast {numbers['contrast']:.4g}, expected "
            "positive numbers: lower contrast below 1"
        )
    u = solve_helmholtz(numbers["omega"] / speed, numbers["loss"], opening(len(speed)))
    return _coarse(speed, setting), _coarse(u.real, setting), _coarse(u.imag, setting)


def build_grid(
    solve: Solve, boundary: str, dimension: int, names: tuple[tuple[str, str], ...],
    setting: Setting, samples: Samples,
) -> xr.Dataset:  # fmt: skip
    """The data set on a grid: cell centres, or i / n where periodic, and `time` where there are several.

    names: name and meaning of the input, then of every output.
    """
    pairs = at_once(samples, partial(solve, setting))
    axes = [f"x{k + 1}" for k in range(dimension)]
    cells = boundary != "periodic"
    x = cell_centres(setting.resolution) if cells else np.arange(setting.resolution) / setting.resolution
    coords: dict[str, xr.Variable] = {
        axis: xr.Variable((axis,), x, {"units": "1", "long_name": f"position along axis {k + 1}"})
        for k, axis in enumerate(axes)
    }
    out_axes = list(axes)
    if len(setting.times) > 1:
        coords["time"] = xr.Variable(("time",), np.array(setting.times), {"units": "1", "long_name": "time"})
        out_axes.insert(0, "time")
    data = {}
    for k, (name, meaning) in enumerate(names):
        role, dims = (INPUT, axes) if k == 0 else (FIELD, out_axes)
        values = np.stack([pair[k] for pair in pairs])
        data[name] = xr.Variable(
            ("sample", *dims), values, {"role": role, "units": "1", "long_name": meaning}
        )
    return xr.Dataset(data, coords=coords, attrs={"boundary": boundary})


def _darcy_problem(
    coefficient: Callable[[Setting, Mapping[str, float], np.random.Generator], np.ndarray],
    numbers: Mapping[str, Number],
    modes: int,
    *literature: str,
    check: Callable[[Setting], None] = _odd,
    refine: int = 3,
) -> Problem:
    names = (("permeability", "coefficient a"), ("pressure", "solution u of -div(a grad u) = f"))
    build = partial(build_grid, partial(_darcy, coefficient), "dirichlet", 2, names)
    return Problem({**numbers, **_SOURCE}, check, build, modes, refine=refine, literature=literature)


_PRESSURE = (
    ("sound_speed", "c of -Laplace u - (omega / c)^2 (1 + i loss) u = 0"),
    ("pressure_real", "real part of u, where du/dn = 1 for 0.35 < x1 < 0.65 and x2 = 1, 0 elsewhere"),
    ("pressure_imaginary", "imaginary part of u"),
)
_DE_HOOP = (
    "M. V. de Hoop, D. Z. Huang, E. Qian, A. M. Stuart, The cost-accuracy trade-off in operator learning "
    "with neural networks, Journal of Machine Learning 1, 2022"
)

PROBLEMS: dict[str, Problem] = {
    "darcy_smooth": _darcy_problem(
        _smooth, {"amplitude": Number(3.0, "factor of the random field in the exponent"),
                  **field_numbers(3.0, 2.0, 3.0)}, 64,
    ),
    "darcy_rough": _darcy_problem(
        _rough, {"low": Number(3.0, "smaller value of the coefficient"),
                 "contrast": Number(4.0, "larger over smaller value"), **field_numbers(3.0, 2.0, 3.0)}, 64,
        "Z. Li et al., Fourier neural operator for parametric partial differential equations, ICLR 2021",
    ),
    "darcy_multiscale": _darcy_problem(
        _multiscale, {}, 6,
        "X. Liu, B. Xu, S. Cao, L. Zhang, Mitigating spectral bias for the multiscale operator learning, "
        "J. Comput. Phys. 506, 2024", check=_fine_enough, refine=5,
    ),
    "helmholtz": Problem(
        {"omega": Number(500.0, "angular frequency"), "speed": Number(20.0, "speed of sound without a field"),
         "contrast": Number(0.2, "largest relative change of the speed of sound"),
         "loss": Number(0.05, "share of energy absorbed a radian"), **field_numbers(3.0, 2.0, 3.0)},
        _odd, partial(build_grid, _helmholtz, "neumann", 2, _PRESSURE), 32, literature=(_DE_HOOP,),
    ),
}  # fmt: skip
