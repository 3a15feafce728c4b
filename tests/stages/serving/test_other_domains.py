"""A grid of another domain, in other units, transposed or of another boundary is refused; kinds of grids and
parts of the times are not.
"""

import numpy as np
import pytest
import xarray as xr

from kernels.errors import InputError
from stages.operator_serving import fitted_to_model
from stages.predict_operator import STAGE, PredictOperatorConfig


def moved(data: xr.Dataset, axis: str, values: np.ndarray, units: str = "m") -> xr.Dataset:
    return data.assign_coords({axis: (axis, values, {"units": units})})


def walled(data: xr.Dataset) -> xr.Dataset:
    return data.assign_attrs(boundary="dirichlet")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda data: moved(data, "x", 1e3 * data["x"].values, "mm"),
            "axis 'x' is in 'mm', the model was trained with 'm': convert the positions",
        ),
        (
            lambda data: moved(data, "y", 2.0 * data["y"].values),
            "axis 'y' runs from 0 to 1.75, the model was trained from 0 to 0.875 with period 1",
        ),
        (
            lambda data: data.isel(x=slice(0, 6)),
            r"axis 'x' runs from 0 to 0\.625, the model .* with period 1: it knows nothing of other domains",
        ),
        (
            lambda data: data.transpose("sample", "y", "x"),
            r"'u' has the axes \('y', 'x'\), the model was trained on \('x', 'y'\): transpose it",
        ),
        (walled, "the data set is 'dirichlet' .* the model was trained on a grid that is 'periodic'"),
    ],
)
def test_what_is_not_the_domain_of_the_model_is_refused(toys, spoil, message):
    data = toys.grid_set()
    with pytest.raises(InputError, match=message):
        STAGE(PredictOperatorConfig(), data=spoil(data), model=toys.model_of(data))


@pytest.mark.parametrize(
    "axis", [np.linspace(0.0, 1.0, 9), (np.arange(32) + 0.5) / 32, np.linspace(0.05, 0.95, 5)]
)
def test_grids_of_one_domain_may_end_where_their_kind_does(toys, axis):
    own = walled(toys.grid_set())
    given = own.isel(x=np.arange(len(axis)) % 8).assign_coords(x=("x", axis, {"units": "m"}))
    fitted_to_model(given, toys.model_of(own))


@pytest.mark.parametrize("stop", [0.4, 1.6])
def test_a_part_of_the_walled_domain_and_more_than_it_are_refused(toys, stop):
    own = walled(toys.grid_set())
    with pytest.raises(InputError, match=f"axis 'x' runs from 0 to {stop}, the model was trained from 0 to"):
        fitted_to_model(moved(own, "x", np.linspace(0.0, stop, 8)), toys.model_of(own))


def in_time(toys, times: np.ndarray) -> xr.Dataset:
    """The outputs as those of the times, the inputs on x alone."""
    data = walled(toys.grid_set())
    u = xr.concat([data["u"].isel(y=i % 8, drop=True) for i in range(len(times))], "time")
    u = u.transpose("sample", "time", "x").assign_attrs(data["u"].attrs)
    found = data[["sample_name"]].assign(a=data["a"].isel(y=0, drop=True), u=u)
    return found.assign_coords(time=("time", times, {"units": "s"}))


def test_a_part_of_the_times_is_served_and_later_ones_are_refused(toys):
    model = toys.model_of(in_time(toys, np.linspace(0.0, 2.0, 5)), "linear")
    for times in ([2.0], [0.5, 1.25]):
        fitted_to_model(in_time(toys, np.array(times)), model)
    with pytest.raises(InputError, match="axis 'time' runs from 0 to 4, the model was trained from 0 to 2"):
        fitted_to_model(in_time(toys, np.linspace(0.0, 4.0, 9)), model)
