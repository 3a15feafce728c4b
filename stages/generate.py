"""Stage `generate`: input and output fields of a partial differential equation, solved sample by sample."""

from typing import Literal

import xarray as xr
from pydantic import Field

from kernels.errors import InputError
from stages import _generate_grids, _generate_meshes, _generate_waves
from stages._generate_base import Problem, Samples, Setting, gathered
from stages.base import Stage, StageConfig, by_role, schema
from stages.ragged import sample_names
from stages.variables import PARAMETER

PROBLEMS: dict[str, Problem] = {
    **_generate_grids.PROBLEMS,
    **_generate_meshes.PROBLEMS,
    **_generate_waves.PROBLEMS,
}


class GenerateConfig(StageConfig):
    """Problem, grid and seed; `constants` for numbers of the problem that the design does not vary.

    resolution: points along an axis, or edges along a side of a mesh, of what is handed out; refine: how much
    finer the solver's grid or mesh is. modes: of the random field along an axis, or factors of the multiscale
    coefficient. times: when the solution of a problem in time is handed out. Where these are None or (), the
    problem has its own; time_step: None chooses it from the stability of each sample.
    """

    problem: Literal[
        "darcy_smooth",
        "darcy_rough",
        "darcy_multiscale",
        "helmholtz",
        "poisson_moving",
        "poisson_meshes",
        "burgers",
        "navier_stokes",
    ] = "darcy_smooth"
    resolution: int | None = Field(default=None, ge=4, le=4096)
    refine: int | None = Field(default=None, ge=1, le=99)
    modes: int | None = Field(default=None, ge=1, le=1024)
    times: tuple[float, ...] = ()
    time_step: float | None = Field(default=None, gt=0.0)
    constants: dict[str, float] = Field(default_factory=dict)
    seed: int = Field(default=0, ge=0)


def run(config: StageConfig, *, design: xr.Dataset) -> xr.Dataset:
    """Draw the input of every sample of the design and solve for its output.

    Darcy: -div(a grad u) = f, u = 0 on the boundary of the unit square, a smooth (exponential of a Gaussian
    field), rough (its sign picks one of two values) or multiscale (product of waves); finite volumes of
    second order on `refine` times the resolution. A sample is drawn from the seed and its name alone, as a
    function: the same name at another resolution, in another cut or order, is the same sample. Numbers of a
    problem are the design's parameters where they have their name, else `constants`, else the problem's own.
    Poisson: -Laplace u = f, u = 0 on the sides and the hole of a plate, f a Gaussian field; linear triangles,
    on a mesh that the hole's radius and place map (`poisson_moving`: fixed topology) or on one of its own for
    every sample (`poisson_meshes`), solved on one `refine` times finer that has the same nodes.
    Helmholtz: -Laplace u - (omega / c)^2 (1 + i loss) u = 0 for a smooth random speed of sound c in a square
    of hard walls with a loudspeaker: the setting of de Hoop et al. (2022), but with a loss, without which the
    nearest resonance makes the answer a matter of the grid. A grid too coarse for the loss is refused. Two
    outputs, the real and the imaginary part.
    Burgers: u_t + (u^2 / 2)_x = viscosity u_xx with period 1, from u at time 0 to u at `times`.
    Navier-Stokes: w_t + u . grad w = viscosity Laplace w + f for the vorticity, likewise on the square. Both
    pseudo-spectral with exponential time steps of fourth order, refused where the grid does not resolve them.
    Output: the design's variables, one variable of role input, one of role field; on a grid axis coordinates
    and the attribute `boundary`, on meshes the ragged form with `dirichlet`.
    Raises InputError, before anything is solved, for numbers that the problem does not have or cannot take.
    """
    if not isinstance(config, GenerateConfig):
        raise InputError(
            f"stage 'generate' got {type(config).__name__}, expected GenerateConfig: pass that config"
        )
    problem = PROBLEMS[config.problem]
    setting = Setting(
        config.resolution or problem.resolution, config.refine or problem.refine,
        config.modes or problem.modes, config.times or problem.times, config.time_step,
    )  # fmt: skip
    problem.check(setting)
    varied, names = by_role(design, PARAMETER), sample_names(design)
    values = gathered(problem, config.constants, {name: design[name] for name in varied}, len(names))
    if len(set(names)) < len(names):
        twice = sorted(name for name in set(names) if names.count(name) > 1)
        raise InputError(f"the sample names {twice[:5]} come twice, expected each once: rename them")
    data = problem.build(setting, Samples(tuple(names), values, config.seed))
    kept = {name: design[name].variable.copy() for name in ("sample_name", "split", *varied)}
    return data.assign(kept).assign_attrs(problem=config.problem)


STAGE = Stage(
    name="generate",
    version=1,
    config=GenerateConfig,
    inputs={"design": schema("sample_name", "split")},
    output=schema(
        "sample_name", "split", optional=("node_count", "cell_count", "x", "connectivity", "dirichlet")
    ),
    run=run,
    split_over="design",
    batch=16,
    literature=tuple(sorted({text for problem in PROBLEMS.values() for text in problem.literature})),
)
