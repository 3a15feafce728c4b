"""A tiny reader of SU2 meshes for tests: nodes, triangles (quadrilaterals cut in two) and nothing else."""

from pathlib import Path

import numpy as np

from kernels.mesh.topology import orient, split_quads

_CORNERS = {5: 3, 9: 4}


def read_su2(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Points (n, 2) and counter-clockwise triangles (m, 3)."""
    lines = [line.split("%")[0].strip() for line in path.read_text().splitlines()]
    rows = iter([line for line in lines if line])
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
    cut = split_quads(np.array(quads, dtype=np.int64).reshape(-1, 4), xs)
    return xs, orient(xs, np.concatenate([cells, cut]))
