"""Error of a trained structure-preserving operator network against the mesh: rate of the space or not.

Poisson on the unit square, -Laplace u = f with u = 0 on the boundary, f = sum_k c_k f_k of four waves, c
drawn at random. A network is trained on each mesh with exact nodal values; the error is that of the decoded
function against the exact solution, by quadrature, so it holds the error of the space and that of learning,
which is printed beside it (at the nodes, after Adam and then L-BFGS in float64 on fixed samples).
One network serves both degrees: they differ in how its nodal values are decoded.

    OMP_NUM_THREADS=1 python benchmarks/spon_rates.py [seeds] [Adam steps] [L-BFGS steps] [linear]
                                                      1       1000         1500           1

linear 0: gelu on all channels, without the half that passes activations as it is.
"""

import sys

import numpy as np
import skfem
import torch

from kernels.operators.base import Batch, MeshBatch, Operator, Signature
from kernels.operators.families import build
from kernels.operators.settings import SponSettings
from kernels.operators.spon_spaces import Space, nodal_space

WAVES = ((1, 1), (1, 2), (2, 1), (2, 2))
SIGNATURE = Signature("mesh", inputs=1, outputs=1, dimension=2)


def solution(c: np.ndarray, x: np.ndarray, power: int = 0) -> np.ndarray:
    """u = sum_k c_k w_k / (-eigenvalue of w_k), or with `power` 1 the right side f."""
    waves = [np.sin(k * np.pi * x[:, 0]) * np.sin(m * np.pi * x[:, 1]) for k, m in WAVES]
    values = [(np.pi**2 * (k * k + m * m)) ** (power - 1) for k, m in WAVES]
    found: np.ndarray = (c * values) @ np.array(waves)
    return found


def gradient(c: np.ndarray, x: np.ndarray) -> np.ndarray:
    """(points, 2)"""
    found = np.zeros((len(x), 2))
    for each, (k, m) in zip(c, WAVES, strict=True):
        a, b = k * np.pi, m * np.pi
        factor = each / (a * a + b * b)
        found[:, 0] += factor * a * np.cos(a * x[:, 0]) * np.sin(b * x[:, 1])
        found[:, 1] += factor * b * np.sin(a * x[:, 0]) * np.cos(b * x[:, 1])
    return found


def batch(x: np.ndarray, cells: np.ndarray, weights: np.ndarray, name: str) -> Batch:
    """Samples with the coefficients `weights` (samples, 4), all on one mesh; u in units of its size."""
    count, nodes = len(weights), len(x)
    fixed = ((x == 0.0) | (x == 1.0)).any(axis=1)
    shift = np.arange(count)[:, None, None] * nodes
    mesh = MeshBatch(
        torch.from_numpy(np.tile(x, (count, 1))),
        torch.from_numpy((cells + shift).reshape(-1, 3)),
        torch.from_numpy(np.repeat(np.arange(count), nodes)),
        torch.from_numpy(np.tile(fixed, count)),
        (name,) * count,
        torch.zeros(count * nodes, 1, dtype=torch.float64),
    )
    f, u = (np.concatenate([solution(c, x, power) for c in weights])[:, None] for power in (1, 0))
    return Batch(torch.from_numpy(f), torch.from_numpy(50.0 * u), torch.zeros(count, 0), mesh=mesh)


def trained(
    x: np.ndarray, cells: np.ndarray, seed: int, steps: int, polish: int, degrees: tuple[int, ...] = (1, 2),
    linear: bool = True,
) -> list[float]:  # fmt: skip
    """Relative L2 and H1 errors, degree by degree, and last the relative error at the nodes."""
    random = np.random.default_rng(seed)
    settings = SponSettings(width=24, rounds=2, levels=2, linear=linear)
    model = build("spon", SIGNATURE, settings, seed)
    optimiser = torch.optim.Adam(model.parameters(), lr=5e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 5e-3, total_steps=steps, pct_start=0.2)
    for _ in range(steps):
        some = batch(x, cells, random.standard_normal((8, 4)), "mesh")
        loss = ((model(some.to(torch.float32)) - some.u) ** 2).mean()
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
    _polish(model.double(), batch(x, cells, random.standard_normal((16, 4)), "mesh"), polish)
    weights = np.random.default_rng(10_000 + seed).standard_normal((20, 4))
    test = batch(x, cells, weights, "mesh")
    with torch.no_grad():
        found = model.eval()(test).numpy().reshape(20, -1) / 50.0
    spaces, errors = [nodal_space(x, cells, degree) for degree in degrees], []
    zero, exact = np.zeros(len(x)), test.u.numpy().reshape(20, -1) / 50.0
    for c, u, wanted in zip(weights, found, exact, strict=True):
        at_nodes = np.linalg.norm(u - wanted) / np.linalg.norm(wanted)
        errors.append([e for space in spaces for e in _relative(space, u, zero, c)] + [at_nodes])
    return [float(e) for e in np.mean(errors, axis=0)]


def _polish(model: Operator, data: Batch, steps: int) -> None:
    """L-BFGS on one batch."""
    optimiser = torch.optim.LBFGS(
        model.parameters(), max_iter=steps, history_size=30, line_search_fn="strong_wolfe",
        tolerance_grad=1e-12, tolerance_change=1e-14,
    )  # fmt: skip

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        value: torch.Tensor = ((model(data) - data.u) ** 2).mean()
        value.backward()
        return value

    optimiser.step(loss)


def _relative(space: Space, u: np.ndarray, zero: np.ndarray, c: np.ndarray) -> tuple[float, float]:
    def exact(x: np.ndarray) -> np.ndarray:
        return solution(c, x)

    def slope(x: np.ndarray) -> np.ndarray:
        return gradient(c, x)

    return (
        space.l2_error(u, exact) / space.l2_error(zero, exact),
        space.h1_error(u, slope) / space.h1_error(zero, slope),
    )


def main(seeds: int = 1, steps: int = 1000, polish: int = 1500, linear: int = 1) -> None:
    """Table of errors, and rates from one mesh to the next."""
    torch.set_num_threads(1)
    print("cells    P1 L2 rate     P1 H1 rate     P2 L2 rate     P2 H1 rate  learning")
    before = np.full(5, np.nan)
    for cells in (4, 8, 16):
        line = np.linspace(0.0, 1.0, cells + 1)
        mesh = skfem.MeshTri.init_tensor(line, line)
        x, connectivity = mesh.p.T.copy(), mesh.t.T.astype(np.int64)
        now = np.mean(
            [trained(x, connectivity, s, steps, polish, linear=bool(linear)) for s in range(seeds)], axis=0
        )
        rates = np.log2(before / now)
        columns = [f"{e:.2e} {r:5.2f}" for e, r in zip(now[:4], rates[:4], strict=True)]
        print(f"{cells:5d} {'  '.join(columns)}  {now[4]:.2e}", flush=True)
        before = now


if __name__ == "__main__":
    main(*(int(a) for a in sys.argv[1:]))
