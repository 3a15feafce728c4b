"""The command `pushforward export`: a trained operator as a file for other software."""

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from kernels.errors import InputError
from pipelines.catalog_commands import Project, open_catalog

_STAGES = ("train_operator", "ensemble")


def register(app: App) -> None:
    """Add the command."""
    app.command(export)


def export(
    model_key: Annotated[
        str,
        Parameter(help="First characters of a model's key: pushforward catalog list --stage train_operator."),
    ],
    file: Annotated[Path, Parameter(help="File to write: .pt2 for torch.export.load, .onnx for ONNX.")],
    *,
    project: Project = None,
) -> None:
    """Write a trained operator as a program of its own: physical values in and out, any number of samples."""
    from stages.operator_export import export_operator, format_of
    from stages.operator_model import channel_names

    format = format_of(file)
    catalog = open_catalog(project)
    try:
        key = catalog.resolve(model_key)
        stage = catalog.show(key)["stage"]
        if stage not in _STAGES:
            raise InputError(
                f"artifact {key[:12]} is the result of stage {stage!r}, not an operator: expected one of "
                f"{' or '.join(_STAGES)}, as `pushforward catalog list` shows them"
            )
        model = catalog.open(key).load()
    finally:
        catalog.close()
    difference = export_operator(model, file, format)
    names = channel_names(model)
    taken = [f"{w} {list(n)}" for w, n in (("input", names.inputs), ("parameters", names.parameters)) if n]
    sys.stdout.write(f"takes {', '.join(taken)}; gives u {list(names.outputs)}\n")
    sys.stdout.write(f"written: {file}   (within {difference:.1e} of the model)\n")
