import numpy as np
import pytest
from scipy.stats import kstest

from kernels.errors import InputError
from kernels.regression.draws import draws, standard_normals


def test_ten_thousand_draws_give_the_closed_form_variance_at_every_node():
    generator = np.random.default_rng(0)
    modes, std = generator.standard_normal((40, 3000)), np.exp(generator.uniform(-6.0, 1.0, 40))
    mean = generator.standard_normal(40)
    drawn = draws(mean, std, 10_000, seed=3, position=17) @ modes
    closed = (modes**2 * std[:, None] ** 2).sum(axis=0)
    np.testing.assert_allclose(drawn.var(axis=0), closed, rtol=1e-9)
    np.testing.assert_allclose(drawn.mean(axis=0), mean @ modes, atol=1e-9)


def test_each_variable_is_normal_beyond_its_second_moment():
    z = standard_normals(4096, 6, seed=1, position=2)
    for column in z.T:
        assert kstest(column, "norm").statistic < 0.01
    np.testing.assert_allclose((z**4).mean(axis=0), 3.0, rtol=0.05)
    assert np.abs((z[:, 0] * z[:, 1]) ** 2).mean() == pytest.approx(1.0, abs=0.1)


def test_seed_and_position_alone_decide_the_draws():
    first = standard_normals(100, 3, seed=1, position=5)
    np.testing.assert_array_equal(first, standard_normals(100, 3, seed=1, position=5))
    for seed, position in ((1, 6), (2, 5)):
        assert np.abs(first - standard_normals(100, 3, seed=seed, position=position)).max() > 0.1


def test_edges():
    assert standard_normals(4, 0, 0, 0).shape == (4, 0)
    np.testing.assert_array_equal(draws(np.ones(2), np.zeros(2), 8, 0, 0), 1.0)
    with pytest.raises(InputError, match="10 draws of 10 normal variables"):
        standard_normals(10, 10, 0, 0)
    with pytest.raises(InputError, match="two vectors of one length"):
        draws(np.ones(2), np.ones(3), 8, 0, 0)
    with pytest.raises(InputError, match="smallest std -1"):
        draws(np.ones(2), -np.ones(2), 8, 0, 0)
