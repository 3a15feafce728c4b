import numpy as np
import pytest
import torch
from scipy.special import ive

from kernels.closures.bingham import build_tables, planar, spatial
from kernels.closures.bingham.exact import moments, solve
from kernels.errors import InputError

# mu1, mu2, S_1111 and S_1122, S_1133, S_2233 of exp(-a2 p_2^2 - a3 p_3^2) / Z for (a2, a3) = (0, 1), (1, 1),
# (1, 5), (3, 3), (0, 20), (10, 30), (30, 30), (5, 500), (200, 300), (2e3, 5e4): mp.quad of mpmath 1.3.0, 30
# digits over the polar angle about axis 1, Bessel functions for the angle about that axis
_REFERENCE = """
0.3731479490981578 0.3731479490981578 0.2350695190881908
    0.07835650636273028 0.05972192364723666 0.05972192364723666
0.429230705827751 0.2853846470861245 0.2853846470861245
    0.07192302937081323 0.07192302937081323 0.05336540442882783
0.5466124434096289 0.3471140323328427 0.4028293459560257
    0.09974920553839312 0.04403389191521004 0.03010506350941427
0.6261853959100828 0.1869073020449586 0.4797593646217081
    0.07321301564418738 0.07321301564418738 0.0284235716001928
0.4875000001300141 0.4875000001300141 0.3569531250901973
    0.1189843750300658 0.01156250000975106 0.01156250000975106
0.9296187267028599 0.05339416302514653 0.8705969715784598
    0.04381122818388567 0.01521052694051444 0.0009101763188288244
0.9660579679805816 0.01697101600970917 0.9344217362482192
    0.01581811586618121 0.01581811586618121 0.0002882250358819891
0.8814786944991879 0.1175201249877765 0.8042023600340606
    0.07639585695114114 0.0008804775139861523 0.0001176959035098393
0.9958242055313371 0.002506324199657166 0.9916839862692374
    0.0024832947033292 0.001656924558770553 4.184269653257454e-06
0.9997399373367468 0.0002500625632241379 0.9994800675686811
    0.0002498724686933807 9.997299372367178e-06 2.500650658282402e-09
"""


def _integrals(a2, a3):
    """mu1, mu2, mu3, S_1122, S_1133, S_2233: polar angle about axis 1 by panels of a Gauss rule, the other
    angle by Bessel functions; `exact` takes axis 3 and no Bessel function."""
    x, weight = np.polynomial.legendre.leggauss(30)
    ends = np.r_[0.0, 2.0 ** np.arange(-9, 1)] * min(np.pi / 2.0, 10.0 / np.sqrt(a2 + 1e-9))
    angle = (ends[:-1, None] + np.diff(ends)[:, None] * (1.0 + x) / 2.0).ravel()
    s2 = np.sin(angle) ** 2
    k = s2 * (a3 - a2) / 2.0
    i0, i1, i2 = (ive(n, k) for n in range(3))
    weight = (np.diff(ends)[:, None] * weight).ravel() * np.sin(angle) * np.exp(-a2 * s2)
    p1, p2, p3 = 1.0 - s2, s2 * (i0 + i1) / 2.0, s2 * (i0 - i1) / 2.0
    terms = [p1 * i0, p2, p3, p1 * p2, p1 * p3, s2 * s2 * (i0 - i2) / 8.0]
    return np.array([weight @ term for term in terms]) / (weight @ i0)


@pytest.fixture(scope="module")
def cases():
    some = np.r_[0.0, np.logspace(-3.0, 5.0, 17)]
    return np.array([_integrals(a, a + more) for a in some for more in some])


@pytest.mark.parametrize("tolerance", [1e-3, 1e-6, 1e-9, 1e-12, spatial.TOLERANCE])
def test_whole_range_against_the_integrals(cases, tolerance):
    given = cases[:, :3] / cases[:, :3].sum(1, keepdims=True)
    found = np.array(spatial.fourth_moment(given[:, 0], given[:, 1], tolerance)).T
    assert np.abs(found[:, 3:] - cases[:, 3:]).max() <= tolerance / 4.0 + 5e-14  # of the Bessel functions
    np.testing.assert_allclose(found[:, 0] + found[:, 3] + found[:, 4], given[:, 0], atol=1e-15)


def test_reference_table():
    mu1, mu2, *expected = np.array(_REFERENCE.split(), float).reshape(-1, 6).T
    found = spatial.fourth_moment(mu1, mu2)
    for given, wanted in zip((found[0], *found[3:]), expected, strict=True):
        np.testing.assert_allclose(given, wanted, rtol=0.0, atol=1e-14)


def test_ends():
    third = 1.0 / 3.0
    np.testing.assert_allclose(spatial.fourth_moment(third, third)[0], 0.2, atol=1e-14)
    np.testing.assert_allclose(spatial.fourth_moment(third, third)[3:], 1.0 / 15.0, atol=1e-14)
    np.testing.assert_array_equal(spatial.fourth_moment(1.0, 0.0), [1.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    oblate = spatial.fourth_moment(0.5, 0.5)
    np.testing.assert_allclose(oblate, [0.375, 0.375, 0.0, 0.125, 0.0, 0.0], atol=1e-15)
    mu1 = np.linspace(0.5, 1.0, 50)
    np.testing.assert_allclose(
        spatial.fourth_moment(mu1, 1.0 - mu1)[0], planar.fourth_moment(mu1), atol=1e-14
    )


def test_patches_meet():
    w = np.linspace(0.0, 1.0, 20)
    sides = []
    for u in (spatial.U0 * (1.0 - 1e-13), spatial.U0 * (1.0 + 1e-13)):
        mu3 = np.full_like(w, (1.0 - u) / 3.0)
        mu1 = (1.0 - mu3 + u * w) / 2.0
        sides.append(np.array(spatial.fourth_moment(mu1, 1.0 - mu1 - mu3)))
    np.testing.assert_allclose(*sides, rtol=0.0, atol=1e-13)


def test_stored_series_are_the_built_ones():
    stored = spatial._tables(1e-30)
    inner = build_tables.inner_coefficients()
    np.testing.assert_allclose(stored[1], inner[:, : stored[1].shape[1], : stored[1].shape[2]], atol=1e-14)
    nodes = [torch.as_tensor(build_tables._points(n)) for n in (7, 5)]
    grid = torch.meshgrid(*nodes, indexing="ij")
    few = torch.as_tensor(build_tables.outer_coefficients((7, 5)))
    found = spatial._series(torch.as_tensor(stored[0]), *grid)
    np.testing.assert_allclose(found, spatial._series(few, *grid), rtol=0.0, atol=1e-13)


def _random(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


def _symmetric(x):
    return x + np.swapaxes(x, -1, -2)


def test_contraction_is_that_of_the_tensor_in_any_frame():
    axes = np.linalg.qr(_random(0, 3, 3))[0]
    a = _symmetric(_random(1, 3, 3))
    mu = np.array([0.55, 0.3, 0.15])
    s1111, s2222, s3333, s1122, s1133, s2233 = spatial.fourth_moment(*mu[:2])
    s = np.zeros((3, 3, 3, 3))
    for i, j, value in ((0, 1, s1122), (0, 2, s1133), (1, 2, s2233)):
        for p in {(i, i, j, j), (i, j, i, j), (i, j, j, i)}:
            s[p] = s[p[::-1]] = s[tuple(i + j - n for n in p)] = value
    for i, value in enumerate((s1111, s2222, s3333)):
        s[i, i, i, i] = value
    turned = np.einsum("ai,bj,ck,dl,ijkl->abcd", axes, axes, axes, axes, s)
    found = spatial.contract(2.0 * axes @ np.diag(mu) @ axes.T, a)
    np.testing.assert_allclose(found, 2.0 * np.einsum("abcd,cd->ab", turned, a), rtol=0.0, atol=1e-13)


def test_frame_indifferent_with_the_trace_of_d_to_a():
    d = _random(2, 200, 3, 3)
    d = d @ np.swapaxes(d, -1, -2)
    a, axes = _symmetric(_random(3, 200, 3, 3)), np.linalg.qr(_random(4, 200, 3, 3))[0]
    back = np.swapaxes(axes, -1, -2)
    plain, turned = spatial.contract(d, a), spatial.contract(axes @ d @ back, axes @ a @ back)
    scale = np.trace(d, axis1=1, axis2=2)[:, None, None]
    np.testing.assert_allclose(turned / scale, (axes @ plain @ back) / scale, rtol=0.0, atol=1e-12)
    inner = (d * a).sum((1, 2))
    np.testing.assert_allclose(np.trace(plain, axis1=1, axis2=2), inner, rtol=0.0, atol=1e-12 * scale.max())
    np.testing.assert_allclose(
        spatial.contract(d, np.broadcast_to(np.eye(3), d.shape)), d, atol=1e-12 * scale.max()
    )


_NEAR = (
    (0.6, 0.3, 0.1), (0.5, 0.25, 0.25), (0.4, 0.4, 0.2), (1 / 3, 1 / 3, 1 / 3), (0.34, 0.33, 0.33),
    (0.40000001, 0.39999999, 0.2), (0.400005, 0.399995, 0.2), (0.9, 0.05, 0.05), (0.49, 0.49, 0.02),
)  # fmt: skip


@pytest.mark.parametrize("mu", _NEAR)
def test_gradient_against_differences_where_eigenvalues_coincide(mu):
    axes = np.linalg.qr(_random(5, 3, 3))[0]
    d = torch.as_tensor(1.5 * axes @ np.diag(mu) @ axes.T)
    a, weight = torch.as_tensor(_symmetric(_random(6, 3, 3))), torch.as_tensor(_random(7, 3, 3))

    def value(d, a):
        return (spatial.contract(d, a) * weight).sum()

    slopes = torch.autograd.grad(value(d.requires_grad_(), a.requires_grad_()), (d, a))
    step = 1e-4
    for turn in (0, 1):
        for i, j in ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2)):
            h = torch.zeros(3, 3, dtype=torch.float64)
            h[i, j] = h[j, i] = 1.0
            moved = [
                value(*(x + (n == turn) * k * step * h for n, x in enumerate((d, a)))) for k in (-2, -1, 1, 2)
            ]
            expected = (moved[0] - 8.0 * moved[1] + 8.0 * moved[2] - moved[3]) / (12.0 * step)
            assert abs((slopes[turn] * h).sum() - expected) < 1e-8


def test_gradient_is_finite_at_the_corners():
    corners = [np.diag(mu) for mu in ((1.0, 0.0, 0.0), (0.5, 0.5, 0.0), (0.7, 0.3, 0.0))]
    d = torch.as_tensor(np.array(corners)).requires_grad_()
    spatial.contract(d, torch.as_tensor(_symmetric(_random(8, 3, 3)))).square().sum().backward()
    assert torch.isfinite(d.grad).all()


def test_distribution_of_given_moments():
    for a2, a3 in ((0.0, 0.0), (0.0, 100.0), (84.0, 90.0), (3.0, 4e4), (2e4, 2e4)):
        given = moments(a2, a3)
        np.testing.assert_allclose(solve(given[1], given[2]), (a2, a3), rtol=1e-12, atol=1e-11)


def test_refusals():
    with pytest.raises(InputError, match="expected eigenvalues mu1 >= mu2 >= 1 - mu1 - mu2 >= 0"):
        spatial.fourth_moment(0.3, 0.5)
    with pytest.raises(InputError, match=r"shape \(2, 2\), expected \(..., 3, 3\)"):
        spatial.contract(np.eye(2), np.eye(2))
    with pytest.raises(InputError, match="tolerance is -1, expected a positive"):
        spatial.fourth_moment(0.5, 0.3, tolerance=-1)
    with pytest.raises(InputError, match=r"mu3 = 0\.0: expected mu1 >= mu2 >= mu3 > 0"):
        solve(0.2, 0.0)
