"""Reduction of a set that does not fit in memory: time, passes over the data and peak memory, both methods.

python benchmarks/reduce.py --gib 10 --nodes 1000000
"""

import argparse
import resource
import time

import numpy as np
from scipy import sparse

from kernels.mesh.mass import mass_matrix
from kernels.reduction.basis import Truncation
from kernels.reduction.pod import snapshot_pod
from kernels.reduction.randomised import randomised_pod

RANK = 24


def square(nodes: int) -> tuple[np.ndarray, np.ndarray]:
    """Triangulated unit square with about `nodes` nodes."""
    n = max(3, round(nodes**0.5))
    axis = np.linspace(0.0, 1.0, n)
    points = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)
    corner = (np.arange(n - 1)[:, None] * n + np.arange(n - 1)).ravel()
    lower = np.stack([corner, corner + n, corner + n + 1], axis=1)
    return points, np.concatenate([lower, np.stack([corner, corner + n + 1, corner + 1], axis=1)])


class Generated:
    """Snapshots of falling spectrum that are made when they are read, so that only blocks exist."""

    def __init__(self, points: np.ndarray, samples: int) -> None:
        k = np.arange(RANK)[:, None]
        self.patterns = np.cos(np.pi * (k // 4) * points[:, 0]) * np.cos(np.pi * (k % 4) * points[:, 1])
        self.weights = np.random.default_rng(0).standard_normal((samples, RANK)) * 0.5 ** np.arange(RANK)
        self.read_rows, self.seconds = 0, 0.0

    def __call__(self, start: int, stop: int) -> np.ndarray:
        begin = time.perf_counter()
        block = self.weights[start:stop] @ self.patterns
        self.read_rows += stop - start
        self.seconds += time.perf_counter() - begin
        return block


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gib", type=float, default=1.0, help="size of the snapshots")
    parser.add_argument("--nodes", type=int, default=200_000)
    parser.add_argument("--modes", type=int, default=16)
    parser.add_argument("--memory-mib", type=int, default=768, help="budget for blocks")
    parser.add_argument("--method", choices=["snapshots", "randomised", "both"], default="both")
    given = parser.parse_args()
    points, cells = square(given.nodes)
    mass = sparse.csr_array(mass_matrix(points, cells))
    nodes = mass.shape[0]
    samples = max(given.modes + 1, int(given.gib * 2**30 / (8 * nodes)))
    print(f"{samples} samples x {nodes} nodes, {samples * nodes * 8 / 2**30:.2f} GiB")
    print(f"{given.memory_mib} MiB for blocks")
    print(
        f"{'method':<12}{'seconds':>9}{'reading':>9}{'passes':>8}{'modes':>7}"
        f"{'M-orthonormal':>15}{'peak MiB':>10}"
    )
    methods = {"snapshots": snapshot_pod, "randomised": randomised_pod}
    for name in list(methods) if given.method == "both" else [given.method]:
        read = Generated(points, samples)
        begin = time.perf_counter()
        truncation = Truncation(count=given.modes)
        basis = methods[name](read, samples, mass, truncation, given.memory_mib * 2**20)
        seconds = time.perf_counter() - begin
        gram = basis.modes @ (mass @ basis.modes.T)
        error = np.abs(gram - np.eye(len(gram))).max()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(
            f"{name:<12}{seconds:>9.1f}{read.seconds:>9.1f}{read.read_rows / samples:>8.1f}"
            f"{len(basis.modes):>7}{error:>15.1e}{peak:>10.0f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
