"""Small operators under the names of real families, with models of them."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def toys(monkeypatch):
    """The module of small operators, whose classes stand for `fno`, `linear` and `spon` meanwhile."""
    import served_toys

    served_toys.install(monkeypatch.setattr)
    return served_toys
