"""Train and compare operators as one of the configs beside this file says, and print every table.

    python -m benchmarks.operators.study darcy [--only mgno fno] [--project FOLDER] [--reference FOLDER]

What is computed stays in the project, so a study that was stopped goes on. `--only`: these candidates alone;
several processes may train different ones in one project side by side.
"""

import argparse
import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

from pipelines.config import load_config
from pipelines.operator_config import Operator, OperatorConfig
from pipelines.pipeline import run_pipeline
from pipelines.scores import TABLES
from pipelines.settings import settings

HERE = Path(__file__).parent


def config_of(name: str, reference: Path, only: list[str]) -> Operator:
    config = load_config(HERE / f"{name}.toml", OperatorConfig)
    assert isinstance(config, Operator)
    if config.arrays is not None:  # paths are relative to the reference data, not to the config
        text = str(HERE.resolve())
        moved = type(config.arrays).model_validate_json(
            config.arrays.model_dump_json().replace(text, str(reference.resolve()))
        )
        config = config.model_copy(update={"arrays": moved})
    if only:
        chosen = tuple(one for one in config.candidates if one.name in only)
        config = config.model_copy(update={"candidates": chosen})
    return config


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", choices=sorted(file.stem for file in HERE.glob("*.toml")))
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--project", type=Path, default=None)
    default = os.environ.get("PUSHFORWARD_REFERENCE_DATA", "../shared/data")
    parser.add_argument("--reference", type=Path, default=Path(default))
    given = parser.parse_args()
    config = config_of(given.config, given.reference, given.only)
    where = settings(project=given.project or Path(f"study_{given.config}"), workers=0)
    outcome = run_pipeline(config, where, prefect=False)
    from pipelines.catalog_access import open_catalog

    catalog = open_catalog(where)
    try:
        for label, key in outcome.keys.items():
            if label.startswith("evaluate_operator"):
                name = label.partition(".")[2] or config.main
                print(f"\n{name}\n{TABLES['evaluate_operator'](catalog.open(key)).to_string(index=False)}")
    finally:
        catalog.close()
    print(f"\nreport: {outcome.report}")


if __name__ == "__main__":
    main()
