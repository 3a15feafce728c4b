"""A tiny reader of SU2 meshes for tests and benchmarks, and the pair of airfoils that both morph."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from kernels.mesh.control_points import counter_clockwise, match_airfoil, order_airfoil
from kernels.mesh.laplacian import laplacian_morph
from kernels.mesh.rbf import rbf_morph
from kernels.mesh.topology import boundary_loops, orient, split_quads

_CORNERS = {5: 3, 9: 4}


def first_diagonal(quads: np.ndarray, _points: np.ndarray) -> np.ndarray:
    """Every quadrilateral cut from its first corner to its third."""
    return np.concatenate([quads[:, :3], quads[:, [0, 2, 3]]])


def read_su2(path: Path, cut: Callable[..., np.ndarray] = split_quads) -> tuple[np.ndarray, np.ndarray]:
    """Points (n, 2) and counter-clockwise triangles (m, 3)."""
    rows = _rows(path)
    triangles, quads, points = [], [], []
    for row in rows:
        key, _, value = row.partition("=")
        if key.strip() == "NELEM":
            for _ in range(int(value)):
                kind, *nodes = map(int, next(rows).split())
                corners = nodes[: _CORNERS[kind]]
                (triangles if kind == 5 else quads).append(corners)
        elif key.strip() == "NPOIN":
            for _ in range(int(value.split()[0])):
                points.append([float(v) for v in next(rows).split()[:2]])
    xs = np.array(points)
    cells = np.array(triangles, dtype=np.int64).reshape(-1, 3)
    halves = cut(np.array(quads, dtype=np.int64).reshape(-1, 4), xs)
    return xs, orient(xs, np.concatenate([cells, halves]))


def read_markers(path: Path) -> dict[str, np.ndarray]:
    """Nodes of each marker."""
    markers, tag, rows = {}, "", _rows(path)
    for row in rows:
        key, _, value = (part.strip() for part in row.partition("="))
        if key == "MARKER_TAG":
            tag = value
        elif key == "MARKER_ELEMS":
            edges = [next(rows).split()[1:3] for _ in range(int(value))]
            markers[tag] = np.unique(np.array(edges, dtype=np.int64))
    return markers


def _rows(path: Path) -> Iterator[str]:
    lines = (line.split("%")[0].strip() for line in path.read_text().splitlines())
    return iter([line for line in lines if line])


class Airfoils:
    """NACA 0012 with its mesh, to become RAE 2822; `folder` holds both meshes."""

    def __init__(self, folder: Path) -> None:
        own, other = folder / "mesh_NACA0012_inv.su2", folder / "mesh_RAE2822_turb.su2"
        self.points, self.cells = read_su2(own)
        self._other = read_su2(other)
        self._markers, self._other_markers = read_markers(own), read_markers(other)

    def controls(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Ordered nodes of the airfoil and of the far field, ordered points of the other airfoil."""
        foil = order_airfoil(self.points, _loop(self.cells, self._markers["airfoil"]))
        far = counter_clockwise(self.points, _loop(self.cells, self._markers["farfield"]))
        points, cells = self._other
        wall = order_airfoil(points, _loop(cells, self._other_markers["AIRFOIL"]))
        return foil, far, points[wall]

    def morph(
        self, method: str, foil: np.ndarray, far: np.ndarray, matched: np.ndarray
    ) -> tuple[np.ndarray, float]:
        """All nodes moved with the airfoil, the far field held; the error at the control points."""
        nodes = np.concatenate([foil, far])
        shift = np.concatenate([matched - self.points[foil], np.zeros((far.size, 2))])
        if method == "rbf":
            return rbf_morph(self.points, self.points[nodes], shift, 4.0)
        return laplacian_morph(self.points, self.cells, nodes, shift)

    def becomes(self, method: str) -> tuple[np.ndarray, float]:
        """The whole way from one airfoil to the other; see `morph`."""
        foil, far, target = self.controls()
        return self.morph(method, foil, far, match_airfoil(self.points[foil], target))


def _loop(cells: np.ndarray, nodes: np.ndarray) -> np.ndarray:
    return next(found for found in boundary_loops(cells) if found[0] in nodes)
