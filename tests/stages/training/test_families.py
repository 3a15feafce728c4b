"""Every family through the stage: trained, stored, loaded, and predicting what it did."""

import numpy as np
import pytest
import torch

from kernels.operators.base import Batch, MeshBatch
from kernels.operators.families import build
from kernels.operators.settings import FnoSettings
from kernels.operators.training.batches import join, select, to_device
from stages.normalise import STAGE as NORMALISE
from stages.normalise import NormaliseConfig
from stages.operator_data import Samples, signature
from stages.operator_model import Predictor
from stages.split import STAGE as SPLIT
from stages.split import SplitConfig
from stages.train_operator import STAGE, TrainOperatorConfig
from tests.stages.operator_sets import grid_set, mesh_set

GRID = {
    "mgno": {"channels": 4, "layers": 1, "levels": 1},
    "fno": {"modes": 3, "width": 6, "layers": 1},
    "deeponet": {"width": 8, "depth": 2, "products": 4},
    "multionet": {"width": 8, "depth": 2, "averaged": 2},
    "kernel_ridge": {},
    "linear": {},
    "mean": {},
}


def _trained(data, model, settings):
    split = SPLIT(SplitConfig(validation=2, calibration=2, test=2), data=data)
    scales = NORMALISE(NormaliseConfig(), data=data, split=split)
    config = TrainOperatorConfig(model=model, settings=settings, epochs=2, batch=2, threads=1)
    return STAGE(config, data=data, split=split, scales=scales)


@pytest.mark.parametrize("model", sorted(GRID))
def test_a_trained_family_predicts_finite_values_and_learns_something(model):
    data = grid_set(12)
    found = _trained(data, model, GRID[model])
    predicted = Predictor(found).predict(Samples(data, np.arange(3), found).read(np.arange(3)))
    assert np.isfinite(predicted).all()
    assert predicted.shape[:2] == (1, 3)
    assert found.attrs["family"] == model


def test_a_network_on_finite_element_spaces_is_trained_on_meshes():
    data = mesh_set(10)
    found = _trained(data, "spon", {"width": 4, "rounds": 1})
    predicted = Predictor(found).predict(Samples(data, np.arange(2), found).read(np.arange(2)))
    assert np.isfinite(predicted).all()


def test_imaginary_parts_survive_a_change_of_precision():
    data = grid_set(4)
    model = build("fno", signature(data), FnoSettings(modes=3, width=4, layers=1), 0)
    before = {name: one.clone() for name, one in model.named_parameters()}
    after = dict(model.to_precision(torch.float64).to_precision(torch.float32).named_parameters())
    assert any(one.is_complex() for one in after.values())
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_prescribed_values_go_with_their_samples():
    def batch(start):
        mesh = MeshBatch(
            torch.zeros(6, 2, dtype=torch.float64), torch.tensor([[0, 1, 2], [3, 4, 5]]),
            torch.tensor([0, 0, 0, 1, 1, 1]), torch.ones(6, dtype=torch.bool), ("a", "b"),
            torch.arange(start, start + 6.0, dtype=torch.float64)[:, None],
        )  # fmt: skip
        return Batch(torch.zeros(6, 1), None, torch.empty(2, 0), mesh=mesh)

    both = to_device(join([batch(0.0), batch(6.0)]), torch.float32, "cpu")
    picked = select(both, np.array([3, 0]))
    assert picked.mesh.prescribed.dtype == torch.float64
    assert picked.mesh.prescribed[:, 0].tolist() == [9.0, 10.0, 11.0, 0.0, 1.0, 2.0]
