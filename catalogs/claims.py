"""The record of a key, beside its data: `<key>.json`, written once, where the store can hold writers apart.

It claims the key: of two catalogs that share a store and publish one key, the second takes over the data of
the first. And it holds what a lost database held: see `catalogs.archive.recover`.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from catalogs.contents import Content
from catalogs.keys import plain
from catalogs.rows import Description, Record, finite
from catalogs.sealing import META, digest_of, divided
from catalogs.stores import Store
from kernels.errors import InputError


@dataclass(frozen=True)
class News:
    """What is to be published: how it was made, what it is, its digests, bytes, and each sample's part."""

    record: Record
    about: Description
    content: Content
    size: int
    origin: Sequence[str] | None = None


def record_name(key: str) -> str:
    """Name of the record of a key."""
    return f"{key}.json"


def claim(store: Store, key: str, address: str, news: News) -> str:
    """Write the record of a key; the address that its record names, this or an earlier one with data.

    Raises InputError where others keep changing the record.
    """
    text = json.dumps(_content(key, address, news)).encode()
    for _ in range(10):
        if store.put_new(record_name(key), text):
            return address
        found = store.get(record_name(key))
        if found is None:
            continue
        earlier = claimed(found)
        if earlier is not None and _is_whole(store, earlier):
            return earlier
        if store.replace(record_name(key), text, found):
            return address
    raise InputError(
        f"the record {record_name(key)} in {store.shown} is written by others again and again: run again"
    )


def withdraw(store: Store, key: str, address: str) -> bool:
    """Take back a record whose row could not be written; whether that is safe: elsewhere a remote store's
    record may be in use already.
    """
    if store.remote:
        return False
    found = store.get(record_name(key))
    if found is not None and claimed(found) == address:
        store.delete([record_name(key)])
    return True


def claimed(text: bytes) -> str | None:
    """The address in a record, None where it cannot be read."""
    try:
        address = json.loads(text)["address"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return address if isinstance(address, str) else None


def _is_whole(store: Store, address: str) -> bool:
    try:
        location, digest = divided(address)
        text = store.get(f"{location}/{META}")
    except InputError:
        return False
    return text is not None and digest_of(text) == digest


def _content(key: str, address: str, news: News) -> dict[str, Any]:
    record = news.record
    return {
        "format": 1,
        "key": key,
        "address": address,
        "bytes": news.size,
        "stage": record.stage,
        "version": record.version,
        "config": plain(record.config),
        "inputs": dict(record.inputs),
        "started": record.started.timestamp(),
        "seconds": record.seconds,
        "metrics": finite(plain(record.metrics)),
        "literature": list(record.literature),
    }
