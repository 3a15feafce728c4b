"""Kinetic runs as a stage: the solver's own numbers, runs that fail, angles that are not resolved."""

import numpy as np
import pytest
from pydantic import ValidationError

from kernels.closures.kinetic.initial import plane_waves
from kernels.closures.kinetic.solver import Kinetic, KineticSettings
from kernels.closures.physics import Physics
from kernels.errors import InputError
from stages.conditions import conditions
from stages.simulate_kinetic import STAGE, SimulateKineticConfig, modes_for
from stages.variables import FAILED, OK, TEST, TRAIN

SMALL = {"points": 12, "modes": 10, "length": 5.0, "time": 0.6, "every": 0.2, "time_step": 0.02}
ROWS = conditions([(-3.0, 1.0, 0, TRAIN), (-1.0, 0.5, 7, TEST)])


def made(rows=ROWS, **given):
    return STAGE(SimulateKineticConfig(**{**SMALL, **given}), conditions=rows)


def test_frames_are_those_of_the_solver():
    found = made(keep=(0, 2, 4, 6))
    assert found["time"].values.tolist() == [0.0, 0.2, 0.4, 0.6]
    assert found["harmonic"].values.tolist() == [0, 2, 4, 6]
    for i, (alpha, zeta, seed) in enumerate([(-3.0, 1.0, 0), (-1.0, 0.5, 7)]):
        physics = Physics(alpha, zeta, length=5.0)
        solver = Kinetic(physics, KineticSettings(12, 10, 0.02))
        state = solver.advance(solver.begin(plane_waves(12, 10, seed)), 0.2)
        state = solver.advance(state, 0.6)
        one = found.isel(sample=i, time=-1)
        np.testing.assert_allclose(one["harmonic_re"].values, state.z[:4].real, atol=1e-12)
        np.testing.assert_allclose(one["harmonic_im"].values, state.z[:4].imag, atol=1e-12)
        assert float(one["mode_tail"]) == pytest.approx(solver.tail(state.z), rel=1e-6)
        assert float(one["beta"]) == physics.beta
    assert found["status"].values.tolist() == [OK, OK]
    assert found["angular_modes"].values.tolist() == [10, 10]
    np.testing.assert_array_equal(found["run_seed"].values, ROWS["run_seed"].values)


def test_frames_in_a_folder_are_lazy_and_the_same(tmp_path):
    config = SimulateKineticConfig(**SMALL)
    plain, kept = STAGE(config, conditions=ROWS), STAGE.resuming_in(tmp_path)(config, conditions=ROWS)
    assert kept["harmonic_re"].chunks is not None
    assert plain["harmonic_re"].chunks is None
    for name in set(plain.variables) - {"run_seconds"}:
        np.testing.assert_array_equal(plain[name].values, kept[name].values, err_msg=str(name))


@pytest.mark.parametrize("folder", [False, True])
def test_a_run_that_grows_out_of_bounds_is_kept_up_to_its_last_good_frame(tmp_path, folder, monkeypatch):
    real = Kinetic.advance

    def advance(self, state, until):
        if self.physics.alpha == -3.0 and until > 0.3:
            raise InputError("the solution grew out of bounds between time 0.2 and 0.4")
        return real(self, state, until)

    monkeypatch.setattr(Kinetic, "advance", advance)
    stage = STAGE.resuming_in(tmp_path) if folder else STAGE
    with pytest.warns(RuntimeWarning, match="run 'a-3_z1_s0' failed: the solution grew out of bounds"):
        found = stage(SimulateKineticConfig(**SMALL), conditions=ROWS)
    assert found["status"].values.tolist() == [FAILED, OK]
    assert "grew out of bounds between time 0.2 and 0.4" in str(found["reason"].values[0])
    assert found["reason"].values[1] == ""
    good = np.isfinite(found["harmonic_re"].values).all(axis=(2, 3, 4))
    assert good.tolist() == [[True, True, False, False], [True] * 4]
    assert np.isfinite(found["mode_tail"].values).tolist() == good.tolist()
    with pytest.raises(InputError, match="run 'a-3_z1_s0': the solution grew out of bounds"):
        made(on_failure="error")


def test_a_step_that_the_flow_makes_unstable_fails_the_run_in_truth():
    strong = conditions([(-8.0, 1.0, 0, TRAIN)])
    with pytest.warns(RuntimeWarning, match="run 'a-8_z1_s0' failed: the time step 0.05 is not stable"):
        found = made(strong, time=3.0, every=1.0, time_step=0.05, stepper="sbdf2", modes=14)
    assert found["status"].values.tolist() == [FAILED]
    assert "time step 0.05 is not stable at time 1, expected at most" in str(found["reason"].values[0])
    assert np.isfinite(found["mode_tail"].values).tolist() == [[True, True, False, False]]


def test_an_angle_that_is_not_resolved_is_told_with_the_modes_needed():
    with pytest.warns(RuntimeWarning, match="run 'a-3_z5_s0': the angle is not resolved: the last of 6 even"):
        found = made(conditions([(-3.0, 5.0, 0, TRAIN)]), modes=6)
    text = str(found["warning"].values[0])
    assert f"{found['mode_tail'].values.max():.1e} of the concentration" in text
    assert "modes" in text.partition("needs about ")[2]
    assert found["status"].values.tolist() == [OK]


def test_modes_follow_the_alignment():
    assert [modes_for(z) for z in (0.0, 1.0, 2.0, 3.0, 5.0, 9.0, 17.0)] == [25, 25, 33, 40, 51, 67, 91]
    rising = [modes_for(z) for z in np.linspace(0.0, 40.0, 200)]
    assert (np.diff(rising) >= 0).all()
    assert modes_for(68.0) == 181
    assert made(ROWS.isel(sample=[1]), modes=None, time=0.2)["angular_modes"].values.tolist() == [25]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"every": 0.25},
            "every is 0.25 and time_step 0.02, expected a multiple: choose time_step = 0.015625",
        ),
        ({"time": 0.7}, "time is 0.7 and every 0.2, expected a multiple: choose every = 0.175"),
        ({"keep": (0, 2)}, r"keep is \(0, 2\), expected even numbers, each once, among them 0, 2 and 4"),
        ({"keep": (0, 2, 3, 4)}, "expected even numbers"),
        ({"keep": (0, 2, 4, 40)}, "keep asks for m = 40 and 10 modes end at 18: raise modes"),
        ({"stepper": "euler"}, "Input should be 'sbdf2_implicit', 'sbdf2' or 'etdrk4'"),
        ({"time": float("inf")}, "finite number"),
    ],
)
def test_what_a_config_may_not_say(given, message):
    with pytest.raises(ValidationError, match=message):
        SimulateKineticConfig(**{**SMALL, **given})


@pytest.mark.parametrize(
    ("change", "given", "message"),
    [
        (
            {"zeta": [1.0, -0.5]},
            {},
            "zeta of sample 'a-1_z0.5_s7' is -0.5, expected a finite number, zero or",
        ),
        (
            {"alpha": [np.inf, 1.0]},
            {},
            "alpha of sample 'a-3_z1_s0' is inf, expected a finite number: correct",
        ),
        ({"run_seed": [0, -1]}, {}, "run_seed is -1, expected zero or more"),
        ({}, {"points": 8}, "the grid has 8 points along a side, expected above 9"),
        (
            {"alpha": [-900.0, 0.0]},
            {"time_step": 0.2},
            "time_step is 0.2, expected at most .* lower time_step",
        ),
    ],
)
def test_bad_input_is_refused_before_a_step_is_made(change, given, message, monkeypatch):
    monkeypatch.setattr(Kinetic, "advance", lambda self, state, until: pytest.fail("a step was made"))
    wrong = ROWS.assign({name: ("sample", np.array(v), ROWS[name].attrs) for name, v in change.items()})
    with pytest.raises(InputError, match=message):
        made(wrong, **given)
