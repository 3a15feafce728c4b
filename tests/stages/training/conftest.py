"""Toy operators under the names of real families, and small data sets, so that training alone is tested."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def toys(monkeypatch):
    """The module of toys, whose classes stand for `fno` and `mean` meanwhile."""
    import operator_toys

    operator_toys.install(monkeypatch.setattr)
    return operator_toys
