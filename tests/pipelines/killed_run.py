"""A run of the fake pipeline that a test kills: arguments are project, workers and seconds a case."""

import sys

from fake_stages import SOURCE, TOTAL, WORK, SourceConfig, SumConfig, WorkConfig

from pipelines.runner import Runner
from pipelines.settings import settings

if __name__ == "__main__":
    project, workers, seconds = sys.argv[1:]
    with Runner(settings(project=project, workers=int(workers), quiet=True)) as runner:
        meshes = runner.step(SOURCE, SourceConfig(samples=24), {})
        worked = runner.step(WORK, WorkConfig(seconds=float(seconds)), {"meshes": meshes})
        runner.step(TOTAL, SumConfig(), {"worked": worked})
