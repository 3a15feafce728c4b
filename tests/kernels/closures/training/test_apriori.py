"""Training on moments: it finds what was planted, whatever was killed, and says what goes wrong."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from kernels.closures import harmonics
from kernels.closures.families import build
from kernels.closures.neural.settings import SETTINGS, CnnSettings, FnoSettings
from kernels.closures.training.apriori import Apriori, calibrated
from kernels.closures.training.data import Runs, balanced, nmse, powers, predicted, target
from kernels.closures.training.loop import train
from kernels.closures.training.options import Options
from kernels.errors import InputError
from kernels.operators.training.checkpoints import tensors_of
from tests.kernels.closures.training.planted import planted

QUICK = Options(epochs=16, steps=25, batch=256, learning_rate=2e-2, threads=1)
SHAPES = {"cnn": CnnSettings(width=6, points=1), "fno": FnoSettings(modes=4, width=4, layers=1)}


def trained(name, runs, options=QUICK, watched=None, **given):
    closure = build(name, SHAPES.get(name), options.seed)
    calibrated(closure, runs)
    state = train(closure, Apriori(closure, runs, watched, options), options, **given)
    return closure, state


def test_the_error_is_the_normalised_square_of_both_components():
    runs = planted()
    closure = build("strain")
    moments, z4, physics = runs.at_frames(torch.arange(3, 6))
    t = harmonics.driving(moments.strain, moments.z2, physics.zeta)
    both = []
    with torch.no_grad():
        for fourth in (z4, closure(moments, physics)):
            trace, deviator = harmonics.contraction(
                moments.c, moments.z2, fourth, t, 2.0 * physics.zeta * moments.c
            )
            both.append(harmonics.tensor(trace, deviator)[:2])
    wanted = [float(((a - b) ** 2).mean() / (a**2).mean()) for a, b in zip(*both, strict=True)]
    np.testing.assert_allclose(nmse(closure, runs)[1].numpy(), wanted, rtol=1e-10)
    np.testing.assert_allclose(nmse(closure, runs, most=2).numpy(), nmse(closure, runs).numpy(), rtol=1e-10)


@pytest.mark.parametrize("name", ["strain", "gradient"])
def test_the_loss_of_all_points_is_the_error_over_what_bingham_leaves_of_each_run(name):
    runs, closure = planted(), build(name)
    with torch.no_grad():
        closure.network.biases[-1].add_(0.1)  # no longer Bingham
    whole = Apriori(closure, runs, None, replace(QUICK, batch=runs.c.numel()))
    assert whole.steps(0) == 1
    left = nmse(build("bingham"), runs).mean(dim=1).numpy()
    assert left.max() > 2.0 * left.min()  # conditions of unequal error
    wanted = np.mean(nmse(closure, runs).mean(dim=1).numpy() / left) / np.mean(1.0 / left)
    assert float(whole.loss(0, 0).detach()) == pytest.approx(wanted, rel=1e-10)


def test_runs_where_bingham_is_exact_have_a_finite_weight():
    runs = planted()
    exact = build("bingham")
    z4 = torch.stack([exact(*_frames(runs, i)) for i in range(runs.c.shape[0])])
    weights = balanced(replace(runs, z4=z4))
    np.testing.assert_allclose(weights.numpy(), 1.0 / powers(replace(runs, z4=z4)).numpy(), rtol=1e-12)
    half = replace(runs, z4=torch.stack([z4[0], *runs.z4[1:]]))
    factor = balanced(half) * powers(half)
    assert float(factor.mean()) == pytest.approx(1.0)
    assert float((factor[0] / factor[1:].min(dim=0).values).max()) == pytest.approx(1e3)


def _frames(runs, run):
    count = runs.c.shape[1]
    moments, _, physics = runs.at_frames(torch.arange(count) + run * count)
    return moments, physics


def test_points_and_frames_have_the_numbers_of_their_run():
    runs = planted()
    points = torch.tensor([0, 3 * 256 - 1, 3 * 256])
    _, z4, physics = runs.at_points(points)
    assert physics.alpha.tolist() == [-5.0, -5.0, -1.0]
    assert torch.equal(z4, runs.z4.reshape(-1)[points])
    on_grid, z4, physics = runs.at_frames(torch.tensor([2, 3]))
    assert physics.zeta.flatten().tolist() == [1.0, 2.0]
    assert torch.equal(on_grid.strain[1], runs.strain[1, 0])
    assert on_grid.grid.points == 16
    assert powers(runs.part([1])).tolist() == [powers(runs)[1].tolist()]


@pytest.mark.parametrize(("name", "share"), [("strain", 0.05), ("gradient", 0.3), ("cnn", 0.3)])
def test_a_planted_dependence_on_the_strain_rate_is_learnt(name, share):
    runs, others = planted(), planted(seed=1)
    options = replace(QUICK, learning_rate=1e-2, epochs=24) if name == "gradient" else QUICK
    closure, state = trained(name, runs, options, others)
    bingham = float(nmse(build(name, SHAPES.get(name)), others).mean())
    assert float(nmse(closure, others).mean()) < share * bingham
    assert min(state.validation_error) == pytest.approx(float(nmse(closure, others).mean()), rel=1e-9)


def test_other_architectures_learn_too():
    runs = planted(times=1)
    for name, share in (("local", 1.0), ("fno", 1.0), ("paper", 1.0)):
        options = replace(QUICK, epochs=2, steps=20, learning_rate=5e-3)
        _, state = trained(name, runs, options, runs)
        assert state.train_loss[1] < share * state.train_loss[0], name


def test_gradients_of_the_loss_are_those_of_differences():
    runs = planted(times=1, points=4)
    for name in ("strain", "gradient"):
        closure = build(name, SETTINGS[name](width=3, depth=1))
        problem = Apriori(closure, runs, None, QUICK)
        bias = closure.network.biases[-1]
        (gradient,) = torch.autograd.grad(problem.loss(0, 0), bias)
        step, sides = 1e-5, []
        for sign in (1.0, -1.0):
            with torch.no_grad():
                bias[1] += sign * step
                sides.append(float(problem.loss(0, 0)))
                bias[1] -= sign * step
        assert float(gradient[1]) == pytest.approx((sides[0] - sides[1]) / (2.0 * step), rel=1e-6)


def test_weights_are_a_function_of_the_seed():
    runs = planted()
    few = replace(QUICK, epochs=2, steps=3)
    one, two, other = (trained("strain", runs, replace(few, seed=s))[0] for s in (1, 1, 2))
    assert all(
        torch.equal(a, b) for a, b in zip(tensors_of(one).values(), tensors_of(two).values(), strict=True)
    )
    assert not torch.equal(one.network.weights[0], other.network.weights[0])


class Killed(Exception):
    pass


@pytest.mark.parametrize("at", [2, 3, 5])
def test_a_killed_training_ends_with_the_same_bits(at, tmp_path):
    runs, options = planted(), replace(QUICK, batch=512, epochs=3, steps=3, checkpoint_seconds=0.0)
    whole, state = trained("strain", runs, options, runs)

    def kill(done, total, text):
        assert total == 9
        if done == at:
            raise Killed

    with pytest.raises(Killed):
        trained("strain", runs, options, runs, report=kill, scratch=tmp_path)
    said = []
    resumed, again = trained(
        "strain", runs, options, runs, report=lambda *a: said.append(a[0]), scratch=tmp_path
    )
    assert said[0] == at
    for a, b in zip(tensors_of(whole).values(), tensors_of(resumed).values(), strict=True):
        assert torch.equal(a, b)
    assert again.validation_error == state.validation_error
    assert again.train_loss == state.train_loss
    other = replace(options, learning_rate=1e-3)
    said.clear()
    trained("strain", runs, other, runs, report=lambda *a: said.append(a[0]), scratch=tmp_path)
    assert said[0] == 1


def test_the_best_weights_outlive_a_kill(tmp_path):
    """Killed in the second of three epochs, of which the first was the best."""
    runs, options = planted(times=1), replace(QUICK, epochs=3, steps=2, checkpoint_seconds=0.0)
    errors, first = iter([1.0, 2.0, 3.0]), {}

    def one(report=None):
        closure = build("strain", None, 2)
        problem = Apriori(closure, runs, runs, options)

        def validation():
            for name, values in tensors_of(closure).items():
                first.setdefault(name, values.clone())
            return next(errors)

        problem.validation = validation
        train(closure, problem, options, report, tmp_path)
        return closure

    def kill(done, total, text):
        if done == 4:
            raise Killed

    with pytest.raises(Killed):
        one(kill)
    resumed = tensors_of(one())
    assert all(torch.equal(resumed[name], values) for name, values in first.items())


def test_a_loss_that_is_not_finite_names_the_runs_and_keeps_the_best_weights():
    runs = planted()
    options = replace(QUICK, epochs=3, steps=2)
    closure = build("strain")
    calibrated(closure, runs)
    problem = Apriori(closure, runs, runs, options)
    sound = problem.loss

    def broken(epoch, step):
        return sound(epoch, step) * (float("nan") if (epoch, step) == (1, 1) else 1.0)

    problem.loss = broken
    state = train(closure, problem, options)
    assert state.diverged
    assert "loss is not finite in epoch 2, batch 2 (runs run_0, run_1), at the learning rate" in state.stopped
    assert float(nmse(closure, runs).mean()) == pytest.approx(state.validation_error[0], rel=1e-9)


@pytest.mark.parametrize("rate", [1e200, 1e308, float("inf")])
@pytest.mark.parametrize("steps", [1, 3])
def test_weights_that_the_first_steps_ruin_give_way_to_those_of_the_start(rate, steps):
    runs = planted()
    options = replace(QUICK, epochs=1, steps=steps, learning_rate=rate, schedule="constant")
    closure = build("strain")
    calibrated(closure, runs)
    before = tensors_of(build("strain"))
    state = train(closure, Apriori(closure, runs, runs, options), options)
    after = {name: one for name, one in tensors_of(closure).items() if name.startswith("network.")}
    assert state.diverged or state.best < float("inf")
    if state.diverged:
        assert "not finite in epoch 1" in state.stopped
        assert all(torch.equal(one, before[name]) for name, one in after.items())
    assert bool(torch.isfinite(nmse(closure, runs)).all())


def test_training_ends_early_without_progress():
    runs = planted()
    options = replace(QUICK, epochs=20, steps=1, learning_rate=5.0, schedule="constant", patience=2)
    _, state = trained("strain", runs, options, runs)
    assert state.stopped == "early"
    assert state.waited == 2
    assert len(state.validation_error) < 20


def test_moments_that_nothing_can_be_learnt_from_are_refused():
    runs = planted()
    with pytest.raises(InputError, match=r"expected four equal ones \(run, time, n, n\)"):
        replace(runs, z4=runs.z4[:1])
    spoiled = runs.strain.clone()
    spoiled[0, 0, 0, 0] = float("nan")
    with pytest.raises(InputError, match=r"moments are not finite: leave out runs that failed"):
        replace(runs, strain=spoiled)
    still = Runs(runs.c, 0 * runs.z2, runs.z4, 0 * runs.strain, runs.numbers, runs.time, runs.length)
    with pytest.raises(InputError, match=r"S:T is zero in a whole run: .* leave the run out or begin later"):
        Apriori(build("strain"), still, None, QUICK)


def test_what_is_predicted_is_the_contraction():
    runs = planted()
    moments, z4, physics = runs.at_frames(torch.arange(2))
    closure = build("quadratic")
    t = harmonics.driving(moments.strain, moments.z2, physics.zeta)
    trace = 2.0 * physics.zeta * moments.c
    assert torch.equal(predicted(closure, moments, physics), closure.contract(moments, physics, trace, t))
    assert torch.equal(
        target(moments, z4, physics)[1], harmonics.contraction(moments.c, moments.z2, z4, t, trace)[1]
    )
