"""The coarse model as a stage: its own numbers, frames as starts, what it says of each run."""

import json

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from kernels.closures import harmonics
from kernels.closures.bingham.planar import Bingham
from kernels.closures.coarse import Coarse
from kernels.errors import InputError
from stages import closure_model
from stages.close import STAGE, CloseConfig
from stages.closure_fields import fields_of, physics_of
from stages.closure_model import untrained
from stages.moments import STAGE as MOMENTS_STAGE
from stages.moments import MomentsConfig
from stages.ragged import concat, take
from stages.variables import MOMENTS
from tests.stages.closures.test_moments import simulations

TRUTH = MOMENTS_STAGE(MomentsConfig(), simulations=simulations())
BINGHAM = untrained("bingham")
MEASURED = {"step_seconds", "run_seconds"}


def made(truth=TRUTH, model=BINGHAM, **given):
    return STAGE(CloseConfig(**{"time_step": 0.05, **given}), truth=truth, model=model)


def test_fields_are_those_of_the_coarse_model():
    found = made(parts=("train", "test"))
    assert found["sample_name"].values.tolist() == ["one", "two"]
    assert found["source"].values.tolist() == ["one", "two"]
    np.testing.assert_array_equal(found["time"].values, TRUTH["time"].values)
    for i in range(2):
        begin, end, physics = (
            fields_of(TRUTH.isel(sample=i)),
            fields_of(found.isel(sample=i)),
            physics_of(TRUTH, i),
        )
        model = Coarse(Bingham(), 12, 5.0, 0.05)
        c, z2 = (torch.from_numpy(part[:1].copy()) for part in (begin.c, begin.z2))
        run = model.run(c, z2, physics, [0.5 * k for k in range(5)])
        np.testing.assert_allclose(end.z2, run.z2[0].numpy(), atol=1e-12)
        np.testing.assert_allclose(end.c, run.c[0].numpy(), atol=1e-12)
        known = model.look(run.c[0, -1:], run.z2[0, -1:], physics)
        np.testing.assert_allclose(end.z4[-1], known.z4[0].numpy(), atol=1e-10)
        np.testing.assert_allclose(end.strain[-1], known.flow.strain[0].numpy(), atol=1e-10)
        assert found["violations"].values[i] == int(run.violations[0])
        np.testing.assert_allclose(end.u[-1], known.flow.u[0].numpy(), atol=1e-10)
    assert found["survived_until"].values.tolist() == [2.0, 2.0]
    assert (found["power_residual"].values < 1e-9).all()
    assert (found["step_seconds"].values > 0.0).all()


def test_the_quadratic_closure_hands_out_its_own_contraction():
    found = made(model=untrained("quadratic")).isel(sample=0, time=-1)
    fields, physics = fields_of(found), physics_of(made(), 0)
    d = np.array([[found["D_xx"], found["D_xy"]], [found["D_xy"], fields.c - found["D_xx"]]])
    t = harmonics.tensor(
        2.0 * physics.zeta * fields.c, harmonics.driving(fields.strain, fields.z2, physics.zeta)
    )
    inner = d[0, 0] * t[0] + 2.0 * d[0, 1] * t[1] + d[1, 1] * t[2]
    np.testing.assert_allclose(found["ST_xx"].values, d[0, 0] * inner / fields.c, atol=1e-12)
    np.testing.assert_allclose(found["ST_xy"].values, d[0, 1] * inner / fields.c, atol=1e-12)


def test_forecasts_start_from_frames_and_count_their_time_from_them(tmp_path):
    found = made(starts=(0.5, 1.5), time=0.5, every=0.25)
    assert found["sample_name"].values.tolist() == ["two@0.5", "two@1.5"]
    assert found["source"].values.tolist() == ["two", "two"]
    assert found["start"].values.tolist() == [0.5, 1.5]
    assert found["time"].values.tolist() == [0.0, 0.25, 0.5]
    assert found["survived_until"].values.tolist() == [0.5, 0.5]
    for row, frame in enumerate((1, 3)):
        for name in ("D_xx", "D_xy", "concentration"):
            wanted = TRUTH[name].values[1, frame]
            np.testing.assert_allclose(found[name].values[row, 0], wanted, atol=1e-12, err_msg=name)
    lazy = STAGE.resuming_in(tmp_path)(
        CloseConfig(starts=(0.5, 1.5), time=0.5, every=0.25, time_step=0.05),
        truth=TRUTH.chunk(),
        model=BINGHAM,
    )
    assert lazy["ST_xx"].chunks is not None
    for name in set(found.variables) - MEASURED:
        np.testing.assert_array_equal(lazy[name].values, found[name].values, err_msg=str(name))


def test_no_cut_changes_a_bit_also_where_a_part_has_no_run():
    whole = made(starts=(0.0, 1.0), time=0.5)
    parts = [made(take(TRUTH, [i]), starts=(0.0, 1.0), time=0.5) for i in range(2)]
    assert [part.sizes["sample"] for part in parts] == [0, 2]
    joined = concat(parts)
    for name in set(whole.variables) - MEASURED:
        np.testing.assert_array_equal(joined[name].values, whole[name].values, err_msg=str(name))


def test_a_run_that_dies_is_kept_till_then(monkeypatch):
    class Ending(Bingham):
        asked = 0

        def forward(self, moments, physics):
            self.asked += 1
            return super().forward(moments, physics) * (np.nan if self.asked > 60 else 1.0)

    monkeypatch.setattr(closure_model, "closure_of", lambda model: Ending())
    found = made(time=4.0)
    end = float(found["survived_until"].values[0])
    assert 0.0 < end < 4.0
    good = np.isfinite(found["D_xx"].values[0]).all(axis=(1, 2))
    assert (good == (found["time"].values <= end + 1e-9)).all()
    assert 0 < good.sum() < 9


def test_parameters_that_the_model_was_not_trained_at_are_flagged():
    model = BINGHAM.assign_attrs(trained=json.dumps({"alpha": [-3.5, -2.0], "zeta": [0.5, 2.0]}))
    assert made(model=model, parts=("train", "test"), time=0.5)["outside"].values.tolist() == [0, 1]
    assert made(parts=("train", "test"), time=0.5)["outside"].values.tolist() == [0, 0]


def test_starts_that_a_failed_run_has_no_frame_for_are_left_out():
    broken = TRUTH.copy(deep=True)
    for name in MOMENTS:
        broken[name][1, 2:] = np.nan
    assert made(broken, starts=(0.5, 1.5), time=0.5)["sample_name"].values.tolist() == ["two@0.5"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"starts": (0.3,), "time": 1.0}, "no frame at the start 0.3, the nearest is at 0.5 of 0 to 2"),
        ({"time": 0.7}, "time is 0.7 and every 0.5, expected a multiple: choose every = 0.7"),
        (
            {"time_step": 0.03},
            "every is 0.5 and time_step 0.03, expected a multiple: choose time_step = 0.025",
        ),
        ({"time_step": 0.5}, "run 'two': time_step is 0.5, expected at most"),
    ],
)
def test_what_does_not_fit_is_refused(given, message):
    with pytest.raises(InputError, match=message):
        made(**given)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"starts": (1.0,)}, "starts are given and time is not"),
        ({"starts": (1.0, 1.0), "time": 1.0}, "expected each time once"),
        ({"every": 0.5, "time_step": 0.3}, "every is 0.5 and time_step 0.3, expected a multiple"),
        ({"every": 0.5, "time": 0.75}, "time is 0.75 and every 0.5, expected a multiple"),
        ({"stepper": "euler"}, "Input should be 'sbdf2'"),
    ],
)
def test_what_a_config_may_not_say(given, message):
    with pytest.raises(ValidationError, match=message):
        CloseConfig(**given)
