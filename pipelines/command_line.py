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
    predict_command,
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
predict_command.register(app)
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
