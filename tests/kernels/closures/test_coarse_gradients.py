import numpy as np
import pytest
import torch

from kernels.closures.base import Closure
from kernels.closures.coarse import Coarse
from kernels.closures.physics import Physics

LENGTH = 10.0
KEYS = ("weight", "alpha", "zeta", "rotary", "translational", "z2")


class Weighted(Closure):
    """z_4 = (z_2^2 |z_2|^2 + w (1 - |z_2|^2) e^2) / ..: something of everything a closure may look at."""

    strain_aware = True

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor([0.3, 0.2], dtype=torch.float64))

    def forward(self, moments, physics):
        z2, e, c = moments.z2, moments.strain, moments.c
        r2 = (z2.real**2 + z2.imag**2) / c**2
        return z2 * z2 * (r2 + self.weight[0] * (1.0 - r2)) / c + self.weight[1] * (1.0 - r2) * e * e


def start():
    random = np.random.default_rng(0)
    x = 2.0 * np.pi * np.arange(8) / 8
    wave = np.cos(x[:, None] + 2.0 * x[None, :])
    z2 = 0.2 * np.stack([wave * np.exp(1j * a) + 0.5 * np.sin(x)[:, None] for a in random.random(2)])
    c = np.stack([1.0 + 0.05 * wave, 1.0 - 0.05 * wave])
    return torch.from_numpy(c), torch.from_numpy(z2)


def gradients(segment, steps=20, stepper="sbdf2"):
    """Of a sum of what the model does, in everything it depends on."""
    c, z2 = start()
    model = Coarse(Weighted(), 8, LENGTH, 0.02, stepper)
    z2.requires_grad_()
    alpha = torch.tensor([-2.0, -3.0], dtype=torch.float64).reshape(2, 1, 1).requires_grad_()
    rest = [torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (1.0, 0.05, 0.06)]
    physics = Physics(alpha, rest[0], 0.8, rest[1], rest[2])
    loss = weighed(*model(c, z2, physics, steps, every=5, segment=segment))
    return torch.autograd.grad(loss, [model.closure.weight, alpha, *rest, z2])


def weighed(c, z2):
    weights = torch.linspace(-1.0, 2.0, z2.numel(), dtype=torch.float64).reshape(z2.shape)
    return (weights * (z2.real**2 + 0.5 * z2.imag + c**2)).sum()


@pytest.mark.parametrize("segment", [None, 3, 7])
def test_checkpoints_change_no_gradient(segment):
    for one, other in zip(gradients(0), gradients(segment), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize(("stepper", "steps"), [("sbdf2", 20), ("etdrk2", 5)])
def test_gradients_through_steps_are_differences(stepper, steps):
    """Along one direction for each quantity, by central differences."""
    found = dict(zip(KEYS, gradients(None, steps, stepper), strict=True))
    c, z2 = start()
    h, along = 1e-5, {"z2": 0.1 * torch.ones_like(z2) * (1.0 + 0.5j), "weight": torch.tensor([0.4, -0.7])}

    def loss(key, shift):
        model = Coarse(Weighted(), 8, LENGTH, 0.02, stepper)
        values = {"alpha": torch.tensor([-2.0, -3.0], dtype=torch.float64).reshape(2, 1, 1), "zeta": 1.0}
        values |= {"rotary": 0.05, "translational": 0.06}
        moved = z2 + shift * along["z2"] if key == "z2" else z2
        if key in values:
            values[key] = values[key] + shift
        with torch.no_grad():
            if key == "weight":
                model.closure.weight += shift * along["weight"]
            return float(weighed(*model(c, moved, Physics(beta=0.8, **values), steps, every=5)))

    for key in KEYS:
        slope = (loss(key, h) - loss(key, -h)) / (2.0 * h)
        direction = along.get(key, torch.ones(()))
        exact = float((found[key] * direction.conj()).real.sum())
        # central differences: h^2 of the third derivative, and rounding of the loss over h
        assert abs(slope - exact) < 1e-6 * max(1.0, abs(exact)), key


def test_what_is_held_for_the_backward_pass_grows_with_the_root_of_steps():
    def held(steps, segment):
        c, z2 = start()
        model, total = Coarse(Weighted(), 8, LENGTH, 0.02), [0]

        def pack(tensor):
            total[0] += tensor.numel() * tensor.element_size()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            model(c, z2, Physics(-2.0, 1.0), steps, every=steps, segment=segment)
        return total[0]

    assert held(256, 0) > 3.0 * held(64, 0)
    assert held(256, None) < 3.0 * held(64, None)
    assert held(256, None) < 0.1 * held(256, 0)
