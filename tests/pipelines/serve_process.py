"""Serves deployments in a process of its own, for tests that kill what it runs."""

import sys
from pathlib import Path

from pipelines import serve
from pipelines.settings import settings

serve.WATCH_SECONDS = 1.0

if __name__ == "__main__":
    serve.serve(Path(sys.argv[1]), settings(project=Path(sys.argv[2]), workers=0))
