"""Angular moments of particles in the plane as complex fields, and the tensors that they stand for.

z_m = int e^{i m theta} psi d theta; z_0 = c is real, z_{-m} = conj z_m, odd ones are zero where psi is
apolar. A symmetric tensor A in the plane is its trace and its deviator (A_11 - A_22) / 2 + i A_12, which a
rotation by phi multiplies by e^{2 i phi}. So D = int pp psi has trace c and deviator z_2 / 2, and S = int
pppp psi adds z_4 alone: a closure in the plane is a rule for one complex field. With the strain rate e =
deviator of E, the deviator of T = E + 2 zeta D is t = e + zeta z_2, its trace 2 zeta c, and (apolar)

    d_t z_m + u.grad z_m = i m (omega / 2) z_m + (m / 2) [t z_{m-2} - conj(t) z_{m+2}]
                           + (d_T Lap - d_R m^2) z_m.

Every function takes numpy arrays or torch tensors of any shape that broadcast, point by point.
"""

from typing import Any

Field = Any
"""A numpy array or a torch tensor."""


def deviator(a11: Field, a12: Field, a22: Field) -> Field:
    """Complex deviator of a symmetric tensor."""
    return (a11 - a22) / 2.0 + 1j * a12


def tensor(trace: Field, deviator: Field) -> tuple[Field, Field, Field]:
    """Components 11, 12, 22 of a symmetric tensor from its trace and complex deviator."""
    return trace / 2.0 + deviator.real, deviator.imag, trace / 2.0 - deviator.real


def driving(strain: Field, z2: Field, zeta: Field) -> Field:
    """t, the deviator of T = E + 2 zeta D."""
    return strain + zeta * z2


def second_moment(c: Field, z2: Field) -> tuple[Field, Field, Field]:
    """Components 11, 12, 22 of D."""
    return tensor(c, z2 / 2.0)


def fourth_moment(c: Field, z2: Field, z4: Field) -> tuple[Field, Field, Field, Field, Field]:
    """Components 1111, 1112, 1122, 1222, 2222 of S."""
    c2, s2, c4, s4 = z2.real, z2.imag, z4.real, z4.imag
    return (
        (3.0 * c + 4.0 * c2 + c4) / 8.0,
        (2.0 * s2 + s4) / 8.0,
        (c - c4) / 8.0,
        (2.0 * s2 - s4) / 8.0,
        (3.0 * c - 4.0 * c2 + c4) / 8.0,
    )


def contraction(
    c: Field, z2: Field, z4: Field, t: Field, trace: Field, isotropic: Field | None = None
) -> tuple[Field, Field]:
    """Trace and deviator of S:A for a symmetric A of given trace and deviator t; the trace is D:A.

    isotropic: factor of t in the deviator, c unless a closure gives another (`Closure.isotropic`).
    """
    inner = trace * c / 2.0 + (t.conj() * z2).real
    return inner, (trace * z2 + t.conj() * z4 + t * (c if isotropic is None else isotropic)) / 4.0


def stress(
    physics: Any, c: Field, z2: Field, z4: Field, strain: Field, isotropic: Field | None = None
) -> Field:
    """Deviator of Sigma = alpha (D - c I / 2) + beta S:E - 2 zeta beta (D.D - S:D); the pressure has the
    rest. isotropic: as in `contraction`."""
    t = driving(strain, z2, physics.zeta)
    return (
        (physics.alpha - physics.beta * physics.zeta * c) * z2 / 2.0
        + (t.conj() * z4 + t * (c if isotropic is None else isotropic)) * (physics.beta / 4.0)
    )  # fmt: skip


def order(c: Field, z2: Field) -> Field:
    """Scalar order parameter r = |z_2| / c, in [0, 1]."""
    return abs(z2) / c


def excess(c: Field, z2: Field, z4: Field) -> Field:
    """|z_4 - z_2^2 / c| - (c - |z_2|^2 / c): at most 0 if and only if a nonnegative psi has these moments.

    The moment matrix with the entries z_{j-k}, j, k = 0, 2, 4, is then positive semidefinite
    (Caratheodory-Toeplitz): a disc of centre z_2^2 / c and radius c - |z_2|^2 / c.
    """
    return abs(z4 - z2 * z2 / c) - (c - abs(z2) ** 2 / c)
