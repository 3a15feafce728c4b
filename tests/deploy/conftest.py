"""Makes the helpers beside the tests, and the scripts of deploy/, importable."""

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"

for _folder in (Path(__file__).parent, DEPLOY, DEPLOY / "slurm"):
    sys.path.insert(0, str(_folder))

from slurm_node import missing, one_node  # noqa: E402


@pytest.fixture
def slurm() -> Iterator[dict[str, str]]:
    """Environment of a Slurm of one node, for a test; skipped, with the reason, where there is none."""
    reason = missing()
    if reason:
        pytest.skip(reason)
    pytest.importorskip("dask_jobqueue")
    with tempfile.TemporaryDirectory() as folder, one_node(Path(folder)) as environment:
        yield {**os.environ, **environment}
