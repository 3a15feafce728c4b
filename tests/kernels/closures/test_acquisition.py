"""The next simulations: planted disagreement is found, points keep apart, order has no say."""

import numpy as np
import pytest
import torch

from kernels.closures.acquisition import choose, correlation, relative_variance
from kernels.closures.acquisition_states import disagreement, moved_on
from kernels.closures.base import Closure
from kernels.closures.families import build
from kernels.closures.physics import Physics
from kernels.errors import InputError

AXIS = np.linspace(0.0, 1.0, 5)
SQUARE = np.stack(np.meshgrid(AXIS, AXIS, indexing="ij"), axis=-1).reshape(-1, 2)
NONE = np.zeros((0, 2))


def test_the_largest_disagreement_comes_first_and_the_next_is_elsewhere():
    scores = np.exp(-8.0 * ((SQUARE - [0.75, 0.25]) ** 2).sum(-1)) + 0.5 * (SQUARE == [0.0, 1.0]).all(-1)
    first, second = SQUARE[choose(SQUARE, scores, NONE, 2, 0.3)]
    assert first.tolist() == [0.75, 0.25]
    assert second.tolist() == [0.0, 1.0]  # not the neighbour of the first, which disagrees more


def test_choices_are_those_of_the_largest_conditional_variance():
    random = np.random.default_rng(2)
    points, taken = random.random((30, 2)), random.random((4, 2))
    scores = random.random(30) ** 2
    chosen = choose(points, scores, taken, 5, 0.4)
    held, expected = taken, []
    for _ in range(5):
        cross = correlation(points, held, 0.4)
        left = 1.0 - (cross @ np.linalg.inv(correlation(held, held, 0.4)) * cross).sum(1)
        gain = scores * left
        gain[expected] = -1.0
        expected.append(int(gain.argmax()))
        held = np.concatenate([held, points[expected[-1:]]])
    assert chosen.tolist() == expected


def test_taken_points_are_never_chosen_however_much_members_disagree_there():
    scores = np.ones(25)
    scores[7] = 1e12
    chosen = choose(SQUARE, scores, SQUARE[[7, 7, 3]], 23, 0.2)
    assert sorted(chosen.tolist()) == sorted(set(range(25)) - {3, 7})


def test_where_all_agree_points_spread():
    chosen = SQUARE[choose(SQUARE, np.zeros(25), SQUARE[[12]], 4, 0.4)]
    assert {tuple(p) for p in chosen} == {(0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0)}


@pytest.mark.parametrize(
    ("scores", "count", "message"),
    [
        (np.ones(25), 24, "24 new points were asked for, 23 of 25 candidates are not simulated"),
        (np.full(25, np.nan), 1, "expected 25 numbers, 0 or more"),
    ],
)
def test_impossible_choices_are_refused(scores, count, message):
    with pytest.raises(InputError, match=message):
        choose(SQUARE, scores, SQUARE[:2], count, 0.3)


def test_relative_variance_is_the_mean_square_error_of_a_member_and_takes_any_order():
    mean = np.array([3.0, 4.0j])
    members = mean + 0.1 * np.array([[1.0, 1.0j], [-1.0, -1.0j], [1.0j, 1.0], [-1.0j, -1.0]])
    assert relative_variance(members) == pytest.approx(4 * 2 * 0.01 / 3 / 25.0)
    assert relative_variance(members, mean - 0.5) == pytest.approx(4 * 2 * 0.01 / 3 / 0.5)
    random = np.random.default_rng(0)
    many = random.standard_normal((5, 100)) + 1j * random.standard_normal((5, 100))
    assert relative_variance(many) == relative_variance(many[[3, 1, 4, 0, 2]])
    with pytest.raises(InputError, match="1 member was given, expected at least 2"):
        relative_variance(members[:1])


class _Planted(Closure):
    """Bingham, but for a part that grows with alpha and has a sign of its own."""

    def __init__(self, sign):
        super().__init__()
        self.base, self.sign = build("bingham"), sign

    def forward(self, moments, physics):
        q = moments.z2 / moments.c
        return self.base(moments, physics) * (1.0 + 0.01 * self.sign * physics.alpha * (1.0 - abs(q) ** 2))


@pytest.fixture
def states():
    chance = torch.Generator().manual_seed(0)
    z2 = torch.full((2, 8, 8), 0.5 + 0j, dtype=torch.complex128)
    z2 = z2 + 0.1 * torch.randn(2, 8, 8, dtype=torch.complex128, generator=chance)
    return torch.ones(2, 8, 8, dtype=torch.float64), z2


def test_disagreement_is_seen_where_members_differ_and_nowhere_else(states):
    members = [_Planted(sign) for sign in (-1.0, 0.0, 1.0)]
    at = [disagreement(members, *states, Physics(alpha, 1.0, length=5.0)) for alpha in (-4.0, -1.0, 0.0)]
    assert at[0] > 10.0 * at[1] > 0.0
    assert at[2] < 1e-28  # rounding of a mean of equal numbers
    physics = Physics(-4.0, 1.0, length=5.0)
    assert disagreement([members[i] for i in (2, 0, 1)], *states, physics) == at[0]
    one_side = [_Planted(sign) for sign in (1.0, 1.1, 1.2)]  # mean 1.1 from Bingham, deviation 0.1
    found = disagreement(one_side, *states, physics, build("bingham"))
    assert found == pytest.approx((0.1 / 1.1) ** 2, rel=1e-6)


def test_states_run_on_with_every_member_and_stay_sound(states):
    physics = Physics(torch.tensor([-1.0, -5.0])[:, None, None].double(), 1.0, length=5.0)
    c, z2 = moved_on([_Planted(0.0), _Planted(1.0)], *states, physics, 0.2, 0.1)
    assert z2.shape == (2, 2, 8, 8)
    assert bool((z2.abs() <= c).all())
    assert float((z2[0] - z2[1]).abs().max()) > 1e-6
