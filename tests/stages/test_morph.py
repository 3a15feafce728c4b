"""The stages `common_mesh` and `morph`."""

import itertools

import h5py
import numpy as np
import pytest
import xarray as xr

from kernels.errors import InputError
from stages.base import variable
from stages.common_mesh import STAGE as COMMON_MESH
from stages.common_mesh import CommonMeshConfig
from stages.morph import STAGE as MORPH
from stages.morph import MorphConfig
from stages.ragged import concat, take

SHEAR = np.array([[1.4, 0.3], [0.1, 0.9]])


def plate(n: int, matrix: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    i, j = np.meshgrid(np.arange(n + 1), np.arange(n + 1), indexing="ij")
    points = np.stack([i.ravel(), j.ravel()], axis=1) / n
    inside = ((i % n > 0) & (j % n > 0)).ravel()
    points[inside] += np.random.default_rng(seed).uniform(-0.2, 0.2, (inside.sum(), 2)) / n
    a = (np.arange(n)[:, None] * (n + 1) + np.arange(n)).ravel()
    cells = np.concatenate([np.stack([a, a + n + 1, a + n + 2], 1), np.stack([a, a + n + 2, a + 1], 1)])
    return points @ np.asarray(matrix).T, cells


def ragged(parts, fields=None, **per_sample) -> xr.Dataset:
    """Canonical dataset from (points, cells) pairs; fields: name -> function of the points."""
    count = len(parts)
    data = {
        "sample_name": variable("sample_name", np.array([f"plate_{k}" for k in range(count)], dtype=object)),
        "split": variable("split", per_sample.pop("split", np.zeros(count))),
        "node_count": variable("node_count", [len(p) for p, _ in parts]),
        "cell_count": variable("cell_count", [len(c) for _, c in parts]),
        "x": variable("x", np.concatenate([p for p, _ in parts])),
        "connectivity": variable("connectivity", np.concatenate([c for _, c in parts])),
    }
    for name, function in (fields or {}).items():
        values = np.concatenate([function(p) for p, _ in parts])
        data[name] = xr.Variable(("node",), values, {"role": "field", "units": "Pa", "note": "kept"})
    for name, values in per_sample.items():
        if name == "status":
            data[name] = variable(name, values)
        else:
            role = "parameter" if name.startswith("p") else "scalar"
            data[name] = xr.Variable(("sample",), np.asarray(values, float), {"role": role, "units": "1"})
    return xr.Dataset(data, attrs={"title": "plates"})


FIELDS = {"pressure": lambda p: 3.0 * p[:, 0] - 2.0 * p[:, 1] + 1.0, "speed": lambda p: np.sin(5 * p[:, 0])}


def study(sizes=(8, 10, 9, 12, 7), **more) -> xr.Dataset:
    rng = np.random.default_rng(5)
    parts = [plate(n, np.eye(2) + 0.1 * rng.uniform(-1, 1, (2, 2)), n) for n in sizes]
    count = len(sizes)
    return ragged(
        parts, FIELDS, split=[0, 0, 0, 1, 1][:count], p1=np.arange(count), drag=np.ones(count), **more
    )


def test_fields_become_rectangular():
    meshes = study()
    common = COMMON_MESH(CommonMeshConfig(weights="uniform"), meshes=meshes)
    assert common.attrs["reference_sample"] == "plate_1"
    out = MORPH(MorphConfig(), meshes=meshes, common=common)
    assert out["pressure"].dims == ("sample", "common_node")
    assert out["pressure"].shape == (5, 121)
    assert out["pressure"].attrs == {"role": "field", "units": "Pa", "note": "kept"}
    assert out["field"].values.tolist() == ["pressure", "speed"]
    assert out["roundtrip_error"].dims == ("sample", "field")
    assert out["mapped_x"].sizes == {"node": meshes.sizes["node"], "common_axis": 2}
    np.testing.assert_array_equal(out["node_count"], meshes["node_count"])
    np.testing.assert_array_equal(out["p1"], meshes["p1"])
    np.testing.assert_array_equal(out["sample_name"], meshes["sample_name"])
    assert out["inverted_cells"].values.tolist() == [0] * 5
    # A linear field is the same function of the morphed coordinates, whatever the mesh.
    x = out["shape"].values
    np.testing.assert_allclose(out["pressure"], 3 * x[..., 0] - 2 * x[..., 1] + 1, atol=1e-12)
    assert float(out["roundtrip_error"][1].max()) < 1e-14
    assert float(out["roundtrip_error"].max()) < 0.08
    np.testing.assert_allclose(out["shape"][1], common["reference_x"], atol=1e-14)


@pytest.mark.parametrize("method", ["tutte", "rbf", "laplacian", "identity"])
def test_affine_images_morph_exactly(method):
    points, cells = plate(9, np.eye(2), 0)
    meshes = ragged([(points, cells), (points @ SHEAR.T + 2.0, cells)], FIELDS)
    common = COMMON_MESH(CommonMeshConfig(method=method, weights="uniform"), meshes=meshes)
    out = MORPH(MorphConfig(), meshes=meshes, common=common)
    np.testing.assert_allclose(out["mapped_x"][100:], common["common_x"], atol=1e-12)
    np.testing.assert_allclose(out["shape"][1], points @ SHEAR.T + 2.0, atol=1e-12)
    for name in FIELDS:
        np.testing.assert_allclose(out[name].values.ravel(), meshes[name], atol=1e-11)


@pytest.mark.parametrize(
    "config", [{}, {"weights": "uniform", "pins": "none"}, {"method": "rbf"}, {"method": "laplacian"}]
)
@pytest.mark.parametrize("cuts", [[1, 2, 3, 4], [2], [4]])
def test_any_cut_gives_the_same_numbers(config, cuts):
    meshes = study(status=[0, 0, 1, 0, 0])
    common = COMMON_MESH(CommonMeshConfig(**config), meshes=meshes)
    whole = MORPH(MorphConfig(), meshes=meshes, common=common)
    assert whole["sample_name"].values.tolist() == ["plate_0", "plate_1", "plate_3", "plate_4"]
    bounds = [0, *cuts, 5]
    parts = [
        MORPH(MorphConfig(), meshes=take(meshes, range(a, b)), common=common)
        for a, b in itertools.pairwise(bounds)
    ]
    xr.testing.assert_identical(concat(parts), whole)


def test_chunked_input_gives_the_same_numbers():
    meshes = study()
    common = COMMON_MESH(CommonMeshConfig(), meshes=meshes)
    xr.testing.assert_identical(
        MORPH(MorphConfig(), meshes=meshes.chunk(50), common=common),
        MORPH(MorphConfig(), meshes=meshes, common=common),
    )


def test_a_mesh_without_fields_or_scalars_passes():
    meshes = study()
    common = COMMON_MESH(CommonMeshConfig(), meshes=meshes)
    bare = meshes[["node_count", "cell_count", "x", "connectivity"]].isel(sample=slice(None))
    out = MORPH(MorphConfig(), meshes=bare, common=common)
    assert out["roundtrip_error"].shape == (5, 0)
    np.testing.assert_array_equal(out["shape"], MORPH(MorphConfig(), meshes=meshes, common=common)["shape"])
    assert out["sample_name"].values.tolist() == ["0", "1", "2", "3", "4"]


def test_reference_is_a_training_sample():
    meshes = study()
    picked = {
        choice: COMMON_MESH(CommonMeshConfig(reference=choice), meshes=meshes).attrs["reference_sample"]
        for choice in ("densest", "median", "plate_0")
    }
    assert picked == {"densest": "plate_1", "median": "plate_2", "plate_0": "plate_0"}
    with pytest.raises(InputError, match="reference 'plate_3' is a test sample or failed"):
        COMMON_MESH(CommonMeshConfig(reference="plate_3"), meshes=meshes)
    with pytest.raises(InputError, match="reference 'plate_9' is not a sample"):
        COMMON_MESH(CommonMeshConfig(reference="plate_9"), meshes=meshes)
    with pytest.raises(InputError, match="none of 5 samples is a training sample"):
        COMMON_MESH(CommonMeshConfig(), meshes=study(status=[1, 1, 1, 0, 0]))


def test_limits_refuse_by_name():
    meshes = study()
    common = COMMON_MESH(CommonMeshConfig(), meshes=meshes)
    with pytest.raises(InputError, match=r"plate_4: round trip of 'speed' has RRMSE .* \(limit 0.0001\)"):
        MORPH(MorphConfig(max_roundtrip=1e-4), meshes=meshes, common=common)
    with pytest.raises(InputError, match=r"plate_0: \d+ points outside, a share of .* \(limit 0\)"):
        MORPH(MorphConfig(max_outside_fraction=0.0), meshes=meshes, common=common)
    with pytest.raises(InputError, match=r"plate_0: a point lies .* outside \(limit 0\)"):
        MORPH(MorphConfig(max_outside_distance=0.0), meshes=meshes, common=common)
    with pytest.raises(InputError, match=r"plate_3: smallest area ratio .* \(limit 0.9\)"):
        MORPH(MorphConfig(min_area_ratio=0.9), meshes=meshes, common=common)


def test_bad_samples_are_refused_by_name():
    meshes = study()
    common = COMMON_MESH(CommonMeshConfig(), meshes=meshes)
    holed = meshes.copy(deep=True)
    holed["speed"][100] = np.nan
    with pytest.raises(InputError, match="plate_1: field 'speed' is not finite at 1 of 121 nodes"):
        MORPH(MorphConfig(), meshes=holed, common=common)
    lost = meshes.copy(deep=True)
    lost["x"][100] = np.inf
    with pytest.raises(InputError, match="plate_1: 1 of 121 nodes have NaN or infinite"):
        MORPH(MorphConfig(), meshes=lost, common=common)
    shared = COMMON_MESH(CommonMeshConfig(method="identity"), meshes=meshes)
    with pytest.raises(InputError, match="plate_0: method 'identity' needs the connectivity"):
        MORPH(MorphConfig(), meshes=meshes, common=shared)
    vector = meshes.assign(force=(("node", "axis"), meshes["x"].values, {"role": "field", "units": "N"}))
    with pytest.raises(InputError, match=r"the fields \['force'\] have more dims"):
        MORPH(MorphConfig(), meshes=vector, common=common)
    with pytest.raises(InputError, match=r"the fields \['modes'\] carry names"):
        MORPH(MorphConfig(), meshes=meshes.rename(speed="modes"), common=common)
    with pytest.raises(InputError, match="the common mesh has no attribute 'morphing'"):
        MORPH(MorphConfig(), meshes=meshes, common=common.drop_attrs(deep=False))


def tagged_plates() -> xr.Dataset:
    points, cells = plate(6, np.eye(2), 0)
    edge = np.arange(7)
    sides = [edge * 7, 42 + edge, edge[::-1] * 7 + 6, edge[::-1]]
    facets = np.concatenate([np.stack([s[:-1], s[1:]], axis=1) for s in sides])
    tags = np.repeat(np.arange(4), 6)
    return ragged([(points, cells), (points @ SHEAR.T, cells)], FIELDS).assign(
        facet_count=variable("facet_count", [24, 24]),
        facet_node=variable("facet_node", np.concatenate([facets, facets])),
        facet_tag=variable("facet_tag", np.concatenate([tags, tags])),
    )


def test_tags_pin_the_walk():
    meshes = tagged_plates()
    common = COMMON_MESH(CommonMeshConfig(pins="tags", weights="uniform"), meshes=meshes)
    assert common["pin_tag"].values.tolist() == [0, 1, 2, 3]
    out = MORPH(MorphConfig(), meshes=meshes, common=common)
    np.testing.assert_allclose(out["mapped_x"][49:], common["common_x"], atol=1e-12)


def test_controls_that_do_not_correspond_are_refused_by_name():
    meshes = tagged_plates()
    common = COMMON_MESH(CommonMeshConfig(method="rbf", controls="corresponding"), meshes=meshes)
    out = MORPH(MorphConfig(), meshes=meshes, common=common)
    np.testing.assert_allclose(out["mapped_x"][49:], common["reference_x"], atol=1e-12)
    meshes["facet_node"][24:] = np.roll(meshes["facet_node"][24:].values, 8, axis=0)
    with pytest.raises(InputError, match=r"plate_1: \d+ inverted cells \(limit 0\)"):
        MORPH(MorphConfig(), meshes=meshes, common=common)
    assert int(MORPH(MorphConfig(max_inverted=72), meshes=meshes, common=common)["inverted_cells"][1]) > 0


@pytest.mark.reference_data
def test_cars_share_their_nodes(reference_data):
    parts, pressure = [], []
    for number in range(3):
        folder = reference_data / "plaid_cars" / "data" / "train" / f"sample_{number:09d}" / "meshes"
        with h5py.File(folder / "mesh_000000000.cgns") as file:
            zone = file["Base_2_3/Zone"]
            points = np.stack([zone[f"GridCoordinates/Coordinate{a}/ data"][:] for a in "XYZ"], axis=1)
            cells = zone["Elements_TRI_3/ElementConnectivity/ data"][:].reshape(-1, 3) - 1
            pressure.append(zone["VertexFields/pressure/ data"][:].astype(float))
        parts.append((points.astype(float), cells))
    meshes = ragged(parts)
    meshes["pressure"] = xr.Variable(("node",), np.concatenate(pressure), {"role": "field", "units": "Pa"})
    strict = COMMON_MESH(CommonMeshConfig(method="identity"), meshes=meshes)
    with pytest.raises(InputError, match=r"plate_1: method 'identity' .* but \d+ of 7168 cells differ"):
        MORPH(MorphConfig(), meshes=meshes, common=strict)
    common = COMMON_MESH(CommonMeshConfig(method="identity", shared="nodes"), meshes=meshes)
    out = MORPH(MorphConfig(), meshes=meshes, common=common)
    np.testing.assert_array_equal(out["pressure"].values.ravel(), meshes["pressure"])
    np.testing.assert_array_equal(out["shape"].values.reshape(-1, 3), meshes["x"])
    assert out["points_outside"].values.tolist() == [0, 0, 0]
    with pytest.raises(
        InputError, match="plate_0: the map to the disk needs one boundary loop, the mesh has 0"
    ):
        COMMON_MESH(CommonMeshConfig(method="tutte"), meshes=meshes)
