"""Small data sets of operator learning whose numbers are known, on grids and on meshes."""

import numpy as np
import xarray as xr

from stages.base import variable


def grid_set(samples: int = 12, points: int = 5, seed: int = 0, name: str = "run") -> xr.Dataset:
    """Input `a`, output `u` on a grid, parameter `load`."""
    random = np.random.default_rng(seed)
    shape = (samples, points, points + 1)
    units = {"units": "m"}
    return xr.Dataset(
        {
            "a": (("sample", "y", "x"), 3.0 + random.standard_normal(shape), {"role": "input", "units": "1"}),
            "u": (("sample", "y", "x"), random.standard_normal(shape), {"role": "field", "units": "Pa"}),
            "load": (("sample",), random.uniform(1.0, 2.0, samples), {"role": "parameter", "units": "N"}),
            "sample_name": variable("sample_name", np.array([f"{name}_{i:04d}" for i in range(samples)])),
        },
        coords={
            "y": ("y", np.linspace(0.0, 1.0, points), units),
            "x": ("x", np.linspace(0.0, 2.0, points + 1), units),
        },
    )


def mesh_set(samples: int = 6, seed: int = 0) -> xr.Dataset:
    """Strips of triangles of different sizes with a nodal input `f` and output `u`."""
    random = np.random.default_rng(seed)
    columns = random.integers(3, 7, samples)
    x, cells = [], []
    for n in columns:
        across, up = np.meshgrid(np.sort(random.uniform(0.0, 1.0, n)), [0.0, 0.1])
        x.append(np.stack([across.ravel(), up.ravel()], axis=1))
        low = np.arange(n - 1)
        cells.append(np.concatenate([
            np.stack([low, low + 1, low + n + 1], axis=1), np.stack([low, low + n + 1, low + n], axis=1),
        ]))  # fmt: skip
    nodes = np.concatenate(x)
    return xr.Dataset(
        {
            "sample_name": variable("sample_name", np.array([f"mesh_{i}" for i in range(samples)])),
            "node_count": variable("node_count", 2 * columns),
            "cell_count": variable("cell_count", 2 * (columns - 1)),
            "x": variable("x", nodes),
            "connectivity": variable("connectivity", np.concatenate(cells)),
            "dirichlet": variable("dirichlet", (nodes[:, 1] == 0.0).astype(np.int8)),
            "f": ("node", random.standard_normal(len(nodes)), {"role": "input", "units": "N"}),
            "u": ("node", random.standard_normal(len(nodes)), {"role": "field", "units": "m"}),
        }
    )
