"""Runs of the kinetic solver: continued with the same bits, refused in advance, stopped in a good state."""

import io

import numba
import numpy as np
import pytest

from kernels.closures.kinetic.initial import plane_waves
from kernels.closures.kinetic.solver import Exploded, Kinetic, KineticSettings, KineticState
from kernels.closures.kinetic.steppers import STEPPERS
from kernels.closures.physics import Physics
from kernels.errors import InputError

PHYSICS = Physics(-3.0, 1.0)


def _solver(stepper="sbdf2_implicit", time_step=0.01, points=12, modes=8, physics=PHYSICS):
    return Kinetic(physics, KineticSettings(points, modes, time_step, stepper))


def _through_a_file(state):
    file = io.BytesIO()
    np.savez(file, time=state.time, z=state.z, **{f"memory_{k}": v for k, v in state.memory.items()})
    file.seek(0)
    with np.load(file) as stored:
        memory = {k.removeprefix("memory_"): stored[k] for k in stored.files if k.startswith("memory_")}
        return KineticState(float(stored["time"]), stored["z"], memory)


@pytest.mark.parametrize("stepper", STEPPERS)
def test_a_stored_state_goes_on_with_the_same_bits(stepper):
    z = plane_waves(12, 8, 1)
    solver = _solver(stepper)
    whole = solver.advance(solver.begin(z), 0.2)
    half = solver.advance(solver.begin(z), 0.1)
    before = half.z.copy()
    stored = _through_a_file(half)
    direct = solver.advance(half, 0.2)
    resumed = _solver(stepper).advance(stored, 0.2)
    assert (resumed.z == whole.z).all()
    assert (direct.z == whole.z).all()
    assert all((resumed.memory[k] == direct.memory[k]).all() for k in direct.memory)
    assert (half.z == before).all()
    again = solver.advance(half, 0.2)  # a state may be used twice
    assert (again.z == whole.z).all()


def test_threads_change_no_bit():
    before, results = numba.get_num_threads(), []
    for threads in (1, numba.config.NUMBA_NUM_THREADS):
        numba.set_num_threads(threads)
        solver = _solver()
        results.append(solver.advance(solver.begin(plane_waves(12, 8, 1)), 0.1).z)
    numba.set_num_threads(before)
    assert (results[0] == results[1]).all()


def test_no_wave_above_two_thirds_is_left():
    rng = np.random.default_rng(0)
    z = plane_waves(12, 8, 0) * (1.0 + 0.1 * rng.standard_normal((12, 12)))
    solver = _solver()
    number = np.abs(np.fft.fftfreq(12, 1.0 / 12))
    dropped = (number[:, None] >= 4.0) | (number >= 4.0)
    for state in (solver.begin(z), solver.advance(solver.begin(z), 0.05)):
        hat = np.abs(np.fft.fft2(state.z))
        assert hat[:, dropped].max() < 1e-14 * hat.max()


def test_the_implicit_stepper_nears_the_explicit_one():
    gaps = []
    for step in (0.02, 0.01, 0.005):
        pair = [_solver(name, step) for name in ("sbdf2", "sbdf2_implicit")]
        ends = [solver.advance(solver.begin(plane_waves(12, 8, 2)), 0.4).z for solver in pair]
        gaps.append(np.abs(ends[0] - ends[1]).max())
    assert gaps[1] < gaps[0] / 3.0
    assert gaps[2] < gaps[1] / 3.0


def test_the_implicit_stepper_has_no_limit_of_the_angle():
    physics = Physics(-3.0, 5.0, length=5.0)
    z = plane_waves(12, 32, 0)
    assert _solver("sbdf2", physics=physics, modes=32).limit(z) < 0.04
    solver = _solver(time_step=0.05, physics=physics, modes=32)
    state = solver.advance(solver.begin(z), 1.0)
    assert 0.1 < np.abs(state.z[1]).mean() < 1.5  # coarse in space, but no step of the angle grows


@pytest.mark.parametrize("stepper", STEPPERS)
def test_a_step_beyond_the_limit_is_refused_with_the_limit(stepper):
    solver = _solver(stepper, 50.0)
    state = solver.begin(plane_waves(12, 8, 0))
    with pytest.raises(InputError, match=f"expected at most {solver.limit(state.z):.6g} for {stepper}"):
        solver.advance(state, 50.0)


def test_an_explosion_is_caught_and_the_last_good_state_kept():
    physics = Physics(-5.0, 5.0)
    z = np.zeros((8, 12, 12), dtype=np.complex128)
    z[0] = 1.0
    z[1] = 1e-5 * plane_waves(12, 8, 0)[1]  # nearly isotropic: nothing limits the step yet
    solver = _solver("sbdf2", 1.0, physics=physics)
    with pytest.raises(Exploded, match=r"out of bounds between time .* with steps of 1, estimated") as caught:
        solver.advance(solver.begin(z), 60.0)
    assert np.isfinite(caught.value.state.z).all()
    assert caught.value.state.time < 60.0


def test_a_grid_that_is_too_coarse_is_named_where_no_step_is_short_enough():
    physics = Physics(-1.0, 2.0, length=5.0)
    for step, modes in ((0.05, 12), (0.0125, 12), (0.05, 33)):
        solver = _solver(time_step=step, physics=physics, modes=modes)
        start = solver.begin(plane_waves(12, modes, 0))
        with pytest.raises(Exploded, match="time_step, or, where it is far below the limit, raise points or"):
            solver.advance(start, 6.0)
    fine = Kinetic(physics, KineticSettings(24, 12, 0.05))
    assert np.isfinite(fine.advance(fine.begin(plane_waves(24, 12, 0)), 6.0).z).all()


def test_a_step_is_chosen_where_none_is_given():
    z = plane_waves(12, 8, 0)
    chosen = _solver(time_step=None)
    assert chosen.automatic(z) == 0.02  # far from the limit of a slow flow
    state = chosen.advance(chosen.begin(z), 0.1)
    asked = _solver(time_step=0.02)
    assert (state.z == asked.advance(asked.begin(z), 0.1).z).all()
    explicit = _solver("sbdf2", None, modes=400)
    fast = plane_waves(12, 400, 0)
    assert explicit.limit(fast) / 2.5 < explicit.automatic(fast) <= 0.9 * explicit.limit(fast)
    assert _solver(time_step=None, physics=Physics(-5.0, 5.0)).automatic(z) == 0.05 / 6.25


def test_the_tail_and_the_modes_that_are_needed():
    z = np.zeros((10, 12, 12), dtype=np.complex128)
    z[:] = (0.1 ** np.arange(10.0))[:, None, None]
    solver = _solver(modes=10)
    assert solver.tail(z) == pytest.approx(1e-9)
    assert solver.modes_needed(z, 1e-12) == 13
    assert solver.modes_needed(z, 1e-5) == 6
    assert solver.modes_needed(np.ones_like(z)) == 100
    assert solver.warning(z, 1e-8) is None
    assert "holds 1.0e-09 of the concentration, expected at most 1e-12, which needs about 13" in str(
        solver.warning(z, 1e-12)
    )


def _nan():
    z = plane_waves(12, 8, 0)
    z[2, 1, 1] = np.nan
    return z


@pytest.mark.parametrize(
    ("act", "text"),
    [
        (lambda: _solver().begin(plane_waves(16, 8, 0)), r"shape \(8, 16, 16\), expected \(8, 12, 12\)"),
        (lambda: _solver().begin(_nan()), "1 of the modes' 1152 values are not finite"),
        (lambda: _solver().begin(1j * plane_waves(12, 8, 0)), "imaginary part: make it real"),
        (
            lambda: _solver().advance(_solver().begin(plane_waves(12, 8, 0), 1.0), 1.0),
            "expected a time after",
        ),
        (lambda: _solver("euler"), "stepper is 'euler', expected one of sbdf2_implicit, sbdf2, etdrk4"),
        (lambda: _solver(modes=3), "modes is 3, expected at least 4"),
        (lambda: _solver(time_step=0.0), "time_step is 0.0, expected a positive number"),
        (lambda: _solver(physics=Physics(-1.0, 1.0, speed=0.5)), "speed is 0.5, expected 0"),
        (lambda: _solver(physics=Physics(np.ones(2), 1.0)), "alpha is array"),
        (lambda: _solver(physics=Physics(-1.0, 1.0, rotary=-0.1)), "rotary is -0.1"),
        (lambda: _solver(physics=Physics(-1.0, 1.0, length=0.0)), "length is 0.0"),
    ],
)
def test_bad_input_is_refused(act, text):
    with pytest.raises(InputError, match=text):
        act()
