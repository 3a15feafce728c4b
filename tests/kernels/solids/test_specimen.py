import numpy as np
import pytest

from kernels.errors import InputError
from kernels.solids.specimen import TAGS, Specimen, mesh_specimen
from kernels.solids.triangles import split

BAR = Specimen(0.1, 0.04, 0.006, 0.04, 0.005, 0.06)


def test_area_boundary_and_orientation():
    mesh = mesh_specimen(BAR, 0.005, 12)
    exact = 0.1 * 0.04 - 0.5 * np.pi * (0.006**2 + 0.005**2)
    assert abs(mesh.weights.sum() / exact - 1.0) < 1e-5
    triangles, facets, tags = split(mesh)
    x = mesh.x[triangles]
    u, v = x[:, 1] - x[:, 0], x[:, 2] - x[:, 0]
    areas = 0.5 * (u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0])
    assert areas.min() > 0.0
    assert abs(areas.sum() / exact - 1.0) < 1e-3
    assert set(tags) == set(TAGS.values())
    assert sorted(facets[:, 0]) == sorted(facets[:, 1])  # closed loops
    step = mesh.x[facets[:, 1]] - mesh.x[facets[:, 0]]
    np.testing.assert_allclose(step.sum(axis=0), 0.0, atol=1e-15)
    a, b = mesh.x[facets[:, 0]], mesh.x[facets[:, 1]]
    assert 0.5 * np.sum(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]) > 0.0  # counter-clockwise
    for tag, centre, radius in ((5, (0.04, 0.0), 0.006), (6, (0.06, 0.04), 0.005)):
        distance = np.hypot(*(mesh.x[mesh.nodes_of(tag)] - centre).T)
        np.testing.assert_allclose(distance, radius, rtol=1e-4)
        middles = mesh.edges[mesh.tags == tag, 2]
        np.testing.assert_allclose(np.hypot(*(mesh.x[middles] - centre).T), radius, rtol=1e-12)


def test_same_numbers_give_the_same_mesh_and_the_same_corners():
    one, two = mesh_specimen(BAR, 0.005, 12), mesh_specimen(BAR, 0.005, 12)
    np.testing.assert_array_equal(one.x, two.x)
    np.testing.assert_array_equal(one.cells, two.cells)
    other = mesh_specimen(Specimen(0.1, 0.04, 0.004, 0.05, 0.007, 0.05), 0.005, 12)
    corners = [(0.0, 0.0), (0.1, 0.0), (0.1, 0.04), (0.0, 0.04)]
    place = [int(np.argmin(np.hypot(*(one.x - corner).T))) for corner in corners]
    np.testing.assert_allclose(one.x[place], corners, atol=1e-15)
    np.testing.assert_allclose(other.x[place], corners, atol=1e-15)
    assert place[0] == 0
    for tag in (5, 6):
        assert np.sum(one.tags == tag) == np.sum(other.tags == tag)


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ((0.1, 0.04, 0.006, 0.005, 0.005, 0.06), "notch_1 spans -0.001 to 0.011 m, expected it within"),
        ((0.1, 0.04, 0.019, 0.05, 0.019, 0.05), "leave a ligament of 0.002 m"),
        ((0.1, 0.04, 0.039, 0.05, 0.001, 0.05), "notch_1_radius is 0.039 m, expected below"),
        ((0.1, 0.04, float("nan"), 0.05, 0.005, 0.05), "notch_1_radius is nan"),
    ],
)
def test_impossible_notches_are_refused(values, match):
    with pytest.raises(InputError, match=match):
        Specimen(*values)


def test_impossible_sizes_are_refused():
    with pytest.raises(InputError, match=r"mesh_size is 1\.0 m"):
        mesh_specimen(BAR, 1.0, 12)
    with pytest.raises(InputError, match="notch_segments is 2"):
        mesh_specimen(BAR, 0.005, 2)
