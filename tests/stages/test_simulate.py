import multiprocessing

import numpy as np
import pytest

from kernels.errors import InputError
from stages.base import by_role
from stages.design import STAGE as DESIGN
from stages.design import DesignConfig
from stages.ragged import concat, offsets, take
from stages.simulate import STAGE, SimulateConfig, run

COARSE = SimulateConfig(mesh_size=0.007, notch_segments=8)


@pytest.fixture(scope="module")
def design():
    return DESIGN(DesignConfig(train=3, test=1))


@pytest.fixture(scope="module")
def result(design):
    return STAGE(COARSE, design=design)


def test_output_has_every_variable_with_role_and_units(design, result):
    fields = "displacement_1 displacement_2 stress_11 stress_22 stress_12 stress_33 plastic_strain"
    assert by_role(result, "field") == fields.split()
    assert by_role(result, "scalar") == ["max_von_mises", "max_displacement", "reaction"]
    assert by_role(result, "parameter") == by_role(design, "parameter")
    assert result["stress_11"].attrs["units"] == "Pa"
    assert result["facet_tag"].attrs["flag_meanings"] == "left right top bottom notch_1 notch_2"
    assert int(result["node_count"].sum()) == result.sizes["node"]
    assert list(result["status"].values) == [0, 0, 0, 0]
    assert list(result["split"].values) == [0, 0, 0, 1]


def test_reaction_equals_the_applied_load_and_fields_are_plausible(design, result):
    np.testing.assert_allclose(result["reaction"], design["load"] * 0.04, rtol=1e-7)
    for i in range(4):
        start, end = offsets(result, "node")[i : i + 2]
        plastic = result["plastic_strain"].values[start:end]
        assert 1e-3 < plastic.max() < 0.1
        assert plastic.min() >= 0.0
        largest = np.hypot(result["displacement_1"][start:end], result["displacement_2"][start:end]).max()
        assert float(largest) == float(result["max_displacement"][i])
        x = result["x"].values[start:end]
        wall = x[:, 0] == 0.0
        assert np.all(result["displacement_1"].values[start:end][wall] == 0.0)
        end_stress = result["stress_11"].values[start:end][np.isclose(x[:, 0], 0.1)]
        np.testing.assert_allclose(end_stress.mean(), design["load"].values[i], rtol=0.02)


def test_any_cut_gives_the_same_bits(design, result):
    parts = [STAGE(COARSE, design=take(design, pick)) for pick in ([0], [1, 2], [3])]
    assert concat(parts).identical(result)
    assert STAGE(COARSE, design=design).identical(result)


def test_another_process_gives_the_same_bits(design, result):
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        there = pool.apply(run, (COARSE,), {"design": take(design, [1, 2])})
    assert there.identical(take(result, [1, 2]))


def test_a_bad_case_is_recorded_and_stops_nothing(design, result):
    bad = design.copy(deep=True)
    bad["notch_1_position"][1] = 0.001
    bad["load"][2] = 900e6
    bad["young"][3] = np.nan
    out = STAGE(COARSE, design=bad)
    assert list(out["status"].values) == [0, 1, 1, 1]
    reasons = [str(reason) for reason in out["reason"].values]
    assert reasons[0] == ""
    assert "notch_1 spans" in reasons[1]
    assert "lower" in reasons[2]
    assert "young is nan" in reasons[3]
    assert list(out["node_count"].values[1:]) == [0, 0, 0]
    assert np.all(np.isnan(out["reaction"].values[1:]))
    assert take(out, [0]).drop_vars("reason").identical(take(result, [0]).drop_vars("reason"))
    alone = STAGE(COARSE, design=take(bad, [1]))
    assert alone.sizes["node"] == 0
    assert concat([STAGE(COARSE, design=take(bad, [0])), alone]).identical(take(out, [0, 1]))


def test_constants_stand_in_for_parameters_and_names_and_units_are_checked(design, result):
    fixed = {"poisson": float(design["poisson"][0])}
    out = STAGE(COARSE.model_copy(update={"constants": fixed}), design=take(design, [0]).drop_vars("poisson"))
    np.testing.assert_array_equal(out["stress_11"], take(result, [0])["stress_11"])
    with pytest.raises(InputError, match=r"parameters missing: \['poisson'\]"):
        STAGE(COARSE, design=design.drop_vars("poisson"))
    with pytest.raises(InputError, match="in the design and in constants"):
        STAGE(COARSE.model_copy(update={"constants": fixed}), design=design)
    wrong = design.copy()
    wrong["load"] = wrong["load"].assign_attrs(units="MPa")
    with pytest.raises(InputError, match="'load' has units 'MPa', expected 'Pa'"):
        STAGE(COARSE, design=wrong)
