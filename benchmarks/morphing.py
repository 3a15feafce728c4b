"""Time and accuracy of the morphing on published meshes and on a study.

Run as python benchmarks/morphing.py [folder of the reference data]. One thread; medians of 5 runs after one
that compiles. The bars are the targets of the project.
"""

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[_name] = "1"

import sys  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import numpy as np  # noqa: E402
import xarray as xr  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "kernels" / "mesh")]

from su2_reader import Airfoils, first_diagonal, read_su2  # noqa: E402

from kernels.mesh.boundary import PinRule  # noqa: E402
from kernels.mesh.locate import Locator  # noqa: E402
from kernels.mesh.mapping import Mesh, MorphSettings, build_reference, map_mesh  # noqa: E402
from kernels.mesh.quality import morph_quality  # noqa: E402
from kernels.mesh.transfer import interpolation_operator  # noqa: E402
from kernels.mesh.tutte import WEIGHTS, disk_map  # noqa: E402
from stages.base import variable  # noqa: E402
from stages.common_mesh import STAGE as COMMON_MESH  # noqa: E402
from stages.common_mesh import CommonMeshConfig  # noqa: E402
from stages.morph import STAGE as MORPH  # noqa: E402
from stages.morph import MorphConfig  # noqa: E402

REPEATS = 5


def timed(function: Callable[[], Any]) -> tuple[Any, float]:
    """Result, and the median seconds of the repeats after a first run."""
    result = function()
    seconds = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    return result, float(np.median(seconds))


def maps(meshes: dict[str, Mesh]) -> None:
    print("\nMap to the disk (bar: 0 inverted; 32,768 nodes under 0.4 s)")
    print(f"{'mesh':24}{'nodes':>8}{'weights':>12}{'inverted':>10}{'ratio':>10}{'seconds':>10}")
    for name, mesh in meshes.items():
        for weights in WEIGHTS:
            found, seconds = timed(
                lambda m=mesh, w=weights: disk_map(m.points, m.cells, PinRule("corners"), w)
            )
            quality = morph_quality(mesh.points, mesh.cells, found.mapped)
            print(
                f"{name:24}{len(mesh.points):8}{weights:>12}{quality.inverted:10}{quality.smallest_ratio:10.4f}"
                f"{seconds:10.3f}"
            )


def round_trips(meshes: dict[str, Mesh], pressure: np.ndarray) -> None:
    print("\nRound trip of the wedge pressure, RRMSE (bars: own 1e-14, channel 1.5e-3, bump 1.2e-2)")
    print(f"{'pins':10}{'spacing':12}{'weights':12}{'own':>11}{'channel':>11}{'bump':>11}")
    wedge = meshes["wedge_inv"]
    for kind, spacing in (("none", "equal"), ("corners", "equal"), ("corners", "reference")):
        for weights in WEIGHTS:
            errors = []
            for name in ("wedge_inv", "channel_256x128", "bump_in_channel"):
                settings = MorphSettings("tutte", weights, PinRule(kind), spacing)
                reference = build_reference(meshes[name], settings)
                own = map_mesh(wedge, reference)
                forward = interpolation_operator(Locator(own, wedge.cells), reference.common, outside="clamp")
                common = Locator(reference.common, reference.cells)
                back = interpolation_operator(common, own, outside="clamp")
                error = pressure - back.matrix @ (forward.matrix @ pressure)
                errors.append(np.sqrt(np.mean(error**2)) / np.abs(pressure).max())
            print(f"{kind:10}{spacing:12}{weights:12}" + "".join(f"{error:11.2e}" for error in errors))


def airfoils(folder: Path) -> None:
    print("\nNACA0012 -> RAE2822 (bar: 0 inverted, ratio >= .5, control error <= 1e-8, under 0.3 s)")
    both = Airfoils(folder)
    print(f"{'method':12}{'inverted':>10}{'ratio':>10}{'control error':>16}{'seconds':>10}")
    for method in ("rbf", "laplacian"):
        (moved, error), seconds = timed(lambda m=method: both.becomes(m))
        quality = morph_quality(both.points, both.cells, moved)
        print(f"{method:12}{quality.inverted:10}{quality.smallest_ratio:10.3f}{error:16.1e}{seconds:10.3f}")


def study(samples: int = 10, across: int = 110, up: int = 73) -> xr.Dataset:
    """Plates of about 8,200 nodes with a wavy upper side and 4 fields."""
    points, cells = [], []
    i, j = (a.ravel() for a in np.meshgrid(np.arange(across + 1), np.arange(up + 1), indexing="ij"))
    first = (np.arange(across)[:, None] * (up + 1) + np.arange(up)).ravel()
    low = np.stack([first, first + up + 1, first + up + 2], axis=1)
    high = np.stack([first, first + up + 2, first + 1], axis=1)
    for k in range(samples):
        x, y = 1.5 * i / across, j / up
        points.append(np.stack([x, y * (1 + 0.02 * k * np.sin(4 * x))], axis=1))
        cells.append(np.concatenate([low, high]))
    x = np.concatenate(points)
    fields = {
        f"f{k}": (("node",), np.sin((k + 1) * x[:, 0]) * x[:, 1], {"role": "field", "units": "1"})
        for k in range(4)
    }
    return xr.Dataset(
        {
            "sample_name": variable("sample_name", np.array([f"s{k}" for k in range(samples)], dtype=object)),
            "split": variable("split", np.zeros(samples)),
            "node_count": variable("node_count", [len(p) for p in points]),
            "cell_count": variable("cell_count", [len(c) for c in cells]),
            "x": variable("x", x),
            "connectivity": variable("connectivity", np.concatenate(cells)),
            **fields,
        }
    )


def stages() -> None:
    meshes = study()
    nodes = int(meshes["node_count"][0])
    print(f"\nStage morph, 10 samples of {nodes} nodes with 4 fields (bar: 0.1 s a sample)")
    print(f"{'method':12}{'weights':12}{'ratio':>8}{'round trip':>12}{'outside':>9}{'seconds a sample':>18}")
    for method, weights in (
        ("tutte", "uniform"), ("tutte", "mean_value"), ("rbf", "-"), ("laplacian", "-"), ("identity", "-")
    ):  # fmt: skip
        options = {"weights": weights} if method == "tutte" else {}
        common = COMMON_MESH(CommonMeshConfig(method=method, **options), meshes=meshes)
        out, seconds = timed(lambda c=common: MORPH(MorphConfig(), meshes=meshes, common=c))
        print(
            f"{method:12}{weights:12}{float(out['smallest_area_ratio'].min()):8.3f}"
            f"{float(out['roundtrip_error'].max()):12.1e}{int(out['points_outside'].max()):9}"
            f"{seconds / meshes.sizes['sample']:18.4f}"
        )


def main() -> None:
    given = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("PUSHFORWARD_REFERENCE_DATA")
    folder = (Path(given) if given else ROOT.parent / "shared" / "data") / "su2"
    print(f"{os.cpu_count()} cores, 1 thread")
    stages()
    if not folder.is_dir():
        print(f"\nno published meshes at {folder}: give the folder of the reference data")
        return
    names = ("wedge_inv", "bump_in_channel", "channel_256x128")
    meshes = {name: Mesh(*read_su2(folder / f"mesh_{name}.su2", first_diagonal), name) for name in names}
    maps(meshes)
    table = np.genfromtxt(folder / "wedge_solution_flow.csv", delimiter=",", skip_header=1)
    round_trips(meshes, table[:, 7])
    airfoils(folder)


if __name__ == "__main__":
    main()
