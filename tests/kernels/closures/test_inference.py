"""Estimated parameters: derivatives, exact and noisy data whose answer is known, what cannot be told."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from kernels.closures.coarse import Coarse
from kernels.closures.families import build
from kernels.closures.inference import Options, check_identified, eliminate, estimate, gauss_newton
from kernels.closures.inference_model import CoarseModel, Forecast, Parameters, Tangent
from kernels.closures.inference_windows import Record, cut, noise_level, restrict
from kernels.closures.physics import Physics
from kernels.errors import InputError
from kernels.fields.periodic import PeriodicSquare

N, L, STEP, EVERY = 12, 5.0, 0.1, 2
PHYSICS = Physics(-3.0, 1.0, length=L)


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def model():
    return CoarseModel(Coarse(build("bingham"), N, L, STEP, "etdrk2", 3), EVERY)


@pytest.fixture(scope="module")
def truth(model):
    """z2 (frames, n, n) and u of a run of the model itself, after it has begun to flow."""
    chance = torch.Generator().manual_seed(3)
    z2 = 0.3 * torch.randn(1, N, N, dtype=torch.complex128, generator=chance)
    z2 = Forecast.projected(_Grid(model.grid), z2)
    c = torch.ones(1, N, N, dtype=torch.float64)
    with torch.no_grad():
        c, z2 = (f[:, -1] for f in model.coarse(c, z2, PHYSICS, 50, 50))
        c, z2 = (f[0] for f in model.coarse(c, z2, PHYSICS, 11 * EVERY, EVERY))
        return z2, model.velocity(c, z2, PHYSICS)


class _Grid:
    def __init__(self, grid):
        self.model = self
        self.grid = grid


def observed(truth, noise=0.0, flow=False):
    z2, velocity = truth
    random = np.random.default_rng(5)

    def noisy(field):
        return field + noise * float(field.std()) * torch.from_numpy(random.standard_normal(field.shape))

    z2 = torch.complex(noisy(z2.real), noisy(z2.imag))
    velocity = torch.stack([noisy(velocity[:, i]) for i in range(2)], dim=1)
    return Record(torch.ones_like(z2.real), STEP * EVERY, z2, velocity if flow else None)


def parameters(*names):
    return Parameters(names, PHYSICS, scale=2.0)


BEGIN = {"alpha": -2.0, "zeta": 1.5, "rotary": 0.08}


def begin(of):
    return of.coordinates([BEGIN[name] for name in of.names])


def test_reverse_and_forward_derivatives_are_one_matrix(model, truth):
    of = parameters("alpha", "zeta", "rotary")
    windows = cut(observed(truth, 0.05, flow=True), L, model.grid, 2, 3, None)
    forecast = Forecast(model, of, windows)
    tangent = Tangent(forecast, begin(of), windows.z2[:, 0])
    chance = torch.Generator().manual_seed(0)
    d = torch.randn(2, *windows.z2[:, 0].shape, dtype=torch.complex128, generator=chance)
    v = torch.randn(2, *forecast.data.shape, dtype=torch.float64, generator=chance)
    left = (v * tangent.forward(d)).flatten(1).sum(1)
    back = tangent.backward(v)
    right = (back.real * d.real + back.imag * d.imag).flatten(1).sum(1)
    torch.testing.assert_close(left, right, rtol=1e-4, atol=1e-4 * float(v.norm()))


def test_states_are_eliminated_as_least_squares_would():
    random = np.random.default_rng(1)
    real = random.standard_normal((3, 2, 20, 8))  # R, W, N, states
    v = torch.from_numpy(random.standard_normal((3, 2, 20)))
    matrix = torch.from_numpy(real[0])

    class Linear:
        @staticmethod
        def forward(d):
            return torch.einsum("wnk,rwk->rwn", matrix, torch.view_as_real(d).flatten(2))

        @staticmethod
        def backward(rows):
            flat = torch.einsum("wnk,rwn->rwk", matrix, rows)
            return torch.view_as_complex(flat.reshape(*rows.shape[:2], 2, 2, 2).contiguous())

    found, left = eliminate(Linear, v, 30, 1e-12)
    exact = torch.linalg.lstsq(matrix.expand(3, 2, 20, 8), v[..., None]).solution[..., 0]
    torch.testing.assert_close(torch.view_as_real(found).flatten(2), exact, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(left, v - torch.einsum("wnk,rwk->rwn", matrix, exact), rtol=1e-9, atol=1e-9)


def test_exact_data_give_the_parameters_back(model, truth):
    of = parameters("alpha", "zeta", "rotary")
    windows = cut(observed(truth), L, model.grid, 2, 2, None)
    found = estimate(model, of, windows, begin(of), Options())
    np.testing.assert_allclose(of.values(found.x).numpy(), [-3.0, 1.0, 0.05], rtol=1e-5)
    assert found.converged


def test_exact_states_and_flows_need_no_states_to_be_estimated(model, truth):
    of = parameters("alpha", "zeta")
    windows = cut(observed(truth, flow=True), L, model.grid, 1, 2, None)
    found = gauss_newton(model, of, windows, begin(of), None, Options(), free=False)
    np.testing.assert_allclose(of.values(found.x).numpy(), [-3.0, 1.0], rtol=1e-5)


def test_noise_of_five_percent_is_known_and_the_estimate_is_within_its_deviation(model, truth):
    of = parameters("alpha", "zeta")
    windows = cut(observed(truth, 0.05), L, model.grid, 2, 3, None)
    found = estimate(model, of, windows, begin(of), Options(blocks=3))
    error = of.values(found.x).numpy() / [-3.0, 1.0] - 1.0
    deviation = (found.covariance.diagonal().sqrt() * of.slopes(found.x)).numpy() / [3.0, 1.0]
    assert (np.abs(error) < 3.5 * deviation).all()
    assert (deviation < 0.03).all()
    assert 0.8 < found.chi < 1.25  # 3 windows of 294 numbers: a standard deviation of 0.06


def test_observing_the_flow_too_adds_information(model, truth):
    of, spread = parameters("alpha", "zeta"), []
    x = of.coordinates([-3.0, 1.0])
    for flow in (False, True):
        windows = cut(observed(truth, 0.05, flow=flow), L, model.grid, 2, 2, None)
        spread.append(gauss_newton(model, of, windows, x, None, Options(iterations=1)).information.diagonal())
    assert (spread[1] > spread[0]).all()


def test_a_state_that_does_not_flow_does_not_tell_alpha(model):
    z2 = torch.full((12, N, N), 0.9455 + 0j, dtype=torch.complex128)  # the nematic state of zeta = 1
    record = Record(torch.ones(12, N, N, dtype=torch.float64), 0.2, z2)
    windows = cut(record, L, model.grid, 2, 2, 0.05)
    of = parameters("alpha", "zeta")
    with pytest.raises(InputError, match=r"combination [+-]1 alpha: its relative standard deviation"):
        estimate(model, of, windows, begin(of), Options())


def test_a_steady_state_tells_the_ratio_of_alignment_and_rotary_diffusion_alone():
    of = parameters("zeta", "rotary")
    ratio = torch.tensor([[1.0, -1.0], [-1.0, 1.0]], dtype=torch.float64) * 1e6
    with pytest.raises(InputError, match=r"combination \S0\.71 log zeta \S0\.71 log rotary"):
        check_identified(of, ratio, 1.0, 0.5)


def test_restriction_keeps_waves_and_white_noise_is_measured_beyond_them():
    fine, coarse = PeriodicSquare(16, L, "torch"), PeriodicSquare(12, L, "torch")

    def waves(n):
        x = torch.arange(n, dtype=torch.float64) * (2.0 * np.pi / n)
        return 0.5 + torch.cos(3 * x)[:, None] * torch.sin(2 * x) + torch.sin(x)[:, None]

    torch.testing.assert_close(restrict(waves(16), fine, coarse), waves(12), rtol=0, atol=1e-13)
    torch.testing.assert_close(restrict(waves(16) * 1j, fine, coarse), waves(12) * 1j, rtol=0, atol=1e-13)
    noise = 0.3 * torch.from_numpy(np.random.default_rng(0).standard_normal((200, 16, 16)))
    level = noise_level(noise + waves(16), fine)
    assert level == pytest.approx(0.3, rel=0.03)  # 27,000 numbers
    short = waves(16) + torch.cos(5 * torch.arange(16, dtype=torch.float64) * (2.0 * np.pi / 16))
    assert restrict(short, fine, coarse).sub(waves(12)).abs().max() < 1e-13


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"z2": None}, "neither D nor u is observed"),
        ({"z2": torch.full((11, N, N), np.nan + 0j)}, "the observed D is not finite"),
    ],
)
def test_unusable_records_are_refused(truth, change, message):
    with pytest.raises(InputError, match=message):
        replace(observed(truth), **change)


def test_short_records_and_fine_models_are_refused(model, truth):
    with pytest.raises(InputError, match=r"has 11 frames, expected at least 12, two windows of 6 frames"):
        cut(observed(truth), L, model.grid, 5, 4, None)
    with pytest.raises(InputError, match="have 12 points along a side and the model 16"):
        cut(observed(truth), L, PeriodicSquare(16, L, "torch"), 2, 4, None)


def test_unknown_and_impossible_parameters_are_refused():
    with pytest.raises(InputError, match=r"asked to estimate \['beta'\]"):
        parameters("beta")
    with pytest.raises(InputError, match=r"start of \['zeta'\] is not positive"):
        parameters("alpha", "zeta").coordinates([-1.0, 0.0])
