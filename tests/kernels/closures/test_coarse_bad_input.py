import numpy as np
import pytest
import torch

from kernels.closures.coarse import Coarse
from kernels.closures.families import build
from kernels.closures.physics import Physics
from kernels.errors import InputError

LENGTH = 10.0


def model(step=0.02, points=8, **settings):
    return Coarse(build("natural"), points, LENGTH, step, **settings)


def fields(points=8, runs=1, size=0.1):
    x = 2.0 * np.pi * np.arange(points) / points
    wave = np.cos(x[:, None] + x[None, :]) + 1j * np.sin(2.0 * x)[:, None]
    z2 = torch.from_numpy(np.stack([size * wave] * runs))
    return torch.ones(z2.shape, dtype=torch.float64), z2


def spoilt(c=None, z2=None):
    good = fields()
    for field, value in zip(good, (c, z2), strict=True):
        if value is not None:
            field[0, 3, 2] = value
    return good


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (fields(16), r"\(1, 16, 16\).*expected both \(runs, 8, 8\)"),
        ((fields()[0], fields(8, 2)[1]), r"z_2 \(2, 8, 8\)"),
        ((fields()[0].float(), fields()[1]), r"torch\.float32"),
        (spoilt(z2=complex(np.nan, 0.0)), "not finite"),
        (spoilt(c=np.inf), "not finite"),
        (spoilt(c=0.0), "c is 0 somewhere"),
        (spoilt(c=-0.5), r"c is -0\.5 somewhere"),
    ],
)
def test_fields_that_are_refused(given, message):
    for call in (
        lambda: model().run(*given, Physics(-1.0, 1.0), [0.2]),
        lambda: model()(*given, Physics(-1.0, 1.0), 2),
    ):
        with pytest.raises(InputError, match=message):
            call()


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"alpha": np.nan}, "alpha is nan"),
        ({"rotary": -0.1}, r"rotary is -0\.1, expected a finite number, 0 or more"),
        ({"zeta": torch.ones(3, 1, 1)}, r"zeta has shape \(3, 1, 1\).*\(1, 1, 1\)"),
        ({"speed": 0.5}, "apolar"),
        ({"length": 8.0}, "length is 8, the grid of the model has 10"),
    ],
)
def test_numbers_that_are_refused(numbers, message):
    with pytest.raises(InputError, match=message):
        model().run(*fields(), Physics(**({"alpha": -1.0, "zeta": 1.0} | numbers)), [0.2])


@pytest.mark.parametrize(
    ("times", "message"),
    [
        ([], "rising numbers"),
        ([-1.0], "rising numbers"),
        ([0.4, 0.2], "rising multiples"),
        ([0.41], "divides the times"),
    ],
)
def test_times_that_are_refused(times, message):
    with pytest.raises(InputError, match=message):
        model(0.04).run(*fields(), Physics(-1.0, 1.0), times)


def test_settings_that_are_refused():
    with pytest.raises(InputError, match="stepper is 'euler'"):
        model(stepper="euler")
    with pytest.raises(InputError, match="time_step is -1"):
        model(-1.0)
    with pytest.raises(InputError, match="iterations is 0"):
        model(iterations=0)
    with pytest.raises(InputError, match="steps is 5 and every 2"):
        model()(*fields(), Physics(-1.0, 1.0), 5, every=2)


def aligned(zeta):
    """Nematic states without flow, disturbed alike everywhere: they relax nearly at the rate of the bound."""
    z2 = torch.full((1, 4, 4), 0.97, dtype=torch.complex128)
    return torch.ones(1, 4, 4, dtype=torch.float64), z2, Physics(-1.0, zeta)


def test_steps_beyond_the_limit_are_refused_with_the_limit():
    c, z2, physics = aligned(10.0)
    limit = float(Coarse(build("bingham"), 4, LENGTH, 0.01).limit(c, z2, physics))
    beyond = Coarse(build("bingham"), 4, LENGTH, 1.01 * limit)
    for call in (lambda: beyond.run(c, z2, physics, [2.02 * limit]), lambda: beyond(c, z2, physics, 2)):
        with pytest.raises(InputError, match=f"expected at most {limit:.4g}"):
            call()


@pytest.mark.parametrize("stepper", ["sbdf2", "ars222", "etdrk2", "etdrk4"])
def test_the_limit_is_near_where_relaxation_gets_unstable(stepper, monkeypatch):
    """Below it a state comes to rest; at thrice the limit it does not."""
    monkeypatch.setattr("kernels.closures.coarse_run.check_step", lambda *_: None)
    c, z2, physics = aligned(10.0)

    def restless(part):
        limit = float(Coarse(build("bingham"), 4, LENGTH, 0.01, stepper).limit(c, z2, physics))
        step = part * limit
        run = Coarse(build("bingham"), 4, LENGTH, step, stepper).run(c, z2, physics, [100 * step, 101 * step])
        change = float((run.z2[:, 1] - run.z2[:, 0]).abs().max())
        return not change < 1e-6

    assert not restless(0.95)
    assert restless(3.0)


def test_a_run_that_explodes_ends_at_its_last_good_state_and_the_others_go_on():
    c, z2 = fields(32, 2, 0.02)
    alpha = torch.tensor([-10.0, -0.1], dtype=torch.float64).reshape(2, 1, 1)
    long = model(0.2, 32)
    times = [4.0, 8.0, 12.0]
    run = long.run(c, z2, Physics(alpha, 0.3), times)
    end = float(run.survived_until[0])
    assert 0.0 < end < 12.0
    assert float(run.survived_until[1]) == 12.0
    assert torch.isfinite(run.last_z2.abs()).all()
    assert torch.isfinite(run.z2[1].abs()).all()
    assert torch.isnan(run.z2[0, -1].abs()).all()
    assert torch.isnan(run.c[0, -1]).all()
    assert float(run.step_limit[0]) < 0.2 < float(run.step_limit[1])
    alone = long.run(c[1:], z2[1:], Physics(-0.1, 0.3), times)
    torch.testing.assert_close(alone.z2[0], run.z2[1], rtol=0, atol=1e-11)


def test_a_batch_may_end_as_a_whole():
    c, z2 = fields(16, 1, 0.02)
    run = model(0.2, 16).run(c, z2, Physics(-20.0, 0.3), [4.0, 8.0])
    assert float(run.survived_until) < 8.0
    assert torch.isfinite(run.last_z2.abs()).all()
    assert torch.isnan(run.c[0, -1]).all()


def test_observers_see_every_frame_and_fields_are_not_kept():
    seen = []
    run = model().run(
        *fields(runs=2), Physics(-1.0, 1.0), [0.0, 0.2, 0.6],
        lambda frame, time, known, alive: seen.append((frame, time, known.flow.u.shape, alive.tolist())),
    )  # fmt: skip
    assert seen == [(i, t, (2, 8, 8), [True, True]) for i, t in enumerate((0.0, 0.2, 0.6))]
    assert run.z2 is None
    assert run.c is None
    assert run.step_seconds > 0.0
