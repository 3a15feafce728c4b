"""A model is its weights and names: it comes back to the bit, or says what does not fit."""

import json
from datetime import UTC, datetime

import numpy as np
import pytest
import torch

from catalogs.catalog import Catalog, Record
from kernels.errors import InputError
from kernels.operators.families import build
from kernels.operators.settings import FnoSettings, MeanSettings
from stages.operator_data import Samples, signature
from stages.operator_model import (
    Predictor,
    channel_attributes,
    channel_names,
    load_operators,
    model_dataset,
    state_of,
)


@pytest.fixture
def model(toys):
    data = toys.problem()
    settings = FnoSettings(modes=3, width=4)
    members = [build("fno", signature(data), settings, seed) for seed in (3, 4)]
    return data, members, model_dataset(members, settings, toys.scales(data), data, seeds=(3, 4))


def test_a_model_comes_back_to_the_bit_through_a_file(model, tmp_path):
    data, members, dataset = model
    catalog = Catalog(tmp_path)
    catalog.publish("f" * 64, dataset, Record("train_operator", 1, {}, {}, datetime.now(UTC), 0.0))
    again = load_operators(catalog.open("f" * 64))
    catalog.close()
    for made, found in zip(members, again, strict=True):
        for name, values in state_of(made).items():
            assert torch.equal(state_of(found)[name], values), name
        assert not found.training
        assert found.signature.axes == ("x", "y")
        np.testing.assert_array_equal(found.signature.grid[0], data["x"])
    assert dataset.attrs["parameter_count"] == members[0].size()
    assert channel_names(dataset).outputs == ("u",)
    assert channel_attributes(dataset)["outputs"]["u"]["units"] == "K"


def test_the_predictor_gives_physical_units_of_every_member(model):
    data, members, dataset = model
    batch = Samples(data, np.arange(5), dataset).read(range(5), outputs=False)
    given = Predictor(dataset).predict(batch)
    assert given.shape == (2, 5, 1, 8, 8)
    assert given.dtype == np.float64
    with torch.no_grad():
        wanted = members[1](batch.to(torch.float32)).double().numpy()
    u = data["u"].values.astype(np.float64)
    np.testing.assert_allclose(given[1], wanted * u.std() + u.mean(), rtol=1e-6)


def test_fitted_tensors_take_the_shape_of_the_data(toys):
    data = toys.problem()
    operator = build("mean", signature(data), MeanSettings())
    operator.fit(Samples(data, np.arange(20)).read(range(20)), None)
    dataset = model_dataset([operator], MeanSettings(), toys.scales(data), data)
    (again,) = load_operators(dataset)
    assert torch.equal(again.field, operator.field)
    assert again.phase.dtype == torch.complex64
    assert torch.equal(again.phase, operator.phase)


def test_weights_that_do_not_fit_are_named_with_their_shapes(model):
    _, _, dataset = model
    wider = dataset.assign_attrs(settings=json.dumps({**json.loads(dataset.attrs["settings"]), "width": 5}))
    with pytest.raises(
        InputError, match=r"'fno': 'first.weight' is \(4,2,3,3\), not \(5,2,3,3\); .*settings"
    ):
        load_operators(wider)
    with pytest.raises(InputError, match=r"need 113 numbers, its weights have 100"):
        load_operators(dataset.isel(weight=slice(0, 100)))
    renamed = dataset.copy()
    renamed["tensor_name"] = dataset["tensor_name"].copy(data=["x", *dataset["tensor_name"].values[1:]])
    with pytest.raises(InputError, match=r"'first.weight' is absent, not .*'x' is \(4,2,3,3\), not absent"):
        load_operators(renamed)


def test_what_is_no_model_is_refused(model):
    data, _, dataset = model
    with pytest.raises(InputError, match=r"no .*family.*expected a model"):
        load_operators(data)
    with pytest.raises(InputError, match=r"family 'os.system', expected one of .*fno"):
        load_operators(dataset.assign_attrs(family="os.system"))
    with pytest.raises(
        InputError, match=r"settings of the model are \['depth'\], those of 'fno' are .*'width'"
    ):
        load_operators(dataset.assign_attrs(settings='{"depth": 3}'))


def test_settings_that_an_earlier_version_did_not_have_are_not_guessed(model):
    _, _, dataset = model
    settings = json.loads(dataset.attrs["settings"])
    del settings["padding"]
    with pytest.raises(InputError, match=r"expected a model of this version, train it again"):
        load_operators(dataset.assign_attrs(settings=json.dumps(settings)))


def test_members_of_other_architectures_are_refused(toys):
    data = toys.problem()
    members = [build("fno", signature(data), FnoSettings(modes=3, width=w)) for w in (4, 5)]
    with pytest.raises(InputError, match=r"member 1 has other tensors than member 0: 'first.weight'"):
        model_dataset(members, FnoSettings(), toys.scales(data))
