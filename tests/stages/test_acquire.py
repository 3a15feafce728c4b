"""The next conditions: count, ranges, what is simulated already, and the order of inputs."""

import numpy as np
import pytest
import torch
import xarray as xr

from kernels.closures.families import build
from kernels.closures.neural.settings import LocalSettings
from kernels.errors import InputError
from stages.acquire import STAGE, AcquireConfig
from stages.base import variable
from stages.closure_model import model_dataset
from stages.conditions import AxisRange, name_of
from stages.variables import FAILED, OK, TEST, TRAIN, VALIDATION

N = 8
RANGES = {"alpha": AxisRange(low=-5.0, high=-1.0, levels=5), "zeta": AxisRange(low=0.5, high=2.0, levels=4)}


def config(**given):
    return AcquireConfig(**{**RANGES, "count": 3, "begin": 1.0, "frames": 2, "points": N, **given})


def moments(points, seed=0, length=5.0, status=OK):
    random = np.random.default_rng(seed)
    shape = (len(points), 3, N, N)
    data = {
        "concentration": np.ones(shape),
        "D_xx": 0.75 + 0.1 * random.random(shape),
        "D_xy": 0.1 * random.random(shape),
    }
    names = [name_of(a, z, seed) for a, z in points]
    found = {name: variable(name, values) for name, values in data.items()}
    found |= {
        "sample_name": variable("sample_name", names),
        "status": variable("status", [status] * len(points)),
    }
    numbers = {"alpha": [a for a, _ in points], "zeta": [z for _, z in points]}
    constants = {"beta": 0.8, "rotary": 0.05, "translational": 0.05}
    numbers |= {name: [value] * len(points) for name, value in constants.items()}
    found |= {name: variable(name, values) for name, values in numbers.items()}
    return xr.Dataset(found, {"time": [0.0, 1.0, 2.0]}, {"length": length})


def member(bias, slope=2.0):
    """A closure that differs from the others by `bias` in a way that grows with alpha."""
    closure = build("local", LocalSettings(width=4, depth=1, parameters=("alpha",)))
    with torch.no_grad():
        for one in closure.parameters():
            one.zero_()
        first, last = (one for one in closure.parameters() if one.ndim == 2)
        first[0, 1], last[0, 0] = slope, 0.3 * bias
    return model_dataset("local", [closure])


@pytest.fixture(scope="module")
def inputs():
    torch.set_num_threads(1)
    return {
        "models.a": member(0.0), "models.b": member(1.0), "models.c": member(-1.0),
        "runs.one": moments([(-5.0, 0.5), (-1.0, 2.0)]), "runs.two": moments([(-1.0, 0.5)], seed=1),
    }  # fmt: skip


@pytest.fixture(scope="module")
def found(inputs):
    return STAGE(config(), **inputs)


def test_new_points_are_candidates_that_nobody_simulated(found):
    points = list(zip(found["alpha"].values, found["zeta"].values, strict=True))
    candidates = list(zip(found["candidate_alpha"].values, found["candidate_zeta"].values, strict=True))
    assert len(set(points)) == 3
    assert set(points) <= set(candidates)
    assert not set(points) & {(-5.0, 0.5), (-1.0, 2.0), (-1.0, 0.5)}
    assert len(set(candidates)) == 20
    assert (min(a for a, _ in candidates), max(z for _, z in candidates)) == (-5.0, 2.0)
    assert found["split"].values.tolist() == [TRAIN] * 3
    assert found["run_seed"].values.tolist() == [0] * 3
    assert bool((found["disagreement"] > 0.0).all())


def test_the_first_choice_is_where_the_planted_disagreement_is(inputs):
    """The members differ by tanh-like functions of alpha that vanish at 0: most at one end."""
    found = STAGE(config(count=1), **inputs)
    table = found["disagreement"].values.reshape(5, 4).mean(1)
    end = float(np.unique(found["candidate_alpha"].values)[table.argmax()])
    assert table.max() > 1.2 * table.min()
    assert abs(float(found["alpha"].values[0]) - end) <= 1.0


def test_order_and_labels_of_inputs_have_no_say(inputs, found):
    turned = {"models.x": inputs["models.c"], "models.z": inputs["models.a"], "models.y": inputs["models.b"],
              "runs.z": inputs["runs.one"].isel(sample=[1, 0]), "runs.b": inputs["runs.two"]}  # fmt: skip
    xr.testing.assert_identical(STAGE(config(), **turned), found)


def test_variance_may_be_relative_to_what_the_members_correct(inputs, found):
    again = STAGE(config(scale="correction"), **inputs)
    assert bool((again["disagreement"] > 10.0 * found["disagreement"]).all())


def test_runs_at_new_points_have_the_seeds_that_are_asked_for(inputs):
    found = STAGE(config(count=2, train_seeds=(3, 4), validation_seeds=(9,)), **inputs)
    assert found["run_seed"].values.tolist() == [3, 4, 3, 4, 9, 9]
    assert found["split"].values.tolist() == [TRAIN] * 4 + [VALIDATION] * 2


def test_sobol_candidates_follow_their_seed_and_stay_in_range(inputs):
    pair = [STAGE(config(method="sobol", candidates=11, seed=s), **inputs) for s in (0, 0, 1)]
    xr.testing.assert_identical(pair[0], pair[1])
    assert pair[0].sizes["candidate"] == 11
    assert not np.array_equal(pair[0]["candidate_alpha"], pair[2]["candidate_alpha"])
    assert float(pair[0]["candidate_zeta"].min()) >= 0.5


def test_states_of_short_coarse_runs_serve_too(inputs):
    small = {
        "alpha": AxisRange(low=-3.0, high=-1.0, levels=2),
        "zeta": AxisRange(low=0.5, high=1.0, levels=2),
    }
    found = STAGE(config(states="coarse", spin_up=0.1, count=1, **small), **inputs)
    assert bool(np.isfinite(found["disagreement"].values).all())
    again = STAGE(config(states="neighbours", count=1, **small), **inputs)
    assert not np.array_equal(found["disagreement"], again["disagreement"])


def test_a_failed_point_gives_no_states_but_is_not_simulated_again(inputs):
    failed = {**inputs, "runs.bad": moments([(-3.0, 1.0)], seed=2, status=FAILED)}
    failed["runs.bad"]["D_xx"][:] = np.nan
    points = STAGE(config(count=16), **failed)
    assert (-3.0, 1.0) not in set(zip(points["alpha"].values, points["zeta"].values, strict=True))


def _of_part(data, part):
    return data.assign(split=variable("split", [part] * data.sizes["sample"]))


def test_runs_that_score_have_no_say_and_stay_held_out(inputs, found):
    held = _of_part(moments([(-3.0, 1.0), (-1.0, 2.0)], seed=2), TEST)
    held["D_xx"][:] = 0.5  # other states than those of the runs that train
    again = STAGE(config(), **inputs, **{"runs.held": held})
    both = [np.stack([one[n].values for n in ("candidate_alpha", "candidate_zeta", "disagreement")], axis=1)
            for one in (found, again)]  # fmt: skip
    kept = (both[0][:, 0] != -3.0) | (both[0][:, 1] != 1.0)
    assert kept.sum() == 19
    np.testing.assert_array_equal(both[1], both[0][kept])
    more = STAGE(config(count=16), **inputs, **{"runs.held": held})
    assert (-3.0, 1.0) not in set(zip(more["alpha"].values, more["zeta"].values, strict=True))
    with pytest.raises(InputError, match="all 2 runs are of the test part, expected some that train: give"):
        STAGE(config(), **{name: inputs[name] for name in ("models.a", "models.b")}, **{"runs.held": held})


@pytest.mark.parametrize(
    ("drop", "change", "given", "message"),
    [
        (("models.b", "models.c"), {}, {}, "the models hold 1 member, expected at least 2"),
        ((), {}, {"count": 18}, "18 new points were asked for, 17 of 20 candidates"),
        ((), {}, {"begin": 9.0}, "no run has finite frames from begin = 9"),
        ((), {"runs.far": moments([(-2.0, 1.0)], 3, length=10.0)}, {}, r"squares of the sides \[5.0, 10.0\]"),
    ],
)
def test_what_cannot_be_acquired_is_refused(inputs, drop, change, given, message):
    wrong = {name: one for name, one in {**inputs, **change}.items() if name not in drop}
    with pytest.raises(InputError, match=message):
        STAGE(config(**given), **wrong)
