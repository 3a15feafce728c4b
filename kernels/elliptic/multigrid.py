"""Conjugate gradients with a geometric multigrid preconditioner for cell-centred finite volumes."""

from dataclasses import dataclass

import numpy as np
from numba import njit

COARSEST = 4
"""Cells along an axis below which no further grid is made; that grid is smoothed to death."""


@dataclass(frozen=True)
class Level:
    """One grid: conductances of faces, and how values come to it from the next coarser one.

    across (n + 1, m) and along (n, m + 1): conductance of the faces normal to axis 0 and axis 1, boundary
    included; diagonal (n, m): their sum a cell; widths: of the cells along both axes; own, other: for either
    axis the weights of the parent cell and of the next nearest coarse cell, zero past the boundary.
    """

    across: np.ndarray
    along: np.ndarray
    diagonal: np.ndarray
    widths: tuple[np.ndarray, np.ndarray]
    own: tuple[np.ndarray, np.ndarray]
    other: tuple[np.ndarray, np.ndarray]


def hierarchy(across: np.ndarray, along: np.ndarray) -> list[Level]:
    """Grids from the given one down to `COARSEST`: cells are joined two by two, the last alone if odd.

    A coarse face conducts as its fine faces side by side, over the distance of the coarse centres: the finite
    volumes of the coarse grid, with the coefficient averaged along faces (Wesseling, An Introduction to
    Multigrid Methods, 1992, section 5.4). Values are interpolated bilinearly between cell centres and to zero
    on the boundary.
    """
    widths = tuple(np.full(n, 1.0 / n) for n in (along.shape[0], across.shape[1]))
    levels = []
    while True:
        shape = along.shape[0], across.shape[1]
        diagonal = across[:-1] + across[1:] + along[:, :-1] + along[:, 1:]
        coarse = tuple(_joined(w) for w in widths)
        weights = [_weights(w, c) for w, c in zip(widths, coarse, strict=True)]
        own, other = (tuple(w[k] for w in weights) for k in (0, 1))
        levels.append(Level(across, along, diagonal, widths, own, other))  # type: ignore[arg-type]
        if max(shape) <= COARSEST:
            return levels
        # faces on coarse faces only, joined along them, then over the longer distance
        next_across = _joined(across[_kept(shape[0])], axis=1)
        next_along = _joined(along[:, _kept(shape[1])], axis=0)
        next_across = next_across * _shortening(widths[0], coarse[0])[:, None]
        next_along = next_along * _shortening(widths[1], coarse[1])[None, :]
        across, along, widths = np.ascontiguousarray(next_across), np.ascontiguousarray(next_along), coarse


def _joined(values: np.ndarray, axis: int = 0) -> np.ndarray:
    count = values.shape[axis]
    return values if count == 1 else np.add.reduceat(values, np.arange(0, count, 2), axis=axis)


def _kept(cells: int) -> np.ndarray:
    """Fine faces, of cells + 1, that lie on faces of the coarse grid."""
    return np.array([0, 1]) if cells == 1 else np.append(np.arange(0, cells, 2), cells)


def _distances(widths: np.ndarray) -> np.ndarray:
    """Between neighbouring cell centres, and from the outer ones to the boundary."""
    inner = 0.5 * (widths[:-1] + widths[1:])
    return np.concatenate([[0.5 * widths[0]], inner, [0.5 * widths[-1]]])


def _shortening(fine: np.ndarray, coarse: np.ndarray) -> np.ndarray:
    return np.asarray(_distances(fine)[_kept(len(fine))] / _distances(coarse))


def _weights(fine: np.ndarray, coarse: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weights of the parent and of its neighbour on the side of each fine cell."""
    if len(fine) == len(coarse):
        return np.ones(len(fine)), np.zeros(len(fine))
    cells = np.arange(len(fine))
    centre = np.cumsum(fine) - 0.5 * fine
    parent = np.cumsum(coarse) - 0.5 * coarse
    offset = centre - parent[cells // 2]
    span = _distances(coarse)[cells // 2 + (cells % 2)]
    other = np.abs(offset) / span
    return 1.0 - other, other


@njit(cache=True, nogil=True)
def _sweep(u, f, across, along, diagonal, colour):
    """Gauss-Seidel on the cells with (i + j) % 2 == colour."""
    n, m = u.shape
    for i in range(n):
        for j in range((i + colour) % 2, m, 2):
            total = f[i, j]
            if i > 0:
                total += across[i, j] * u[i - 1, j]
            if i < n - 1:
                total += across[i + 1, j] * u[i + 1, j]
            if j > 0:
                total += along[i, j] * u[i, j - 1]
            if j < m - 1:
                total += along[i, j + 1] * u[i, j + 1]
            u[i, j] = total / diagonal[i, j]


@njit(cache=True, nogil=True)
def _apply(u, across, along, diagonal, out):
    """out = A u."""
    n, m = u.shape
    for i in range(n):
        for j in range(m):
            total = diagonal[i, j] * u[i, j]
            if i > 0:
                total -= across[i, j] * u[i - 1, j]
            if i < n - 1:
                total -= across[i + 1, j] * u[i + 1, j]
            if j > 0:
                total -= along[i, j] * u[i, j - 1]
            if j < m - 1:
                total -= along[i, j + 1] * u[i, j + 1]
            out[i, j] = total


@njit(cache=True, nogil=True)
def _restrict(r, own0, other0, own1, other1, out):
    """Transpose of `_prolong`."""
    out[:] = 0.0
    n, m = r.shape
    for i in range(n):
        p = i // 2
        p2 = p - 1 + 2 * (i % 2)
        for j in range(m):
            q = j // 2
            q2 = q - 1 + 2 * (j % 2)
            value = r[i, j]
            out[p, q] += own0[i] * own1[j] * value
            inside = 0 <= q2 < out.shape[1]
            if inside:
                out[p, q2] += own0[i] * other1[j] * value
            if 0 <= p2 < out.shape[0]:
                out[p2, q] += other0[i] * own1[j] * value
                if inside:
                    out[p2, q2] += other0[i] * other1[j] * value


@njit(cache=True, nogil=True)
def _prolong(c, own0, other0, own1, other1, u):
    """u += bilinear interpolation of c, zero on the boundary."""
    n, m = u.shape
    for i in range(n):
        p = i // 2
        p2 = p - 1 + 2 * (i % 2)
        for j in range(m):
            q = j // 2
            q2 = q - 1 + 2 * (j % 2)
            value = own0[i] * own1[j] * c[p, q]
            inside = 0 <= q2 < c.shape[1]
            if inside:
                value += own0[i] * other1[j] * c[p, q2]
            if 0 <= p2 < c.shape[0]:
                value += other0[i] * own1[j] * c[p2, q]
                if inside:
                    value += other0[i] * other1[j] * c[p2, q2]
            u[i, j] += value


def _cycle(levels: list[Level], number: int, f: np.ndarray) -> np.ndarray:
    """One symmetric V-cycle for A u = f from zero, red then black down, black then red up."""
    level = levels[number]
    stencil = level.across, level.along, level.diagonal
    u = np.zeros_like(f)
    last = number + 1 == len(levels)
    rounds = 8 if last else 1
    for _ in range(rounds):
        _sweep(u, f, *stencil, 0)
        _sweep(u, f, *stencil, 1)
    if not last:
        residual = np.empty_like(u)
        _apply(u, *stencil, residual)
        residual = f - residual
        coarse = np.empty_like(levels[number + 1].diagonal)
        weights = level.own[0], level.other[0], level.own[1], level.other[1]
        _restrict(residual, *weights, coarse)
        _prolong(_cycle(levels, number + 1, coarse), *weights, u)
    for _ in range(rounds):
        _sweep(u, f, *stencil, 1)
        _sweep(u, f, *stencil, 0)
    return u


def conjugate_gradients(
    across: np.ndarray, along: np.ndarray, right: np.ndarray, tolerance: float = 1e-11, limit: int = 80
) -> tuple[np.ndarray, int]:
    """Solve the five-point system A u = right, and how many steps that took; -1 where `limit` did not do.

    (A u)_ij = sum over the four faces of conductance * (u_ij - u_neighbour), neighbours past the boundary
    zero. across (n + 1, m), along (n, m + 1), right (n, m), float64. Preconditioned conjugate gradients
    (Saad, Iterative Methods for Sparse Linear Systems, 2003, algorithm 9.1) until the residual is `tolerance`
    of the right side in the norm of the preconditioner; preconditioner: one symmetric V-cycle. 13 to 16 steps
    for smooth coefficients and for jumps of 4 to 1 whatever the grid, 45 for 100 to 1, hundreds for 10,000.
    """
    levels = hierarchy(across, along)
    u = np.zeros_like(right)
    residual = right.copy()
    z = _cycle(levels, 0, residual)
    direction = z.copy()
    product = np.empty_like(u)
    first = rho = float(np.vdot(residual, z))
    for step in range(limit):
        if rho <= tolerance**2 * first:
            return u, step
        _apply(direction, across, along, levels[0].diagonal, product)
        length = rho / float(np.vdot(direction, product))
        u += length * direction
        residual -= length * product
        z = _cycle(levels, 0, residual)
        rho, before = float(np.vdot(residual, z)), rho
        direction = z + (rho / before) * direction
    return u, -1
