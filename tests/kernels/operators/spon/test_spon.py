from dataclasses import replace

import numpy as np
import pytest
import torch
from spon_problems import SIGNATURE, joined, some, square, uneven, warped

from kernels.errors import InputError
from kernels.operators.base import Batch, Signature
from kernels.operators.families import build
from kernels.operators.settings import SponSettings
from kernels.operators.spon import Spon
from kernels.operators.spon_process import Activation

SMALL = SponSettings(width=8, rounds=2, levels=2)
BOTH = pytest.mark.parametrize("processor", ["multigrid", "message_passing"])


def operator(settings: SponSettings = SMALL, signature: Signature = SIGNATURE) -> Spon:
    """Untrained, in float64, with outputs that are not small."""
    return build("spon", signature, settings, seed=1).double().eval()


def predicted(model: Spon, batch: Batch) -> np.ndarray:
    with torch.no_grad():
        return model(batch).numpy()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_prescribed_values_are_exact_whatever_the_weights(dtype: torch.dtype):
    batch = joined(some(), prescribed=-1.234567890123456)
    u = predicted(operator().to(dtype), batch.to(dtype))
    fixed = batch.mesh.dirichlet.numpy()
    assert u.dtype == np.float64
    np.testing.assert_array_equal(u[fixed], -1.234567890123456)
    assert np.ptp(u[~fixed]) > 1e-3
    free = joined(some(), prescribed=None)
    assert np.ptp(predicted(operator().to(dtype), free.to(dtype))[fixed]) > 1e-3


@pytest.mark.parametrize(("axis", "shape"), [(-1, (3, 5)), (1, (2, 5, 3, 4))])
def test_half_of_the_channels_pass_an_activation_as_they_are(axis: int, shape: tuple[int, ...]):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    bent = torch.nn.functional.gelu(x)
    torch.testing.assert_close(Activation(linear=False, axis=axis)(x), bent)
    found = Activation(linear=True, axis=axis)(x).movedim(axis, 0)
    torch.testing.assert_close(found[:3], bent.movedim(axis, 0)[:3])
    assert torch.equal(found[3:], x.movedim(axis, 0)[3:])


@BOTH
def test_without_bends_the_network_is_affine(processor: str):
    """Weights on bent channels zero: what is left of every layer is linear, in all parts of the network."""
    model = operator(replace(SMALL, processor=processor))
    after = [each.last for each in model.rounds] + [model.first[2], model.last[2]]
    levels = [one for each in model.rounds if each.cycle for one in [*each.cycle.down, *each.cycle.up]]
    with torch.no_grad():
        for layer in [*after, *(one.point for one in levels)]:
            layer.weight[:, : SMALL.width // 2] = 0.0
    batch = joined(some(), prescribed=None)
    zero, one, three = (predicted(model, replace(batch, a=k * batch.a)) for k in (0.0, 1.0, 3.0))
    np.testing.assert_allclose(three - zero, 3.0 * (one - zero), atol=1e-12)
    assert np.ptp(one - zero) > 1e-3


@BOTH
def test_numbering_of_nodes_and_cells_does_not_matter(processor: str):
    model = operator(replace(SMALL, processor=processor))
    random = np.random.default_rng(0)
    x, cells, a, u, p = some(2)[1]
    number = random.permutation(len(x))
    back = np.argsort(number)
    turned = np.roll(number[cells][random.permutation(len(cells))], 1, axis=1)
    one = predicted(model, joined([(x, cells, a, u, p)]))
    other = predicted(model, joined([(x[back], turned, a[back], u[back], p)]))
    np.testing.assert_allclose(other[number], one, atol=1e-6)
    assert np.ptp(one) > 1e-3


@BOTH
def test_origin_and_units_do_not_matter(processor: str):
    model = operator(replace(SMALL, processor=processor))
    samples = some()
    one = predicted(model, joined(samples))
    shifted = [(x + np.array([8.0, -4.0]), *rest) for x, *rest in samples]
    np.testing.assert_allclose(predicted(model, joined(shifted)), one, atol=1e-5)
    larger = [(1000.0 * x, *rest) for x, *rest in samples]
    np.testing.assert_allclose(predicted(model, joined(larger)), one, atol=1e-5)


@BOTH
def test_a_batch_is_its_samples_one_by_one(processor: str):
    model = operator(replace(SMALL, processor=processor))
    samples = some(4)
    alone = np.concatenate([predicted(model, joined([sample])) for sample in samples])
    np.testing.assert_allclose(predicted(model, joined(samples)), alone, atol=1e-12)


def test_sizes_count_once_a_mesh_was_trained_on():
    model = operator().train()
    samples = some()
    model(joined(samples))
    assert torch.isfinite(model.reference)
    model.eval()
    first = float(model.reference)
    one = predicted(model, joined(samples))
    other = predicted(model, joined([(2.0 * x, *rest) for x, *rest in samples]))
    assert np.abs(one - other).max() > 1e-4
    assert float(model.reference) == first


@BOTH
def test_all_weights_have_a_gradient_and_a_step_lowers_the_loss(processor: str):
    model = operator(replace(SMALL, processor=processor)).train()
    batch = joined(some())
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(40):
        loss = ((model(batch) - batch.u)[~batch.mesh.dirichlet] ** 2).mean()
        optimiser.zero_grad()
        loss.backward()
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]


def test_only_coarse_spaces_carry_news_across_the_domain():
    x, cells = square(24)
    a = np.zeros(len(x))
    far = np.flatnonzero((x > 0.9).all(axis=1) & (x < 0.99).all(axis=1))[0]
    near = np.flatnonzero((x < 0.1).all(axis=1) & (x > 0.01).all(axis=1))[0]
    pushed = a.copy()
    pushed[far] = 1.0
    change = {}
    for processor in ("multigrid", "message_passing"):
        model = operator(replace(SMALL, processor=processor))
        one, other = (predicted(model, joined([(x, cells, v, a, 0.0)])) for v in (a, pushed))
        change[processor] = float(np.abs(one - other)[near, 0])
    assert change["message_passing"] == 0.0
    assert change["multigrid"] > 0.0


def test_weights_alone_restore_it():
    model = operator().train()
    batch = joined(some())
    model(batch)
    other = build("spon", SIGNATURE, SMALL, seed=9).double()
    other.load_state_dict(model.state_dict())
    np.testing.assert_array_equal(predicted(other.eval(), batch), predicted(model.eval(), batch))


@pytest.mark.parametrize("degree", [1, 2])
def test_it_is_evaluated_at_the_nodes_of_another_mesh(degree: int):
    model = operator(replace(SMALL, degree=degree))
    x, cells = square(8)
    points = uneven()[0]
    values = np.stack([1.0 + x[:, 0], 1.0 + x[:, 0] * (degree - 1) * x[:, 1]], axis=1)
    found = model.evaluate(values, x, cells, points)
    wanted = np.stack([1.0 + points[:, 0], 1.0 + points[:, 0] * (degree - 1) * points[:, 1]], axis=1)
    np.testing.assert_allclose(found, wanted, atol=1e-10)
    np.testing.assert_allclose(model.evaluate(values, x, cells, x), values, atol=1e-10)


@pytest.mark.parametrize("shape", [(9,), (7, 5), (4, 3, 5)])
def test_a_grid_is_a_mesh_of_its_points(shape: tuple[int, ...]):
    grid = tuple(torch.linspace(0, 1 + k, n, dtype=torch.float64) for k, n in enumerate(shape))
    axes = tuple("xyz"[: len(shape)])
    signature = Signature(
        "grid", 1, 2, 0, axes, axes, tuple(g.numpy() for g in grid), tuple(g.numpy() for g in grid),
        dimension=len(shape),
    )  # fmt: skip
    model = operator(replace(SMALL, processor="message_passing", rounds=1), signature)
    a = torch.zeros(2, 1, *shape, dtype=torch.float64)
    batch = Batch(a, None, torch.zeros(2, 0), grid, grid)
    one = predicted(model, batch)
    assert one.shape == (2, 2, *shape)
    at = tuple(n // 2 for n in shape)
    pushed = a.clone()
    pushed[(1, 0, *at)] = 1.0
    change = np.abs(predicted(model, replace(batch, a=pushed)) - one).sum(axis=1)
    assert change[0].max() == 0.0
    where = np.argwhere(change[1] > 1e-12)
    assert np.abs(where - np.array(at)).max() == 1
    assert change[1][at] == change[1].max()
    with pytest.raises(InputError, match="bring the inputs to the output grid"):
        model(replace(batch, out_grid=tuple(g[:-1] for g in grid)))


def test_three_dimensions():
    import skfem

    mesh = skfem.MeshTet().refined(1)
    x, cells = mesh.p.T.copy(), mesh.t.T.astype(np.int64)
    sample = (x, cells, np.ones(len(x)), np.ones(len(x)), 0.0)
    model = operator(signature=replace(SIGNATURE, dimension=3))
    assert predicted(model, joined([sample, sample])).shape == (2 * len(x), 1)


def test_bad_inputs_are_refused():
    with pytest.raises(InputError, match="made for meshes in 3 dimensions, got a mesh in 2"):
        operator(signature=replace(SIGNATURE, dimension=3))(joined(some(1)))
    with pytest.raises(InputError, match="got no mesh"):
        operator()(replace(joined(some(1)), mesh=None))
    with pytest.raises(InputError, match="fields in 4 dimensions"):
        operator(signature=replace(SIGNATURE, dimension=4))
    for wrong in ({"width": 0}, {"rounds": 0}, {"levels": 0}, {"degree": 3}, {"processor": "other"}):
        with pytest.raises(InputError, match="expected degree 1 or 2, width, rounds and levels of 1 or more"):
            operator(replace(SMALL, **wrong))
    for dimension, most in ((1, 25), (2, 12), (3, 7)):
        many = replace(SMALL, processor="multigrid", levels=90)
        with pytest.raises(
            InputError, match=f"levels = 90, expected at most {most} in {dimension} dimensions"
        ):
            operator(many, signature=replace(SIGNATURE, dimension=dimension))
    operator(replace(SMALL, processor="message_passing", levels=90))
    with pytest.raises(InputError, match="outside the mesh"):
        operator().evaluate(np.ones((36, 1)), *warped(5, 0.0), np.array([[3.0, 0.0]]))
