"""The command `pushforward`: run pipelines, predict with a model, ask the catalog."""

import importlib.metadata
import os
import sys
from pathlib import Path
from typing import Annotated

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

from cyclopts import App, CycloptsError, Parameter  # noqa: E402

from kernels.errors import InputError  # noqa: E402
from pipelines import (  # noqa: E402
    catalog_commands,
    export_command,
    service_commands,
    store_commands,
    study_commands,
)
from pipelines.interrupts import LINE, Interrupts  # noqa: E402

Project = Annotated[
    Path | None, Parameter(help="Project folder; default PUSHFORWARD_PROJECT or pushforward_project.")
]

app = App(
    name="pushforward",
    help="Turn simulations into fast models with error bars. Start with: pushforward run surrogate",
    version=importlib.metadata.version("pushforward"),
    version_flags=["--version"],
    suppress_keyboard_interrupt=False,
)
run_app = App(name="run", help="Run a pipeline; what is computed already is not computed again.")
app.command(run_app)
app.command(catalog_commands.catalog_app)
store_commands.add_store_commands(catalog_commands.catalog_app)
app.command(study_commands.study_app)
service_commands.register(app, run_app)
export_command.register(app)


@run_app.command
def surrogate(
    *,
    config: Annotated[
        str, Parameter(help="TOML file, or a shipped config: surrogate, surrogate_small, surrogate_full.")
    ] = "surrogate",
    project: Project = None,
    workers: Annotated[int | None, Parameter(help="Worker processes; 0 runs in this one. Default 2.")] = None,
    prefect: Annotated[bool, Parameter(help="Run under Prefect, or plainly in this process.")] = True,
    quiet: Annotated[bool, Parameter(help="No progress.")] = False,
) -> None:
    """Simulations to a trained model and its report: simulate or read, morph, reduce, train, predict,
    evaluate.
    """
    from pipelines.early import early
    from pipelines.settings import settings

    where = settings(project=project, workers=workers, quiet=quiet or None)
    with early(where, prefect):
        from pipelines.config import load_config
        from pipelines.pipeline import run_pipeline
        from pipelines.tables import print_frame

        outcome = run_pipeline(load_config(config), where, prefect)
    print_frame(outcome.scores, "table", "Scores on the test samples")
    model = outcome.keys["train_gp"][:12]
    _print(f"model:  {model}   (pushforward predict {model} PART_FILE)")
    _print(f"report: {outcome.report}")


@run_app.command
def operator(
    *,
    config: Annotated[
        str, Parameter(help="TOML file, or a shipped config: operator, operator_small.")
    ] = "operator",
    project: Project = None,
    workers: Annotated[int | None, Parameter(help="Worker processes; 0 runs in this one. Default 2.")] = None,
    prefect: Annotated[bool, Parameter(help="Run under Prefect, or plainly in this process.")] = True,
    quiet: Annotated[bool, Parameter(help="No progress.")] = False,
) -> None:
    """Input and output fields to trained neural operators, compared with cheap baselines: generate or read,
    split, train, predict, evaluate.
    """
    from pipelines.early import early
    from pipelines.settings import settings

    where = settings(project=project, workers=workers, quiet=quiet or None)
    with early(where, prefect):
        from pipelines.config import load_config
        from pipelines.operator_config import OperatorConfig
        from pipelines.pipeline import run_pipeline
        from pipelines.tables import print_frame

        outcome = run_pipeline(load_config(config, OperatorConfig), where, prefect)
    print_frame(outcome.scores, "table", "Scores on the test samples")
    _print(f"report: {outcome.report}")


@run_app.command
def closure(
    *,
    config: Annotated[
        str, Parameter(help="TOML file, or a shipped config: closure, closure_small.")
    ] = "closure",
    project: Project = None,
    workers: Annotated[int | None, Parameter(help="Worker processes; 0 runs in this one. Default 2.")] = None,
    prefect: Annotated[bool, Parameter(help="Run under Prefect, or plainly in this process.")] = True,
    quiet: Annotated[bool, Parameter(help="No progress.")] = False,
) -> None:
    """Kinetic runs of an active fluid to learned closures of its coarse model: simulate, learn, run the
    coarse model, judge it against the kinetic runs and the Bingham closure.
    """
    from pipelines.early import early
    from pipelines.settings import settings

    where = settings(project=project, workers=workers, quiet=quiet or None)
    with early(where, prefect):
        from pipelines.closure_config import ClosureConfig
        from pipelines.config import load_config
        from pipelines.pipeline import run_pipeline
        from pipelines.tables import print_frame

        outcome = run_pipeline(load_config(config, ClosureConfig), where, prefect)
    print_frame(outcome.scores, "table", "Scores on the test runs")
    _print(f"report: {outcome.report}")


@app.command
def predict(
    model_key: Annotated[
        str,
        Parameter(
            help="First characters of a model's key, as pushforward catalog list --stage train_gp shows."
        ),
    ],
    part_file: Annotated[Path, Parameter(help="Mesh file: VTU, VTK, VTP, SU2 or CGNS.")],
    *,
    parameter: Annotated[
        tuple[str, ...], Parameter(help="NAME=VALUE, for every input besides the shape.", negative=())
    ] = (),
    output: Annotated[
        Path | None, Parameter(help="VTU file to write; default PART_FILE with _prediction.vtu.")
    ] = None,
    project: Project = None,
) -> None:
    """Predict all fields, with standard deviations, on a mesh that the model has not seen."""
    from pipelines.prediction import predict_file

    target = output or part_file.with_name(f"{part_file.stem}_prediction.vtu")
    catalog = catalog_commands.open_catalog(project)
    try:
        done = predict_file(catalog, model_key, part_file, _parameters(parameter), target)
    finally:
        catalog.close()
    for name, mean, spread, units in done.scalars:
        _print(f"{name}: {mean:.6g} +- {spread:.2g} {units}")
    if done.extrapolates:
        sys.stderr.write(
            f"warning: {part_file} is far from the training shapes (distance {done.distance:.2g} "
            "training standard "
            "deviations): its error bars cannot be trusted; simulate some parts like it and train again\n"
        )
    _print(f"written: {done.path}")


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


def main(arguments: list[str] | None = None) -> int:
    """Run the command; status 0, 1 for a failure the user can mend, 2 for wrong usage, 130 for Ctrl-C, 143
    for SIGTERM.
    """
    with Interrupts(last=arguments is None) as interrupts:
        try:
            return _main(arguments)
        except KeyboardInterrupt:
            if not interrupts.received:
                sys.stderr.write(LINE)
            return 130


def _main(arguments: list[str] | None) -> int:
    try:
        status = app(arguments, exit_on_error=False, print_error=True, result_action="return_value")
    except CycloptsError:
        return 2
    except InputError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return status if isinstance(status, int) else 0
