"""NetCDF files without a netCDF 4 library: what comes back, and what is refused by name."""

import numpy as np
import pytest
import xarray as xr

from catalogs.netcdf import write_netcdf
from catalogs.views import write
from kernels.errors import InputError


@pytest.fixture(autouse=True)
def only_scipy(monkeypatch):
    monkeypatch.setattr("catalogs.netcdf.xr.backends.list_engines", lambda: {"scipy": None})


def test_numbers_texts_and_attributes_come_back(tmp_path):
    dataset = xr.Dataset(
        {
            "field": (
                ("sample", "node"),
                np.linspace(0, 1, 6).reshape(2, 3),
                {"units": "m", "role": "field"},
            ),
            "count": ("sample", np.array([3, -4]), {"sample_dimension": "node"}),
            "many": ("sample", np.array([2**40, 1])),
            "unsigned": ("sample", np.array([2**32 - 1, 1], dtype=np.uint32)),
            "ok": ("sample", np.array([True, False])),
            "half": ("sample", np.array([0.5, 2.0], dtype=np.float16)),
            "empty": ("none", np.zeros(0, dtype=np.int64)),
            "scalar": ((), 7),
        },
        coords={"sample_name": ("sample", np.array(["é", ""], dtype=object)), "node": np.arange(3)},
        attrs={"flag": True, "nothing": None, "nested": {"a": [1]}, "large": 2**40, "text": "t", "list": []},
    )
    before = dataset.copy(deep=True)
    write_netcdf(dataset, tmp_path / "a.nc")
    xr.testing.assert_identical(dataset, before)
    with xr.open_dataset(tmp_path / "a.nc") as read:
        read.load()
    for name, variable in dataset.variables.items():
        assert read[name].dims == variable.dims
        np.testing.assert_array_equal(read[name].values, variable.values)
        assert read[name].attrs == variable.attrs
    assert set(read.coords) == {"sample_name", "node"}
    assert read.attrs == {
        "flag": 1, "nothing": "null", "nested": '{"a": [1]}', "large": 2.0**40, "text": "t", "list": "[]",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.array([2**53 + 1]), r"variable 'u' holds whole numbers up to 9007199254740993, which netCDF 3"),
        (np.array([-(2**63)]), r"variable 'u' holds whole numbers up to 9223372036854775808"),
        (np.array([1j]), r"variable 'u' is complex, which NetCDF is not"),
    ],
)
def test_what_would_be_another_number_is_refused(tmp_path, values, message):
    with pytest.raises(InputError, match=message):
        write(xr.Dataset({"u": ("x", values)}), tmp_path / "a.nc")
    assert not (tmp_path / "a.nc").exists()


def test_objects_that_no_file_can_have(tmp_path):
    with pytest.raises(InputError, match=r"a\.nc: the data do not fit into a NetCDF file .*write \.zarr"):
        write(xr.Dataset({"u": ("x", np.array([object()]))}), tmp_path / "a.nc")
    assert not (tmp_path / "a.nc").exists()
