import numpy as np
import pytest
from scipy import linalg, sparse

from kernels.errors import InputError
from kernels.reduction.basis import Truncation, orthonormalise, project
from kernels.reduction.pod import snapshot_pod
from kernels.reduction.products import apply_mass
from kernels.reduction.randomised import randomised_pod
from kernels.reduction.snapshots import Snapshots

NODES, SAMPLES = 83, 24


def bars(nodes: int = NODES) -> sparse.csr_array:
    """Mass matrix of linear elements on a line of unequal cells."""
    width = 0.5 + np.random.default_rng(1).random(nodes - 1)
    main = np.zeros(nodes)
    main[:-1] += width / 3.0
    main[1:] += width / 3.0
    return sparse.csr_array(sparse.diags_array([width / 6.0, main, width / 6.0], offsets=[-1, 0, 1]))


MASS = bars()
ROOT = linalg.sqrtm(MASS.toarray()).real


def snapshots(singular: np.ndarray, seed: int = 0) -> np.ndarray:
    """Snapshots whose centred singular values in the mass norm are given, about a mean of 3."""
    random = np.random.default_rng(seed)
    ones = np.ones((SAMPLES, 1))
    left = linalg.qr(np.hstack([ones, random.standard_normal((SAMPLES, singular.size))]), mode="economic")[0][
        :, 1:
    ]
    right = linalg.qr(random.standard_normal((NODES, singular.size)), mode="economic")[0]
    return 3.0 + linalg.solve(ROOT, right * singular).dot(left.T).T


def reader(rows: np.ndarray):
    return lambda start, stop: rows[start:stop]


RANDOM = np.random.default_rng(3).standard_normal((SAMPLES, NODES))


def test_modes_are_those_of_the_weighted_svd():
    centred = RANDOM - RANDOM.mean(axis=0)
    _, singular, right = np.linalg.svd(centred @ ROOT, full_matrices=False)
    basis = snapshot_pod(reader(RANDOM), SAMPLES, MASS, Truncation(count=9))
    np.testing.assert_allclose(basis.singular_values, singular[:9], rtol=1e-12)
    overlap = np.abs(np.einsum("kn,kn->k", basis.modes @ ROOT, right[:9]))
    np.testing.assert_allclose(overlap, 1.0, atol=1e-11)
    np.testing.assert_allclose(basis.total_energy, (singular**2).sum(), rtol=1e-12)
    np.testing.assert_allclose(basis.mean, RANDOM.mean(axis=0), atol=1e-14)


def test_small_singular_values_survive_the_squaring():
    singular = 10.0 ** np.linspace(0.0, -11.0, 12)
    basis = snapshot_pod(reader(snapshots(singular) - 3.0), SAMPLES, MASS, Truncation(count=12))
    np.testing.assert_allclose(basis.singular_values, singular, rtol=1e-3, atol=0.0)
    np.testing.assert_allclose(basis.modes @ (MASS @ basis.modes.T), np.eye(12), atol=1e-12)


def test_rounding_gives_no_modes():
    basis = snapshot_pod(reader(snapshots(np.array([1.0, 0.1, 0.01]))), SAMPLES, MASS, Truncation(count=10))
    assert len(basis.modes) == 3
    constant = snapshot_pod(reader(np.full((SAMPLES, NODES), 7.3)), SAMPLES, MASS, Truncation(count=5))
    assert constant.modes.shape == (0, NODES)
    assert constant.captured == 1.0


@pytest.mark.parametrize(
    ("truncation", "modes"),
    [
        (Truncation(count=4), 4),
        (Truncation(energy=0.98), 1),
        (Truncation(energy=0.99995), 3),
        (Truncation(tolerance=0.011), 2),
        (Truncation(tolerance=9e-5), 5),
        (Truncation(count=2, energy=0.999999), 2),
        (Truncation(count=500, energy=0.98), 1),
    ],
)
def test_truncation(truncation, modes):
    values = np.array([1.0, 1e-1, 9e-3, 1e-3, 1e-4, 9e-6])
    assert len(snapshot_pod(reader(snapshots(values)), SAMPLES, MASS, truncation).modes) == modes


def test_result_does_not_depend_on_how_the_caller_keeps_the_snapshots():
    pieces = [RANDOM[:1], RANDOM[1:9], RANDOM[9:]]

    def gathered(start, stop):
        return np.concatenate(pieces)[start:stop]

    def backwards(start, stop):
        return np.asfortranarray(RANDOM[start:stop])

    budget = 30 * 8 * NODES
    one = snapshot_pod(reader(RANDOM), SAMPLES, MASS, Truncation(count=6), budget)
    for other in (gathered, backwards):
        two = snapshot_pod(other, SAMPLES, MASS, Truncation(count=6), budget)
        assert np.array_equal(one.modes, two.modes)
        assert np.array_equal(one.singular_values, two.singular_values)


def test_blocked_equals_held():
    tight, wide = (
        snapshot_pod(reader(RANDOM), SAMPLES, MASS, Truncation(count=6), b) for b in (10 * 8 * NODES, 2**30)
    )
    np.testing.assert_allclose(tight.singular_values, wide.singular_values, rtol=1e-13)
    np.testing.assert_allclose(tight.modes, wide.modes, atol=1e-11)


def test_reads_stay_within_the_block():
    largest, passes = 0, 0

    def read(start, stop):
        nonlocal largest, passes
        largest, passes = max(largest, stop - start), passes + stop - start
        return RANDOM[start:stop]

    budget = 16 * 8 * NODES
    snapshot_pod(read, SAMPLES, MASS, Truncation(count=6), budget)
    assert largest <= budget // 16 // (8 * NODES)
    blocks = -(-SAMPLES // Snapshots(reader(RANDOM), SAMPLES, NODES, budget).row_block)
    assert passes <= SAMPLES * (4 + blocks / 2)


def test_peak_memory_stays_within_the_budget_and_the_basis():
    import tracemalloc

    nodes, samples, budget = 20_000, 200, 4 * 2**20
    mass = bars(nodes)

    def read(start, stop):
        return np.stack([np.sin(np.arange(nodes) * 1e-3 * (1 + i % 7)) * (1 + i) for i in range(start, stop)])

    snapshot_pod(read, samples, mass, Truncation(count=3), budget)
    tracemalloc.start()
    snapshot_pod(read, samples, mass, Truncation(count=3), budget)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < budget + 4 * 3 * 8 * nodes + 4 * 8 * samples**2 + 2**20
    assert samples * nodes * 8 > 5 * budget


@pytest.mark.parametrize("budget", [10 * 8 * NODES, 2**30])
def test_randomised_equals_exact_where_the_spectrum_falls(budget):
    rows = snapshots(0.3 ** np.arange(20.0))
    exact = snapshot_pod(reader(rows), SAMPLES, MASS, Truncation(count=8))
    basis = randomised_pod(reader(rows), SAMPLES, MASS, Truncation(count=8), budget, oversampling=6)
    np.testing.assert_allclose(basis.singular_values, exact.singular_values, rtol=1e-9)
    np.testing.assert_allclose(basis.modes, exact.modes, atol=1e-5)
    np.testing.assert_allclose(basis.modes @ (MASS @ basis.modes.T), np.eye(8), atol=1e-12)
    np.testing.assert_allclose(basis.total_energy, exact.total_energy, rtol=1e-12)


def test_randomised_truncates_by_energy_below_its_cap():
    basis = randomised_pod(
        reader(snapshots(np.array([1.0, 0.1, 0.01, 0.001]))),
        SAMPLES,
        MASS,
        Truncation(count=4, tolerance=0.05),
    )
    assert len(basis.modes) == 2


def test_randomised_repeats_and_follows_its_seed():
    one, two, other = (
        randomised_pod(
            reader(RANDOM), SAMPLES, MASS, Truncation(count=3), oversampling=2, power_iterations=0, seed=s
        )
        for s in (5, 5, 6)
    )
    assert np.array_equal(one.modes, two.modes)
    assert not np.allclose(one.modes, other.modes)


def test_projection_and_what_it_misses():
    basis = snapshot_pod(reader(RANDOM), SAMPLES, MASS, Truncation(count=5))
    coefficients, missed = project(reader(RANDOM), SAMPLES, basis, MASS, 10 * 8 * NODES)
    centred = RANDOM - basis.mean
    np.testing.assert_allclose(coefficients, centred @ (MASS @ basis.modes.T), atol=1e-12)
    rest = centred - coefficients @ basis.modes
    norm = np.sqrt(np.einsum("in,in->i", rest @ MASS, rest) / np.einsum("in,in->i", centred @ MASS, centred))
    np.testing.assert_allclose(missed, norm, rtol=1e-12)
    inside = basis.mean + np.array([[1.0, -2.0, 0.5, 0.0, 3.0]]) @ basis.modes
    coefficients, missed = project(reader(np.vstack([inside, basis.mean])), 2, basis, MASS)
    np.testing.assert_allclose(coefficients[0], [1.0, -2.0, 0.5, 0.0, 3.0], atol=1e-12)
    assert missed[0] < 1e-13
    assert missed[1] == 0.0


def test_orthonormalise_leaves_out_dependent_rows():
    rows = np.stack([RANDOM[0], 2.0 * RANDOM[0], RANDOM[1]])
    lower, unit = orthonormalise(rows, MASS)
    assert unit.shape == (2, NODES)
    np.testing.assert_allclose(lower @ unit, rows, atol=1e-12)


def test_mass_product():
    np.testing.assert_allclose(apply_mass(MASS, RANDOM), RANDOM @ MASS.toarray(), atol=1e-13)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Truncation(), "expected one of count, energy, tolerance"),
        (lambda: Truncation(count=0), "expected at least 1"),
        (lambda: Truncation(energy=1.2), r"expected a part in \(0, 1\]"),
        (lambda: Truncation(tolerance=-1.0), r"expected a value in \[0, 1\)"),
        (
            lambda: snapshot_pod(reader(RANDOM), SAMPLES, MASS, Truncation(count=24)),
            "24 modes were asked for and 24 training samples",
        ),
        (
            lambda: randomised_pod(reader(RANDOM), SAMPLES, MASS, Truncation(energy=0.9)),
            "was given no count of modes",
        ),
        (lambda: Snapshots(reader(RANDOM), SAMPLES, NODES, 100), "raise the budget"),
        (lambda: Snapshots(reader(RANDOM), 0, NODES, 2**20), "0 snapshots of 83 values"),
        (lambda: Snapshots(reader(RANDOM), SAMPLES, NODES - 1, 2**20), "same mesh"),
        (
            lambda: Snapshots(reader(np.where(RANDOM > 2.5, np.nan, RANDOM)), SAMPLES, NODES, 2**20),
            "not finite",
        ),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()
