"""The last step before data are published: checked against what was to be written, and sealed by a digest.

zarr's metadata are JSON without a checksum, and a damaged shape or fill value is a wrong number. So the
group's `zarr.json` holds the metadata of all its arrays (zarr's consolidated form), and the catalog's row the
digest of that one file, in its location: `<key>.<...>.zarr#<digest>`. A data set is opened by one read.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

from catalogs.arrays import Layout
from catalogs.stores import Store
from kernels.errors import InputError

META = "zarr.json"


def seal(store: Store, prefix: str, plans: Sequence[Layout]) -> tuple[str, int]:
    """Digest of the group that was written, and its bytes.

    Raises InputError where a chunk is missing or empty, or the metadata differ from the plans.
    """
    count: Counter[str] = Counter()
    size = 0
    for entry in store.entries(prefix):
        inner = entry.name[len(prefix) + 1 :]
        size += entry.size
        if entry.size and not inner.endswith(META):
            count[inner.split("/", 1)[0]] += 1
    members = {}
    for plan in plans:
        if count[plan.name] != plan.files:
            raise InputError(
                f"{plan.name!r} was written with {count[plan.name]} chunks, expected {plan.files}: the store "
                f"{store.shown} lost some; nothing is published, check its disk and run again"
            )
        members[plan.name] = _member(store, prefix, plan)
    root = json.loads(store.get(f"{prefix}/{META}") or b"{}")
    root["consolidated_metadata"] = {"kind": "inline", "must_understand": False, "metadata": members}
    text = json.dumps(root).encode()
    store.put(f"{prefix}/{META}", lambda file: file.write(text))
    return digest_of(text), size + len(text)


def digest_of(text: bytes) -> str:
    """Digest of a group's metadata."""
    return hashlib.sha256(text).hexdigest()[:32]


def address(location: str, digest: str) -> str:
    """What the row says of data: where, and the digest of their metadata."""
    return f"{location}#{digest}"


def divided(text: str) -> tuple[str, str | None]:
    """Location and digest; no digest for data of an earlier version."""
    location, _, digest = text.partition("#")
    return location, digest or None


def _member(store: Store, prefix: str, plan: Layout) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(store.get(f"{prefix}/{plan.name}/{META}") or b"{}")
    given = (found.get("shape"), found.get("data_type"), found.get("dimension_names") or [])
    dtype = plan.dtype if isinstance(plan.dtype, str) else plan.dtype.name
    if given != (list(plan.shape), dtype, list(plan.dims)):
        raise InputError(
            f"{plan.name!r} was written as {given}, expected shape {plan.shape}, dtype {plan.dtype} and dims "
            f"{plan.dims}: nothing is published, check the disk of {store.shown} and run again"
        )
    return found
