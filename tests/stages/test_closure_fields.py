"""Tensor components and complex moments are one and the same."""

import numpy as np

from kernels.closures.physics import Physics
from stages.closure_fields import Fields, fields_of, variables_of


def test_components_are_the_integrals_and_give_the_moments_back():
    random = np.random.default_rng(0)
    theta = np.arange(64) * 2.0 * np.pi / 64
    psi = np.exp(random.standard_normal((5, 3)) @ np.stack([np.cos(k * theta + k) for k in (2, 4, 6)]))
    weight = 2.0 * np.pi / 64
    c, z2, z4 = (weight * psi @ np.exp(1j * m * theta) for m in (0, 2, 4))
    strain = random.standard_normal(5) + 1j * random.standard_normal(5)
    u, v = random.standard_normal((2, 5))
    found = variables_of(Fields(c.real, z2, z4, strain, u, v), Physics(-3.0, 1.7))
    p = np.stack([np.cos(theta), np.sin(theta)])
    d = weight * np.einsum("nt,it,jt->nij", psi, p, p)
    s = weight * np.einsum("nt,it,jt,kt,lt->nijkl", psi, p, p, p, p)
    e = np.stack([np.stack([strain.real, strain.imag], -1), np.stack([strain.imag, -strain.real], -1)], -2)
    st = np.einsum("nijkl,nkl->nij", s, e + 2.0 * 1.7 * d)
    wanted = {
        "concentration": np.trace(d, axis1=1, axis2=2), "D_xx": d[:, 0, 0], "D_xy": d[:, 0, 1],
        "S_xxxx": s[:, 0, 0, 0, 0], "S_xxxy": s[:, 0, 0, 0, 1], "ST_xx": st[:, 0, 0], "ST_xy": st[:, 0, 1],
        "E_xx": e[:, 0, 0], "E_xy": e[:, 0, 1], "u_x": u, "u_y": v,
    }  # fmt: skip
    assert set(found) == set(wanted)
    for name, values in wanted.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-12, atol=1e-12, err_msg=name)
    back = fields_of(found)
    for name, values in {"c": c.real, "z2": z2, "z4": z4, "strain": strain, "u": u, "v": v}.items():
        np.testing.assert_allclose(getattr(back, name), values, rtol=1e-12, atol=1e-11, err_msg=name)
