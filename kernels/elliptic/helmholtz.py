"""Cell-centred finite volumes for the Helmholtz equation with absorption on the unit square."""

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import splu

from kernels.elliptic.finite_volumes import conductances, system
from kernels.errors import InputError

ORDER = 2
"""Order in h of the values at cell centres, for a smooth solution."""
RESOLVED = 0.05
"""Largest relative error that a resonance of the grid may have, see `check_resolved`."""


def check_resolved(cells: int, wave_number: float, loss: float) -> None:
    """Raise InputError where (k h)^2 / 12 is above `RESOLVED` * loss.

    Two-point fluxes put a resonance of wave number k at (2 / h) sin(k h / 2), so its square is off by
    (k h)^2 / 12 of itself, and near it the solution by that over the loss. With less absorption the grid
    would decide which resonance is met: hence a bound, and no solution.
    """
    shift = (wave_number / cells) ** 2 / 12.0
    if not shift <= RESOLVED * loss:
        needed = int(np.ceil(wave_number / np.sqrt(12.0 * RESOLVED * loss)))
        raise InputError(
            f"{cells} cells along an axis for wave number {wave_number:.4g} with loss {loss:.3g}, expected "
            f"at least {needed}, which keep resonances in place: raise refine or loss, or lower omega"
        )


def opening(cells: int, low: float = 0.35, high: float = 0.65) -> np.ndarray:
    """Share of every cell along an axis that lies between low and high: the loudspeaker of a wall."""
    ends = np.arange(cells + 1) / cells
    return np.asarray(np.diff(np.clip(ends, low, high)) * cells)


def solve_helmholtz(
    wave_number: np.ndarray, loss: float, flux: np.ndarray, f: np.ndarray | float = 0.0
) -> np.ndarray:
    """Complex u (n, m) at cell centres: -Laplace u - k^2 (1 + i loss) u = f, du/dn = g where x2 = 1, else 0.

    For u exp(-i omega t) of period 2 pi / omega, k = omega / c (n, m) positive, flux g (n,) means over the
    faces where x2 = 1, f (n, m) or a number; both may be complex. The loss bounds u at every resonance:
    |u| <= |f| / (loss min k^2) in the mean square. Second order for smooth k. SuperLU with partial pivoting.
    Raises InputError where shapes do not fit, k or the loss are not positive, or `check_resolved` refuses.
    """
    if wave_number.ndim != 2 or min(wave_number.shape) < 2:
        raise InputError(
            f"the wave number has shape {wave_number.shape}, expected at least 2 x 2 cells: refine it"
        )
    if not (np.isfinite(wave_number).all() and wave_number.min() > 0.0):
        raise InputError(
            f"the wave number reaches {wave_number.min():.6g}, expected positive finite numbers: "
            "omega and the speed of sound are positive"
        )
    if not loss > 0.0:
        raise InputError(f"loss is {loss!r}, expected a positive number, which bounds resonances: raise it")
    shape = wave_number.shape
    source = np.asarray(f)
    if flux.shape != shape[:1] or source.shape not in ((), shape):
        raise InputError(
            f"flux and f have shapes {flux.shape} and {source.shape}, expected {shape[:1]} and {shape} or ()"
        )
    check_resolved(min(shape), float(wave_number.max()), loss)
    across, along = conductances(np.ones(shape))
    across[[0, -1]], along[:, [0, -1]] = 0.0, 0.0
    volume = 1.0 / wave_number.size
    matrix = system(across, along) - sp.diags((wave_number**2).ravel() * ((1.0 + 1j * loss) * volume))
    right = np.broadcast_to(source * volume, shape).astype(complex)
    right[:, -1] += flux / shape[0]
    factor = splu(sp.csc_matrix(matrix), permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.1)
    return np.asarray(factor.solve(right.ravel()).reshape(shape))
