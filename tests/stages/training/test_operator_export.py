"""Exported operators: what other software computes with them is what the model predicts."""

import numpy as np
import onnxruntime
import operator_toys
import pytest
import torch
import xarray as xr

from catalogs.catalog import Catalog
from kernels.errors import InputError
from kernels.operators.families import build
from kernels.operators.settings import SETTINGS
from pipelines.command_line import main
from pipelines.runner import Runner
from pipelines.settings import Settings
from stages import operator_export
from stages.base import variable
from stages.operator_data import Samples, signature
from stages.operator_export import export_operator
from stages.operator_model import Predictor, model_dataset
from stages.train_operator import STAGE, TrainOperatorConfig
from tests.stages.operator_sets import mesh_set

SMALL = {
    "mgno": {"channels": 4, "layers": 2},
    "deeponet": {"width": 8, "depth": 2, "products": 4},
    "fno": {"modes": 4, "width": 4, "layers": 2},
}


def positive() -> tuple[xr.Dataset, xr.Dataset]:
    """A data set whose input is scaled by its logarithm, and its scales."""
    data = operator_toys.problem()
    data["a"] = np.exp(data["a"])
    data["a"].attrs = {"role": "input", "units": "m"}
    scales = operator_toys.scales(data.assign(a=np.log(data["a"])))
    scales["input_logarithm"] = variable("input_logarithm", np.array([1], dtype=np.int8))
    return data, scales


def model_of(family: str, members: int = 1) -> tuple[xr.Dataset, xr.Dataset]:
    data, scales = positive()
    settings = SETTINGS[family](**SMALL.get(family, {}))
    operators = [build(family, signature(data), settings, seed) for seed in range(members)]
    for operator in operators:
        if operator.closed_form:
            operator.fit(Samples(data, np.arange(20), scales).read(range(20)), None)
    return data, model_dataset(operators, settings, scales, data)


def physical(data: xr.Dataset, rows: np.ndarray) -> list[np.ndarray]:
    fields, loads = data["a"].values[rows][:, None], data["load"].values[rows][:, None]
    return [fields.astype(np.float64), loads.astype(np.float64)]


CASES = [
    ("mgno", "torch"), ("mgno", "onnx"), ("deeponet", "onnx"), ("fno", "torch"), ("kernel_ridge", "onnx"),
    ("linear", "torch"),
]  # fmt: skip


@pytest.mark.parametrize(("family", "format"), CASES)
def test_a_program_gives_what_the_model_predicts_in_physical_units(family, format, tmp_path):
    data, model = model_of(family, members=2 if family == "mgno" else 1)
    path = tmp_path / "model"
    assert export_operator(model, path, format) < 1e-5
    rows = np.array([3, 1, 4, 15, 9, 2, 6])
    wanted = Predictor(model).predict(Samples(data, rows, model).read(range(7), outputs=False)).mean(axis=0)
    given = physical(data, rows)
    if format == "torch":
        found = torch.export.load(path).module()(*map(torch.from_numpy, given)).detach().numpy()
    else:
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        (found,) = session.run(None, dict(zip(("input", "parameters"), given, strict=True)))
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, wanted, atol=1e-5 * np.abs(wanted).max())
    assert [file.name for file in tmp_path.iterdir()] == ["model"]


def test_what_cannot_be_exported_is_refused_with_the_reason(tmp_path):
    with pytest.raises(InputError, match=r"'fno' cannot be exported to ONNX, .* complex .*\.pt2"):
        export_operator(model_of("fno")[1], tmp_path / "m.onnx", "onnx")
    _, model = model_of("linear")
    with pytest.raises(InputError, match=r"none is no folder: make it"):
        export_operator(model, tmp_path / "none" / "m.pt2", "torch")
    with pytest.raises(InputError, match=r"format is 'tf', expected one of torch, onnx"):
        export_operator(model, tmp_path / "m.pt2", "tf")
    data = mesh_set()
    settings = SETTINGS["spon"](width=4, rounds=1, levels=1)
    scales = operator_toys.scales(operator_toys.problem()).drop_vars(["parameter_mean", "parameter_scale"])
    operator = build("spon", signature(data), settings)
    meshes = model_dataset([operator], settings, scales, data)
    with pytest.raises(InputError, match=r"'spon' on a mesh cannot be exported: .* mesh of every sample"):
        export_operator(meshes, tmp_path / "m.pt2", "torch")
    assert list(tmp_path.iterdir()) == []


def test_a_program_that_differs_is_not_kept(tmp_path, monkeypatch):
    _, model = model_of("linear")
    real = operator_export._opened
    monkeypatch.setattr(operator_export, "_opened", lambda *a: lambda given: real(*a)(given) * 1.01)
    with pytest.raises(InputError, match=r"differs from the model by 0.0\d+ .* nothing was written"):
        export_operator(model, tmp_path / "m.pt2", "torch")
    assert list(tmp_path.iterdir()) == []


def test_the_command(tmp_path, capsys):
    data = operator_toys.problem()
    given = {"data": data, "split": operator_toys.split(data), "scales": operator_toys.scales(data)}
    project = tmp_path / "project"
    with Runner(Settings(project=project, quiet=True)) as runner:
        keys = {name: runner.add(name, dataset, {}) for name, dataset in given.items()}
        key = runner.step(STAGE, TrainOperatorConfig(model="mean"), keys)
    arguments = ["export", key[:12], str(tmp_path / "mean.onnx"), "--project", str(project)]
    assert main(arguments) == 0
    assert "takes input ['a'], parameters ['load']; gives u ['u']" in capsys.readouterr().out
    assert (tmp_path / "mean.onnx").stat().st_size > 0
    assert main([*arguments[:2], "mean.txt", *arguments[3:]]) == 1
    assert "ends with '.txt', expected one of .pt2, .onnx" in capsys.readouterr().err
    assert main(["export", keys["split"][:12], *arguments[2:]]) == 1
    assert "is the result of stage 'split', not an operator" in capsys.readouterr().err
    assert Catalog(project).exists(key)
