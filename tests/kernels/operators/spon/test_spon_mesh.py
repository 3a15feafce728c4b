import numpy as np
import pytest
import torch
from spon_problems import joined, some, square, uneven, warped

from kernels.errors import InputError
from kernels.operators.spon import Hierarchy
from kernels.operators.spon_mesh import Geometries, Kept, Pattern, coarse, forms, pattern
from kernels.operators.spon_process import Sparse, embedding, gather, operators, prolong, restrict
from kernels.operators.spon_spaces import Space


def made(x: np.ndarray, cells: np.ndarray) -> tuple[list[Sparse], np.ndarray]:
    graph = pattern(cells, len(x))
    values, mass = forms(
        torch.from_numpy(x), torch.from_numpy(cells), graph.slot, len(graph.start), graph.pointer
    )
    matrices = [
        Sparse(graph.start, graph.pointer, v, graph.start, graph.pointer, v[graph.back]) for v in values
    ]
    return matrices, mass.numpy()


def test_forms_are_those_of_the_space():
    x, cells = uneven()
    matrices, mass = made(x, cells)
    space, unit = Space(x, cells), torch.eye(len(x), dtype=torch.float64)
    h = np.sqrt(mass)
    np.testing.assert_allclose((matrices[0] @ unit).numpy() * mass[:, None], space.mass.toarray(), atol=1e-14)
    laplace = ((matrices[3] @ unit) + (matrices[5] @ unit)).numpy()
    np.testing.assert_allclose(laplace * (mass / h**2)[:, None], space.stiffness.toarray(), atol=1e-12)
    for k in range(2):
        slope = (matrices[1 + k] @ torch.from_numpy(x)).numpy() / h[:, None]
        np.testing.assert_allclose(slope, np.eye(2)[k] * np.ones((len(x), 1)), atol=1e-12)


def test_the_way_back_is_the_transpose():
    matrices, _ = made(*uneven(points=5))
    x = torch.randn(len(uneven(points=5)[0]), 2, dtype=torch.float64, requires_grad=True)
    for matrix in matrices:
        assert torch.autograd.gradcheck(lambda v, a=matrix: a @ v, x)


@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_coarse_functions_that_are_linear_are_exact_at_the_nodes(dimension: int):
    position = torch.rand(20, dimension, dtype=torch.float64) * 2 - 1
    numbers, weights = coarse(position, 4)
    line = torch.linspace(-1, 1, 5, dtype=torch.float64)
    points = torch.stack([g.ravel() for g in torch.meshgrid(*[line] * dimension, indexing="ij")], 1)
    np.testing.assert_allclose((weights[..., None] * points[numbers]).sum(1), position, atol=1e-14)


@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_coarse_spaces_are_nested_and_restriction_is_the_transpose(dimension: int):
    few = torch.rand(2, 3, *[5] * dimension, dtype=torch.float64)
    many = prolong(few, torch.Size([9] * dimension))
    position = torch.rand(30, dimension, dtype=torch.float64) * 2 - 1
    values = []
    for function, cells in ((few, 4), (many, 8)):
        numbers, weights = coarse(position, cells)
        values.append((function[0, 0].ravel()[numbers] * weights).sum(1))
    np.testing.assert_allclose(values[1], values[0], atol=1e-14)
    other = torch.rand_like(many)
    assert float((gather(other) * few).sum()) == pytest.approx(float((other * many).sum()), rel=1e-12)
    mass = torch.rand(2, 1, *[9] * dimension, dtype=torch.float64)
    constant = restrict(torch.ones_like(many), mass, gather(mass))
    np.testing.assert_allclose(constant, 1.0, atol=1e-12)


def test_lowering_keeps_constants_and_integrals():
    batch = joined(some())
    geometry = Geometries(16)(batch.mesh)
    hierarchy = Hierarchy(geometry, 2, 3, torch.float64)
    ones = torch.ones(len(batch.mesh.x), 1, dtype=torch.float64)
    low = hierarchy.lower(ones)
    inside = hierarchy.masses[0] > 0
    np.testing.assert_allclose(low[inside], 1.0, atol=1e-6)
    np.testing.assert_allclose(hierarchy.lift(low), 1.0, atol=1e-5)
    for mass in hierarchy.masses:
        np.testing.assert_allclose(mass.flatten(1).sum(1), 1.0, atol=1e-6)
    assert inside.float().mean() < 1.0


def test_the_embedding_and_its_transpose_belong_together():
    batch = joined(some(2))
    matrix = embedding(Geometries(4)(batch.mesh), torch.float64)
    x = torch.rand(2 * 25, 2, dtype=torch.float64)
    y = torch.rand(len(batch.mesh.x), 2, dtype=torch.float64)
    assert float(((matrix @ x) * y).sum()) == pytest.approx(
        float((x * (matrix.transposed @ y)).sum()), rel=1e-12
    )


def test_a_topology_is_kept_once_for_meshes_that_move():
    geometries = Geometries(4)
    samples = [(*warped(4, shift), np.zeros(25), np.zeros(25), 0.0) for shift in (0.0, 0.1, 0.2)]
    first = geometries(joined(samples).mesh)
    kinds = [type(value) for _, value in geometries.kept._store.values()]
    assert kinds.count(Pattern) == 1
    assert len(kinds) == 4
    again = geometries(joined(samples).mesh)
    assert torch.equal(first.forms, again.forms)
    assert torch.equal(operators(first, torch.float32)[0].by_rows[2], first.forms[0])


def test_what_is_kept_is_bounded():
    graph = pattern(square(3)[1], 16)
    size = sum(t.numel() * t.element_size() for t in vars(graph).values())
    kept = Kept(int(2.5 * size))
    for name in "abab":
        kept.put(name, graph)
    kept.get("a")
    kept.put("c", graph)
    assert kept.get("b") is None
    assert kept.get("a") is graph
    assert kept.bytes == 2 * size
    assert len(kept) == 2
    small = Kept(size - 1)
    small.put("a", graph)
    assert len(small) == 0


def test_a_bad_mesh_is_refused_before_anything_is_computed():
    x, cells = square(2)
    x[:, 1] = 0.0
    batch = joined([(x, cells, np.zeros(9), np.zeros(9), 0.0)])
    with pytest.raises(InputError, match="cells are degenerate"):
        Geometries(4)(batch.mesh)
