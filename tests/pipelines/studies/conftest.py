"""Makes the stages of studies importable here and in worker processes; where the tests run them."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import pytest

from pipelines.settings import settings


@pytest.fixture
def counter(tmp_path, monkeypatch):
    path = tmp_path / "counter"
    monkeypatch.setenv("STUDY_COUNTER", str(path))
    return lambda: path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def where(tmp_path, database_url):
    return settings(project=tmp_path / "p", workers=0, quiet=True, database_url=database_url)


@pytest.fixture
def local(tmp_path):
    return settings(project=tmp_path / "p", workers=0, quiet=True)
