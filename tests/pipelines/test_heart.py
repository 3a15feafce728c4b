"""The heartbeat of a run: it beats while the run is on, ends with it, and a beat that fails ends nothing."""

import threading
import time

import sqlalchemy as sa

from catalogs.tables import runs
from kernels.errors import InputError
from pipelines import runner as runners
from pipelines.catalog_access import Heart
from pipelines.runner import Runner
from pipelines.settings import settings

_WAIT = 60.0


class Beats:
    """A catalog whose first beats fail."""

    def __init__(self, *failures):
        self.failures, self.count, self.enough = list(failures), 0, threading.Event()

    def beat(self):
        self.count += 1
        if self.failures:
            raise self.failures.pop(0)
        self.enough.set()


def hearts():
    """Threads that beat in this process; runners of other tests may have left some."""
    return {thread for thread in threading.enumerate() if thread.name == "heartbeat"}


def test_a_beat_that_fails_is_followed_by_the_next():
    before = hearts()
    catalog = Beats(InputError("locked"), sa.exc.OperationalError("update", {}, OSError("gone")))
    heart = Heart(catalog, seconds=0.001)
    heart.start()
    assert catalog.enough.wait(_WAIT)
    heart.stop()
    count = catalog.count
    assert count >= 3
    assert hearts() <= before
    assert catalog.count == count


def test_without_a_start_nothing_beats():
    before = hearts()
    heart = Heart(Beats(), seconds=0.001)
    heart.stop()
    assert hearts() <= before


def test_a_run_is_seen_while_it_computes_and_ends_with_its_heart(tmp_path, monkeypatch):
    from fake_stages import SOURCE, SourceConfig

    monkeypatch.setattr(runners, "Heart", lambda catalog: Heart(catalog, seconds=0.01))
    before = hearts()
    with Runner(settings(project=tmp_path / "p", workers=0, quiet=True)) as runner:
        assert hearts() <= before, "nothing is on yet"
        runner.step(SOURCE, SourceConfig(), {})
        assert len(hearts() - before) == 1
        first, until = seen(runner), time.monotonic() + _WAIT
        while seen(runner) == first:
            assert time.monotonic() < until, "no beat came"
            time.sleep(0.01)
    assert hearts() <= before


def seen(runner):
    with runner.catalog.engine.connect() as connection:
        return connection.execute(sa.select(sa.func.max(runs.c.seen))).scalar()
