"""POD by the method of snapshots, out of core and accurate for small singular values."""

from collections.abc import Callable

import numpy as np
from scipy import linalg, sparse

from kernels.reduction.basis import MEMORY_BYTES, Basis, Truncation, fix_signs, orthonormalise, rank_floor
from kernels.reduction.products import apply_mass, inner_products
from kernels.reduction.snapshots import Reader, Snapshots

InnerProducts = Callable[[np.ndarray, np.ndarray], np.ndarray]

_RESOLVED = 1e-5
_ROUNDS = 4


def snapshot_pod(
    read: Reader,
    samples: int,
    mass: sparse.csr_array,
    truncation: Truncation,
    memory_bytes: int = MEMORY_BYTES,
    inner: InnerProducts = inner_products,
) -> Basis:
    """POD of centred snapshots in the mass inner product by the method of snapshots.

    C_ij = <s_i - m, M (s_j - m)> = (V Lambda V^T)_ij,  phi_k = lambda_k^-1/2 sum_i V_ik (s_i - m)
    (Sirovich 1987, Quart. Appl. Math. 45, eqs. 3.12-3.14; Casenave et al. 2023, arXiv 2305.12871, section 3).

    C squares the singular values, so that those below 1e-8 of the largest are noise. Modes are therefore
    taken only down to 1e-5 of the largest; where the truncation asks for more, they are taken out of the
    snapshots and the rest is decomposed again. A last pass replaces the singular values by those of the
    projected snapshots (Rayleigh-Ritz), accurate to the unit roundoff times the largest. The modes are
    M-orthonormal to 1e-12.

    read: blocks of `samples` snapshots (s, N); mass: (N, N) symmetric positive definite; inner: the product
    of two sets of rows (the CUDA face takes the same arguments). Memory: `memory_bytes` for blocks, 16 k N
    bytes for k modes. Modes below the rounding of the snapshots are left out, so that fewer than
    `truncation.count` may come back. Raises InputError where the count exceeds samples - 1 and as Snapshots
    does. Not handled: weights of samples; a mass matrix with rows of zeros (nodes of no cell).
    """
    truncation.check(samples)
    mass = sparse.csr_array(mass)
    snapshots = Snapshots(read, samples, mass.shape[0], memory_bytes)
    unit = np.empty((0, mass.shape[0]))
    total, floor, allowed = 0.0, 0.0, 0.0
    for number in range(_ROUNDS):
        gram = _gram(snapshots, mass, unit, inner)
        values, vectors = linalg.eigh(gram)
        values, vectors = np.maximum(values[::-1], 0.0), vectors[:, ::-1]
        if number == 0:
            total = float(np.trace(gram))
            floor = rank_floor(total, snapshots.mean(), mass, samples)
            allowed = max(truncation.tail() * total, floor**2)
        wanted = _wanted(values, allowed, truncation.cap(samples) - len(unit))
        clear = min(wanted, int((values > max(_RESOLVED**2 * values[0], floor**2)).sum()))
        unit = _extend(snapshots, mass, unit, vectors[:, :clear], values[:clear], floor)
        if clear == wanted or clear == 0:
            break
    return _rayleigh_ritz(snapshots, mass, unit, total, floor, inner)


def _wanted(values: np.ndarray, allowed: float, cap: int) -> int:
    """Modes to take: the fewest whose rest is within `allowed`, at most `cap`."""
    rest = np.append(np.cumsum(values[::-1])[::-1], 0.0)
    return min(int(np.argmax(rest <= allowed)), max(cap, 0))


def _rest(
    snapshots: Snapshots, mass: sparse.csr_array, unit: np.ndarray, start: int, stop: int
) -> np.ndarray:
    rows = snapshots.centred(start, stop)
    if len(unit):
        rows -= inner_products(apply_mass(mass, rows), unit) @ unit
    return rows


def _gram(snapshots: Snapshots, mass: sparse.csr_array, unit: np.ndarray, inner: InnerProducts) -> np.ndarray:
    """Gram matrix of what `unit` leaves; every row block is held once, the rows before it stream."""
    gram = np.zeros((snapshots.samples, snapshots.samples))
    for first, last in snapshots.row_blocks():
        held = np.empty((last - first, snapshots.nodes))
        for start, stop in snapshots.blocks(first, last):
            rows = _rest(snapshots, mass, unit, start, stop)
            apply_mass(mass, rows, out=held[start - first : stop - first])
            gram[start:stop, first:stop] = inner(rows, held[: stop - first])
        for start, stop in snapshots.blocks(0, first):
            gram[first:last, start:stop] = inner(held, _rest(snapshots, mass, unit, start, stop))
    lower = np.tril(gram)
    return lower + np.tril(lower, -1).T


def _extend(
    snapshots: Snapshots,
    mass: sparse.csr_array,
    unit: np.ndarray,
    vectors: np.ndarray,
    values: np.ndarray,
    floor: float,
) -> np.ndarray:
    """The modes so far and those of the eigenvectors, M-orthonormal together."""
    if vectors.shape[1] == 0:
        return unit
    modes = np.zeros((vectors.shape[1], snapshots.nodes))
    for start, stop in snapshots.blocks():
        modes += vectors[start:stop].T @ _rest(snapshots, mass, unit, start, stop)
    modes /= np.sqrt(values)[:, None]
    return orthonormalise(np.concatenate([unit, modes]), mass)[1]


def _rayleigh_ritz(
    snapshots: Snapshots,
    mass: sparse.csr_array,
    unit: np.ndarray,
    total: float,
    floor: float,
    inner: InnerProducts,
) -> Basis:
    """Singular values and modes of the snapshots projected onto the rows of `unit`."""
    mean, samples = snapshots.mean(), snapshots.samples
    if len(unit) == 0:
        return Basis(mean, unit, np.empty(0), total if total > floor**2 else 0.0, samples)
    weighted = apply_mass(mass, unit)
    coefficients = np.empty((samples, len(unit)))
    for start, stop in snapshots.blocks():
        coefficients[start:stop] = inner(snapshots.centred(start, stop), weighted)
    del weighted
    _, singular, rotation = linalg.svd(coefficients, full_matrices=False)
    kept = int((singular > floor).sum())
    modes = fix_signs(rotation[:kept] @ unit)
    return Basis(mean, modes, singular[:kept], max(total, float((singular**2).sum())), samples)
