import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from kernels.errors import InputError
from kernels.operators.families import build
from kernels.operators.settings import FnoSettings
from tests.kernels.operators.made_batches import grids, on_grid, signature

SMALL = FnoSettings(modes=4, width=6, layers=2)


def random(*shape) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape)


def run(operator, batch):
    with torch.no_grad():
        return operator(batch.to(torch.float32))


@pytest.mark.parametrize("points", [(9,), (8, 7), (5, 6, 4)])
def test_grids_of_one_to_three_axes(points):
    grid = grids(*points)
    axes = ("z", "y", "x")[-len(points) :]
    where = replace(signature(grid, grid), axes=axes, out_axes=axes, dimension=len(points))
    operator = build("fno", where, SMALL)
    assert run(operator, on_grid(random(3, 1, *points), None, grid, grid)).shape == (3, 1, *points)


def test_the_network_is_that_of_the_library():
    from neuralop.models import FNO

    x, y = grids(8, 8)
    operator = build("fno", signature((y, x), (y, x)), SMALL)
    assert isinstance(operator.network, FNO)
    a = random(2, 1, 8, 8)
    place = np.broadcast_to(np.stack(np.meshgrid(y, x, indexing="ij")), (2, 2, 8, 8))
    expected = operator.network(torch.as_tensor(np.concatenate([a, place], axis=1), dtype=torch.float32))
    torch.testing.assert_close(run(operator, on_grid(a, None, (y, x), (y, x))), expected.detach())


def test_parameters_are_channels():
    (x,) = grids(8)
    operator = build("fno", signature((x,), (x,), parameters=1), SMALL)
    a = random(2, 1, 8)
    one = run(operator, on_grid(a, None, (x,), (x,), np.zeros((2, 1))))
    two = run(operator, on_grid(a, None, (x,), (x,), np.ones((2, 1))))
    assert float((one - two).abs().min()) > 0.0
    alone = build("fno", signature((), (x,), inputs=0, parameters=1), SMALL)
    assert run(alone, on_grid(np.empty((2, 0, 8)), None, (), (x,), np.ones((2, 1)))).shape == (2, 1, 8)


def test_axes_that_the_input_has_not_become_channels_in_their_place():
    t, x = grids(3, 8)
    first = replace(signature((x,), (t, x), outputs=2), axes=("x",), out_axes=("t", "x"))
    last = replace(first, out_axes=("x", "t"), out_grid=(x, t))
    a = random(2, 1, 8)
    one = run(build("fno", first, SMALL), on_grid(a, None, (x,), (t, x)))
    two = run(build("fno", last, SMALL), on_grid(a, None, (x,), (x, t)))
    assert one.shape == (2, 2, 3, 8)
    torch.testing.assert_close(one, two.transpose(2, 3))


def test_another_resolution_sees_the_same_function():
    # a function of its modes alone is the same on any periodic grid, so are its transforms
    coarse, fine = (np.arange(n) / n for n in (16, 32))
    operator = build("fno", signature((coarse,), (coarse,)), SMALL)
    with torch.no_grad():
        operator.network.lifting.fcs[0].weight[:, 1] = 0.0  # the coordinate is not periodic
    a = np.sin(2.0 * np.pi * fine) + 0.3 * np.cos(2.0 * np.pi * fine)
    a = np.broadcast_to(a, (1, 1, 32)).copy()
    finer = run(operator, on_grid(a, None, (fine,), (fine,)))
    own = run(operator, on_grid(a[..., ::2], None, (coarse,), (coarse,)))
    assert finer.shape == (1, 1, 32)
    assert float((finer[..., ::2] - own).norm() / own.norm()) < 0.05


def test_a_grid_coarser_than_the_modes_goes_through_the_training_grid():
    fine, coarse = grids(9)[0], grids(3)[0]
    operator = build("fno", signature((fine,), (fine,)), SMALL)
    a = np.broadcast_to(2.0 * coarse - 1.0, (1, 1, 3)).copy()
    own = np.broadcast_to(2.0 * fine - 1.0, (1, 1, 9)).copy()
    got = run(operator, on_grid(a, None, (coarse,), (coarse,)))
    torch.testing.assert_close(got, run(operator, on_grid(own, None, (fine,), (fine,)))[..., ::4])


def test_as_many_axes_of_other_names_are_interpolated():
    s, x = grids(9, 5)
    where = replace(signature((s,), (x,)), axes=("s",), out_axes=("x",))
    operator = build("fno", where, SMALL)
    a = random(2, 1, 9)
    own = run(operator, on_grid(a, None, (s,), (s,)))
    torch.testing.assert_close(run(operator, on_grid(a, None, (s,), (x,))), own[..., ::2])


def test_what_cannot_be_served_is_refused():
    x, y, t = grids(8, 8, 3)
    where = signature((y, x), (y, x))
    with pytest.raises(
        InputError, match="asked for 12 modes on a grid of \\(8, 8\\) points, expected 1 to 8"
    ):
        build("fno", where, FnoSettings(modes=12))
    with pytest.raises(InputError, match="padding zero or more"):
        build("fno", where, replace(SMALL, padding=-1.0))
    with pytest.raises(InputError, match="choose deeponet or multionet"):
        build("fno", replace(where, out_axes=("t",), out_grid=(t,)), SMALL)
    with pytest.raises(InputError, match="cannot serve another dimension"):
        build("fno", where, SMALL)(on_grid(random(1, 1, 8), None, (x,), (x,)))


def test_padding_changes_the_prediction():
    (x,) = grids(16)
    a = on_grid(random(2, 1, 16), None, (x,), (x,))
    one, two = (build("fno", signature((x,), (x,)), replace(SMALL, padding=p)) for p in (0.0, 0.25))
    assert one.size() == two.size()
    assert not torch.allclose(run(one, a), run(two, a))


def test_nothing_is_called_and_nothing_is_said_on_import():
    program = (
        "import os, socket\n"
        "def refuse(*a): raise SystemExit(f'connects to {a[1:]}')\n"
        "socket.socket.connect = refuse\n"
        "from kernels.operators.fno import library\n"
        "library()\n"
        "assert 'WANDB_ERROR_REPORTING' not in os.environ\n"
    )
    found = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", program],
        capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert (found.returncode, found.stdout, found.stderr) == (0, "", "")
