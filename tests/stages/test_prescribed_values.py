"""Values that are prescribed on the boundary reach the prediction in physical units, to round-off."""

import numpy as np
import pytest
import xarray as xr

from kernels.operators.families import build
from kernels.operators.settings import SponSettings
from stages.base import variable
from stages.operator_data import Samples
from stages.operator_model import Predictor, model_dataset
from tests.stages.operator_sets import mesh_set


def scales(mean: float, scale: float, inputs: int) -> xr.Dataset:
    numbers = {"input": ([0.3] * inputs, [2.0] * inputs), "output": ([mean], [scale]), "parameter": ([], [])}
    found = {}
    for kind, values in numbers.items():
        for what, value in zip(("mean", "scale"), values, strict=True):
            found[f"{kind}_{what}"] = variable(f"{kind}_{what}", np.array(value))
    return xr.Dataset(found)


@pytest.mark.parametrize(("mean", "scale"), [(0.0, 1.0), (0.731, 0.0137), (-3.3, 41.7)])
@pytest.mark.parametrize("stated", [False, True])
def test_prescribed_values_are_exact_in_physical_units(mean: float, scale: float, stated: bool):
    data = mesh_set()
    wanted = np.zeros(data.sizes["node"])
    if stated:
        wanted = np.random.default_rng(3).uniform(-5.0, 5.0, data.sizes["node"])
        data["edge"] = ("node", wanted, {"role": "input", "units": "m", "prescribes": "u"})
    known = scales(mean, scale, 1 + stated)
    samples = Samples(data, np.arange(6), known)
    operator = build("spon", samples.signature, SponSettings(width=8, rounds=1, levels=1))
    model = model_dataset([operator], SponSettings(width=8, rounds=1, levels=1), known, data)
    predicted = Predictor(model).predict(samples.read(np.arange(6), outputs=False))[0, :, 0]
    fixed = data["dirichlet"].values == 1
    assert np.abs(predicted - wanted)[fixed].max() <= 1e-12
    assert np.abs(predicted - wanted)[~fixed].max() > 1e-6


def test_nothing_is_prescribed_where_nothing_is_marked():
    data = mesh_set().drop_vars("dirichlet")
    assert Samples(data, np.arange(2)).read([0, 1]).mesh.prescribed is None
