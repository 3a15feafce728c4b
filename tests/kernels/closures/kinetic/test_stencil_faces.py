"""The angular stencil in its faces: torch, numba, the CUDA simulator, PTX, and a GPU where there is one."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from kernels import cuda_support
from kernels.closures.kinetic import implicit, stencil, stencil_torch
from kernels.errors import InputError

ROOT = Path(__file__).resolve().parents[4]
GIVEN = ("z", "t", "omega", "u", "v", "x", "y", "g")

# Every kernel in the simulator on the arrays of a file, beside the CPU loops.
SIMULATED = """
import sys
import numpy as np, torch
from kernels import cuda_support
from kernels.closures.kinetic import _solve_cpu, _stencil_cpu, cuda
assert cuda_support.simulated()
cuda.BLOCK = 4
file = np.load(sys.argv[1])
given = {name: torch.from_numpy(file[name]) for name in file.files}
z, t, omega, u, v, x, y, g = (given[name] for name in ("z", "t", "omega", "u", "v", "x", "y", "g"))
runs = {
    "forward": ((z, t, omega), (z,)),
    "transported": ((z, t, omega, u, v, x, y), (z,)),
    "adjoint": ((z, t, omega, g), (z, t, omega)),
    "transport_adjoint": ((u, v, x, y, g), (u, v, x, y)),
    "solve": ((z, t, omega), (z, z), 0.3, 0.05),
    "solve_adjoint": ((z, t, omega, g), (z, z, t, omega), 0.3, 0.05),
}
assert set(runs) == set(cuda.KERNELS) == set(cuda.SIGNATURES)
for name, (inputs, like, *numbers) in runs.items():
    loop = getattr(_solve_cpu if numbers else _stencil_cpu, name)
    simulated, compiled = ([torch.full_like(x, float("nan")) for x in like] for _ in range(2))
    cuda.launch(name, tuple(x.conj().clone().conj() for x in inputs), tuple(simulated), numbers)
    loop(*(x.numpy() for x in inputs), *numbers, *(x.numpy() for x in compiled))
    for one, other in zip(simulated, compiled):
        np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=1e-12, atol=1e-12)
cuda.launch("forward", (z[:, :0], t[:0], omega[:0]), (z[:, :0],))
print("equal")
"""


def fields(modes=6, shape=(4, 5), seed=0) -> dict[str, torch.Tensor]:
    random = torch.Generator().manual_seed(seed)

    def of(kind, *size):
        return torch.randn(size, dtype=kind, generator=random)

    rows = {name: of(torch.complex128, modes, *shape) for name in ("z", "x", "y", "g")}
    real = {name: of(torch.float64, *shape) for name in ("omega", "u", "v")}
    return rows | real | {"t": of(torch.complex128, *shape)}


def some(names: str, given: dict[str, torch.Tensor]) -> list[torch.Tensor]:
    return [given[name] for name in names.split()]


def test_the_stencil_is_the_moment_of_the_rotation_of_particles():
    """d_t z_m = int i m e^{i m theta} theta' psi, theta' = p_perp.(grad u + 2 zeta D).p, by quadrature."""
    theta = np.arange(64) * 2.0 * np.pi / 64
    random = np.random.default_rng(1)
    density = np.exp(0.8 * np.cos(2 * theta - 0.4) + 0.3 * np.sin(4 * theta))
    gradient, zeta = random.standard_normal((2, 2)), 0.7
    gradient[1, 1] = -gradient[0, 0]
    p, normal = np.stack([np.cos(theta), np.sin(theta)]), np.stack([-np.sin(theta), np.cos(theta)])
    weight = 2.0 * np.pi / 64
    second = weight * (p * density) @ p.T
    turn = np.einsum("ia,ij,ja->a", normal, gradient + 2.0 * zeta * second, p)
    rates = [weight * np.sum(2j * j * np.exp(2j * j * theta) * turn * density) for j in range(12)]
    z = torch.tensor([weight * np.sum(np.exp(2j * j * theta) * density) for j in range(12)])
    strain = gradient[0, 0] + 0.5j * (gradient[0, 1] + gradient[1, 0])
    omega = torch.tensor(gradient[1, 0] - gradient[0, 1])
    for face in (stencil, stencil_torch):
        found = face.bracket(z, strain + zeta * z[1], omega)
        # the last row lacks z_24 of the density, 1e-8
        np.testing.assert_allclose(found[:-1].numpy(), rates[:-1], atol=1e-12)


@pytest.mark.parametrize("shape", [(4, 5), (33, 40), (), (7,)])
def test_numba_equals_torch(shape):
    given = fields(shape=shape)
    few, every = some("z t omega", given), some("z t omega u v x y", given)
    # one rounding of a sum of six products of order 100
    torch.testing.assert_close(stencil.bracket(*few), stencil_torch.bracket(*few), rtol=0, atol=1e-12)
    torch.testing.assert_close(stencil.rate(*every), stencil_torch.rate(*every), rtol=0, atol=1e-12)
    one = stencil._bracket_adjoint(*stencil.flat(given["z"], (given["t"], given["omega"])),
                                   given["g"].reshape(6, -1))  # fmt: skip
    for found, expected in zip(one, stencil_torch.bracket_adjoint(*few, given["g"]), strict=True):
        torch.testing.assert_close(found.reshape(expected.shape), expected, rtol=0, atol=1e-12)


def test_views_are_read_as_what_they_stand_for():
    z, t, omega = some("z t omega", fields(shape=(4, 8)))
    expected = stencil_torch.bracket(z.conj().resolve_conj()[:, :, ::2], t[:, ::2], omega[:, ::2])
    found = stencil.bracket(z.conj()[:, :, ::2], t[:, ::2], omega[:, ::2])
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    assert not found.is_conj()


def test_nothing_turns_particles_without_direction():
    z = fields()["z"]
    assert not stencil.bracket(z, *some("t omega", fields(seed=1)))[0].any()


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (
            {"z": torch.zeros(6, 4, 5)},
            r"z has shape \(6, 4, 5\) and type torch.float32, expected .* complex128",
        ),
        ({"z": torch.zeros(1, 4, 5, dtype=torch.complex128)}, "at least 2 even modes"),
        ({"t": torch.zeros(4, 4, dtype=torch.complex128)}, r"t has shape \(4, 4\).*expected \(4, 5\)"),
        ({"omega": torch.zeros(4, 5, dtype=torch.complex128)}, "omega has .* expected .* torch.float64"),
        ({"x": torch.zeros(5, 4, 5, dtype=torch.complex128)}, r"z_x has .* expected \(6, 4, 5\)"),
        ({"v": torch.zeros(4, 5, device="meta", dtype=torch.float64)}, "v is on meta, z on cpu: move them"),
    ],
)
def test_what_does_not_fit_is_refused(change, match):
    given = fields() | change
    with pytest.raises(InputError, match=match):
        stencil.rate(*some("z t omega u v x y", given))


needs_numba_cuda = pytest.mark.skipif(not cuda_support.installed(), reason="numba-cuda is not installed")


@needs_numba_cuda
def test_simulated_kernels_equal_the_cpu(tmp_path):
    given = fields(modes=5, shape=(5,))  # one block of 4 and a part of the next
    np.savez(tmp_path / "given.npz", **{name: value.numpy() for name, value in given.items()})
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SIMULATED, tmp_path / "given.npz"],
        env={**os.environ, "NUMBA_ENABLE_CUDASIM": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.stdout.strip() == "equal", done.stderr


@needs_numba_cuda
@pytest.mark.parametrize(
    "name", ["forward", "transported", "adjoint", "transport_adjoint", "solve", "solve_adjoint"]
)
def test_kernels_compile_to_ptx(name):
    from numba import types
    from numba.core import sigutils

    from kernels.closures.kinetic import cuda

    arguments, _ = sigutils.normalize_signature(f"void({', '.join(cuda.SIGNATURES[name])})")
    text = cuda_support.to_ptx(cuda.KERNELS[name], types.void(*arguments))
    assert ".visible .entry" in text
    assert "sm_90" in text
    assert "f64" in text
    assert "atom." not in text  # gathers only: the same sum in every run


@needs_numba_cuda
@pytest.mark.skipif(cuda_support.available(), reason="a CUDA device is present")
def test_without_a_device_the_cuda_face_says_so():
    from kernels.closures.kinetic import cuda

    z, t, omega = stencil.flat(fields()["z"], tuple(some("t omega", fields())))
    with pytest.raises(InputError, match=r"no CUDA device was found; .* use the CPU face"):
        cuda.launch("forward", (z, t, omega), (torch.empty_like(z),))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.filterwarnings("ignore:Grid size")  # small grids leave a GPU idle
@pytest.mark.parametrize("other_stream", [False, True])
def test_the_device_equals_the_cpu(other_stream):
    given = fields(modes=25, shape=(40, 40))
    names = "z t omega u v x y"
    expected = gradients(some(names, given), given["g"])
    with torch.cuda.stream(torch.cuda.Stream() if other_stream else torch.cuda.default_stream()):
        found = gradients([x.cuda() for x in some(names, given)], given["g"].cuda())
        torch.cuda.synchronize()
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one.cpu(), other, rtol=1e-12, atol=1e-10)


def gradients(given: list[torch.Tensor], upstream: torch.Tensor) -> list[torch.Tensor]:
    leaves = [x.detach().requires_grad_() for x in given]
    out = implicit.solve(stencil.rate(*leaves), *leaves[1:3], 0.1, 0.05)
    out.backward(upstream)
    return [out.detach(), *(x.grad for x in leaves if x.grad is not None)]
