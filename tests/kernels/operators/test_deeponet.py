from dataclasses import replace

import numpy as np
import pytest
import torch

from kernels.errors import InputError
from kernels.operators.families import build
from kernels.operators.settings import DeepOnetSettings, MultiOnetSettings
from tests.kernels.operators.made_batches import grids, on_grid, on_meshes, signature, waves

SMALL = {
    "deeponet": DeepOnetSettings(width=12, depth=2, products=7, features=1),
    "multionet": MultiOnetSettings(width=12, depth=3, averaged=2, features=1),
}
BOTH = pytest.mark.parametrize("name", SMALL)


def random(*shape) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape)


def run(operator, batch):
    with torch.no_grad():
        return operator.double().eval()(batch)


def trained(operator, batch, steps):
    operator.double().train()
    optimiser = torch.optim.Adam(operator.parameters(), lr=5e-3)
    for _ in range(steps):
        optimiser.zero_grad()
        error = (operator(batch) - batch.u).norm() / batch.u.norm()
        error.backward()
        optimiser.step()
    return float(error.detach())


@BOTH
def test_an_integral_operator_is_learnt(name):
    a, u, x = waves(50, 16)
    operator = build(name, signature((x,), (x,)), SMALL[name])
    assert trained(operator, on_grid(a[:40], u[:40], (x,), (x,)), 250) < 0.06
    test = on_grid(a[40:], u[40:], (x,), (x,))
    assert float((run(operator, test) - test.u).norm() / test.u.norm()) < 0.2


@BOTH
def test_any_points_of_any_output_axes(name):
    t, y, x = grids(3, 4, 5)
    where = signature((x,), (t, y, x), outputs=2, parameters=1)
    operator = build(name, where, SMALL[name])
    finer = (t, y, np.linspace(0.0, 1.0, 9))
    a, p = random(3, 1, 5), random(3, 1)
    own = run(operator, on_grid(a, None, (x,), (t, y, x), p))
    assert own.shape == (3, 2, 3, 4, 5)
    torch.testing.assert_close(run(operator, on_grid(a, None, (x,), finer, p))[..., ::2], own)
    # one place alone has the value that it has within the grid
    one = run(operator, on_grid(a, None, (x,), (t[1:2], y[2:3], x[3:4]), p))
    torch.testing.assert_close(one[..., 0, 0, 0], own[:, :, 1, 2, 3])


@BOTH
def test_inputs_of_another_resolution_are_brought_to_the_sensors(name):
    coarse, fine = grids(5, 9)
    operator = build(name, signature((coarse,), (coarse,)), SMALL[name])
    a = random(2, 1, 9)
    got = run(operator, on_grid(a, None, (fine,), (coarse,)))
    own = run(operator, on_grid(a[..., ::2], None, (coarse,), (coarse,)))
    torch.testing.assert_close(got, own)


def test_multionet_is_the_weighted_sum_over_its_last_layers():
    (x,) = grids(6)
    operator = build("multionet", signature((x,), (x,)), replace(SMALL["multionet"], features=0))
    with torch.no_grad():
        operator.weight.copy_(torch.arange(1.0, 3.0)[:, None, None].expand_as(operator.weight))
        operator.constant.fill_(0.3)
    a = random(2, 1, 6)
    got = run(operator, on_grid(a, None, (x,), (x,)))[:, 0]
    act = torch.nn.functional.gelu
    one, two, three = operator.branch_layers
    b1 = act(two(act(one(torch.as_tensor(a[:, 0])))))
    first, second, last = operator.trunk_layers
    t1 = act(second(act(first(torch.as_tensor(2.0 * x - 1.0)[:, None]))))
    expected = 0.5 * (1.0 * b1 @ t1.T + 2.0 * three(b1) @ last(t1).T) + 0.3
    torch.testing.assert_close(got, expected.detach())


@BOTH
def test_meshes_that_move_with_a_parameter(name):
    where, batch = on_meshes(20)
    operator = build(name, where, SMALL[name])
    assert trained(operator, batch, 150) < 0.05
    _, test = on_meshes(5, seed=1)
    got = run(operator, test)
    assert got.shape == (45, 1)
    assert float((got - test.u).norm() / test.u.norm()) < 0.1
    # coordinates scale with what was trained on, and are kept with the weights
    torch.testing.assert_close(operator.low, batch.mesh.x.amin(dim=0))
    again = build(name, where, SMALL[name]).double()
    again.load_state_dict(operator.state_dict())
    torch.testing.assert_close(run(again, test), got)


@BOTH
def test_parameters_alone_serve_any_mesh_and_nodal_inputs_one_topology(name):
    where, batch = on_meshes(4)
    alone = build(name, replace(where, nodes=0), SMALL[name])
    assert run(alone, batch).shape == (36, 1)
    with pytest.raises(InputError, match="differ in their numbers of nodes; expected one"):
        build(name, replace(where, nodes=0, inputs=1), SMALL[name])
    nodal = build(name, replace(where, inputs=1, nodes=8), SMALL[name])
    with pytest.raises(InputError, match=r"a mesh has 9 nodes, the sensors of .* are 8 nodes: use 'spon'"):
        run(nodal, replace(batch, a=torch.zeros(36, 1, dtype=torch.float64)))
    nodal = build(name, replace(where, inputs=1), SMALL[name])
    assert run(nodal, replace(batch, a=torch.zeros(36, 1, dtype=torch.float64))).shape == (36, 1)


@BOTH
def test_what_cannot_be_served_is_refused(name):
    x, y = grids(6, 6)
    where = signature((x,), (x,))
    with pytest.raises(InputError, match="expected \\['width'\\] to be positive"):
        build(name, where, replace(SMALL[name], width=0))
    with pytest.raises(InputError, match="activation is 'relu', expected one of gelu, tanh"):
        build(name, where, replace(SMALL[name], activation="relu"))
    operator = build(name, where, SMALL[name])
    with pytest.raises(InputError, match=r"inputs have 2 axes, the sensors of .* have 1"):
        run(operator, on_grid(random(1, 1, 6, 6), None, (y, x), (x,)))
    with pytest.raises(InputError, match="outputs on 2 axes were asked for, the model was trained on 1"):
        run(operator, on_grid(random(1, 1, 6), None, (x,), (y, x)))


def test_more_layers_than_there_are_cannot_be_summed():
    (x,) = grids(6)
    with pytest.raises(InputError, match="sum 4 of 3 layers"):
        build("multionet", signature((x,), (x,)), MultiOnetSettings(depth=3, averaged=4))
