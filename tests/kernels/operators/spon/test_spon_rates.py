"""The error of a trained network falls with the mesh as the space allows: a short form of the benchmark."""

import importlib.util
from pathlib import Path

import numpy as np
import skfem

BENCHMARK = Path(__file__).resolve().parents[4] / "benchmarks" / "spon_rates.py"


def test_a_trained_network_gains_from_a_finer_mesh_as_its_space_does():
    spec = importlib.util.spec_from_file_location("spon_rates", BENCHMARK)
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    errors = []
    for cells in (3, 6):
        mesh = skfem.MeshTri.init_tensor(*[np.linspace(0.0, 1.0, cells + 1)] * 2)
        x, connectivity = mesh.p.T.copy(), mesh.t.T.astype(np.int64)
        found = benchmark.trained(x, connectivity, seed=0, steps=250, polish=25, degrees=(1,))
        errors.append(found[:2])
        assert found[-1] < 0.1
    l2, h1 = np.log2(np.array(errors[0]) / np.array(errors[1]))
    assert l2 > 1.4
    assert h1 > 0.7
