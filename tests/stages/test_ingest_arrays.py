"""Stage `ingest_arrays`: own arrays as read become one checked form, or are refused by name."""

import numpy as np
import pytest
import xarray as xr

from catalogs.formats.arrays import read_arrays
from catalogs.formats.arrays_spec import ArraysSpec
from kernels.errors import InputError
from stages.base import variable
from stages.ingest_arrays import STAGE, IngestArraysConfig
from stages.operator_data import Samples, signature
from stages.ragged import concat, take
from tests.stages.operator_sets import grid_set, mesh_set

PLAIN = IngestArraysConfig()
DROP = IngestArraysConfig(missing="drop", constant_outputs="drop")


def meshes(samples: int = 6) -> xr.Dataset:
    """Meshes whose output is zero where it is prescribed."""
    data = mesh_set(samples)
    return data.assign(u=data["u"].where(data["dirichlet"] == 0, 0.0).assign_attrs(data["u"].attrs))


SETS = {"grid": grid_set, "mesh": meshes}


def with_value(data: xr.Dataset, name: str, place: tuple, value: float) -> xr.Dataset:
    values = data[name].values.copy()
    values[place] = value
    return data.assign({name: data[name].copy(data=values)})


@pytest.mark.parametrize("kind", SETS)
def test_a_good_set_stays_as_it_is_and_the_input_is_not_modified(kind):
    raw = SETS[kind]()
    before = raw.copy(deep=True)
    found = STAGE(PLAIN, raw=raw)
    xr.testing.assert_identical(raw, before)
    xr.testing.assert_identical(found, before)


@pytest.mark.parametrize("kind", SETS)
def test_lazy_is_eager_and_stays_lazy(kind):
    raw = with_value(SETS[kind](), "u", (3,) if kind == "grid" else (-1,), np.nan)
    if kind == "grid":
        raw["load"] = raw["load"].astype(np.float16)
    lazy = raw.chunk(sample=2) if kind == "grid" else raw.chunk(node=7, cell=5)
    found = STAGE(DROP, raw=lazy)
    assert found["u"].chunks is not None
    xr.testing.assert_identical(found.compute(), STAGE(DROP, raw=raw).compute())
    assert found.sizes["sample"] == raw.sizes["sample"] - 1


@pytest.mark.parametrize("kind", SETS)
def test_parts_that_are_ingested_apart_and_joined_are_the_same(kind):
    raw = SETS[kind]()
    parts = [STAGE(PLAIN, raw=take(raw, rows)) for rows in ([0], [1, 2, 3], range(4, raw.sizes["sample"]))]
    xr.testing.assert_identical(concat(parts), STAGE(PLAIN, raw=raw))


def test_axes_are_brought_into_one_order_and_rise():
    good = grid_set()
    raw = good.isel(y=slice(None, None, -1))
    raw["a"] = raw["a"].transpose("x", "sample", "y")
    raw["u"] = raw["u"].transpose("y", "x", "sample")
    found = STAGE(PLAIN, raw=raw)
    xr.testing.assert_identical(found, good.transpose("sample", "x", "y"))
    assert signature(found).axes == signature(found).out_axes == ("x", "y")


def test_outputs_may_lie_on_other_axes():
    data = grid_set()
    data["u"] = data["u"].rename(y="z").assign_coords(z=data["y"].values)
    assert signature(STAGE(PLAIN, raw=data)).out_axes == ("z", "x")


def test_numbers_become_single_or_double_precision_and_samples_get_names():
    data = grid_set().drop_vars("sample_name")
    data["a"] = data["a"].astype(np.float16)
    data["load"] = data["load"].astype(">f8")
    data["split"] = variable("split", np.arange(12) % 2)
    found = STAGE(PLAIN, raw=data)
    assert [found[name].dtype.str for name in ("a", "load", "u")] == ["<f4", "<f8", "<f8"]
    np.testing.assert_array_equal(found["a"].values, data["a"].values)
    assert found["sample_name"].values[[0, 1]].tolist() == ["train_00000", "test_00001"]
    assert found["y"].attrs == {"units": "m"}


def test_coordinates_become_metres():
    raw = meshes()
    raw["x"] = (raw["x"] * 1e3).assign_attrs(units="mm")
    found = STAGE(PLAIN, raw=raw)
    np.testing.assert_allclose(found["x"].values, meshes()["x"].values, rtol=1e-14)
    assert (found["x"].attrs["units"], raw["x"].attrs["units"]) == ("m", "mm")
    with pytest.raises(
        InputError, match=r"node coordinates are in 'furlong', expected one of .*: convert them"
    ):
        STAGE(PLAIN, raw=raw.assign(x=raw["x"].assign_attrs(units="furlong")))


@pytest.mark.parametrize(
    ("kind", "name", "place", "sample"),
    [
        ("grid", "a", (7, 1, 2), "run_0007"),
        ("grid", "u", (11, 0, 0), "run_0011"),
        ("grid", "load", (0,), "run_0000"),
        ("mesh", "u", (-1,), "mesh_5"),
        ("mesh", "x", (0, 1), "mesh_0"),
    ],
)
@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_values_that_are_not_finite_are_named_by_sample(kind, name, place, sample, value):
    raw = with_value(SETS[kind](), name, place, value)
    count = raw.sizes["sample"]
    with pytest.raises(
        InputError,
        match=f"1 of {count} samples have values that are not finite: '{name}' of sample {sample};",
    ):
        STAGE(PLAIN, raw=raw)
    found = STAGE(DROP, raw=raw)
    assert found.attrs["dropped_samples"] == [sample]
    kept = np.flatnonzero(raw["sample_name"].values != sample)
    xr.testing.assert_identical(found.drop_attrs(deep=False), take(SETS[kind](), kept))


def test_a_set_without_a_finite_sample_is_refused():
    raw = grid_set(2)
    raw["u"] = raw["u"] * np.nan + xr.full_like(raw["u"], np.nan)
    raw["u"].attrs = grid_set(2)["u"].attrs
    with pytest.raises(InputError, match="all 2 samples have values that are not finite"):
        STAGE(DROP, raw=raw)


@pytest.mark.parametrize("noise", [0.0, 1e-16])
def test_outputs_that_are_constant_are_refused_or_left_out(noise):
    raw = grid_set()
    still = 0.1 + noise * np.arange(raw["u"].size).reshape(raw["u"].shape) / raw["u"].size
    raw["wall"] = (raw["u"].dims, still, {"role": "field", "units": "K"})
    with pytest.raises(InputError, match=r"outputs that are constant: 'wall' is 0\.1 in all samples"):
        STAGE(PLAIN, raw=raw)
    found = STAGE(DROP, raw=raw)
    assert found.attrs["constant_outputs"] == ["wall"]
    assert "wall" not in found
    with pytest.raises(InputError, match=r"the outputs .*expected at least one of each"):
        STAGE(DROP, raw=raw.drop_vars("u"))


def test_a_large_mean_does_not_make_an_output_constant():
    raw = grid_set()
    raw["u"] = (raw["u"] * 1e-9 + 300.0).assign_attrs(raw["u"].attrs)
    assert "u" in STAGE(PLAIN, raw=raw)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.drop_vars("u"), r"the outputs \[\]; expected at least one of each"),
        (lambda d: d.drop_vars(["a", "load"]), r"has the inputs \[\] and the outputs"),
        (lambda d: d.assign(a=d["a"].assign_attrs(role="inputs")), "'a' has role 'inputs', expected one of"),
        (lambda d: d.assign(load=("sample", d["load"].values, {"role": "parameter"})), "'load' has no units"),
        (lambda d: d.assign(load=d["a"].assign_attrs(role="parameter")), r"expected \('sample',\)"),
        (lambda d: d.assign(a=d["a"].isel(sample=0)), r"'a' has the dims \('y', 'x'\), expected \('sample'"),
        (lambda d: d.drop_vars("y"), "axis 'y' of 'a' has no coordinate: give its positions"),
        (lambda d: d.assign_coords(y=[0, 1, 1, 2, 3]), "axis 'y' neither rises nor falls"),
        (lambda d: d.assign_coords(y=[0, 1, np.nan, 2, 3]), "axis 'y' neither rises nor falls, or is not"),
        (
            lambda d: d.assign(b=d["a"].rename(x="z").assign_coords(z=d["x"].values)),
            r"\['a', 'b'\] have the dims .* the same for all: bring them to one grid",
        ),
        (
            lambda d: d.assign(sample_name=variable("sample_name", ["p", "q"] * 6)),
            "2 sample names are given more than once, such as 'p', 'q': give every sample a name",
        ),
        (lambda d: d.assign(a=d["a"].assign_attrs(prescribes="w")), "'a' prescribes 'w', expected one of"),
        (
            lambda d: d.assign(a=d["a"].assign_attrs(prescribes="u", units="Pa")),
            r"\['a'\] prescribe outputs, but no nodes are marked",
        ),
        (lambda d: d.assign_attrs(boundary="open"), "attribute 'boundary' is 'open', expected one of"),
    ],
)
def test_grids_that_cannot_be_used_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        STAGE(PLAIN, raw=change(grid_set()))


def _edge(data: xr.Dataset, **attrs) -> xr.Variable:
    return xr.Variable("node", data["u"].values.copy(), {"role": "input", "units": "m", **attrs})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.drop_vars("x"), r"has no \['x'\], expected"),
        (lambda d: d.isel(corner=[0, 1, 2, 2]), "cells have 4 corners in 2 dimensions, expected 3"),
        (
            lambda d: with_value(d, "connectivity", (0, 0), 99),
            r"mesh_0: cells have the nodes 0 to 99, .* is the first node 0 or 1\?",
        ),
        (lambda d: with_value(d, "connectivity", (0, 0), -1), "mesh_0: cells have the nodes -1 to"),
        (
            lambda d: with_value(d, "connectivity", (1, 0), d["connectivity"].values[1, 1]),
            r"mesh_0: cell 1 has no measure \(1 such cells\)",
        ),
        (
            lambda d: with_value(d, "node_count", (0,), 1),
            "'node_count' adds up to .*, 'x' has .* of dim 'node'",
        ),
        (lambda d: with_value(d, "cell_count", (2,), 9), "'cell_count' adds up to .*, 'connectivity' has"),
        (
            lambda d: d.assign(load=("sample", np.ones(6), {"role": "field", "units": "1"})),
            r"'load' has the dims \('sample',\), expected \('node',\) in a set of meshes",
        ),
        (
            lambda d: d.assign(edge=_edge(d, prescribes="u", units="mm")),
            "'edge' is in 'mm' and prescribes 'u', which is in 'm'; expected the same units",
        ),
        (
            lambda d: d.assign(e=_edge(d, prescribes="u"), f=_edge(d, prescribes="u")),
            r"\['f', 'e'\] prescribe the outputs \['u'\], expected one input for each",
        ),
    ],
)
def test_meshes_that_cannot_be_used_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        STAGE(PLAIN, raw=change(meshes()))


def test_outputs_have_the_prescribed_values_where_they_are_marked():
    raw = meshes()
    first = int(raw["node_count"].values[0])
    shifted = raw.assign(dirichlet=("node", np.roll(raw["dirichlet"].values, 1), raw["dirichlet"].attrs))
    with pytest.raises(
        InputError, match=r"mesh_0: 'u' is \S+ at node \d+, which 'dirichlet' marks, .* 0: corr"
    ):
        STAGE(PLAIN, raw=shifted)
    moved = with_value(raw, "u", (first,), 2.5)
    with pytest.raises(InputError, match=r"mesh_1: 'u' is 2\.5 at node 0, .* prescribes = 'u'"):
        STAGE(PLAIN, raw=moved)
    edge = np.where(raw["dirichlet"].values == 1, moved["u"].values, 0.0)
    stated = moved.assign(edge=("node", edge, {"role": "input", "units": "m", "prescribes": "u"}))
    xr.testing.assert_identical(STAGE(PLAIN, raw=stated), stated)
    assert "u" in STAGE(PLAIN, raw=with_value(raw, "u", (first,), 1e-7))


def test_another_config_is_refused():
    with pytest.raises(InputError, match="got StageConfig, expected IngestArraysConfig"):
        STAGE(type(PLAIN).__mro__[1](), raw=grid_set())


def moving(folder, samples: int = 4) -> ArraysSpec:
    """Channels of a mesh that is stretched with its parameter, in one npz with nodes numbered from 1."""
    across, up = np.meshgrid(np.linspace(0.0, 1.0, 4), np.linspace(0.0, 0.5, 3))
    square = np.stack([across.ravel(), up.ravel()], axis=1)
    low = (np.arange(2)[:, None] * 4 + np.arange(3)).ravel()
    cells = np.concatenate([np.stack([low, low + 1, low + 5], 1), np.stack([low, low + 5, low + 4], 1)])
    stretch = 1.0 + np.arange(samples) / samples
    nodes = square * np.stack([stretch, np.ones(samples)], axis=1)[:, None, :]
    fixed = (square[:, 1] == 0.0) | (square[:, 1] == 0.5)
    force = nodes[..., 0] + stretch[:, None]
    u = force * nodes[..., 1] * (0.5 - nodes[..., 1])
    np.savez(folder / "m.npz", p=1e3 * nodes, t=cells + 1, fixed=fixed, force=force, u=u, stretch=stretch)
    variables = {
        "force": {"role": "input", "axes": ["sample", "node"], "units": "N"},
        "u": {"role": "field", "axes": ["sample", "node"], "units": "m"},
        "stretch": {"role": "parameter", "axes": ["sample"]},
    }
    mesh = {"nodes": "p", "connectivity": "t", "dirichlet": "fixed", "first_node": 1, "units": "mm"}
    files = [{"path": folder / "m.npz"}]
    return ArraysSpec.model_validate({"files": files, "variables": variables, "mesh": mesh})


def test_a_moving_mesh_in_one_file_becomes_batches_of_meshes(tmp_path):
    found = STAGE(PLAIN, raw=read_arrays(moving(tmp_path)))
    samples = Samples(found, np.arange(4))
    assert (samples.signature.layout, samples.signature.nodes, samples.signature.dimension) == ("mesh", 12, 2)
    batch = samples.read([2, 1])
    with np.load(tmp_path / "m.npz") as held:
        np.testing.assert_allclose(batch.mesh.x.numpy(), 1e-3 * held["p"][[2, 1]].reshape(-1, 2), rtol=1e-14)
        np.testing.assert_array_equal(batch.u.numpy()[:, 0], held["u"][[2, 1]].ravel())
        np.testing.assert_array_equal(batch.a.numpy()[:, 0], held["force"][[2, 1]].ravel())
        np.testing.assert_array_equal(batch.parameters.numpy()[:, 0], held["stretch"][[2, 1]])
        np.testing.assert_array_equal(batch.mesh.dirichlet.numpy(), np.tile(held["fixed"], 2))
        cells = held["t"] - 1
    np.testing.assert_array_equal(batch.mesh.connectivity.numpy(), np.concatenate([cells, cells + 12]))
    assert len(set(batch.mesh.digests)) == 2
