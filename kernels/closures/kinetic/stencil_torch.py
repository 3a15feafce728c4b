"""The angular stencil in plain torch: the face that the compiled ones are held against.

Fields are (J, ...) complex, z[j] = z_{2j}; t (...) complex, omega, u, v (...) real broadcast against z[0].
"""

import torch
from torch import Tensor


def orders(z: Tensor) -> Tensor:
    """j = m / 2 of every row, (J, 1, ...) so that it broadcasts."""
    j = torch.arange(z.shape[0], dtype=torch.float64, device=z.device)
    return j.reshape(-1, *[1] * (z.ndim - 1))


def _neighbours(z: Tensor) -> tuple[Tensor, Tensor]:
    """z_{m-2} and z_{m+2}, zero outside of the modes kept; row 0 needs no lower one, since m = 0 there."""
    none = torch.zeros_like(z[:1])
    return torch.cat((none, z[:-1])), torch.cat((z[1:], none))


def bracket(z: Tensor, t: Tensor, omega: Tensor) -> Tensor:
    """i m (omega / 2) z_m + (m / 2) [t z_{m-2} - conj(t) z_{m+2}], (J, ...)."""
    low, high = _neighbours(z)
    return orders(z) * (1j * omega * z + t * low - t.conj() * high)


def rate(z: Tensor, t: Tensor, omega: Tensor, u: Tensor, v: Tensor, z_x: Tensor, z_y: Tensor) -> Tensor:
    """`bracket` - u.grad z_m, with both derivatives of every mode (J, ...) given."""
    return bracket(z, t, omega) - u * z_x - v * z_y


def bracket_adjoint(z: Tensor, t: Tensor, omega: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of Re <gradient, bracket> with respect to z, t and omega, by the formulas of the stencil's
    adjoint:

        dz_m = -i m (omega / 2) g_m + ((m + 2) / 2) conj(t) g_{m+2} - ((m - 2) / 2) t g_{m-2},
        dt = sum_m (m / 2) [conj(z_{m-2}) g_m - z_{m+2} conj(g_m)],
        domega = sum_m (m / 2) Im(conj(z_m) g_m).
    """
    low, high = _neighbours(z)
    weighted = orders(z) * gradient
    below, above = _neighbours(weighted)
    to_z = -1j * omega * weighted + t.conj() * above - t * below
    to_t = (low.conj() * weighted - high * weighted.conj()).sum(0)
    return to_z, to_t, (z.conj() * weighted).imag.sum(0)


def solve(r: Tensor, t: Tensor, omega: Tensor, weight: float, rotary: float) -> Tensor:
    """q of (1 - weight A) q = r, A q_m = bracket_m(q) - d_R m^2 q_m, by a dense matrix at every point."""
    modes = r.shape[0]
    j = orders(r).flatten()
    below, above = (
        torch.diag_embed(torch.ones(modes - 1, dtype=r.dtype, device=r.device), k) for k in (-1, 1)
    )
    t, omega = t[..., None, None], omega[..., None, None]
    rows = 1j * omega * torch.eye(modes, device=r.device) + t * below - t.conj() * above
    matrix = torch.diag_embed((1.0 + 4.0 * weight * rotary * j**2).to(r.dtype)) - weight * j[:, None] * rows
    return torch.linalg.solve(matrix, r.movedim(0, -1)[..., None])[..., 0].movedim(-1, 0)
