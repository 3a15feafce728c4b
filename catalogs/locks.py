"""Locks between processes that share a database, for what one constraint of one row cannot hold."""

import hashlib

import sqlalchemy as sa
from sqlalchemy.engine import Connection


def hold(connection: Connection, *words: str) -> None:
    """Hold what the words name until the transaction ends; another that holds it is waited for.

    For transactions of `catalogs.database.writing`: SQLite lets one of them in at a time anyway.
    """
    if connection.dialect.name != "postgresql":
        return
    digest = hashlib.sha256("\0".join(words).encode()).digest()
    number = int.from_bytes(digest[:8], "big", signed=True)
    connection.execute(sa.text("SELECT pg_advisory_xact_lock(:number)"), {"number": number})
