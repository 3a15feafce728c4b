"""Training through the coarse model: gradients, growing horizons, and what it does not start with."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from kernels.closures.coarse import Coarse
from kernels.closures.families import build
from kernels.closures.neural.settings import LocalSettings, StrainSettings
from kernels.closures.training.aposteriori import Aposteriori, steps_between
from kernels.closures.training.data import Runs
from kernels.closures.training.loop import train
from kernels.closures.training.options import Options
from kernels.errors import InputError
from tests.kernels.closures.training.planted import planted, truth

STEP = 0.02
OPTIONS = Options(
    epochs=4, steps=2, batch=2, learning_rate=1e-3, horizons=(1, 2), threads=1, clip=None, keep="last"
)  # fmt: skip


def coarse_runs(seed: int = 0, frames: int = 4, points: int = 12) -> Runs:
    """Two runs of the coarse model with the planted closure, every second step kept."""
    start = planted(times=1, points=points, seed=seed)
    coarse = Coarse(truth(), points, start.length, STEP)
    physics = start.physics(torch.arange(2), 2)
    with torch.no_grad():
        c, z2 = coarse(start.c[:, 0], start.z2[:, 0], physics, 2 * frames, 2)
        many = start.physics(torch.arange(2).repeat_interleave(frames), 2)
        known = coarse.look(c.flatten(0, 1), z2.flatten(0, 1), many)
        z4 = known.z4.reshape(c.shape)
    time = 2 * STEP * torch.arange(frames, dtype=torch.float64)
    return replace(start, c=c, z2=z2, z4=z4, strain=known.flow.strain.reshape(c.shape), time=time)


def problem(closure, runs, options=OPTIONS, watched=None):
    return Aposteriori(closure, runs, watched, options, STEP)


def test_the_closure_that_made_the_runs_has_no_error():
    """But for the start of the stepper, of second order, at the first frame of every window."""
    runs = coarse_runs()
    exact, bingham = (float(problem(one, runs).loss(3, 0).detach()) for one in (truth(), build("bingham")))
    assert exact < 1e-5
    assert bingham > 100.0 * exact


@pytest.mark.parametrize("epoch", [0, 2])
def test_gradients_are_those_of_differences(epoch):
    runs = coarse_runs()
    closure = build("strain", StrainSettings(width=3, depth=1), 1)
    one = problem(closure, runs)
    weight = closure.network.weights[-1]
    (gradient,) = torch.autograd.grad(one.loss(epoch, 0), weight)
    step, sides = 1e-4, []
    for sign in (1.0, -1.0):
        with torch.no_grad():
            weight[1, 2] += sign * step
            sides.append(float(one.loss(epoch, 0)))
            weight[1, 2] -= sign * step
    assert float(gradient[1, 2]) == pytest.approx((sides[0] - sides[1]) / (2.0 * step), rel=1e-5)


def test_training_lowers_the_distance_over_the_longest_horizon():
    runs, others = coarse_runs(), coarse_runs(seed=1)
    closure = build("strain", StrainSettings(width=4, depth=1), 1)
    options = replace(OPTIONS, epochs=3, steps=4, learning_rate=3e-2, horizons=(1,), keep="best")
    one = problem(closure, runs, options, others)
    before = one.validation()
    state = train(closure, one, options)
    assert min(state.validation_error) < 0.7 * before
    assert one.validation() == pytest.approx(min(state.validation_error), rel=1e-9)


def test_horizons_grow_with_the_epochs_and_windows_follow_from_seed_and_step():
    runs = coarse_runs(frames=6)
    one = problem(build("local"), runs, replace(OPTIONS, epochs=8, horizons=(1, 2, 4)))
    assert [one.horizon(epoch) for epoch in range(8)] == [1, 1, 1, 2, 2, 2, 4, 4]
    again = problem(build("local"), runs, replace(OPTIONS, epochs=8, horizons=(1, 2, 4)))
    for step in range(20):
        rows, starts = one._windows(7, step)
        assert all(np.array_equal(a, b) for a, b in zip((rows, starts), again._windows(7, step), strict=True))
        assert starts.max() + 4 <= 5
    assert "4 frames of run_" in one.about(7, 0)
    assert " from t = " in one.about(7, 0)


def test_numbers_of_each_run_go_with_it():
    runs = coarse_runs()
    other = replace(runs, numbers={**runs.numbers, "alpha": runs.numbers["alpha"].flip(0)})
    losses = [float(problem(truth(), one).loss(3, 0).detach()) for one in (runs, other)]
    assert losses[1] > 100.0 * losses[0]


def test_a_closure_that_breaks_the_coarse_model_has_an_infinite_validation_error():
    runs = coarse_runs()
    closure = build("local", LocalSettings())

    class Broken(type(closure)):
        def forward(self, moments, physics):
            return super().forward(moments, physics) * float("nan")

    assert problem(Broken(), runs, OPTIONS, runs).validation() == float("inf")


def test_a_step_that_becomes_unstable_ends_the_training_and_says_so():
    runs = coarse_runs()
    runs = replace(runs, numbers={**runs.numbers, "alpha": 20.0 * runs.numbers["alpha"]})
    one = Aposteriori(build("local"), runs, None, OPTIONS, 2 * STEP)
    with pytest.raises(InputError, match=r"time_step is 0.04, expected at most"):
        one.loss(0, 0)
    assert not torch.isfinite(one.loss(0, 1))
    assert "(time_step is 0.04, expected at most" in one.about(0, 1)


def test_frames_that_do_not_fit_are_refused():
    runs = coarse_runs()
    assert steps_between(runs.time, STEP) == 2
    with pytest.raises(
        InputError, match=r"frames are 0.04 apart and the time step is 0.03: expected a divisor"
    ):
        Aposteriori(build("local"), runs, None, OPTIONS, 0.03)
    with pytest.raises(
        InputError, match=r"runs have 4 frames, the longest horizon is 4: .* lower `horizons`"
    ):
        problem(build("local"), runs, replace(OPTIONS, horizons=(4,)))
    with pytest.raises(InputError, match=r"frames are at the times .* expected evenly spaced ones"):
        problem(build("local"), replace(runs, time=runs.time**2))
