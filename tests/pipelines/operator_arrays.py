"""Own arrays on grids of two resolutions and on meshes that move, and the configs that read them."""

import numpy as np

GRID = """
source = "arrays"
main = "coarse"

[arrays]
files = [{ path = "train.npz", split = "train" }, { path = "test.npz", split = "test" }]

[arrays.others]
fine = [{ path = "fine.npz", split = "test" }]

[arrays.variables]
load = { array = "x", role = "input", axes = ["sample", "s", "r"], units = "N" }
lift = { array = "y", role = "field", axes = ["sample", "r", "s"], units = "m" }

[arrays.axes]
r = { start = 0.0, stop = 1.0, units = "m" }
s = { start = 0.0, stop = 2.0, units = "m" }
"""

MESH = """
source = "arrays"

[arrays]
files = [{ path = "wings.npz" }]
mesh = { nodes = "points", connectivity = "triangles", dirichlet = "clamped" }

[arrays.variables]
pressure = { role = "input", axes = ["sample", "node"], units = "Pa" }
lift = { role = "field", axes = ["sample", "node"], units = "m" }
span = { role = "parameter", axes = ["sample"], units = "m" }
"""

CANDIDATES = """
[split]
validation = 4
calibration = 6
test = 6

[train_operator]
epochs = 2
batch = 8
threads = 1

[[candidates]]
name = "net"
model = "NET"
settings = SETTINGS

[[candidates]]
name = "kernel_ridge"
model = "kernel_ridge"
settings = { kernel = "rbf", length = 1.0, ridge = 1e-6, sensitivity = 0.0, linear = true }

[[candidates]]
name = "linear"
model = "linear"
settings = { ridge = 0.0 }
"""
ON_GRIDS = CANDIDATES.replace("NET", "mgno").replace("SETTINGS", "{ channels = 4, layers = 2, levels = 2 }")
ON_MESHES = CANDIDATES.replace("NET", "spon").replace("SETTINGS", "{ width = 8, rounds = 1, levels = 2 }")


def fields(samples: int, points: int, seed: int) -> dict[str, np.ndarray]:
    """Loads (sample, s, r) and what they lift, (sample, r, s): a linear map of each."""
    a, b, c = np.random.default_rng(seed).standard_normal((3, samples, 1, 1))
    s, r = np.meshgrid(np.linspace(0.0, 2.0, points + 2), np.linspace(0.0, 1.0, points), indexing="ij")
    x = a * s + b * np.sin(3.0 * r) + c
    return {"x": x, "y": np.moveaxis(2.0 * x + s * r * b, 1, 2)}


def write_grids(folder) -> None:
    for name, samples, points in (("train", 34, 5), ("test", 6, 5), ("fine", 3, 9)):
        np.savez(folder / f"{name}.npz", **fields(samples, points, len(name)))


def wings(samples: int = 40) -> dict[str, np.ndarray]:
    """Strips clamped on the left, as long as their parameter."""
    across, up = np.meshgrid(np.linspace(0.0, 1.0, 6), np.linspace(0.0, 0.4, 3))
    flat = np.stack([across.ravel(), up.ravel()], axis=1)
    low = (np.arange(2)[:, None] * 6 + np.arange(5)).ravel()
    cells = np.concatenate([np.stack([low, low + 1, low + 7], 1), np.stack([low, low + 7, low + 6], 1)])
    span = 1.0 + np.random.default_rng(0).uniform(0.0, 1.0, samples)
    points = flat * np.stack([span, np.ones(samples)], axis=1)[:, None, :]
    pressure = np.sin(points[..., 0]) + span[:, None] * flat[:, 1]
    clamped = flat[:, 0] == 0.0
    lift = pressure * points[..., 0] ** 2
    return {"points": points, "triangles": cells, "clamped": clamped, "pressure": pressure, "lift": lift,
            "span": span}  # fmt: skip
