import numpy as np
import pytest
from skfem import CellBasis, ElementTriP2, MeshTri

from kernels.errors import InputError
from kernels.solids.elastoplastic import Control, NotConverged, solve
from kernels.solids.return_map import Material, update
from kernels.solids.stiffness import Stiffness
from kernels.solids.triangles import edge_force, quadratic, recover

LEFT, RIGHT, INNER, BOTTOM = 1, 2, 3, 4


def grid(nx, ny, place=lambda s, t: (s, t), curve=None):
    """Structured triangles on the image of the unit square; tags bottom, right, outer side, left in that
    order.
    """
    s, t = np.meshgrid(np.linspace(0, 1, nx + 1), np.linspace(0, 1, ny + 1), indexing="ij")
    points = np.stack(place(s.ravel(), t.ravel()), axis=1)
    n = np.arange((nx + 1) * (ny + 1)).reshape(nx + 1, ny + 1)
    a, b, c, d = n[:-1, :-1].ravel(), n[1:, :-1].ravel(), n[1:, 1:].ravel(), n[:-1, 1:].ravel()
    triangles = np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)])
    sides = [n[:, 0], n[-1, :], n[::-1, -1], n[0, ::-1]]
    edges = np.concatenate([np.stack([side[:-1], side[1:]], 1) for side in sides])
    tags = np.repeat([BOTTOM, RIGHT, 5, LEFT], [len(side) - 1 for side in sides])
    return quadratic(points, triangles, edges, tags, curve)


def test_thick_cylinder_under_pressure_matches_the_closed_form():
    # incompressible J2 cylinder: u = A / r, e = 2A / (sqrt3 r^2), q = 3G (H e + Y) / (3G + H) where r < c
    material = Material(200e9, 0.4999, 250e6, 20e9)
    shear, limit, hard = material.shear, material.yield_stress, material.hardening
    a, b, c = 1.0, 2.0, 1.5
    amount = np.sqrt(3.0) * c**2 * limit / (6.0 * shear)
    ring = 2 / np.sqrt(3) * 3 * shear / (3 * shear + hard) * (
        limit * np.log(c / a) + hard * amount / np.sqrt(3) * (1 / a**2 - 1 / c**2)
    )  # fmt: skip
    pressure = ring + 2 * shear * amount * (1 / c**2 - 1 / b**2)

    def place(s, t):
        r, angle = a + (b - a) * s, 0.5 * np.pi * t
        return r * np.cos(angle), r * np.sin(angle)

    def curve(middles, tags):
        moved = middles.copy()
        for tag, radius in ((LEFT, a), (RIGHT, b)):
            on = tags == tag
            moved[on] *= (radius / np.hypot(*middles[on].T))[:, None]
        return moved

    mesh = grid(24, 24, place, curve)
    held = np.zeros(mesh.x.shape, dtype=bool)
    held[mesh.nodes_of(BOTTOM), 1] = True
    held[mesh.nodes_of(5), 0] = True
    state = solve(Stiffness(mesh, held), material, edge_force(mesh, LEFT, pressure=pressure))
    r = np.hypot(*mesh.x.T)
    radial = np.sum(state.u * mesh.x, axis=1) / r
    np.testing.assert_allclose(radial, amount / r, rtol=3e-3)
    exact = np.maximum(0.0, (3 * shear * 2 * amount / np.sqrt(3) / r**2 - limit) / (3 * shear + hard))
    nodal = recover(mesh, state.equivalent[..., None])[:, 0]
    assert np.sqrt(np.mean((nodal - exact) ** 2)) < 0.004 * exact.max()
    assert abs(exact.max() / nodal.max() - 1.0) < 0.02


def manufactured(x):
    """Displacement with u = 0 on the left side, and its strain (..., 3)."""
    s, t = x
    u = np.stack([0.004 * s * (1 + 0.5 * np.sin(s + 2 * t)), 0.003 * s * np.cos(2 * t)])
    e11 = 0.004 * (1 + 0.5 * np.sin(s + 2 * t)) + 0.002 * s * np.cos(s + 2 * t)
    e22 = -0.006 * s * np.sin(2 * t)
    g12 = 0.004 * s * np.cos(s + 2 * t) + 0.003 * np.cos(2 * t)
    return u, np.stack([e11, e22, g12], axis=-1)


def manufactured_errors(n):
    """L2 errors of displacement and strain; the load is the weak form of the stress of the exact strain."""
    material = Material(200e9, 0.3, 150e6, 30e9)
    mesh = grid(n, n)
    linear = MeshTri(
        np.ascontiguousarray(mesh.x[: (n + 1) ** 2].T), np.ascontiguousarray(mesh.cells[:, :3].T)
    )
    basis = CellBasis(linear, ElementTriP2(), intorder=8)
    exact_u, exact_strain = manufactured(np.asarray(basis.global_coordinates()))
    flat = exact_strain.reshape(-1, 3)
    stress, _, p, _ = update(flat, np.zeros((len(flat), 4)), np.zeros(len(flat)), material)
    assert p.min() > 0.0
    stress = stress.reshape(*basis.dx.shape, 4)
    force = np.zeros_like(mesh.x)
    gradients = np.stack([np.asarray(basis.basis[a][0].grad) for a in range(6)])
    values = np.stack([np.broadcast_to(np.asarray(basis.basis[a][0]), basis.dx.shape) for a in range(6)])
    for a in range(6):
        gx, gy = gradients[a]
        np.add.at(
            force[:, 0], mesh.cells[:, a], np.sum((gx * stress[..., 0] + gy * stress[..., 3]) * basis.dx, 1)
        )
        np.add.at(
            force[:, 1], mesh.cells[:, a], np.sum((gy * stress[..., 1] + gx * stress[..., 3]) * basis.dx, 1)
        )
    held = np.zeros(mesh.x.shape, dtype=bool)
    held[mesh.nodes_of(LEFT)] = True
    one_step = Control(load_steps=1, max_halvings=0, max_iterations=30, tolerance=1e-11)
    u = solve(Stiffness(mesh, held), material, force, one_step).u[mesh.cells]  # (cells, 6, 2)
    miss = np.einsum("acq,cai->icq", values, u) - exact_u
    slope = np.einsum("ajcq,cai->ijcq", gradients, u)
    strain = np.stack([slope[0, 0], slope[1, 1], slope[0, 1] + slope[1, 0]], axis=-1) - exact_strain
    return np.sqrt(np.sum(miss**2 * basis.dx)), np.sqrt(np.sum(strain**2 * basis.dx[..., None]))


def test_convergence_orders_of_quadratic_elements_with_plastic_flow_everywhere():
    sizes = np.array([4, 8, 16])
    errors = np.array([manufactured_errors(n) for n in sizes])
    orders = -np.polyfit(np.log(sizes), np.log(errors), 1)[0]
    assert orders[0] >= 3.0 - 0.1
    assert orders[1] >= 2.0 - 0.1


def bar(force_per_length, material, control=None):
    mesh = grid(6, 3)
    held = np.zeros(mesh.x.shape, dtype=bool)
    held[mesh.nodes_of(LEFT), 0] = True
    held[0, 1] = True
    system = Stiffness(mesh, held)
    force = edge_force(mesh, RIGHT, (force_per_length, 0.0))
    return system, held, force, solve(system, material, force, control)


def test_homogeneous_bar_carries_the_traction_and_balances_forces():
    system, held, force, state = bar(320e6, Material(200e9, 0.3, 250e6, 4e9))
    np.testing.assert_allclose(state.stress[..., 0], 320e6, rtol=1e-7)
    np.testing.assert_allclose(state.stress[..., [1, 3]], 0.0, atol=10.0)
    assert state.equivalent.min() > 1e-3
    inner = system.force(state.stress)
    np.testing.assert_allclose(inner[held].sum(), -force.sum(), rtol=1e-8)
    assert np.abs((inner - force)[~held]).max() < 1e-8 * np.linalg.norm(force)


def test_elastic_load_is_exact_whatever_the_steps():
    material = Material(200e9, 0.3, 250e6, 4e9)
    states = [bar(100e6, material, Control(load_steps=n))[3] for n in (1, 7)]
    np.testing.assert_array_equal(states[0].u, states[1].u)
    assert states[0].equivalent.max() == 0.0
    assert states[0].steps == 0
    np.testing.assert_allclose(states[0].stress[..., 2], 0.3 * 100e6, rtol=1e-9)


def test_load_past_the_plastic_limit_is_reported_with_its_reason():
    with pytest.raises(NotConverged, match=r"(past the plastic limit|plastic strain reaches)"):
        bar(400e6, Material(200e9, 0.3, 250e6, 0.0))


def test_large_plastic_strain_is_refused():
    with pytest.raises(
        NotConverged, match=r"plastic strain reaches .* expected at most 0.2 for small strain"
    ):
        bar(800e6, Material(200e9, 0.3, 250e6, 1e9))


def test_bad_control_load_and_support_are_input_errors():
    with pytest.raises(InputError, match="load_steps 0"):
        Control(load_steps=0)
    with pytest.raises(InputError, match=r"tolerance -1\.0"):
        Control(tolerance=-1.0)
    with pytest.raises(InputError, match="the force has values that are not finite"):
        bar(np.nan, Material(200e9, 0.3, 250e6, 4e9))
    mesh = grid(2, 2)
    with pytest.raises(InputError, match="0 displacement components are held, expected at least 3"):
        Stiffness(mesh, np.zeros(mesh.x.shape, dtype=bool))
