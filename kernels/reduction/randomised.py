"""Randomised singular value decomposition of streamed snapshots in a mass inner product."""

import numpy as np
from scipy import linalg, sparse

from kernels.errors import InputError
from kernels.reduction.basis import (
    MEMORY_BYTES,
    Basis,
    Truncation,
    fix_signs,
    mass_norms,
    orthonormalise,
    rank_floor,
)
from kernels.reduction.products import apply_mass, inner_products
from kernels.reduction.snapshots import Reader, Snapshots


def randomised_pod(
    read: Reader,
    samples: int,
    mass: sparse.csr_array,
    truncation: Truncation,
    memory_bytes: int = MEMORY_BYTES,
    oversampling: int = 10,
    power_iterations: int = 2,
    seed: int = 0,
) -> Basis:
    """POD of centred snapshots S by a random range finder with power iterations.

    Y = S M Omega^T, Y <- S M S^T Y (`power_iterations` times, orthonormalised each time), B = qr(Y)^T S,
    svd(B) (Halko, Martinsson, Tropp 2011, SIAM Review 53, algorithms 4.4 and 5.1), with <a, b> = a M b on the
    node side.

    read: blocks of `samples` snapshots (s, N); mass: (N, N); truncation: must give `count`, which is the cap
    where energy or tolerance is given too. Row k of Omega is drawn from the generator keyed (seed, k):
    neither blocks nor oversampling change it. Passes over the data: 3 + 2 * power_iterations. Memory:
    `memory_bytes` for blocks, three times 8 (count + oversampling) N bytes. The expected error is (1 + small)
    sigma_{k+1} (their theorem 10.6); modes whose singular values lie within a few per cent of each other mix.
    Raises InputError without a count, where the count exceeds samples - 1, and as Snapshots does.
    """
    if truncation.count is None:
        raise InputError(
            "the randomised method was given no count of modes; expected 'count' (the cap beside energy or "
            "tolerance)"
        )
    truncation.check(samples)
    mass = sparse.csr_array(mass)
    snapshots = Snapshots(read, samples, mass.shape[0], memory_bytes)
    sketch = min(truncation.cap(samples) + oversampling, samples)
    images, total = _sketch(snapshots, mass, _gaussian_rows(sketch, mass.shape[0], seed))
    for _ in range(power_iterations):
        rows = _combine(snapshots, linalg.qr(images, mode="economic")[0])
        images = _images(snapshots, apply_mass(mass, orthonormalise(rows, mass)[1]))
    rows = _combine(snapshots, linalg.qr(images, mode="economic")[0])
    lower, unit = orthonormalise(rows, mass)
    _, singular, rotation = linalg.svd(lower, full_matrices=False)
    floor = rank_floor(total, snapshots.mean(), mass, samples)
    kept = _kept(singular, total, floor, truncation, samples)
    modes = fix_signs(rotation[:kept] @ unit)
    return Basis(snapshots.mean(), modes, singular[:kept], total if total > floor**2 else 0.0, samples)


def _gaussian_rows(count: int, nodes: int, seed: int) -> np.ndarray:
    rows = np.empty((count, nodes))
    for k in range(count):
        np.random.Generator(np.random.Philox(key=[seed, k])).standard_normal(out=rows[k])
    return rows


def _sketch(snapshots: Snapshots, mass: sparse.csr_array, rows: np.ndarray) -> tuple[np.ndarray, float]:
    """Images of the rows and, from the same pass, the energy of all snapshots."""
    images, total = np.empty((snapshots.samples, len(rows))), 0.0
    for start, stop in snapshots.blocks():
        block = snapshots.centred(start, stop)
        images[start:stop] = inner_products(apply_mass(mass, block), rows)
        total += float((mass_norms(mass, block) ** 2).sum())
    return images, total


def _images(snapshots: Snapshots, weighted: np.ndarray) -> np.ndarray:
    images = np.empty((snapshots.samples, len(weighted)))
    for start, stop in snapshots.blocks():
        images[start:stop] = inner_products(snapshots.centred(start, stop), weighted)
    return images


def _combine(snapshots: Snapshots, vectors: np.ndarray) -> np.ndarray:
    rows = np.zeros((vectors.shape[1], snapshots.nodes))
    for start, stop in snapshots.blocks():
        rows += vectors[start:stop].T @ snapshots.centred(start, stop)
    return rows


def _kept(singular: np.ndarray, total: float, floor: float, truncation: Truncation, samples: int) -> int:
    rest = total - np.append(0.0, np.cumsum(singular**2))
    enough = int(np.argmax(rest <= truncation.tail() * total)) if truncation.tail() > 0.0 else singular.size
    if truncation.tail() > 0.0 and not (rest <= truncation.tail() * total).any():
        enough = singular.size
    return min(enough, truncation.cap(samples), int((singular > floor).sum()))
