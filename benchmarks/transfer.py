"""P1 transfer NACA0012 -> hybrid mesh beside Muscat, pyvista and matplotlib: medians of runs, 1 thread.

Run from the repository: python benchmarks/transfer.py [runs]. Needs the extra `bench` and the reference data.
"""

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS", "VTK_SMP_MAX_THREADS"):
    os.environ[_name] = "1"

import importlib.util  # noqa: E402
import statistics  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable  # noqa: E402
from pathlib import Path  # noqa: E402

import numpy as np  # noqa: E402

from kernels.mesh.locate import Locator  # noqa: E402
from kernels.mesh.transfer import interpolation_operator  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("PUSHFORWARD_REFERENCE_DATA", ROOT.parent / "shared" / "data")) / "su2"


def read(name: str) -> tuple[np.ndarray, np.ndarray]:
    path = ROOT / "tests" / "kernels" / "mesh" / "su2_reader.py"
    spec = importlib.util.spec_from_file_location("su2_reader", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.read_su2(DATA / name)


def ours(points: np.ndarray, cells: np.ndarray, targets: np.ndarray, field: np.ndarray) -> Callable:
    return lambda: interpolation_operator(Locator(points, cells), targets, outside="clamp").apply(field)


def muscat(points: np.ndarray, cells: np.ndarray, targets: np.ndarray, field: np.ndarray) -> Callable:
    return lambda: muscat_operator(points, cells, targets, field)()


def muscat_operator(
    points: np.ndarray, cells: np.ndarray, targets: np.ndarray, field: np.ndarray
) -> Callable:
    from Muscat.FE.FETools import PrepareFEComputation
    from Muscat.FE.Fields.FEField import FEField
    from Muscat.MeshTools.MeshCreationTools import CreateMeshOfTriangles
    from Muscat.MeshTools.MeshFieldOperations import GetFieldTransferOp

    mesh = CreateMeshOfTriangles(points, cells)
    space, numberings, _, _ = PrepareFEComputation(mesh, numberOfComponents=1)
    nodal = FEField(name="u", mesh=mesh, space=space, numbering=numberings[0])
    return lambda: GetFieldTransferOp(nodal, targets, method="Interp/Clamp")[0].dot(field)


def pyvista(points: np.ndarray, cells: np.ndarray, targets: np.ndarray, field: np.ndarray) -> Callable:
    import pyvista as pv

    def flat(xs: np.ndarray) -> np.ndarray:
        return np.column_stack([xs, np.zeros(len(xs))])

    space = flat(points)
    faces = np.column_stack([np.full(len(cells), 3), cells]).ravel()
    kinds = np.full(len(cells), pv.CellType.TRIANGLE)

    def run() -> np.ndarray:
        grid = pv.UnstructuredGrid(faces, kinds, space)
        grid.point_data["u"] = field
        return np.asarray(pv.PolyData(flat(targets)).sample(grid, tolerance=1e-9)["u"])

    return run


def matplotlib(points: np.ndarray, cells: np.ndarray, targets: np.ndarray, field: np.ndarray) -> Callable:
    from matplotlib.tri import LinearTriInterpolator, Triangulation

    return lambda: LinearTriInterpolator(Triangulation(*points.T, cells), field)(*targets.T)


def main(runs: int = 9) -> None:
    points, cells = read("mesh_NACA0012_inv.su2")
    targets, _ = read("mesh_NACA0012_lam_hybrid_v1.su2")
    table = np.genfromtxt(DATA / "naca0012_fixed_cl_solution_flow.csv", delimiter=",", names=True)
    field = np.ascontiguousarray(table["Mach"])
    inside = ~interpolation_operator(Locator(points, cells), targets, outside="clamp").outside
    expected = ours(points, cells, targets, field)()
    calls = {
        f.__name__: f(points, cells, targets, field)
        for f in (ours, muscat, muscat_operator, pyvista, matplotlib)
    }
    errors = {name: np.abs(np.ma.filled(call(), np.nan) - expected)[inside] for name, call in calls.items()}
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(runs):  # side by side, so that a busy moment hits all alike
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - start)
    print(
        f"NACA0012 ({len(points)} nodes, {len(cells)} triangles) -> hybrid ({len(targets)} targets), 1 thread"
    )
    print("from arrays to the values of one field (muscat_operator: with its mesh made before)")
    print(f"median of {runs} runs; {int((~inside).sum())} targets outside")
    print(f"{'':16}{'median ms':>11}{'least ms':>10}{'times ours':>12}{'largest difference inside':>28}")
    base = statistics.median(seconds["ours"])
    for name, values in seconds.items():
        median = statistics.median(values)
        row = f"{name:16}{median * 1e3:11.2f}{min(values) * 1e3:10.2f}{median / base:12.2f}"
        print(row + f"{np.nanmax(errors[name]):28.2e}")


if __name__ == "__main__":
    main(*(int(a) for a in sys.argv[1:]))
