"""Cell-centred finite volumes for -div(a grad u) = f on the unit square, u = 0 on its boundary."""

from typing import Literal

import numpy as np
import scipy.sparse as sp

from kernels.elliptic.direct import solve_definite
from kernels.elliptic.multigrid import conjugate_gradients
from kernels.errors import InputError

ORDER = 2
"""Order in h of the values at cell centres, for a smooth coefficient."""
DIRECT_BELOW = 24
"""Cells along an axis from which multigrid takes over, about where it becomes the faster one."""
Solver = Literal["auto", "direct", "multigrid"]


def cell_centres(cells: int) -> np.ndarray:
    """(i + 1/2) / cells: those of `cells` are among those of any odd multiple of it."""
    return (np.arange(cells) + 0.5) / cells


def conductances(a: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Conductance of the faces normal to axis 0 (n + 1, m) and to axis 1 (n, m + 1) of cells a (n, m).

    Between cells the harmonic mean of the two coefficients, so that the flux is continuous where a jumps; on
    the boundary the half cell, with the given value at its end (Patankar, Numerical Heat Transfer and Fluid
    Flow, 1980, section 4.2-3). Cells are 1/n by 1/m.
    """
    n, m = a.shape
    across, along = np.empty((n + 1, m)), np.empty((n, m + 1))
    across[1:-1] = 2.0 * a[1:] * a[:-1] / (a[1:] + a[:-1])
    across[0], across[-1] = 2.0 * a[0], 2.0 * a[-1]
    along[:, 1:-1] = 2.0 * a[:, 1:] * a[:, :-1] / (a[:, 1:] + a[:, :-1])
    along[:, 0], along[:, -1] = 2.0 * a[:, 0], 2.0 * a[:, -1]
    return across * (n / m), along * (m / n)


def system(across: np.ndarray, along: np.ndarray) -> sp.csc_matrix:
    """The five-point matrix of the conductances, cells numbered along axis 1 first."""
    n, m = along.shape[0], across.shape[1]
    number = np.arange(n * m).reshape(n, m)
    diagonal = across[:-1] + across[1:] + along[:, :-1] + along[:, 1:]
    low = np.concatenate([number[:-1].ravel(), number[:, :-1].ravel()])
    high = np.concatenate([number[1:].ravel(), number[:, 1:].ravel()])
    off = -np.concatenate([across[1:-1].ravel(), along[:, 1:-1].ravel()])
    rows = np.concatenate([number.ravel(), low, high])
    columns = np.concatenate([number.ravel(), high, low])
    return sp.csc_matrix((np.concatenate([diagonal.ravel(), off, off]), (rows, columns)))


def solve_darcy(a: np.ndarray, f: np.ndarray | float, solver: Solver = "auto") -> np.ndarray:
    """u (n, m) at the cell centres: -div(a grad u) = f, u = 0 on the boundary of the unit square.

    Balance of every cell with two-point fluxes, a (n, m) positive and f (n, m) or a number at cell centres;
    second order for smooth a. Small systems by SuperLU in symmetric mode, larger ones by conjugate gradients
    with a multigrid preconditioner, to 1e-11; where these converge slowly, SuperLU again. Raises InputError
    for a coefficient that is not positive, an f that does not fit, or fewer than two cells along an axis.
    """
    if a.ndim != 2 or min(a.shape) < 2:
        raise InputError(f"the coefficient has shape {a.shape}, expected at least 2 x 2 cells: refine it")
    if not (np.isfinite(a).all() and a.min() > 0.0):
        raise InputError(
            f"the coefficient reaches {a.min():.6g}, expected positive finite numbers: shift or scale it"
        )
    source = np.asarray(f, dtype=np.float64)
    if source.shape not in ((), a.shape) or not np.isfinite(source).all():
        raise InputError(
            f"f has shape {source.shape} or values that are not finite, expected a number or {a.shape}"
        )
    right = np.ascontiguousarray(np.broadcast_to(source, a.shape)) / a.size
    if not right.any():
        return np.zeros(a.shape)
    across, along = conductances(a)
    if solver == "multigrid" or (solver == "auto" and max(a.shape) >= DIRECT_BELOW):
        u, steps = conjugate_gradients(across, along, right)
        if steps >= 0:
            return u
    return solve_definite(system(across, along), right.ravel()).reshape(a.shape)
