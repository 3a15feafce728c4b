"""Small meshes of every kind, a brute-force closest point, and real meshes."""

import importlib.util
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest


def _load(name):
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def su2_reader():
    return _load("su2_reader")


@pytest.fixture(scope="session")
def read_mesh(reference_data, su2_reader):
    reader, cache = su2_reader, {}

    def read(name):
        if name not in cache:
            cache[name] = reader.read_su2(reference_data / "su2" / name)
        return cache[name]

    return read


def _ring(rings=6, around=24):
    """Annulus graded by 20 between its inner and outer edge: a mesh with a hole."""
    radius = 0.3 + 0.7 * (np.geomspace(1, 20, rings + 1) - 1) / 19
    angle = np.linspace(0, 2 * np.pi, around, endpoint=False)
    points = np.stack([np.outer(radius, np.cos(angle)), np.outer(radius, np.sin(angle))], axis=-1)
    points = points.reshape(-1, 2)
    cells = []
    for i in range(rings):
        for j in range(around):
            a, b = i * around + j, i * around + (j + 1) % around
            c, d = a + around, b + around
            cells += [[a, c, d], [a, d, b]]
    return points, np.array(cells)


def _torus(around=14, across=9):
    u, v = np.meshgrid(
        *(np.linspace(0, 2 * np.pi, n, endpoint=False) for n in (around, across)), indexing="ij"
    )
    radius = 1 + 0.4 * np.cos(v)
    points = np.stack([radius * np.cos(u), radius * np.sin(u), 0.4 * np.sin(v)], axis=-1).reshape(-1, 3)
    cells = []
    for i in range(around):
        for j in range(across):
            a, b = i * across + j, ((i + 1) % around) * across + j
            c, d = i * across + (j + 1) % across, ((i + 1) % around) * across + (j + 1) % across
            cells += [[a, b, d], [a, d, c]]
    return points, np.array(cells)


def _brick(n=3):
    """Graded brick without one corner cube: Kuhn's six tetrahedra a cube, positive volumes."""
    axis = np.linspace(0, 1, n + 1) ** 2
    points = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    index = np.arange((n + 1) ** 3).reshape(n + 1, n + 1, n + 1)
    steps = np.eye(3, dtype=int)
    cells = []
    for corner in np.ndindex(n, n, n):
        if corner == (n - 1, n - 1, n - 1):
            continue
        for path in ((0, 1, 2), (1, 2, 0), (2, 0, 1), (0, 2, 1), (2, 1, 0), (1, 0, 2)):
            moves = np.cumsum(steps[list(path)], axis=0)
            walk = np.array(corner) + np.concatenate([np.zeros((1, 3), int), moves])
            tet = [int(index[tuple(w)]) for w in walk]
            even = path in ((0, 1, 2), (1, 2, 0), (2, 0, 1))
            cells.append(tet if even else [tet[0], tet[1], tet[3], tet[2]])
    return points[:-1], np.array(cells)  # the last node is that of the missing cube


@pytest.fixture(scope="session")
def meshes():
    """Points and cells of each kind."""
    return {"plane": _ring(), "surface": _torus(), "tetrahedra": _brick()}


@pytest.fixture(scope="session")
def brute_distance():
    """Distance of targets to a mesh: least squares on the hull of every subset of corners of every cell."""

    def distance(points, cells, targets):
        best = np.full(len(targets), np.inf)
        for cell in cells:
            for size in range(1, len(cell) + 1):
                for subset in combinations(cell, size):
                    base, edges = points[subset[0]], points[list(subset[1:])] - points[subset[0]]
                    weights = np.zeros((len(targets), 0))
                    if size > 1:
                        weights = (targets - base) @ np.linalg.pinv(edges)
                    valid = (weights >= -1e-14).all(axis=1) & (weights.sum(axis=1) <= 1 + 1e-14)
                    gap = np.linalg.norm(base + weights @ edges - targets, axis=1)
                    best = np.where(valid & (gap < best), gap, best)
        return best

    return distance
