"""A small set whose answers are known: affine fields on rectangles, which the morph keeps exactly."""

from dataclasses import dataclass

import numpy as np
import pytest
import xarray as xr

from kernels.regression.linear import fit_linear
from stages.base import variable
from stages.reduce import STAGE as REDUCE
from stages.reduce import ReduceConfig


def grid(rows: int, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """Triangulation of the unit square: points (n, 2), cells (m, 3)."""
    axes = np.linspace(0.0, 1.0, rows), np.linspace(0.0, 1.0, columns)
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)
    corner = (np.arange(rows - 1)[:, None] * columns + np.arange(columns - 1)).ravel()
    lower = np.stack([corner, corner + columns, corner + columns + 1], axis=1)
    upper = np.stack([corner, corner + columns + 1, corner + 1], axis=1)
    return points, np.concatenate([lower, upper]).astype(np.int32)


@dataclass
class Case:
    """Inputs of evaluate and report that belong together."""

    meshes: xr.Dataset
    morphed: xr.Dataset
    common: xr.Dataset
    reduced: xr.Dataset
    model: xr.Dataset
    predictions: xr.Dataset


def _field(values: np.ndarray, dims: tuple[str, ...], units: str) -> tuple:
    return dims, values, {"role": "field", "units": units}


def build(samples: int = 24, spread: float = 0.01, seed: int = 0) -> Case:
    """Affine fields u, p on rectangles of varying size; p vanishes in the last, `moment` crosses zero."""
    random = np.random.default_rng(seed)
    common_x, cells = grid(9, 7)
    load, bend = random.uniform(1.0, 2.0, samples), random.uniform(-1.0, 1.0, samples)
    size = np.stack([random.uniform(1.5, 2.0, samples), random.uniform(0.6, 1.0, samples)], axis=1)
    gain = np.where(np.arange(samples) == samples - 1, 0.0, load)

    def u(i: int, x: np.ndarray) -> np.ndarray:
        return load[i] * (1.0 + x[:, 0]) + bend[i] * x[:, 1]

    def p(i: int, x: np.ndarray) -> np.ndarray:
        return 1e6 * gain[i] * (0.5 + x[:, 1])

    own = [grid(int(random.integers(5, 12)), int(random.integers(5, 12))) for _ in range(samples)]
    names = variable("sample_name", np.array([f"part_{i:03d}" for i in range(samples)]))
    split = variable("split", (np.arange(samples) >= samples * 2 // 3).astype(np.int8))
    scalars = {
        "load": (("sample",), load, {"role": "parameter", "units": "N"}),
        "bend": (("sample",), bend, {"role": "parameter", "units": "N"}),
        "peak": (("sample",), 3.0 * load + 1.0, {"role": "scalar", "units": "Pa"}),
        "moment": (("sample",), 2.0 * bend, {"role": "scalar", "units": "N m"}),
        "sample_name": names,
        "split": split,
    }
    count = variable("node_count", np.array([len(x) for x, _ in own]))
    meshes = xr.Dataset(
        {
            "node_count": count,
            "cell_count": variable("cell_count", np.array([len(c) for _, c in own])),
            "x": variable("x", np.concatenate([x * s for (x, _), s in zip(own, size, strict=True)])),
            "connectivity": variable("connectivity", np.concatenate([c for _, c in own])),
            "u": _field(np.concatenate([u(i, x) for i, (x, _) in enumerate(own)]), ("node",), "m"),
            "p": _field(np.concatenate([p(i, x) for i, (x, _) in enumerate(own)]), ("node",), "Pa"),
            **scalars,
        }
    )
    on_common = ("sample", "common_node")
    morphed = xr.Dataset(
        {
            "node_count": count,
            "mapped_x": variable("mapped_x", np.concatenate([x for x, _ in own])),
            "shape": variable("shape", common_x[None] * size[:, None]),
            "u": _field(np.stack([u(i, common_x) for i in range(samples)]), on_common, "m"),
            "p": _field(np.stack([p(i, common_x) for i in range(samples)]), on_common, "Pa"),
            "inverted_cells": variable("inverted_cells", np.zeros(samples, np.int64)),
            "roundtrip_error": variable("roundtrip_error", np.full((samples, 2), 1e-15)),
            **scalars,
        },
        coords={"field": ["u", "p"]},
    )
    common = xr.Dataset(
        {
            "common_x": variable("common_x", common_x),
            "common_connectivity": variable("common_connectivity", cells),
        }
    )
    reduced = REDUCE(
        ReduceConfig(modes={"default": {"tolerance": 1e-9}}, shape_modes=2), morphed=morphed, common=common
    )
    model = _model(reduced, common)
    return Case(meshes, morphed, common, reduced, model, _predictions(meshes, own, u, p, spread, random))


def _model(reduced: xr.Dataset, common: xr.Dataset) -> xr.Dataset:
    train = reduced["split"].values == 0
    features = np.column_stack([reduced["shape_coefficients"], reduced["load"], reduced["bend"]])[train]
    targets = np.column_stack([reduced["coefficients"], reduced["peak"], reduced["moment"]])[train]
    scaled = (features - features.mean(0)) / features.std(0)
    outputs = [f"{reduced['field'].values[f]}:{k}" for k, f in enumerate(reduced["latent_field"].values)]
    kept = {n: v.variable for n, v in reduced.data_vars.items() if "sample" not in v.dims}
    shape = (targets.shape[1], features.shape[1])
    return xr.Dataset(
        {
            **kept,
            **{n: v.variable for n, v in common.data_vars.items()},
            "gp_features": variable("gp_features", scaled),
            "feature_mean": variable("feature_mean", features.mean(0)),
            "feature_scale": variable("feature_scale", features.std(0)),
            "feature_minimum": (("feature",), features.min(0), {"units": "1"}),
            "feature_maximum": (("feature",), features.max(0), {"units": "1"}),
            "feature_units": (("feature",), np.array(["m", "m", "N", "N"])),
            "feature_log": (("feature",), np.zeros(4, np.int8)),
            "target_mean": variable("target_mean", targets.mean(0)),
            "target_scale": variable("target_scale", targets.std(0)),
            "lengthscale": variable("lengthscale", np.full(shape, 2.5)),
            "signal_variance": variable("signal_variance", np.ones(shape[0])),
            "noise_variance": variable("noise_variance", np.full(shape[0], 1e-4)),
            "log_marginal_likelihood": variable("log_marginal_likelihood", np.full(shape[0], 12.5)),
            "gp_targets": variable("gp_targets", (targets - targets.mean(0)) / targets.std(0)),
            "linear_coefficients": variable(
                "linear_coefficients", fit_linear(scaled, (targets - targets.mean(0)) / targets.std(0))
            ),
        },
        coords={
            "field": reduced["field"].values,
            "output": [*outputs, "peak", "moment"],
            "feature": ["shape_0", "shape_1", "load", "bend"],
        },
        attrs={"shape_features": 2},
    )


def _predictions(meshes, own, u, p, spread, random) -> xr.Dataset:
    test = np.flatnonzero(meshes["split"].values == 1)[::-1]
    data = {
        "node_count": meshes["node_count"].variable.isel(sample=test),
        "sample_name": meshes["sample_name"].variable.isel(sample=test),
        "extrapolation": variable("extrapolation", np.zeros(test.size, np.int8)),
    }
    for name, exact, scale in (("u", u, spread), ("p", p, 1e6 * spread)):
        truth = np.concatenate([exact(i, own[i][0]) for i in test])
        noise = scale * random.standard_normal(truth.size)
        data[f"{name}_mean"] = _field(truth + noise, ("node",), meshes[name].attrs["units"])
        data[f"{name}_std"] = _field(np.full(truth.size, scale), ("node",), meshes[name].attrs["units"])
    for name in ("peak", "moment"):
        truth = meshes[name].values[test]
        attrs = {"role": "scalar", "units": meshes[name].attrs["units"]}
        data[f"{name}_mean"] = ("sample",), truth + spread * random.standard_normal(test.size), attrs
        data[f"{name}_std"] = ("sample",), np.full(test.size, spread), attrs
    return xr.Dataset(data)


@pytest.fixture(scope="session")
def unit_grid():
    """Builder of triangulations of the unit square."""
    return grid


@pytest.fixture(scope="session")
def build_case():
    """Builder of a small set with its model and predictions."""
    return build
