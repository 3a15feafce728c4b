import numpy as np
import pytest

from kernels.elliptic.plate import Hole, free_plate, mapped_plate
from kernels.elliptic.triangles import ORDER, halved, solve_poisson
from kernels.errors import InputError
from kernels.mesh.topology import cell_measures

HOLE = Hole(0.2, 0.42, 0.55)


def exact(x: np.ndarray, hole: Hole = HOLE) -> tuple[np.ndarray, np.ndarray]:
    """u = x (1 - x) y (1 - y) (distance^2 - radius^2), zero on the sides and on the hole, and f."""
    p, q = x[:, 0], x[:, 1]
    w, wx, wy = p * (1 - p) * q * (1 - q), (1 - 2 * p) * q * (1 - q), p * (1 - p) * (1 - 2 * q)
    d = (p - hole.x1) ** 2 + (q - hole.x2) ** 2 - hole.radius**2
    laplace = 4 * w + 4 * (wx * (p - hole.x1) + wy * (q - hole.x2)) - 2 * d * (p * (1 - p) + q * (1 - q))
    return w * d, -laplace


def rate(sizes: list[float], errors: list[float]) -> float:
    return float(np.polyfit(np.log(sizes), np.log(errors), 1)[0])


def test_fitted_order_on_the_mapped_plate():
    errors, sizes = [], [32, 64, 96]
    for n in sizes:
        plate = mapped_plate(HOLE, n, n // 2)
        u, f = exact(plate.x)
        found = solve_poisson(plate.x, plate.cells, f, plate.boundary)
        errors.append(float(np.sqrt(np.mean((found - u) ** 2))))
    assert rate([1.0 / n for n in sizes], errors) > ORDER - 0.25


def test_fitted_order_on_plates_of_their_own_mesh():
    errors, sizes = [], [0.05, 0.025, 0.0125]
    for h in sizes:
        plate = free_plate(HOLE, h)
        u, f = exact(plate.x)
        found = solve_poisson(plate.x, plate.cells, f, plate.boundary)
        errors.append(float(np.sqrt(np.mean((found - u) ** 2))))
    assert rate(sizes, errors) > ORDER - 0.25


@pytest.mark.parametrize("hole", [HOLE, Hole(0.05, 0.1, 0.9), Hole(0.45, 0.5, 0.5)])
def test_meshes_cover_the_plate_once(hole):
    area = 1.0 - np.pi * hole.radius**2
    for plate in (mapped_plate(hole, 24, 10), free_plate(hole, 0.05)):
        measures = cell_measures(plate.x, plate.cells)
        assert measures.min() > 0.0
        np.testing.assert_allclose(measures.sum(), area, atol=0.01)
        radius = np.hypot(*(plate.x - (hole.x1, hole.x2)).T)
        side = np.abs(plate.x - 0.5).max(axis=1) > 0.5 - 1e-12
        on_hole = radius < hole.radius + 1e-9
        np.testing.assert_array_equal(plate.boundary, side | on_hole)


def test_topology_stays_and_nodes_move_smoothly_with_the_hole():
    first, second = mapped_plate(HOLE, 8, 4), mapped_plate(Hole(0.2001, 0.4201, 0.55), 8, 4)
    np.testing.assert_array_equal(first.cells, second.cells)
    assert 0.0 < np.abs(first.x - second.x).max() < 4e-4


def test_nodes_nest():
    coarse, fine = mapped_plate(HOLE, 8, 4), mapped_plate(HOLE, 24, 12)
    picked = fine.x.reshape(13, 96, 2)[::3, ::3].reshape(-1, 2)
    np.testing.assert_allclose(picked, coarse.x, atol=1e-15)
    plate = free_plate(HOLE, 0.1)
    x, cells, boundary = halved(plate.x, plate.cells, plate.boundary)
    np.testing.assert_array_equal(x[: len(plate.x)], plate.x)
    np.testing.assert_array_equal(boundary[: len(plate.x)], plate.boundary)
    assert len(cells) == 4 * len(plate.cells)
    assert boundary.sum() == 2 * plate.boundary.sum()


@pytest.mark.parametrize(
    ("radius", "x1", "match"),
    [(0.3, 0.2, "at most 0.15 m there"), (0.0, 0.5, "hole_radius is 0.0"), (0.1, 1.2, "at most 0 m there")],
)
def test_holes_that_leave_no_plate_are_refused(radius, x1, match):
    with pytest.raises(InputError, match=match):
        Hole(radius, x1, 0.5)


def test_bad_input_is_refused():
    plate = mapped_plate(HOLE, 4, 2)
    f = np.ones(len(plate.x))
    with pytest.raises(InputError, match="expected some and not all"):
        solve_poisson(plate.x, plate.cells, f, np.ones(len(f), bool))
    with pytest.raises(InputError, match=r"f has shape \(3,\)"):
        solve_poisson(plate.x, plate.cells, f[:3], plate.boundary)
