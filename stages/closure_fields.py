"""Fields of a data set of moments as the complex moments that kernels speak of, and back.

`kernels.closures.harmonics`: z_2 = D_xx - D_yy + 2 i D_xy, z_4 of the fourth moments, e = E_xx + i E_xy.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import xarray as xr

from kernels.closures import harmonics
from kernels.closures.physics import Physics
from stages.variables import MOMENTS

NUMBERS = ("alpha", "zeta", "beta", "rotary", "translational")
"""Numbers of a run that are variables on `sample`."""


@dataclass(frozen=True)
class Fields:
    """c, u, v (real), z_2, z_4, e (complex), of any common shape (..., n, n)."""

    c: np.ndarray
    z2: np.ndarray
    z4: np.ndarray
    strain: np.ndarray
    u: np.ndarray
    v: np.ndarray


def fields_of(values: Mapping[str, np.ndarray] | xr.Dataset) -> Fields:
    """Complex moments from the variables of a data set of moments."""
    held = {name: np.asarray(values[name]) for name in MOMENTS if not name.startswith("ST_")}
    c = held["concentration"]
    z2 = 2.0 * held["D_xx"] - c + 2j * held["D_xy"]
    z4 = 8.0 * held["S_xxxx"] - 3.0 * c - 4.0 * z2.real + 1j * (8.0 * held["S_xxxy"] - 2.0 * z2.imag)
    return Fields(c, z2, z4, held["E_xx"] + 1j * held["E_xy"], held["u_x"], held["u_y"])


def variables_of(
    fields: Fields, physics: Physics, isotropic: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Arrays by the names of `stages.variables.MOMENTS`; S:T is contracted from the moments.

    isotropic: what takes the place of c as the factor of T in a closure whose S is no symmetric tensor, see
    `kernels.closures.base`; S_xxxx and S_xxxy are then those of the symmetric tensor of the same z_4.
    """
    d11, d12, _ = harmonics.second_moment(fields.c, fields.z2)
    s1111, s1112, *_ = harmonics.fourth_moment(fields.c, fields.z2, fields.z4)
    t = harmonics.driving(fields.strain, fields.z2, physics.zeta)
    trace, deviator = harmonics.contraction(fields.c, fields.z2, fields.z4, t, 2.0 * physics.zeta * fields.c)
    if isotropic is not None:
        deviator = deviator + t * (isotropic - fields.c) / 4.0
    st11, st12, _ = harmonics.tensor(trace, deviator)
    found = (fields.c, d11, d12, s1111, s1112, fields.u, fields.v, fields.strain.real, fields.strain.imag)
    return dict(zip(MOMENTS, (*found, st11, st12), strict=True))


def physics_of(dataset: xr.Dataset, sample: int) -> Physics:
    """The numbers of one run; `length` is an attribute of the data set."""
    numbers = {name: float(dataset[name].values[sample]) for name in NUMBERS}
    return Physics(**numbers, length=float(dataset.attrs["length"]))
