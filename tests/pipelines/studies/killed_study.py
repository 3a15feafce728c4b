"""A study that a test kills: arguments are project, workers and points."""

import sys

from study_stages import POINT

from pipelines.settings import settings
from pipelines.studies.definition import parse_study
from pipelines.studies.driver import run_study


def study(points):
    design = {"method": "random", "samples": points, "parameters": {"a": {"low": 0, "high": 1}}}
    values = {"name": "killed", "config": {"sleep": 0.02}, "design": design, "run": {"batch_seconds": 0.1}}
    return parse_study(values)


if __name__ == "__main__":
    project, workers, points = sys.argv[1:]
    where = settings(project=project, workers=int(workers), quiet=True)
    print(run_study(study(int(points)), where, stage=POINT).computed)  # noqa: T201
