import numpy as np
import pytest
import xarray as xr
from pydantic import ValidationError

from kernels.elliptic.helmholtz import opening, solve_helmholtz
from kernels.errors import InputError
from stages._generate_base import Setting
from stages.base import by_role
from stages.design import STAGE as DESIGN
from stages.design import DesignConfig
from stages.generate import PROBLEMS, STAGE, GenerateConfig
from stages.operator_data import signature
from stages.ragged import concat, take

FAST = {
    "darcy_smooth": {"resolution": 8},
    "darcy_rough": {"resolution": 8},
    "darcy_multiscale": {"resolution": 12, "modes": 3},
    "helmholtz": {"resolution": 8, "modes": 4, "constants": {"omega": 60.0}},
    "poisson_moving": {"resolution": 4},
    "poisson_meshes": {"resolution": 6, "refine": 2},
    "burgers": {
        "resolution": 16,
        "refine": 4,
        "modes": 8,
        "times": (0.05,),
        "constants": {"viscosity": 0.05},
    },
    "navier_stokes": {"resolution": 8, "refine": 3, "modes": 5, "times": (0.5, 1.0)},
}
"""A setting of every problem that takes milliseconds."""


def design(count: int = 3, **parameters: tuple[float, float]) -> xr.Dataset:
    ranges = {name: {"low": low, "high": high} for name, (low, high) in parameters.items()}
    return DESIGN(DesignConfig.model_validate({"parameters": ranges, "train": count, "test": 1}))


def generate(problem: str, samples: xr.Dataset, **changes: object) -> xr.Dataset:
    config = GenerateConfig.model_validate({"problem": problem, **FAST[problem], **changes})
    return STAGE(config, design=samples)


def test_every_problem_is_tested_here():
    assert set(FAST) == set(PROBLEMS)


@pytest.mark.parametrize("problem", FAST)
def test_the_defaults_of_a_problem_pass_its_own_check(problem):
    p = PROBLEMS[problem]
    p.check(Setting(p.resolution, p.refine, p.modes, p.times))


@pytest.mark.parametrize("problem", FAST)
def test_roles_units_and_coordinates(problem):
    data = generate(problem, design())
    assert len(by_role(data, "input")) >= 1
    assert len(by_role(data, "field")) >= 1
    assert list(data["sample_name"].values) == ["case-00000", "case-00001", "case-00002", "test-00000"]
    assert list(data["split"].values) == [0, 0, 0, 1]
    for name in (*by_role(data, "input"), *by_role(data, "field")):
        assert np.isfinite(data[name].values).all()
        assert data[name].attrs["units"]
    if problem not in ("poisson_moving", "poisson_meshes"):
        found = signature(data)
        walls = {"burgers": "periodic", "navier_stokes": "periodic", "helmholtz": "neumann"}
        assert found.boundary == walls.get(problem, "dirichlet")
        assert found.out_axes == ("time",) * (problem == "navier_stokes") + found.axes
    for name in (*by_role(data, "input"), *by_role(data, "field")):
        for axis in data[name].dims[1:]:  # none on a mesh
            assert np.all(np.diff(data[axis].values) > 0.0)
            assert data[axis].attrs["units"] == "1"


@pytest.mark.parametrize("problem", FAST)
def test_neither_cut_nor_order_nor_count_nor_company_changes_a_sample(problem):
    samples = design(4)
    whole = generate(problem, samples)
    parts = [generate(problem, take(samples, rows)) for rows in ([0, 1], [2], [3, 4])]
    xr.testing.assert_identical(concat(parts), whole)
    backwards = generate(problem, take(samples, [4, 2, 0]))
    xr.testing.assert_identical(backwards, take(whole, [4, 2, 0]))
    xr.testing.assert_identical(take(generate(problem, design(2)), [0, 1]), take(whole, [0, 1]))


@pytest.mark.parametrize("problem", FAST)
def test_the_seed_and_the_name_decide(problem):
    samples = design(1)
    first, again = generate(problem, samples), generate(problem, samples, seed=1)
    name = (*by_role(first, "input"), *by_role(first, "field"))[0]
    if first[name].dims[0] == "sample":
        assert np.abs(first[name].values[0] - first[name].values[1]).max() > 1e-3
    assert np.abs(first[name].values - again[name].values).max() > 1e-3


@pytest.mark.parametrize("problem", ["darcy_smooth", "darcy_rough", "helmholtz"])
def test_other_resolutions_show_the_same_functions(problem):
    samples = design(2)
    coarse, fine = generate(problem, samples, refine=9), generate(problem, samples, resolution=24)
    np.testing.assert_allclose(fine["x1"].values[1::3], coarse["x1"].values, rtol=1e-14)
    for name in (*by_role(coarse, "input"), *by_role(coarse, "field")):
        inside = fine[name].values[:, 1::3, 1::3]
        np.testing.assert_allclose(inside, coarse[name].values, rtol=1e-7)


def test_real_and_imaginary_part_of_a_uniform_square():
    constants = {"omega": 30.0, "contrast": 1e-12, "loss": 0.1}
    data = generate("helmholtz", design(1), constants=constants, refine=1)
    np.testing.assert_allclose(data["sound_speed"], 20.0, rtol=1e-10)
    u = solve_helmholtz(np.full((8, 8), 1.5), 0.1, opening(8))
    for i in range(2):
        np.testing.assert_allclose(data["pressure_real"][i], u.real, rtol=1e-8, atol=1e-10)
        np.testing.assert_allclose(data["pressure_imaginary"][i], u.imag, rtol=1e-8, atol=1e-10)


HOLES = {"hole_radius": (0.1, 0.2), "hole_x1": (0.4, 0.6)}


def holes(count: int) -> xr.Dataset:
    ranges = {name: {"low": low, "high": high, "units": "m"} for name, (low, high) in HOLES.items()}
    return DESIGN(DesignConfig.model_validate({"parameters": ranges, "train": count, "test": 1}))


@pytest.mark.parametrize("problem", ["poisson_moving", "poisson_meshes"])
def test_meshes_move_with_their_parameters(problem):
    samples = holes(3)
    data = generate(problem, samples)
    assert by_role(data, "parameter") == list(HOLES)
    found = signature(data)
    assert (found.layout, found.inputs, found.outputs, found.parameters) == ("mesh", 1, 1, 2)
    assert (found.nodes > 0) == (problem == "poisson_moving")
    for i in range(4):
        one = take(data, [i])
        middle = 0.5, 0.5
        radius = np.hypot(*(one["x"].values - (float(one["hole_x1"][0]), middle[1])).T)
        np.testing.assert_allclose(radius.min(), float(one["hole_radius"][0]), rtol=1e-9)
        assert not one["potential"].values[one["dirichlet"].values == 1].any()
        assert one["potential"].values[one["dirichlet"].values == 0].all()
    parts = [generate(problem, take(samples, rows)) for rows in ([0], [1, 2, 3])]
    xr.testing.assert_identical(concat(parts), data)


def test_refinement_on_meshes_keeps_the_nodes_and_betters_the_solution():
    samples = holes(1)
    for problem, refines in (("poisson_moving", (1, 3, 12)), ("poisson_meshes", (1, 2, 8))):
        found = [generate(problem, samples, refine=r) for r in refines]
        for one in found[1:]:
            np.testing.assert_allclose(one["x"].values, found[0]["x"].values, atol=1e-15)
        u = [one["potential"].values for one in found]
        assert np.abs(u[0] - u[2]).max() > 2.5 * np.abs(u[1] - u[2]).max()


@pytest.mark.parametrize("problem", ["burgers", "navier_stokes"])
def test_problems_in_time_at_other_resolutions_show_the_same_functions(problem):
    samples = design(1)
    coarse, finer = generate(problem, samples, refine=6), generate(problem, samples, refine=8)
    fine = generate(problem, samples, resolution=2 * FAST[problem]["resolution"], refine=3)
    for name in (*by_role(coarse, "input"), *by_role(coarse, "field")):
        picked = fine[name].isel({axis: slice(None, None, 2) for axis in coarse[name].dims if axis[0] == "x"})
        np.testing.assert_allclose(picked.values, coarse[name].values, atol=1e-12)
        within = 1e-12 if name in by_role(coarse, "input") else 1e-4 * np.abs(coarse[name].values).max()
        np.testing.assert_allclose(finer[name].values, coarse[name].values, atol=within)
    np.testing.assert_allclose(coarse["x1"].values, np.arange(coarse.sizes["x1"]) / coarse.sizes["x1"])


def test_one_time_gives_no_axis_and_several_share_it():
    samples = design(1, viscosity=(0.04, 0.06))
    settings = {"constants": {}}
    one = generate("burgers", samples, **settings)
    several = generate("burgers", samples, times=(0.02, 0.05), **settings)
    assert one["velocity"].dims == ("sample", "x1")
    assert several["velocity"].dims == ("sample", "time", "x1")
    assert list(several["time"].values) == [0.02, 0.05]
    np.testing.assert_allclose(several["velocity"].values[:, 1], one["velocity"].values, atol=1e-6)
    thick = generate("burgers", samples.assign(viscosity=samples["viscosity"] * 2.0), **settings)
    assert np.abs(thick["velocity"].values - one["velocity"].values).max() > 1e-3


def test_refinement_brings_the_solution_nearer_to_the_truth():
    samples = design(1)
    found = [generate("darcy_smooth", samples, refine=r)["pressure"].values for r in (1, 3, 9, 27)]
    errors = [np.abs(u - found[-1]).max() for u in found[:-1]]
    assert errors[0] > 6.0 * errors[1] > 30.0 * errors[2]


def test_parameters_of_the_design_and_constants_are_used():
    samples = design(2, contrast=(2.0, 40.0))
    data = generate("darcy_rough", samples, constants={"low": 0.5})
    assert by_role(data, "parameter") == ["contrast"]
    for i, contrast in enumerate(data["contrast"].values):
        np.testing.assert_allclose(np.unique(data["permeability"].values[i]), [0.5, 0.5 * contrast])
    double = generate("darcy_rough", samples, constants={"low": 0.5, "source": 2.0})
    np.testing.assert_allclose(double["pressure"], 2.0 * data["pressure"], rtol=1e-8)


@pytest.mark.parametrize(
    ("problem", "changes", "parameters", "match"),
    [
        ("darcy_smooth", {"refine": 2}, {}, "refine is 2, expected an odd number.*use 3"),
        ("darcy_smooth", {"times": [1.0]}, {}, "the problem has no time"),
        ("darcy_smooth", {"constants": {"tua": 1.0}}, {}, r"\['tua'\] are no numbers of the problem"),
        ("darcy_smooth", {}, {"load": (1.0, 2.0)}, r"\['load'\] are no numbers of the problem.*'amplitude'"),
        ("darcy_rough", {"constants": {"contrast": -1.0}}, {}, r"contrast \(larger over.*is -1, expected"),
        ("darcy_rough", {}, {"contrast": (-1.0, 2.0)}, "contrast .* expected a number above 0"),
        ("darcy_rough", {"constants": {"tau": 1.0}}, {"tau": (1.0, 2.0)}, "in the design and in constants"),
        ("darcy_rough", {"constants": {"alpha": 1.0}}, {}, "sample case-00000: alpha is 1, expected above 1"),
        ("helmholtz", {"constants": {"omega": 500.0}}, {}, "sample case-00000: 24 cells .* refine or loss"),
        ("helmholtz", {"constants": {"contrast": 40.0}}, {}, "speed of sound reaches -.* contrast below 1"),
        ("helmholtz", {"times": [1.0]}, {}, "the problem has no time"),
        ("burgers", {"modes": 30}, {}, "resolution . refine is 64 with 30 modes, expected more than 90"),
        ("burgers", {"times": [2.0, 1.0]}, {}, "expected rising numbers after 0"),
        ("burgers", {"time_step": 0.05}, {}, "sample case-00000: time_step is 0.05, expected at most"),
        ("burgers", {"constants": {"viscosity": 1e-4}, "times": [0.5]}, {}, "raise refine or the viscosity"),
        ("poisson_meshes", {"refine": 3}, {}, "refine is 3, expected a power of two.*use 4"),
        ("poisson_moving", {"time_step": 0.1}, {}, "the problem has no time"),
        (
            "poisson_moving",
            {"constants": {"hole_radius": 0.6}},
            {},
            "sample case-00000: a hole of radius 0.6 m",
        ),
        ("poisson_moving", {}, {"hole_radius": (0.1, 0.2)}, "has units '1', expected 'm'"),
        ("darcy_multiscale", {"modes": 6}, {}, "60 cells along x1.*expected at least 288"),
    ],
)
def test_bad_settings_are_refused(problem, changes, parameters, match):
    with pytest.raises(InputError, match=match):
        generate(problem, design(**parameters), **changes)


def test_wrong_units_and_names_that_come_twice_are_refused():
    samples = design(contrast=(2.0, 4.0))
    samples["contrast"].attrs["units"] = "m"
    with pytest.raises(InputError, match="'contrast' has units 'm', expected '1'"):
        generate("darcy_rough", samples)
    with pytest.raises(InputError, match=r"sample names \['case-00000'\] come twice"):
        generate("darcy_rough", take(design(), [0, 0]))


@pytest.mark.parametrize(
    "changes", [{"problem": "stokes"}, {"resolution": 3}, {"refine": 0}, {"time_step": 0}]
)
def test_wrong_configs_are_refused(changes):
    with pytest.raises(ValidationError, match=next(iter(changes))):
        GenerateConfig.model_validate(changes)
