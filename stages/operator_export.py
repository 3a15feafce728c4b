"""Trained operators as programs for other software: torch.export or ONNX, physical values in and out."""

import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import xarray as xr

from kernels.errors import InputError
from stages.operator_data import takes_logarithm

if TYPE_CHECKING:
    import torch

    from kernels.operators.program import Program

Format = Literal["torch", "onnx"]

SUFFIXES: dict[str, Format] = {".pt2": "torch", ".onnx": "onnx"}
"""What a file's name says of its format."""

_TOLERANCE = 1e-4
_SAMPLES = 3


def export_operator(model: xr.Dataset, path: Path, format: Format) -> float:
    """Write a model as one program: `u(input, parameters)` in physical units, float64, any number of samples.

    torch: a file for `torch.export.load`; onnx: for an ONNX runtime. `input` (samples, inputs, *grid) and
    `parameters` (samples, parameters), of these only what the model has, in the order of its channels, on the
    grid that it was trained on; `u` (samples, outputs, *out_grid), the mean of the members. Scales and
    logarithms of `normalise` are part of it. The file is read again and compared with `Predictor`: the
    largest difference over the largest value is returned, and nothing is left where it exceeds 1e-4.

    Raises InputError where the model is on meshes, the format cannot say what the family computes, the file
    cannot be written, or its predictions differ.
    """
    from stages.operator_model import Predictor

    predictor = Predictor(model)
    _check(model, predictor, path, format)
    program = _program(model, predictor)
    inputs = _examples(model, predictor, _SAMPLES)
    part = path.with_name(f".{uuid.uuid4().hex[:8]}.{path.name}")
    try:
        with _quiet():
            _write(program, inputs, part, format, predictor.operators[0].family)
            difference = _difference(model, predictor, part, format)
        if not difference <= _TOLERANCE:
            raise InputError(
                f"the exported program differs from the model by {difference:.2g} of its largest value, "
                f"expected at most {_TOLERANCE:g}: nothing was written; export to the other format"
            )
        part.replace(path)
    except OSError as error:
        raise InputError(
            f"{path} cannot be written ({error}): choose another folder or free space"
        ) from error
    finally:
        part.unlink(missing_ok=True)
    return difference


def format_of(path: Path) -> Format:
    """Format that the name of a file says; raises InputError where it says none."""
    if path.suffix not in SUFFIXES:
        raise InputError(
            f"{path} ends with {path.suffix!r}, expected one of {', '.join(SUFFIXES)}: rename it"
        )
    return SUFFIXES[path.suffix]


def _check(model: xr.Dataset, predictor: Any, path: Path, format: Format) -> None:
    family, signature = predictor.operators[0].family, predictor.signature
    if format not in SUFFIXES.values():
        raise InputError(f"format is {format!r}, expected one of {', '.join(SUFFIXES.values())}")
    if signature.layout != "grid" or family == "spon":
        raise InputError(
            f"{family!r} on a {signature.layout} cannot be exported: a program is traced for one grid, "
            "and this model computes on the mesh of every sample; predict with `pushforward` or `Predictor`"
        )
    if family == "fno" and format == "onnx":
        raise InputError(
            "'fno' cannot be exported to ONNX, which has no complex Fourier transforms of several axes: "
            "export it to torch (.pt2)"
        )
    if not path.parent.is_dir():
        raise InputError(f"{path.parent} is no folder: make it, or choose another one for {path.name}")


def _program(model: xr.Dataset, predictor: Any) -> "Program":
    import torch

    from kernels.operators.program import Program
    from stages.operator_model import precision_of

    numbers = {
        f"{kind}_{what}": torch.tensor(np.asarray(model[f"{kind}_{what}"].values, dtype=np.float64))
        for kind in ("input", "output", "parameter")
        for what in ("mean", "scale")
    }
    flags = [
        [takes_logarithm(model, kind, i) for i in range(model[f"{kind}_mean"].size)]
        for kind in ("input", "parameter")
    ]
    return Program(predictor.operators, precision_of(predictor.operators[0]), numbers, *flags)


def _examples(model: xr.Dataset, predictor: Any, samples: int) -> "tuple[torch.Tensor, ...]":
    """Physical inputs that the scales say are usual."""
    import torch

    s, random = predictor.signature, torch.Generator().manual_seed(samples)
    found = []
    for kind, shape in (("input", (s.inputs, *s.shape)), ("parameter", (s.parameters,))):
        if shape[0] == 0:
            continue
        values = torch.randn(samples, *shape, generator=random, dtype=torch.float64)
        column = (-1, *[1] * (len(shape) - 1))
        mean, scale = (torch.tensor(model[f"{kind}_{w}"].values).reshape(column) for w in ("mean", "scale"))
        values = values * scale + mean
        for i in range(shape[0]):
            if takes_logarithm(model, kind, i):
                values[:, i] = torch.exp(values[:, i])
        found.append(values)
    return tuple(found)


def _write(program: "Program", inputs: Any, path: Path, format: Format, family: str) -> None:
    import torch

    from kernels.operators.program import traced

    try:
        found = traced(program, inputs)
        if format == "torch":
            torch.export.save(found, path)
            return
        names = [
            name for name, held in (("input", program.inputs), ("parameters", program.parameters_)) if held
        ]
        torch.onnx.export(
            found, (), path, dynamo=True, external_data=False, verbose=False, input_names=names,
            output_names=["u"],
        )  # fmt: skip
    except OSError:
        raise
    except Exception as error:  # the tracers raise whatever they like, none of it for users
        lines = str(error).strip().splitlines() or [""]
        raise InputError(
            f"{family!r} cannot be exported to {format} ({type(error).__name__}: {lines[0][:200]}): "
            "export to the other format, or predict with `pushforward`"
        ) from error


def _difference(model: xr.Dataset, predictor: Any, path: Path, format: Format) -> float:
    """Largest difference from the predictor, over its largest value, for other numbers of samples."""
    from kernels.operators.base import Batch
    from kernels.operators.grids import coordinates

    s, worst = predictor.signature, 0.0
    run = _opened(path, format)
    for samples in (1, 5):
        given = _examples(model, predictor, samples)
        program = _program(model, predictor)
        a, parameters = program.normalised(*given)
        batch = Batch(a, None, parameters, coordinates(s.grid), coordinates(s.out_grid))
        wanted = predictor.predict(batch).mean(axis=0)
        found = run([one.numpy() for one in given])
        worst = max(worst, float(np.abs(found - wanted).max() / max(np.abs(wanted).max(), 1e-300)))
        if not np.isfinite(found).all():
            return float("nan")
    return worst


def _opened(path: Path, format: Format) -> Any:
    import torch

    if format == "torch":
        module = torch.export.load(path).module()

        def by_torch(given: list[np.ndarray]) -> np.ndarray:
            with torch.no_grad():
                return np.asarray(module(*map(torch.from_numpy, given)).numpy())

        return by_torch
    try:
        import onnxruntime
    except ImportError as error:
        raise InputError(
            "a file for ONNX is checked by running it, and onnxruntime is not installed: install it, or "
            "export to torch (.pt2)"
        ) from error
    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_inputs()]
    return lambda given: session.run(None, dict(zip(names, given, strict=True)))[0]


@contextmanager
def _quiet() -> Iterator[None]:
    """The tracers warn of their own future, and log to stderr what they then raise."""
    import logging

    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
