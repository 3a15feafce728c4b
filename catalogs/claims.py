"""The record of a key, beside its data: `<key>.json`, where the store can hold writers apart.

It claims the key: of two catalogs that share a store and publish one key, the second takes over the data of
the first. It says which catalogs use the data: `holders` of the artifact, and for every group that was
written for this key the `users`, who may have it as a segment of other artifacts; only the last one to leave
deletes. And it holds what a lost database held: see `catalogs.recover`.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from catalogs.contents import Content
from catalogs.keys import plain
from catalogs.reading import stored_metadata
from catalogs.rows import Description, Record, finite
from catalogs.sealing import divided
from catalogs.segments import Fresh, Piece, Place
from catalogs.stores import Store
from kernels.errors import InputError

_TRIES = 20
_UNKNOWN = "?"


@dataclass(frozen=True)
class News:
    """What is to be published: how it was made, what it is, its digests, bytes, each sample's part, and what
    is known of segments that are new.
    """

    record: Record
    about: Description
    content: Content
    size: int
    origin: Sequence[str | None] | None = None
    fresh: Mapping[str, Fresh] = field(default_factory=dict)


def record_name(key: str) -> str:
    """Name of the record of a key."""
    return f"{key}.json"


def place_in(about: Mapping[str, Any]) -> Place | None:
    """Where a record says that the data lie, None where it does not say so."""
    try:
        address = about["address"]
        pieces = tuple(Piece(str(a), int(b), int(c)) for a, b, c in about.get("pieces") or ())
    except (KeyError, TypeError, ValueError):
        return None
    return Place(address, pieces) if isinstance(address, str) else None


class Records:
    """The records of a store, as one of the catalogs that use it writes them; `me` is its name."""

    def __init__(self, store: Store, me: Callable[[], str]) -> None:
        self._store, self._me = store, me

    @property
    def me(self) -> str:
        """Name of this catalog in the records."""
        return self._me()

    def read(self, key: str) -> dict[str, Any]:
        """The record of a key; empty where there is none, or none that can be read."""
        return self._parsed(self._store.get(record_name(key)))

    def claim(self, key: str, place: Place, news: News, mine: str | None) -> Place:
        """Write the record of a key; the place that it names, this or an earlier one with data. `mine`: the
        group that was written for it.

        Raises InputError where others keep changing the record.
        """
        for _ in range(_TRIES):
            text = self._text(key, place, news, mine, {})
            if self._store.put_new(record_name(key), text):
                return place
            seen = self._store.get(record_name(key))
            if seen is None:
                continue
            about = self._parsed(seen)
            earlier = place_in(about)
            if earlier is not None and self._is_whole(earlier) and self.take_over(key, earlier):
                return earlier
            text = self._text(key, place, news, mine, about)
            if self._store.replace(record_name(key), text, seen):
                return place
        raise self._contended(key)

    def move(self, key: str, place: Place, mine: str | None = None) -> None:
        """Let the record of an artifact of this catalog name another place with the same values."""

        def change(about: dict[str, Any]) -> dict[str, Any] | None:
            if not about:
                return None
            users = about["users"]
            if mine is not None:
                users = {**users, mine: sorted({*users.get(mine, []), self.me})}
            return {**about, **_written(place), "users": users}

        self._change(key, change)

    def join(self, locations: Sequence[str], instead: bool = False) -> bool:
        """Enter this catalog as a user of groups, or as the only one; False where one of them has no user any
        more.
        """

        def change(location: str) -> Callable[[dict[str, Any]], dict[str, Any] | None]:
            def entered(about: dict[str, Any]) -> dict[str, Any] | None:
                users = about.get("users", {}).get(location, [])
                wanted = [self.me] if instead else sorted({*users, self.me})
                if not users or users == wanted:
                    return None
                return {**about, "users": {**about["users"], location: wanted}}

            return entered

        return all(
            self.me in self._change(_home(location), change(location)).get("users", {}).get(location, [])
            for location in locations
        )

    def users(self, location: str) -> list[str]:
        """Catalogs that use a group, as the record of the key says for which it was written."""
        return list(self.read(_home(location)).get("users", {}).get(location, []))

    def leave(self, keys: Sequence[str], locations: Sequence[str]) -> list[str]:
        """Take this catalog out of the holders of artifacts and the users of groups; the groups that nobody
        uses any more.
        """
        gone: dict[str, list[str]] = {}
        for location in locations:
            gone.setdefault(_home(location), []).append(location)
        free: list[str] = []
        for key in dict.fromkeys([*keys, *gone]):
            about = self._change(key, self._left(key in keys, gone.get(key, [])))
            left = set(about.get("users", {}))
            free += [location for location in gone.get(key, []) if location not in left]
            if about and not about["users"] and place_in(about) is None and not self._store.remote:
                # elsewhere it stays, as nothing says whether another catalog writes it just now
                self._store.delete([record_name(key)])
        return free

    def _left(
        self, artifact: bool, locations: Sequence[str]
    ) -> Callable[[dict[str, Any]], dict[str, Any] | None]:
        def change(about: dict[str, Any]) -> dict[str, Any] | None:
            if not about:
                return None
            users = dict(about["users"])
            for location in locations:
                users[location] = [one for one in users.get(location, []) if one != self.me]
                if not users[location]:
                    del users[location]
            changed = {**about, "users": users}
            if artifact:
                changed["holders"] = [one for one in about["holders"] if one != self.me]
                if not changed["holders"]:
                    changed |= {"address": None, "pieces": []}
            return changed if changed != about else None

        return change

    def take_over(self, key: str, place: Place, instead: bool = False) -> bool:
        """Become a holder of an artifact that another catalog published; whether it was still there.

        `instead`: of all others, which are lost.
        """
        if not self.join(place.locations, instead):
            return False

        def change(about: dict[str, Any]) -> dict[str, Any] | None:
            if place_in(about) != place:
                return None
            holders = [self.me] if instead else sorted({*about["holders"], self.me})
            return {**about, "holders": holders} if holders != about["holders"] else None

        return place_in(self._change(key, change)) == place

    def _change(self, key: str, change: Callable[[dict[str, Any]], dict[str, Any] | None]) -> dict[str, Any]:
        """The record as it is afterwards; `change` gives None where it is to stay."""
        for _ in range(_TRIES):
            seen = self._store.get(record_name(key))
            about = self._parsed(seen)
            changed = change(about)
            if seen is None or changed is None:
                return about
            if self._store.replace(record_name(key), json.dumps(changed).encode(), seen):
                return changed
        raise self._contended(key)

    def _parsed(self, text: bytes | None) -> dict[str, Any]:
        try:
            about = dict(json.loads(text or b"{}"))
        except (ValueError, TypeError, RecursionError):
            return {}
        if not about:
            return {}
        if not isinstance(about.get("users"), dict):  # of an earlier version
            place = place_in(about)
            known = _UNKNOWN if self._store.remote else self.me
            about["users"] = {} if place is None else {place.locations[0]: [known]}
            about["holders"] = [known]
        about.setdefault("holders", [])
        return about

    def _text(
        self, key: str, place: Place, news: News, mine: str | None, earlier: Mapping[str, Any]
    ) -> bytes:
        users = dict(earlier.get("users", {}))
        if mine is not None:
            users[mine] = [self.me]
        about = {**_recipe(key, news), **_written(place), "users": users, "holders": [self.me]}
        return json.dumps(about).encode()

    def _is_whole(self, place: Place) -> bool:
        try:
            for address in place.addresses:
                location, digest = divided(address)
                stored_metadata(self._store, location, "it", digest)
        except InputError:
            return False
        return True

    def _contended(self, key: str) -> InputError:
        return InputError(
            f"the record {record_name(key)} in {self._store.shown} is written by others again and again: "
            "run again"
        )


def _home(location: str) -> str:
    """Key for which a group was written."""
    return location.split(".", 1)[0]


def _written(place: Place) -> dict[str, Any]:
    return {
        "address": place.address,
        "pieces": [[piece.address, piece.start, piece.stop] for piece in place.pieces],
    }


def _recipe(key: str, news: News) -> dict[str, Any]:
    record = news.record
    return {
        "format": 2,
        "key": key,
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
