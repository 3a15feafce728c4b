"""A study that is killed: arguments are project, workers, points, seconds of a point, and patience."""

import random
import sys

from study_stages import POINT

from kernels.errors import InputError
from pipelines.settings import settings
from pipelines.studies.definition import parse_study
from pipelines.studies.driver import run_study


def study(points, sleep, patience=30.0):
    """Every tenth result is too large for the database, and lies in the store."""
    chance = random.Random(0)
    listed = [{"a": chance.random(), "size": 10_000 if n % 10 == 0 else 0} for n in range(points)]
    return parse_study({
        "name": "killed", "config": {"sleep": sleep}, "design": {"method": "list", "points": listed},
        "run": {"batch_seconds": 0.3, "patience": patience, "lease_seconds": 30.0},
    })  # fmt: skip


if __name__ == "__main__":
    project, workers, points, sleep, patience = sys.argv[1:]
    where = settings(project=project, workers=int(workers))
    try:
        run_study(study(int(points), float(sleep), float(patience)), where, stage=POINT)
    except InputError as error:
        sys.exit(f"error: {error}")  # as the command line does
