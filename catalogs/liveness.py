"""Which processes may still need what they wrote: those of this machine by the system, others by their
heartbeat in the table `runs`.
"""

import time

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from catalogs import environment
from catalogs.tables import runs

SILENT_SECONDS = 3600.0
"""A process on another machine is dead after so long without a heartbeat."""


def living(connection: Connection, process: str, written: float) -> bool:
    """Whether a process may live; `written`: when it was seen at work, for one that the catalog does not
    know.
    """
    if process.split(":", 1)[0] == environment.host() or process.count(":") < 2:
        return environment.is_alive(process)
    query = sa.select(runs.c.seen).where(runs.c.process == process)
    seen = connection.execute(query).scalar()
    return time.time() - max(written, float(seen or 0.0)) < SILENT_SECONDS
