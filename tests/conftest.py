"""Shared fixtures: the folder of real inputs, and thread counts that leave the cores to pytest-xdist."""

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
os.environ.setdefault("NUMBA_NUM_THREADS", "2")

from pathlib import Path  # noqa: E402

import pytest  # noqa: E402


@pytest.fixture(scope="session")
def reference_data() -> Path:
    """Folder of real meshes and solutions; the test is skipped, with the reason, where it is absent."""
    root = Path(__file__).resolve().parents[1]
    folder = Path(os.environ.get("PUSHFORWARD_REFERENCE_DATA", root.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no reference data at {folder}: set PUSHFORWARD_REFERENCE_DATA")
    return folder
