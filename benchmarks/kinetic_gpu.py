"""Kinetic stencil on a GPU beside plain torch and beside the memory roof.

Run from the repository: python benchmarks/kinetic_gpu.py [points a side] [even modes]. One line a kernel:
median time of CUDA events, nanoseconds a point and mode, the same work in plain torch on the same GPU, and
the bytes that must be read and written (every row once) over the time, as a share of the bandwidth that a
copy of the same size reaches on this GPU. Without a GPU it says so and measures nothing.
"""

import statistics
import sys
from collections.abc import Callable

import torch

from kernels import cuda_support
from kernels.closures.kinetic import stencil_torch

RUNS = 30
WEIGHT, ROTARY = 0.01, 0.05


def seconds(work: Callable[[], object]) -> float:
    for _ in range(3):
        work()
    times = []
    for _ in range(RUNS):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        work()
        end.record()
        torch.cuda.synchronize()
        times.append(start.elapsed_time(end) / 1e3)
    return statistics.median(times)


def bandwidth(size: int) -> float:
    """Bytes a second, read and written, of a copy that moves about as much as a kernel, at least 64 MiB."""
    source = torch.empty(max(size // 2, 2**26), dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    return 2 * source.numel() / seconds(lambda: target.copy_(source))


def works(points: int, modes: int) -> dict[str, tuple[tuple, tuple, tuple, Callable[[], object]]]:
    """Inputs, outputs, numbers and plain torch of every kernel."""
    random = torch.Generator("cuda").manual_seed(0)

    def of(kind: torch.dtype, *size: int) -> torch.Tensor:
        return torch.randn(size, dtype=kind, device="cuda", generator=random)

    area = points * points
    z, x, y, g = (of(torch.complex128, modes, area) for _ in range(4))
    t, (omega, u, v) = of(torch.complex128, area), (of(torch.float64, area) for _ in range(3))
    like = torch.empty_like
    step = (WEIGHT, ROTARY)

    def back(forward: Callable[..., torch.Tensor], *leaves: torch.Tensor) -> Callable[[], object]:
        held = [leaf.clone().requires_grad_() for leaf in leaves]
        out = forward(*held)
        return lambda: torch.autograd.grad(out, held, g, retain_graph=True)

    def carried(u: torch.Tensor, v: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return -u * x - v * y

    def implicit(r: torch.Tensor, t: torch.Tensor, omega: torch.Tensor) -> torch.Tensor:
        return stencil_torch.solve(r, t, omega, *step)

    return {
        "forward": ((z, t, omega), (like(z),), (), lambda: stencil_torch.bracket(z, t, omega)),
        "transported": (
            (z, t, omega, u, v, x, y), (like(z),), (),
            lambda: stencil_torch.rate(z, t, omega, u, v, x, y),
        ),
        "adjoint": (
            (z, t, omega, g), (like(z), like(t), like(omega)), (),
            lambda: stencil_torch.bracket_adjoint(z, t, omega, g),
        ),
        "transport_adjoint": (
            (u, v, x, y, g), (like(u), like(v), like(x), like(y)), (), back(carried, u, v, x, y),
        ),
        "solve": ((z, t, omega), (like(z), like(z)), step, lambda: implicit(z, t, omega)),
        "solve_adjoint": (
            (z, t, omega, g), (like(z), like(z), like(t), like(omega)), step, back(implicit, z, t, omega),
        ),
    }  # fmt: skip


def main() -> None:
    if not (torch.cuda.is_available() and cuda_support.available()):
        print("There is no GPU that torch and numba-cuda can both use on this machine: nothing was measured.")
        return
    from kernels.closures.kinetic import cuda

    points, modes = (int(given) for given in (sys.argv[1:] + ["256", "43"][len(sys.argv) - 1 :])[:2])
    print(f"{torch.cuda.get_device_name()}, {points}^2 points x {modes} even modes, complex128")
    titles = ("ms", 9), ("ns/point/mode", 14), ("torch ms", 9), ("faster", 7), ("GB/s", 7), ("of roof", 8)
    print(f"{'kernel':>18} " + " ".join(f"{title:>{width}}" for title, width in titles))
    for name, (inputs, outputs, numbers, plain) in works(points, modes).items():

        def kernel(name=name, inputs=inputs, outputs=outputs, numbers=numbers) -> None:
            cuda.launch(name, inputs, outputs, numbers)

        moved = sum(x.numel() * x.element_size() for x in (*inputs, *outputs))
        ours, theirs, roof = seconds(kernel), seconds(plain), bandwidth(moved)
        print(
            f"{name:>18} {1e3 * ours:9.4f} {1e9 * ours / points**2 / modes:14.4f} {1e3 * theirs:9.3f} "
            f"{theirs / ours:7.1f} {moved / ours / 1e9:7.0f} {moved / ours / roof:8.2f}"
        )


if __name__ == "__main__":
    main()
