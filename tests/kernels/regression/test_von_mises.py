import numpy as np
import pytest

from kernels.regression.von_mises import drawn_statistics, von_mises


@pytest.mark.parametrize("components", [3, 4, 6])
def test_statistics_are_those_of_every_draw_written_out(components):
    generator = np.random.default_rng(components)
    nodes, count = 150, 40  # two full blocks of nodes and a part of one
    sizes = [2, 1, 3, 2, 1, 2][:components]
    levels = [3.0 * generator.standard_normal(nodes) for _ in sizes]
    modes = [generator.standard_normal((nodes, k)) for k in sizes]
    means = [generator.standard_normal(k) for k in sizes]
    drawn = [mean + 0.3 * generator.standard_normal((count, mean.size)) for mean in means]
    stress = von_mises([level + a @ m.T for level, m, a in zip(levels, modes, drawn, strict=True)])
    average, spread, tops = drawn_statistics(levels, modes, means, drawn)
    np.testing.assert_allclose(average, stress.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(spread, stress.std(axis=0), rtol=1e-9)
    np.testing.assert_allclose(tops, stress.max(axis=1), rtol=1e-12)


def test_small_deviations_do_not_cancel():
    levels, modes = [np.full(3, 1e6), np.zeros(3), np.zeros(3)], [np.ones((3, 1))] * 3
    drawn = [np.array([[-1e-3], [1e-3]]), np.zeros((2, 1)), np.zeros((2, 1))]
    _, spread, _ = drawn_statistics(levels, modes, [np.zeros(1)] * 3, drawn)
    np.testing.assert_allclose(spread, 1e-3, rtol=1e-5)
