"""Scores of fields against closed forms: polynomials, single modes, constants, alternating errors."""

import numpy as np
import pytest

from kernels.metrics.coverage import interval_scores
from kernels.metrics.fields import boundary_error, max_error, mean_error, relative_h1, relative_l2
from kernels.metrics.measures import GridMeasure, MeshMeasure
from kernels.metrics.spectrum import band_energies, spectral_errors

RANDOM = np.random.default_rng(3)
UNEVEN = np.sort(np.append(RANDOM.uniform(0.0, 2.0, 11), [0.0, 2.0]))


def even(*counts: int, periodic: bool = False) -> GridMeasure:
    return GridMeasure(tuple(np.linspace(0.0, 1.0, n, endpoint=not periodic) for n in counts), periodic)


def square_mesh(n: int = 7, warp: float = 0.05) -> MeshMeasure:
    s = np.linspace(0.0, 1.0, n)
    x = np.stack(np.meshgrid(s, s, indexing="ij"), axis=-1).reshape(-1, 2)
    inner = ((x > 0.0) & (x < 1.0)).all(axis=1)
    x[inner] += warp * RANDOM.uniform(-1.0, 1.0, (int(inner.sum()), 2))
    corner = (np.arange(n - 1)[:, None] * n + np.arange(n - 1)).ravel()
    lower = np.stack([corner, corner + n, corner + n + 1], axis=1)
    upper = np.stack([corner, corner + n + 1, corner + 1], axis=1)
    return MeshMeasure(x, np.concatenate([lower, upper]).astype(np.int32))


MEASURES = {
    "even": (even(9, 6), (9, 6)),
    "uneven": (GridMeasure((UNEVEN, np.array([0.0, 0.1, 1.0]))), (13, 3)),
    "periodic": (even(8, 6, periodic=True), (8, 6)),
    "line": (even(12), (12,)),
    "mesh": (square_mesh(), (49,)),
}


@pytest.mark.parametrize("name", MEASURES)
def test_a_scaled_field_has_the_error_of_its_scale_in_every_score(name):
    measure, shape = MEASURES[name]
    truth = 1.0 + RANDOM.random((3, *shape))
    error = 0.25 * truth
    for score in (relative_l2, relative_h1, mean_error):
        np.testing.assert_allclose(score(measure, truth, error), 0.25, rtol=1e-12)
    np.testing.assert_allclose(max_error(truth, -error), 0.25, rtol=1e-12)
    expected = np.nan if name == "periodic" else 0.25
    np.testing.assert_allclose(boundary_error(measure, truth, error), expected, rtol=1e-12)


@pytest.mark.parametrize("name", MEASURES)
def test_zero_truth_has_no_relative_error(name):
    measure, shape = MEASURES[name]
    zero, error = np.zeros((2, *shape)), np.ones((2, *shape))
    for score in (relative_l2, relative_h1, mean_error, boundary_error):
        assert np.isnan(score(measure, zero, error)).all()
    assert np.isnan(max_error(zero, error)).all()


@pytest.mark.parametrize("name", ["even", "uneven", "line", "mesh"])
def test_integrals_of_linear_fields_are_exact(name):
    measure, shape = MEASURES[name]
    if isinstance(measure, GridMeasure):
        extent = [axis[-1] - axis[0] for axis in measure.axes]
        grids = np.meshgrid(*[axis / e for axis, e in zip(measure.axes, extent, strict=True)], indexing="ij")
    else:
        grids = list(measure.x.T)
    slopes = np.arange(2.0, 2.0 + len(grids))
    u = (1.0 + sum(s * g for s, g in zip(slopes, grids, strict=True)))[None]
    assert u.shape[1:] == shape
    np.testing.assert_allclose(measure.mean(u), 1.0 + slopes.sum() / 2.0, rtol=1e-12)
    np.testing.assert_allclose(measure.gradient_square(u), (slopes**2).sum(), rtol=1e-12)


def test_on_a_mesh_the_norm_of_a_linear_field_is_exact():
    measure = square_mesh()
    u = (measure.x[:, 0] - 2.0 * measure.x[:, 1])[None]
    np.testing.assert_allclose(measure.square(u), 1.0 / 3.0 - 1.0 + 4.0 / 3.0, rtol=1e-12)


def test_on_even_grids_the_error_is_the_published_one():
    truth, error = RANDOM.standard_normal((2, 4, 9, 6))
    flat = [np.linalg.norm(v.reshape(4, -1), axis=1) for v in (error, truth)]
    np.testing.assert_allclose(relative_l2(MEASURES["even"][0], truth, error), flat[0] / flat[1], rtol=1e-13)


def test_h1_of_a_sine_tends_to_its_closed_form():
    found = []
    for n in (33, 65):
        x = np.linspace(0.0, 1.0, n)
        truth, error = np.sin(np.pi * x)[None], np.sin(4.0 * np.pi * x)[None]
        found.append(float(relative_h1(GridMeasure((x,)), truth, error)[0]))
    exact = np.sqrt((1.0 + 16.0 * np.pi**2) / (1.0 + np.pi**2))
    assert abs(found[1] - exact) < 0.3 * abs(found[0] - exact) < 0.02 * exact


def test_h1_sees_an_error_that_alternates():
    measure, x = even(16, periodic=True), np.arange(16) / 16
    truth, error = np.sin(2.0 * np.pi * x)[None], 1e-2 * (-1.0) ** np.arange(16)[None]
    assert relative_h1(measure, truth, error)[0] > 4.0 * relative_l2(measure, truth, error)[0]


def test_a_boundary_that_is_zero_is_measured_by_the_whole_field():
    x = np.linspace(0.0, 1.0, 9)
    truth = np.sin(np.pi * x)[None]
    error = np.where((x == 0.0) | (x == 1.0), 0.1, 0.0)[None]
    expected = 0.1 / np.sqrt((truth**2).mean())
    np.testing.assert_allclose(boundary_error(GridMeasure((x,)), truth, error), expected, rtol=1e-12)
    assert boundary_error(GridMeasure((x,)), truth, np.sin(np.pi * x)[None] * (x > 0) * (x < 1))[0] == 0.0


def test_boundary_nodes_of_a_mesh_are_those_of_the_outline():
    measure = square_mesh()
    np.testing.assert_array_equal(measure.boundary, ((measure.x == 0.0) | (measure.x == 1.0)).any(axis=1))


def test_mean_error_of_a_field_that_cancels_keeps_a_scale():
    x = np.arange(32) / 32
    truth = np.sin(2.0 * np.pi * x)[None]
    np.testing.assert_allclose(
        mean_error(even(32, periodic=True), truth, np.full((1, 32), 0.02)), 0.02 * np.pi / 2.0, rtol=1e-2
    )


@pytest.mark.parametrize("periodic", [True, False])
def test_bands_add_up_to_the_field_and_to_the_relative_error(periodic):
    measure = even(9, 12, periodic=periodic)
    truth, error = RANDOM.standard_normal((2, 3, 9, 12))
    np.testing.assert_allclose(
        band_energies(measure, truth).sum(axis=1), (truth**2).mean(axis=(1, 2)), rtol=1e-12
    )
    _, shares = spectral_errors(measure, truth, error)
    np.testing.assert_allclose(
        np.sqrt((shares**2).sum(axis=1)), relative_l2(measure, truth, error), rtol=1e-12
    )


@pytest.mark.parametrize(("wave", "band"), [(1, 0), (3, 0), (4, 1), (7, 1), (8, 2), (12, 2)])
def test_a_single_mode_lies_in_its_band(wave, band):
    periodic = np.cos(2.0 * np.pi * wave * np.arange(24) / 24)[None]
    assert np.argmax(band_energies(even(24, periodic=True), periodic)) == band
    half = np.cos(np.pi * wave * (np.arange(13) + 0.5) / 13)[None]
    assert np.argmax(band_energies(even(13), half)) == band
    both = np.full((1, 24, 24), 1.0) * periodic[:, :, None]
    np.testing.assert_allclose(
        band_energies(even(24, 24, periodic=True), both)[0, band], (periodic**2).mean(), rtol=1e-12
    )


def test_a_missed_band_has_error_one_and_an_empty_band_none():
    x = np.arange(24) / 24
    low, high = np.cos(2.0 * np.pi * x), 1e-3 * np.cos(2.0 * np.pi * 11 * x)
    own, _ = spectral_errors(even(24, periodic=True), (low + high)[None], -high[None])
    np.testing.assert_allclose(own[0, [0, 2]], [0.0, 1.0], atol=1e-9)
    assert np.isnan(own[0, 1])


def test_bands_are_not_defined_on_an_uneven_grid():
    own, shares = spectral_errors(GridMeasure((UNEVEN,)), np.ones((2, 13)), np.ones((2, 13)))
    assert np.isnan(own).all()
    assert np.isnan(shares).all()


def test_coverage_of_known_intervals():
    error = np.array([[0.5, -1.5, 2.5, 1.0], [0.1, 0.1, -0.1, 0.0]])
    points, whole, width = interval_scores(error, np.ones((2, 4)), np.array([1.0, 2.0, 3.0]))
    np.testing.assert_array_equal(points, [[0.5, 1.0], [0.75, 1.0], [1.0, 1.0]])
    np.testing.assert_array_equal(whole, [[0.0, 1.0], [0.0, 1.0], [1.0, 1.0]])
    np.testing.assert_array_equal(width, [[2.0, 2.0], [4.0, 4.0], [6.0, 6.0]])


def test_coverage_of_a_gaussian_is_its_level():
    error = RANDOM.standard_normal((4, 50_000))
    points, whole, _ = interval_scores(error, np.ones_like(error), np.array([1.6448536269514722]))
    np.testing.assert_allclose(points, 0.9, atol=0.006)
    assert not whole.any()


def test_mesh_measure_of_a_tetrahedron():
    x = np.vstack([np.zeros(3), np.eye(3)])
    measure = MeshMeasure(x, np.array([[0, 1, 2, 3]], dtype=np.int32))
    u = (x @ np.array([1.0, 2.0, 3.0]))[None]
    np.testing.assert_allclose(measure.gradient_square(u), 14.0, rtol=1e-12)
    np.testing.assert_allclose(measure.mean(u), 1.5, rtol=1e-12)


def test_time_beside_a_periodic_axis_has_ends():
    time, x = np.linspace(0.0, 1.0, 9), np.arange(16) / 16
    measure = GridMeasure((time, x), (False, True))
    truth = np.broadcast_to(time[:, None], (1, 9, 16))  # grows in time: no jump from the last to the first
    np.testing.assert_allclose(measure.gradient_square(truth), 1.0, rtol=1e-12)
    np.testing.assert_allclose(measure.mean(truth), 0.5, rtol=1e-12)
    assert measure.boundary is None
    wave = np.broadcast_to(np.cos(2 * np.pi * 7 * x), (1, 9, 16))
    low, middle, high = band_energies(measure, wave)[0]
    assert (low, middle) == pytest.approx((0.0, 0.0), abs=1e-12)
    assert high == pytest.approx(0.5)
