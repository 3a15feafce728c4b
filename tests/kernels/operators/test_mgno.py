import numpy as np
import pytest
import torch

from kernels.errors import InputError
from kernels.operators.base import Batch, Signature
from kernels.operators.families import build
from kernels.operators.grids import interpolate
from kernels.operators.settings import MgnoSettings

SMALL = MgnoSettings(channels=6, layers=2, levels=3)


def _axis(count, kind="cell"):
    shift = 0.5 if kind == "cell" else 0.0
    return (np.arange(count) + shift) / count


def _signature(count=16, boundary="dirichlet", dimension=2, kind="cell", inputs=1):
    grid, axes = (_axis(count, kind),) * dimension, ("z", "y", "x")[3 - dimension :]
    return Signature(
        "grid", inputs, 1, axes=axes, out_axes=axes, grid=grid, out_grid=grid, boundary=boundary,
        dimension=dimension,
    )  # fmt: skip


def _batch(signature, count, function, kind="cell", samples=2):
    grid = tuple(torch.from_numpy(_axis(count, kind)) for _ in signature.axes)
    where = torch.meshgrid(*grid, indexing="ij")
    a = torch.stack([function(i, *where) for i in range(samples)])[:, None].float()
    return Batch(a, None, torch.empty(samples, 0), grid, grid)


def _smooth(i, y, x):
    return torch.sin(2 * np.pi * (x + 0.3 * i)) * torch.cos(2 * np.pi * y)


def _waves(i, y, x):
    return torch.sin(6 * np.pi * (x + 0.3 * i)) * torch.cos(4 * np.pi * y)


def _built(signature, settings=SMALL, seed=0):
    return build("mgno", signature, settings, seed).eval()


@pytest.mark.parametrize("boundary", ["dirichlet", "neumann", "periodic"])
@pytest.mark.parametrize(("dimension", "count"), [(1, 17), (2, 13), (3, 6)])
@pytest.mark.parametrize(("pre", "post", "coarsest"), [(1, 0, 1), (2, 1, 3)])
def test_any_grid_size_boundary_and_number_of_steps(boundary, dimension, count, pre, post, coarsest):
    signature = _signature(count, boundary, dimension)
    settings = MgnoSettings(channels=3, layers=2, levels=3, pre=pre, post=post, coarsest=coarsest)
    batch = _batch(signature, count, lambda i, *where: where[-1] + i)
    assert _built(signature, settings)(batch).shape == (2, 1, *[count] * dimension)


@pytest.mark.parametrize("boundary", ["dirichlet", "neumann", "periodic"])
def test_a_cycle_is_linear_and_reaches_across_the_grid(boundary):
    cycle = _built(_signature(boundary=boundary), MgnoSettings(channels=4, layers=2, levels=4, pre=2)).cycles[
        1
    ]
    generator = torch.Generator().manual_seed(3)
    f, g = torch.randn(2, 1, 4, 16, 16, generator=generator)
    torch.testing.assert_close(cycle(2.0 * f - g), 2.0 * cycle(f) - cycle(g), rtol=1e-4, atol=1e-5)
    impulse = torch.zeros(1, 4, 16, 16)
    impulse[..., 0, 0] = 1.0
    assert bool((cycle(impulse).abs().sum(dim=1) > 0).all())


def test_a_periodic_network_commutes_with_shifts_of_its_coarsest_cells():
    signature = _signature(boundary="periodic")
    batch = _batch(signature, 16, _smooth)
    model = _built(signature)
    moved = Batch(batch.a.roll((4, 8), (2, 3)), None, batch.parameters, batch.grid, batch.out_grid)
    torch.testing.assert_close(model(moved), model(batch).roll((4, 8), (2, 3)), rtol=1e-4, atol=1e-5)
    dirichlet = _built(_signature(boundary="dirichlet"))
    assert not torch.allclose(dirichlet(moved), dirichlet(batch).roll((4, 8), (2, 3)), atol=1e-3)


@pytest.mark.parametrize("kind", ["cell", "node"])
@pytest.mark.parametrize("factor", [2, 4])
def test_a_smooth_field_on_a_finer_grid_gives_the_same_function(kind, factor):
    signature = _signature(32, boundary="periodic", kind=kind)
    model = _built(signature)
    coarse, fine = (_batch(signature, n, _smooth, kind) for n in (32, 32 * factor))
    expected = interpolate(model(coarse), coarse.grid, fine.grid, "cubic", periodic=True)
    varies = (expected - expected.mean()).norm()
    assert (model(fine) - expected).norm() < 0.05 * varies
    published = _built(signature, MgnoSettings(channels=6, layers=2, levels=3, as_published=True))
    assert (published(fine) - expected).norm() > 3.0 * (model(fine) - expected).norm()


@pytest.mark.parametrize("kind", ["cell", "node"])
def test_levels_that_training_has_itself_leave_no_pattern_of_parity_on_a_finer_grid(kind):
    errors = {}
    for halvings in (0, 1):
        signature = _signature(32, boundary="periodic", kind=kind)
        model = _built(signature, MgnoSettings(channels=6, layers=3, levels=3, halvings=halvings))
        coarse, fine = (_batch(signature, n, _waves, kind) for n in (32, 64))
        with torch.no_grad():
            expected = interpolate(model(coarse), coarse.grid, fine.grid, "cubic", periodic=True)
            error = (model(fine) - expected).norm() / (expected - expected.mean()).norm()
        errors[halvings] = float(error)
    assert errors[1] < 0.05
    assert errors[1] < 0.7 * errors[0]


def test_what_the_training_grid_cannot_see_changes_the_prediction_on_a_finer_one():
    signature = _signature(16, kind="node")
    model = _built(signature)

    def rippled(i, y, x):
        return _smooth(i, y, x) + torch.sin(np.pi * 16 * x)  # zero on the coarse points

    smooth, rough = (_batch(signature, 32, f, "node") for f in (_smooth, rippled))
    assert torch.allclose(rough.a[..., ::2, ::2], smooth.a[..., ::2, ::2], atol=1e-5)
    unscaled = _built(signature, MgnoSettings(channels=6, layers=2, levels=3, scaled=False))
    own = tuple(map(torch.from_numpy, signature.grid))
    cycle, detail = model.cycles[0], rough.a - interpolate(
        interpolate(rough.a, rough.grid, own, "cubic"), own, rough.grid, "cubic"
    )  # fmt: skip
    assert not torch.allclose(model(rough), model(smooth), atol=1e-3)
    point = model.pointwise[0]
    gained = unscaled._linear(cycle, point, rough.a, rough.grid) - model._linear(
        cycle, point, rough.a, rough.grid
    )
    torch.testing.assert_close(gained, 0.75 * cycle.detail(detail), rtol=1e-4, atol=1e-5)


def test_the_stencil_of_the_upper_level_has_its_points_as_far_apart_on_every_grid():
    model = _built(_signature(16, kind="node"), MgnoSettings(channels=3, layers=1, levels=2, halvings=1))
    cycle, point = model.cycles[0], model.pointwise[0]
    fine = torch.randn(1, 1, 32, 32, generator=torch.Generator().manual_seed(2))
    coarse = fine[..., ::2, ::2]
    separate = cycle.above(coarse) + point(coarse)
    torch.testing.assert_close(cycle.around(coarse, point, 1), separate, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(cycle.around(fine, point, 2)[..., ::2, ::2], separate, rtol=1e-5, atol=1e-6)


def test_halvings_of_the_published_network_are_refused():
    with pytest.raises(InputError, match="1 halvings and as_published, expected one of them"):
        _built(_signature(), MgnoSettings(halvings=1, as_published=True))


def test_a_coarser_grid_is_brought_to_the_training_grid_and_back():
    signature = _signature(32)
    model, coarse = _built(signature), _batch(signature, 16, _smooth)
    own = tuple(map(torch.from_numpy, signature.grid))
    lifted = Batch(interpolate(coarse.a, coarse.grid, own), None, coarse.parameters, own, own)
    expected = interpolate(model(lifted), own, coarse.grid, "cubic")
    torch.testing.assert_close(model(coarse), expected)


def test_an_axis_that_the_input_has_not_comes_out_of_the_channels():
    x, t = _axis(16, "node"), np.linspace(0.0, 1.0, 5)
    signature = Signature(
        "grid", 1, 2, axes=("x",), out_axes=("time", "x"), grid=(x,), out_grid=(t, x), boundary="periodic"
    )
    grid, out = (torch.from_numpy(x),), (torch.from_numpy(t), torch.from_numpy(x))
    model = _built(signature)
    found = model(Batch(torch.ones(3, 1, 16), None, torch.empty(3, 0), grid, out))
    assert found.shape == (3, 2, 5, 16)
    fine = (torch.arange(32, dtype=torch.float64) / 32,)
    finer = model(Batch(torch.ones(3, 1, 32), None, torch.empty(3, 0), fine, (out[0], fine[0])))
    assert finer.shape == (3, 2, 5, 32)


def test_parameters_are_inputs_too():
    signature = Signature(
        "grid", 0, 1, 2, axes=("y", "x"), out_axes=("y", "x"), grid=(_axis(8),) * 2, out_grid=(_axis(8),) * 2
    )
    grid = tuple(torch.from_numpy(axis) for axis in signature.grid)
    batch = Batch(torch.empty(2, 0, 8, 8), None, torch.tensor([[0.0, 1.0], [1.0, 0.0]]), grid, grid)
    found = _built(signature)(batch)
    assert found.shape == (2, 1, 8, 8)
    assert not torch.allclose(found[0], found[1])


def test_gradients_are_right():
    signature = _signature(8)
    model = build("mgno", signature, MgnoSettings(channels=2, layers=1, levels=2, pre=2, post=1), 0).double()
    grid = tuple(torch.from_numpy(_axis(16)) for _ in range(2))
    a = torch.randn(1, 1, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert torch.autograd.gradcheck(
        lambda a: model(Batch(a, None, torch.empty(1, 0).double(), grid, grid)), a.requires_grad_()
    )


def test_weights_follow_the_seed():
    one, two, other = (_built(_signature(), seed=seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not torch.equal(one["last.weight"], other["last.weight"])


def test_more_levels_than_the_grid_has_are_refused():
    with pytest.raises(
        InputError, match=r"mgno was asked for 6 levels on a grid of \(16, 16\) points, expected 1 to 4"
    ):
        _built(_signature(), MgnoSettings(levels=6))


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (
            {"channels": -3, "layers": 0},
            "asked for channels -3, layers 0, expected channels from 1 on, layers",
        ),
        ({"pre": 0}, "asked for pre 0, expected pre from 1 on: correct its settings"),
        (
            {"coarsest": 0, "post": -1},
            "asked for coarsest 0, post -1, expected coarsest from 1 on, post from 0",
        ),
        ({"halvings": -1}, "asked for halvings -1, expected halvings from 0 on"),
        (
            {"halvings": 5},
            r"asked for 5 halvings of a grid of \(16, 16\) points, which leave \(0, 0\); expected 2",
        ),
    ],
)
def test_numbers_that_no_network_can_have_are_refused(asked, message):
    with pytest.raises(InputError, match=message):
        _built(_signature(), MgnoSettings(**asked))


def test_outputs_on_other_axes_are_refused():
    signature = Signature("grid", 1, 1, axes=("y",), out_axes=("x",), grid=(_axis(9),), out_grid=(_axis(5),))
    with pytest.raises(InputError, match=r"inputs on the axes \('y',\) and outputs on \('x',\)"):
        _built(signature)
