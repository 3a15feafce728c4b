"""A centred basis that is orthonormal in a mass inner product: truncation, orthonormalisation, projection."""

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from kernels.errors import InputError
from kernels.reduction.products import apply_mass, inner_products
from kernels.reduction.snapshots import Reader, Snapshots

MEMORY_BYTES = 2**30
"""Default budget for blocks of snapshots."""

_RANK_FLOOR = 1e-13


@dataclass(frozen=True)
class Truncation:
    """Where a basis ends: a count of modes, a part of the energy, a projection error; the first one reached.

    energy: smallest k with sum_{i<=k} sigma_i^2 >= energy * sum_i sigma_i^2, 0 < energy <= 1.
    tolerance: smallest k whose relative root-mean-square projection error of the snapshots is at most
    tolerance, which is energy = 1 - tolerance^2 without its rounding. With `count` beside them, `count` is
    the cap.
    """

    count: int | None = None
    energy: float | None = None
    tolerance: float | None = None

    def __post_init__(self) -> None:
        if self.count is None and self.energy is None and self.tolerance is None:
            raise InputError(
                "a truncation without a rule was given; expected one of count, energy, tolerance"
            )
        if self.count is not None and self.count < 1:
            raise InputError(f"{self.count} modes were asked for; expected at least 1")
        if self.energy is not None and not 0.0 < self.energy <= 1.0:
            raise InputError(f"an energy of {self.energy} was asked for; expected a part in (0, 1]")
        if self.tolerance is not None and not 0.0 <= self.tolerance < 1.0:
            raise InputError(f"a tolerance of {self.tolerance} was asked for; expected a value in [0, 1)")

    def tail(self) -> float:
        """Part of the energy that may stay outside the basis."""
        parts = [0.0 if self.energy is None else 1.0 - self.energy]
        parts.append(0.0 if self.tolerance is None else self.tolerance**2)
        return max(parts)

    def check(self, samples: int) -> None:
        """Raise InputError where `samples` centred snapshots cannot span the count asked for."""
        if (
            self.energy is None
            and self.tolerance is None
            and self.count is not None
            and self.count > samples - 1
        ):
            raise InputError(
                f"{self.count} modes were asked for and {samples} training samples were given; {samples} "
                "centred "
                f"samples span at most {samples - 1} modes: ask for fewer modes or add samples"
            )

    def cap(self, samples: int) -> int:
        """Largest number of modes that this rule can give for `samples` centred snapshots."""
        return min(samples - 1 if self.count is None else self.count, samples - 1)


@dataclass(frozen=True)
class Basis:
    """A centred reduced basis, s = mean + a Phi with Phi M Phi^T = I.

    mean: (N,); modes: (k, N); singular_values: (k,), of the centred snapshots in the M norm; total_energy:
    sum of all squared singular values, kept or not; samples: number of snapshots behind it.
    """

    mean: np.ndarray
    modes: np.ndarray
    singular_values: np.ndarray
    total_energy: float
    samples: int

    @property
    def captured(self) -> float:
        """Part of the energy inside the basis; 1 where the snapshots do not vary."""
        if self.total_energy <= 0.0:
            return 1.0
        return min(1.0, float((self.singular_values**2).sum() / self.total_energy))


def mass_norms(mass: sparse.csr_array, rows: np.ndarray) -> np.ndarray:
    """Norms in the mass inner product, |s_i|_M = sqrt(s_i M s_i); rows: (s, N); returns (s,)."""
    return np.sqrt(np.maximum(np.einsum("ij,ij->i", rows, apply_mass(mass, rows)), 0.0))


def orthonormalise(
    rows: np.ndarray, mass: sparse.csr_array, floor: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Rows as a product of a lower trapezoid and M-orthonormal rows, R = L Q with Q M Q^T = I.

    Classical Gram-Schmidt, each row twice, which leaves an orthonormality error of the order of the unit
    roundoff (Giraud, Langou, Rozloznik, van den Eshof 2005, Numer. Math. 101, theorem 2).
    rows: (k, N); returns L (k, r) and Q (r, N). A row that keeps less than 1e-14 of its norm, or less than
    `floor`, is taken as dependent and gives no row of Q.
    """
    count, nodes = rows.shape
    lower, unit = np.zeros((count, count)), np.empty((count, nodes))
    rank = 0
    for k in range(count):
        row = np.array(rows[k], dtype=np.float64)
        before = float(mass_norms(mass, row[None])[0])
        for _ in range(2):
            part = unit[:rank] @ apply_mass(mass, row[None])[0]
            row -= part @ unit[:rank]
            lower[k, :rank] += part
        after = float(mass_norms(mass, row[None])[0])
        if after > max(1e-14 * before, floor):
            lower[k, rank] = after
            unit[rank] = row / after
            rank += 1
    return lower[:, :rank], unit[:rank]


def fix_signs(modes: np.ndarray) -> np.ndarray:
    """Modes with their largest entry positive, so that equal data give equal signs on every machine."""
    if modes.size == 0:
        return modes
    peak = modes[np.arange(len(modes)), np.abs(modes).argmax(axis=1)]
    return modes * np.where(peak < 0.0, -1.0, 1.0)[:, None]


def rank_floor(energy: float, mean: np.ndarray, mass: sparse.csr_array, samples: int) -> float:
    """Singular value below which a mode is rounding: 1e-13 of the norm of the snapshots before centring."""
    return _RANK_FLOOR * float(np.sqrt(energy + samples * mass_norms(mass, mean[None])[0] ** 2))


def project(
    read: Reader, samples: int, basis: Basis, mass: sparse.csr_array, memory_bytes: int = MEMORY_BYTES
) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients a_i = Phi M (s_i - mean), and the part that is missed, r_i = |s_i - mean - a_i Phi|_M /
    |s_i - mean|_M.

    read: blocks of `samples` snapshots, streamed; returns a (samples, k) and r (samples,), 0 where a snapshot
    equals the mean to rounding. Raises InputError as Snapshots does.
    """
    snapshots = Snapshots(read, samples, basis.mean.size, memory_bytes)
    coefficients, missed = np.empty((samples, len(basis.modes))), np.empty(samples)
    rounding = 1e-12 * float(mass_norms(mass, basis.mean[None])[0])
    for start, stop in snapshots.blocks():
        rows = snapshots.centred(start, stop, basis.mean)
        norms = mass_norms(mass, rows)
        part = inner_products(apply_mass(mass, rows), basis.modes)
        coefficients[start:stop] = part
        rows -= part @ basis.modes
        rest = mass_norms(mass, rows)
        varies = norms > rounding
        missed[start:stop] = np.where(varies, rest / np.where(varies, norms, 1.0), 0.0)
    return coefficients, missed
