"""Radial return of J2 plasticity in plane strain with its consistent tangent, for numba and numpy."""

import math
from dataclasses import dataclass

import numpy as np
from numba import njit

from kernels.errors import InputError

LOCAL_ITERATIONS = 50
"""Cap on the scalar Newton of the Voce law; linear hardening needs one."""


@dataclass(frozen=True)
class Material:
    """Isotropic elasto-plastic material: stress in Pa, `poisson` and `saturation_rate` without unit.

    Yield stress `Y(p) = yield_stress + hardening p + saturation_stress (1 - exp(-saturation_rate p))`
    (linear plus Voce, E. Voce, J. Inst. Metals 74, 1948), p the equivalent plastic strain.
    Raises InputError where a value is out of its physical range. Softening is not handled.
    """

    young: float
    poisson: float
    yield_stress: float
    hardening: float
    saturation_stress: float = 0.0
    saturation_rate: float = 0.0

    def __post_init__(self) -> None:
        ranges = {
            "young": (self.young > 0.0, "a positive number of Pa"),
            "poisson": (-1.0 < self.poisson < 0.5, "a number between -1 and 0.5, both excluded"),
            "yield_stress": (self.yield_stress > 0.0, "a positive number of Pa"),
            "hardening": (self.hardening >= 0.0, "zero or a positive number of Pa"),
            "saturation_stress": (self.saturation_stress >= 0.0, "zero or a positive number of Pa"),
            "saturation_rate": (self.saturation_rate >= 0.0, "zero or a positive number"),
        }
        for name, (good, expected) in ranges.items():
            value = getattr(self, name)
            if not (good and (math.isfinite(value) or name == "yield_stress")):
                raise InputError(f"{name} is {value!r}, expected {expected}: correct the parameter")

    @property
    def shear(self) -> float:
        """Shear modulus `G = E / (2 (1 + nu))` in Pa."""
        return self.young / (2.0 * (1.0 + self.poisson))

    @property
    def bulk(self) -> float:
        """Bulk modulus `K = E / (3 (1 - 2 nu))` in Pa."""
        return self.young / (3.0 * (1.0 - 2.0 * self.poisson))

    def constants(self) -> tuple[float, float, float, float, float, float]:
        """The six numbers that the scalar rule takes: K, G, Y0, H, Q, b."""
        return (
            float(self.bulk), float(self.shear), float(self.yield_stress), float(self.hardening),
            float(self.saturation_stress), float(self.saturation_rate),
        )  # fmt: skip


def radial_return(
    e11, e22, g12, a11, a22, a33, a12, p, bulk, shear, yield_stress, hardening, saturation, rate
):
    """Stress, plastic strain and in-plane tangent at one point after one backward Euler step.

    Trial deviator `s = 2 G dev(e - a)`, `q = sqrt(3/2) |s|`; where `q > Y(p)` solve
    `q - 3 G dp - Y(p + dp) = 0`, then `sigma = K tr(e) 1 + (1 - 3 G dp / q) s`, `a += 3/2 dp s / q`.
    The consistent tangent is
    `K 1x1 + 2 G (1 - 3 G dp / q) I_dev - 9 G^2 (1 / (3 G + Y') - dp / q) / q^2 s x s`
    (Simo and Hughes, Computational Inelasticity, 1998, box 3.2 with J2 in the equivalent-stress scaling).

    Strain e11, e22, engineering shear g12, e33 = 0; plastic strain a, tensor shear a12. Returns
    (s11, s22, s33, s12, a11, a22, a33, a12, p, d11, d22, d33, d12, d13, d23), the tangent in the order
    11, 22, 12 against (e11, e22, g12). Plain scalar code: the CPU and the CUDA face compile this function.
    """
    trace = e11 + e22 - a11 - a22 - a33
    mean = trace / 3.0
    t11 = 2.0 * shear * (e11 - a11 - mean)
    t22 = 2.0 * shear * (e22 - a22 - mean)
    t33 = 2.0 * shear * (-a33 - mean)
    t12 = 2.0 * shear * (0.5 * g12 - a12)
    q = math.sqrt(1.5 * (t11 * t11 + t22 * t22 + t33 * t33 + 2.0 * t12 * t12))
    pressure = bulk * trace
    limit = yield_stress + hardening * p + saturation * (1.0 - math.exp(-rate * p))
    step = 0.0
    ratio = 0.0
    theta = 1.0
    outer = 0.0
    if q > limit:
        # Y is concave, so the residual is convex and falling: Newton from zero rises to the root without
        # overshoot
        slope = hardening
        for _ in range(LOCAL_ITERATIONS):
            decay = math.exp(-rate * (p + step))
            residual = (
                q - 3.0 * shear * step - (yield_stress + hardening * (p + step) + saturation * (1.0 - decay))
            )
            slope = hardening + saturation * rate * decay
            change = residual / (3.0 * shear + slope)
            step += change
            if abs(change) <= 1e-15 * (step + 1e-12):
                break
        ratio = step / q
        theta = 1.0 - 3.0 * shear * ratio
        outer = 9.0 * shear * shear * (1.0 / (3.0 * shear + slope) - ratio) / (q * q)
    flow = 1.5 * ratio
    diagonal = bulk + 4.0 / 3.0 * shear * theta
    side = bulk - 2.0 / 3.0 * shear * theta
    return (
        pressure + theta * t11, pressure + theta * t22, pressure + theta * t33, theta * t12,
        a11 + flow * t11, a22 + flow * t22, a33 + flow * t33, a12 + flow * t12, p + step,
        diagonal - outer * t11 * t11, diagonal - outer * t22 * t22, shear * theta - outer * t12 * t12,
        side - outer * t11 * t22, -outer * t11 * t12, -outer * t22 * t12,
    )  # fmt: skip


_point = njit(cache=True, error_model="numpy")(radial_return)


@njit(cache=True, error_model="numpy")
def _update(strain, plastic, equivalent, constants, stress, plastic_new, equivalent_new, tangent):
    bulk, shear, yield_stress, hardening, saturation, rate = constants
    for i in range(strain.shape[0]):
        out = _point(
            strain[i, 0], strain[i, 1], strain[i, 2],
            plastic[i, 0], plastic[i, 1], plastic[i, 2], plastic[i, 3], equivalent[i],
            bulk, shear, yield_stress, hardening, saturation, rate,
        )  # fmt: skip
        stress[i, 0], stress[i, 1], stress[i, 2], stress[i, 3] = out[0], out[1], out[2], out[3]
        plastic_new[i, 0], plastic_new[i, 1], plastic_new[i, 2], plastic_new[i, 3] = (
            out[4],
            out[5],
            out[6],
            out[7],
        )
        equivalent_new[i] = out[8]
        tangent[i, 0], tangent[i, 1], tangent[i, 2] = out[9], out[10], out[11]
        tangent[i, 3], tangent[i, 4], tangent[i, 5] = out[12], out[13], out[14]


def update(
    strain: np.ndarray, plastic: np.ndarray, equivalent: np.ndarray, material: Material
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Radial return at every point (numba, CPU).

    strain (points, 3): 11, 22, engineering 12; plastic (points, 4): 11, 22, 33, tensor 12; equivalent
    (points,). Returns stress (points, 4) in Pa, plastic (points, 4), equivalent (points,) and the tangent
    (points, 6) in Pa: 11-11, 22-22, 12-12, 11-22, 11-12, 22-12. Equations and source: `radial_return`. The
    inputs stay as they are.
    """
    points = strain.shape[0]
    stress, plastic_new = np.empty((points, 4)), np.empty((points, 4))
    equivalent_new, tangent = np.empty(points), np.empty((points, 6))
    _update(strain, plastic, equivalent, material.constants(), stress, plastic_new, equivalent_new, tangent)
    return stress, plastic_new, equivalent_new, tangent


def update_reference(
    strain: np.ndarray, plastic: np.ndarray, equivalent: np.ndarray, material: Material
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The same as `update` in tensor form with numpy, written apart from the scalar rule to check it."""
    shear, bulk = material.shear, material.bulk
    total = np.zeros((strain.shape[0], 3, 3))
    total[:, 0, 0], total[:, 1, 1] = strain[:, 0], strain[:, 1]
    total[:, 0, 1] = total[:, 1, 0] = 0.5 * strain[:, 2]
    before = np.zeros_like(total)
    before[:, [0, 1, 2], [0, 1, 2]] = plastic[:, :3]
    before[:, 0, 1] = before[:, 1, 0] = plastic[:, 3]
    unit = np.eye(3)
    elastic = total - before
    trace = np.einsum("nii->n", elastic)
    trial = 2.0 * shear * (elastic - trace[:, None, None] * unit / 3.0)
    q = np.sqrt(1.5 * np.einsum("nij,nij->n", trial, trial))

    def limit(p):
        return (
            material.yield_stress + material.hardening * p
            + material.saturation_stress * -np.expm1(-material.saturation_rate * p)
        )  # fmt: skip

    flows = q > limit(equivalent)
    low, high = np.zeros_like(q), np.where(flows, q / (3.0 * shear), 0.0)
    for _ in range(200):  # bisection: slow and beyond doubt
        middle = 0.5 * (low + high)
        above = q - 3.0 * shear * middle - limit(equivalent + middle) > 0.0
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    step = np.where(flows, 0.5 * (low + high), 0.0)
    p = equivalent + step
    slope = material.hardening + material.saturation_stress * material.saturation_rate * np.exp(
        -material.saturation_rate * p
    )
    safe = np.where(q > 0.0, q, 1.0)
    theta = 1.0 - 3.0 * shear * step / safe
    after = before + (1.5 * step / safe)[:, None, None] * trial
    sigma = bulk * trace[:, None, None] * unit + theta[:, None, None] * trial
    identity = 0.5 * (np.einsum("ik,jl->ijkl", unit, unit) + np.einsum("il,jk->ijkl", unit, unit))
    deviator = identity - np.einsum("ij,kl->ijkl", unit, unit) / 3.0
    outer = np.where(flows, 9.0 * shear**2 * (1.0 / (3.0 * shear + slope) - step / safe) / safe**2, 0.0)
    full = (
        bulk * np.einsum("ij,kl->ijkl", unit, unit)
        + 2.0 * shear * theta[:, None, None, None, None] * deviator
        - outer[:, None, None, None, None] * np.einsum("nij,nkl->nijkl", trial, trial)
    )
    pairs = [(0, 0), (1, 1), (0, 1)]
    order = [(0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2)]
    tangent = np.stack([full[:, *pairs[a], *pairs[b]] for a, b in order], axis=1)
    voigt = ([0, 1, 2, 0], [0, 1, 2, 1])
    return sigma[:, *voigt], after[:, *voigt], p, tangent


def von_mises(stress: np.ndarray) -> np.ndarray:
    """Equivalent stress `sqrt(3/2 s:s)` of stress (..., 4) ordered 11, 22, 33, 12, in the unit given."""
    s11, s22, s33, s12 = np.moveaxis(stress, -1, 0)
    return np.sqrt(0.5 * ((s11 - s22) ** 2 + (s22 - s33) ** 2 + (s33 - s11) ** 2) + 3.0 * s12**2)
