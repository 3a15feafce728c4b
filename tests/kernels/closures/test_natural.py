import numpy as np
import torch

from kernels.closures.base import Moments
from kernels.closures.natural import Natural, fourth_moment
from kernels.closures.physics import Physics

_PHYSICS = Physics(alpha=-1.0, zeta=1.0)
_ANGLE = 2.0 * np.pi * np.arange(4096) / 4096


def _closed(c, z2):
    given = [torch.as_tensor(np.asarray(x)) for x in (c, z2, 0.0 * z2)]
    return Natural()(Moments(*given), _PHYSICS).numpy()


def test_exact_for_one_over_p_b_p():
    """Quadrature of psi = 1 / (2 pi p.B.p) over the angle; the trapezoidal rule is exact to rounding."""
    p = np.array([np.cos(_ANGLE), np.sin(_ANGLE)])
    for aspect, turn in ((1.0, 0.3), (1.5, 1.0), (3.0, 2.0), (10.0, 0.1), (20.0, 2.5)):
        axes = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        b = axes @ np.diag([1.0 / aspect, aspect]) @ axes.T
        psi = 1.0 / np.einsum("ik,ij,jk->k", p, b, p) / _ANGLE.size
        z0, z2, z4 = (psi @ np.exp(1j * m * _ANGLE) for m in (0, 2, 4))
        assert abs(z0 - 1.0) < 1e-13
        assert abs(_closed(2.0, 2.0 * z2) - 2.0 * z4) < 1e-13
        mu1 = (1.0 + abs(z2)) / 2.0
        assert abs(fourth_moment(mu1) - psi @ (p.T @ axes[:, 0]) ** 4) < 1e-13


def test_exact_for_fibres_turned_from_isotropy():
    """Fibres follow p -> F p / |F p|: moments over the initial angle, with a flow of several stages."""
    p = np.array([np.cos(_ANGLE), np.sin(_ANGLE)])
    for shear, stretch in ((0.5, 1.0), (1.5, 1.2), (-3.0, 2.0)):
        p = np.array([[stretch, shear], [0.0, 1.0 / stretch]]) @ p
        angle = np.arctan2(p[1], p[0])
        z2, z4 = (np.exp(1j * m * angle).mean() for m in (2, 4))
        assert abs(_closed(1.0, z2) - z4) < 1e-13
