"""The command `pushforward predict`: a trained model on cases that it has not seen."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from kernels.errors import InputError
from pipelines.catalog_commands import Project, open_catalog

if TYPE_CHECKING:
    from catalogs.catalog import Catalog


def register(app: App) -> None:
    """Add the command."""
    app.command(predict)


def predict(
    model_key: Annotated[
        str,
        Parameter(
            help="First characters of a model's key, NAME or NAME@3, as pushforward catalog list shows for "
            "the stages train_gp, train_operator, ensemble; 'chosen': the operator that the last run chose."
        ),
    ],
    *part_files: Annotated[
        Path,
        Parameter(
            help="Mesh files: VTU, VTK, VTP, SU2 or CGNS, one for a surrogate model. For an operator also "
            "folders of them, or the files of arrays that --config describes, in place of those it names."
        ),
    ],
    config: Annotated[
        str | None,
        Parameter(
            help="For an operator, a TOML file with the section [arrays] as `pushforward run operator` takes "
            "it, also the one of the training; outputs may be absent from the files. [predict_operator] says "
            "what to do with a grid that the model cannot serve."
        ),
    ] = None,
    parameter: Annotated[
        tuple[str, ...],
        Parameter(help="NAME=VALUE, for every parameter that the files do not hold.", negative=()),
    ] = (),
    output: Annotated[
        Path | None,
        Parameter(
            help="File to write: VTU for one mesh, for an operator also NetCDF (.nc), or a folder for one "
            "VTU a mesh. Default: beside the first file, with _prediction behind its name."
        ),
    ] = None,
    project: Project = None,
    workers: Annotated[
        int, Parameter(help="Worker processes for an operator; by default all runs in this one.")
    ] = 0,
) -> None:
    """Predict all fields, with standard deviations, for cases that the model has not seen.

    A surrogate model takes a mesh file and the parameters. An operator takes its input fields: in mesh files,
    or in arrays that --config describes. What it predicts lies in the catalog too, and a second call computes
    nothing.
    """
    from pipelines.models import OPERATORS, model_of

    values = _parameters(parameter)
    catalog = open_catalog(project)
    try:
        key, stage = model_of(catalog, model_key)
        if stage not in OPERATORS:
            _on_a_part(catalog, key, part_files, values, config, output)
            return
    finally:
        catalog.close()
    _on_cases(key, part_files, values, config, output, project, workers)


def _on_a_part(
    catalog: "Catalog", key: str, files: tuple[Path, ...], parameters: dict[str, float],
    config: str | None, output: Path | None,
) -> None:  # fmt: skip
    from pipelines.prediction import predict_file

    if len(files) != 1 or config is not None:
        said = f"{len(files)} files" + ("" if config is None else " and --config")
        raise InputError(
            f"model {key[:12]} is a surrogate, got {said}; expected one mesh file, and --parameter "
            "NAME=VALUE for what it does not hold"
        )
    (file,) = files
    target = output or file.with_name(f"{file.stem}_prediction.vtu")
    done = predict_file(catalog, key, file, parameters, target)
    for name, mean, spread, units in done.scalars:
        _print(f"{name}: {mean:.6g} +- {spread:.2g} {units}")
    if done.extrapolates:
        sys.stderr.write(
            f"warning: {file} is far from the training shapes (distance {done.distance:.2g} "
            "training standard "
            "deviations): its error bars cannot be trusted; simulate some parts like it and train again\n"
        )
    _print(f"written: {done.path}")


def _on_cases(
    key: str, files: tuple[Path, ...], parameters: dict[str, float], config: str | None,
    output: Path | None, project: Path | None, workers: int,
) -> None:  # fmt: skip
    import pandas as pd

    from pipelines.new_cases import described
    from pipelines.operator_prediction import predict_cases
    from pipelines.settings import settings
    from pipelines.tables import print_frame

    cases = described(config, files)
    done = predict_cases(settings(project=project, workers=workers), key, cases, parameters, output)
    print_frame(pd.DataFrame(done.rows, columns=["what", "of the prediction"]), "table")
    for line in done.flagged:
        sys.stderr.write(f"warning: {line}\n")
    more = f" and {len(done.written) - 1} more beside it" if len(done.written) > 1 else ""
    _print(f"written: {done.written[0]}{more}")


def _parameters(given: tuple[str, ...]) -> dict[str, float]:
    values = {}
    for entry in given:
        name, _, text = entry.partition("=")
        try:
            values[name.strip()] = float(text)
        except ValueError as error:
            raise InputError(
                f"--parameter {entry!r}: expected NAME=NUMBER, as in --parameter load=2.5e8"
            ) from error
    return values


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")
