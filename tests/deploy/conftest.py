"""Makes the helpers beside the tests, and the scripts of deploy/, importable."""

import sys
from pathlib import Path

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"

for _folder in (Path(__file__).parent, DEPLOY, DEPLOY / "slurm"):
    sys.path.insert(0, str(_folder))
